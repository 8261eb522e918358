"""The worked example of the analysis guide is run as one session, and prints what the guide says."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re

import pandas as pd
import pytest

import benchbench
from benchbench.backends.engines import ModelOptions
from benchbench.core.ids import content_hash
from benchbench.runner.run import run
from benchbench.runner.settings import RunSettings
from benchbench.tasks.index import TaskIndex
from benchbench.tasks.prepare import prepare
from benchbench.tasks.settings import RenderSettings
from tests.conftest import REPO

duckdb = pytest.importorskip("duckdb")
GUIDE = REPO / "results" / "ANALYSIS.md"
BLOCK = re.compile(r"```python\n(?P<code>.*?)^```\n(?:```text\n(?P<printed>.*?)^```\n)?", re.MULTILINE | re.DOTALL)
TASKS = ("demo_choice_cs", "demo_trivia")
SKILL = {"tiny/step100": 0.15, "tiny/step200": 0.4, "tiny/step300": 0.55, "tiny/step400": 0.6, "other": 0.5}


def unit(*parts):
    """A number from 0 to 1 that follows from the parts: the same on every machine."""
    return int(content_hash(list(parts), digits=8), 16) / 16**8


def answers(model, skill):
    """A table for the scripted backend: the more skill, the more of the easy docs are answered rightly."""
    for task in TASKS:
        for doc in prepare(TaskIndex().task(task), RenderSettings()).docs:
            knows = unit("hard", task, doc.doc.id) + 0.3 * unit(model, task, doc.doc.id) < skill + 0.15
            prompt = doc.requests[0].prompt.text
            if doc.gold:
                for index, request in enumerate(doc.requests):
                    ll = -2 - 4 * unit(model, prompt, request.continuation)
                    is_best = index == doc.gold[0] if knows else index == (doc.gold[0] + 1) % len(doc.requests)
                    yield {
                        "prompt": prompt,
                        "continuation": request.continuation,
                        "loglikelihood": ll / (4 if is_best else 1),
                    }
            elif unit("lost", model, doc.doc.id) > 0.03:
                yield {"prompt": prompt, "text": f" {doc.targets[0]}" if knows else " nevím"}


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with `results/`: one run per model, some docs without a response."""
    folder = tmp_path_factory.mktemp("here")
    for model, skill in SKILL.items():
        path = folder / model
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in answers(model, skill)), encoding="utf-8")
        run(RunSettings(ModelOptions(str(path), backend="scripted"), tasks=",".join(TASKS), output=folder / "results"))
    return folder


def outcome(code, names):
    """What a notebook would show under the block: what is printed, then the value of a last line that is one."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, str(GUIDE), "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), str(GUIDE), "eval"), names)
            if value is not None:
                print(value)
    return printed.getvalue()


def plain(text):
    return [line.rstrip() for line in text.rstrip("\n").splitlines()]


def session(names):
    """(code, what the guide says it prints, what it prints) of every block, in order."""
    with pd.option_context("display.width", 120, "display.max_columns", 20):
        return [
            (found["code"], found["printed"] or "", outcome(found["code"], names))
            for found in BLOCK.finditer(GUIDE.read_text(encoding="utf-8"))
        ]


@pytest.fixture(scope="module")
def played(here):
    """(the blocks with what they say and print, the session's names)."""
    names = {}
    with contextlib.chdir(here):
        return session(names), names


def test_every_block_of_the_guide_prints_what_stands_under_it(played):
    blocks, _ = played
    assert len(blocks) >= 9
    for code, said, printed in blocks:
        assert plain(printed) == plain(said), code


def test_duckdb_over_the_parquet_files_gives_what_pandas_gives(here, played):
    _, names = played
    items = benchbench.load_items(here / "results", task="demo_choice_cs")
    expected = items.groupby("model")[["acc", "bpb_gold"]].mean().round(3).reset_index()
    table = names["table"]
    assert list(table.model) == list(expected.model)
    assert list(table.docs) == [62] * len(SKILL)
    assert list(table.acc) == pytest.approx(list(expected.acc))
    assert list(table.bits_per_byte) == pytest.approx(list(expected.bpb_gold))
    tiny = items[items.model.str.startswith("tiny@")].groupby("doc_hash")
    never = tiny.bpb_gold.min()[tiny.acc.max() == 0].sort_values()
    assert list(names["hard"].doc_hash) == list(never.index[:3])
    assert list(names["hard"].best) == pytest.approx(list(never.iloc[:3]))


def test_the_guide_counts_what_compare_counts(played):
    _, names = played
    row = names["duels"].set_index(["a", "b", "task"]).loc["tiny@step100", "tiny@step400", "demo_choice_cs"]
    assert (names["gained"], names["lost"]) == (row.wrong_to_right, row.right_to_wrong)

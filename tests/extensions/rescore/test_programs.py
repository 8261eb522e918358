"""Answers that are programs, from a run on rows in HumanEval's layout to a row with an interval."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchbench.backends import open_backend
from benchbench.backends.engines import ModelOptions
from benchbench.core.errors import ArgumentError
from benchbench.core.types import Completion, GenerateRequest
from benchbench.extensions.rescore import program_metric
from benchbench.extensions.rescore.score import score
from benchbench.extensions.rescore.settings import ScoreSettings
from benchbench.runner.events import Event, Note
from benchbench.runner.programs import ProgramOptions
from benchbench.runner.run import run
from benchbench.runner.settings import RunSettings
from benchbench.stats.pass_at_k import pass_at_k
from benchbench.store.folder import RunFolder
from benchbench.tasks.settings import RenderSettings

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")
FIXTURES = Path(__file__).resolve().parents[2] / "parity" / "fixtures"
ROWS = [json.loads(line) for line in (FIXTURES / "openai/openai_humaneval/default/test.jsonl").read_text().splitlines()]
MBPP = [
    json.loads(line) for line in (FIXTURES / "google-research-datasets/mbpp/full/test.jsonl").read_text().splitlines()
]
MUTATIONS = {
    "total_length": ("len(word)", "1"),
    "is_leap": ("!= 0 or", "== 0 or"),
    "second_largest": ("[-2]", "[-1]"),
    "caesar": ("+ shift", "- shift"),
    "runs": ("+ 1)", "+ 2)"),
    "digits": ("abs(number)", "number"),
    "transpose": ("zip(*rows)", "zip(rows)"),
    "mediane": ("/ 2", "/ 3"),
    "brackets": ("return depth == 0", "return True"),
}
"""Function → what is changed in its right body so that a test fails."""


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_metric, "_ENDED", {})


def answered(
    tmp_path: Path, answer: Callable[[str, int], str], *, allow: bool = True, told: list[str] | None = None, **more: Any
) -> RunFolder:
    """A run of a task on a model that answers a prompt, asked for the n-th time, so."""

    def listen(event: Event) -> None:
        if isinstance(event, Note) and told is not None:
            told.append(event.text)

    with closing(open_backend(ModelOptions("hash", backend="scripted"))) as engine:

        def generate(requests: Sequence[GenerateRequest], *, skip: Any = frozenset()) -> Iterator[Completion]:
            for one in requests:
                if one.key not in skip:
                    yield Completion(one, answer(one.prompt.text, one.index), "stop", 1)

        engine.generate = generate  # type: ignore[method-assign]
        render = RenderSettings(data_root=FIXTURES, repeats=more.pop("repeats", None))
        settings = RunSettings(
            ModelOptions("hash", backend="scripted"),
            **{"tasks": "humaneval", "render": render, "output": tmp_path / "results", **more},
            programs=ProgramOptions(allow_code_execution=allow, program_jobs=2),
        )
        return RunFolder(run(settings, backend=engine, on_event=listen).path)


def right(prompt: str, _: int = 0) -> str:
    return next(row["canonical_solution"] for row in ROWS if row["prompt"] == prompt)


def wrong(prompt: str, _: int = 0) -> str:
    row = next(row for row in ROWS if row["prompt"] == prompt)
    old, new = MUTATIONS[row["entry_point"]]
    assert old in row["canonical_solution"]
    return str(row["canonical_solution"].replace(old, new))


def test_every_right_program_passes_and_every_mutated_one_fails(tmp_path: Path) -> None:
    good = answered(tmp_path / "good", right)
    (row,) = good.record().rows
    assert (row.task, row.metric, row.value, row.n, row.se_method) == ("humaneval", "pass@1", 1.0, 9, "wilson")
    assert "pass@1:python:3." in row.signature
    bad = answered(tmp_path / "bad", wrong)
    assert [item.scores["pass@1"] for item in bad.items("humaneval")] == [0.0] * 9


def test_right_programs_of_mbpp_pass(tmp_path: Path) -> None:
    def code(prompt: str, _: int) -> str:
        return next(row["code"] for row in MBPP if prompt.endswith(f"{row['test_list'][2]}\n[BEGIN]\n"))

    run = answered(tmp_path, code, tasks="mbpp")
    assert [item.scores["pass@1"] for item in run.items("mbpp")] == [1.0] * 8


def test_several_answers_to_a_doc_are_one_item_with_the_unbiased_estimate(tmp_path: Path) -> None:
    def answer(prompt: str, index: int) -> str:
        place = [row["prompt"] for row in ROWS].index(prompt)
        return right(prompt) if index < place % 5 else wrong(prompt)

    run = answered(tmp_path, answer, repeats=5)
    allowed = ProgramOptions(allow_code_execution=True)
    asked = ScoreSettings(("pass_at_k",), data_root=FIXTURES, programs=allowed, options={"k": "3"})
    (scored,) = score(run, asked).scored
    assert (scored.metric, scored.rows[0].n) == ("pass@3", 9)
    items = run.items("humaneval")
    for place, item in enumerate(items):
        assert item.scores["pass@1"] == pytest.approx(pass_at_k(5, place % 5, 1))
        assert item.scores["pass@3"] == pytest.approx(pass_at_k(5, place % 5, 3))
    assert scored.rows[0].value == pytest.approx(sum(item.scores["pass@3"] or 0 for item in items) / 9)


def test_without_the_flag_answers_are_kept_and_nothing_is_run(tmp_path: Path) -> None:
    told: list[str] = []
    run = answered(tmp_path, right, allow=False, told=told)
    assert "only with --allow-code-execution" in told[0]
    assert [row.value for row in run.record().rows] == [None]
    with pytest.raises(ArgumentError, match="humaneval needs --allow-code-execution: its answers are programs"):
        score(run, ScoreSettings(("pass_at_k",), data_root=FIXTURES))
    allowed = ProgramOptions(allow_code_execution=True)
    (scored,) = score(run, ScoreSettings(("pass_at_k",), data_root=FIXTURES, programs=allowed)).scored
    assert scored.rows[0].value == 1.0
    again = score(run, ScoreSettings(("pass_at_k",), data_root=FIXTURES, programs=allowed)).scored
    assert [one.state for one in again] == ["kept"]


def test_how_programs_ended_is_counted(tmp_path: Path) -> None:
    def answer(prompt: str, _: int) -> str:
        place = [row["prompt"] for row in ROWS].index(prompt)
        bodies = ["    while True: pass", "    return bytearray(1 << 40)", "    import os; os._exit(0)"]
        return bodies[place] if place < 3 else right(prompt)

    told: list[str] = []
    folder = tmp_path / "tasks"
    folder.mkdir()
    metric = [{"metric": "pass_at_k", "seconds": 1, "memory_mb": 512}]
    entry = {"include": str(Path("tasks/humaneval/humaneval.yaml").resolve()), "task": "quick", "metric_list": metric}
    (folder / "quick.yaml").write_text(yaml.safe_dump(entry))
    run = answered(tmp_path, answer, tasks="quick", include_paths=(folder,), told=told)
    counted = "quick: 9 programs: 6 passed, 1 failed, 1 ran out of time, 1 wanted more memory than allowed."
    assert told[-1] == counted
    assert run.record().rows[0].value == pytest.approx(6 / 9)


def test_what_was_run_before_a_kill_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = answered(tmp_path, right, allow=False)
    monkeypatch.setattr(program_metric, "BLOCK", 4)
    ran: list[int] = []
    original = program_metric.run_programs

    def counted(sandbox: Any, programs: Any, jobs: int) -> Any:
        if ran:
            raise KeyboardInterrupt
        ran.append(len(programs))
        return original(sandbox, programs, jobs)

    monkeypatch.setattr(program_metric, "run_programs", counted)
    allowed = ScoreSettings(("pass_at_k",), data_root=FIXTURES, programs=ProgramOptions(allow_code_execution=True))
    with pytest.raises(KeyboardInterrupt):
        score(run, allowed)
    ran.clear()
    monkeypatch.setattr(program_metric, "run_programs", lambda s, p, j: ran.append(len(p)) or original(s, p, j))
    (scored,) = score(run, allowed).scored
    assert (sum(ran), scored.rows[0].value) == (5, 1.0)


MULTIPLE = {
    "task": "multiple_{{ language }}",
    "matrix": [{"language": "js"}, {"language": "pl"}, {"language": "sh"}],
    "dataset_path": "own/MultiPL-E",
    "dataset_name": "humaneval-{{ language }}",
    "test_split": "test",
    "output_type": "generate_until",
    "doc_to_text": "{{ prompt }}",
    "doc_to_target": "{{ tests }}",
    "doc_to_program": "{{ prompt }}{{ completion }}\n{{ tests }}",
    "generation_kwargs": {"until": ["\nfunction "]},
    "metric_list": [{"metric": "pass_at_k", "language": "{{ language }}"}],
}
TWICE = {
    "js": ("function twice(n){\n", "  return 2 * n\n}", "require('assert').equal(twice(2), 4)"),
    "pl": ("sub twice {\n  my ($n) = @_;\n", "  return 2 * $n;\n}", "twice(2) == 4 or die;\nexit 0;"),
    "sh": ("twice() {\n", "  echo $((2 * $1))\n}", "[[ $(twice 2) == 4 ]]"),
}


def test_a_layout_of_many_languages(tmp_path: Path) -> None:
    for name, (prompt, _, tests) in TWICE.items():
        program_metric.language(name)
        if name == "js" and shutil.which("node", path="/usr/bin") is None:
            pytest.skip("needs node")
        place = tmp_path / "hub/own/MultiPL-E" / f"humaneval-{name}" / "test.jsonl"
        place.parent.mkdir(parents=True)
        rows = [{"name": f"twice_{n}", "language": name, "prompt": prompt, "tests": tests} for n in range(2)]
        place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/multiple.yaml").write_text(yaml.safe_dump(MULTIPLE))

    def answer(prompt: str, _: int) -> str:
        return next(body for start, body, _ in TWICE.values() if start == prompt)

    render = RenderSettings(data_root=tmp_path / "hub")
    more = {"include_paths": (tmp_path / "tasks",), "render": render}
    run = answered(tmp_path, answer, tasks="multiple_js,multiple_pl,multiple_sh", **more)
    assert [(row.task, row.value) for row in run.record().rows] == [(f"multiple_{name}", 1.0) for name in TWICE]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return answered(tmp_path_factory.mktemp("once"), right, allow=False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k": "0"}, "k is '0'; it is a number from 1 to 10,000"),
        ({"k": "many"}, "k is 'many'"),
        ({"seconds": "nan"}, "seconds is 'nan'"),
        ({"sekonds": "2"}, "pass_at_k has no option 'sekonds'.*Did you mean seconds"),
        ({"language": "pythn"}, "language 'pythn' cannot be run here.*Did you mean python"),
        ({"k": "2"}, r"has 1 answer for each doc, and pass@2 takes 2 or more: run it with `--repeats 2`"),
    ],
)
def test_options_that_make_no_sense_are_refused(once: RunFolder, options: dict[str, str], said: str) -> None:
    allowed = ProgramOptions(allow_code_execution=True)
    with pytest.raises(Exception, match=said) as raised:
        score(once, replace(ScoreSettings(("pass_at_k",), data_root=FIXTURES, programs=allowed), options=options))
    assert type(raised.value).__module__ == "benchbench.core.errors"

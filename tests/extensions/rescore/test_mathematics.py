"""math_verify as a task lists it, with a process that compares texts in place of math-verify."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pytest

from benchbench.backends import open_backend
from benchbench.backends.engines import ModelOptions
from benchbench.core.errors import ArgumentError, DataError
from benchbench.core.types import Completion, GenerateRequest
from benchbench.extensions.mathematics import Equality, Pair
from benchbench.extensions.rescore import math_metric
from benchbench.extensions.rescore.score import score
from benchbench.extensions.rescore.settings import ScoreSettings
from benchbench.runner.events import Event, Note
from benchbench.runner.run import run
from benchbench.runner.settings import RunSettings
from benchbench.store.folder import RunFolder
from benchbench.tasks.settings import RenderSettings

FIXTURES = Path(__file__).resolve().parents[2] / "parity" / "fixtures"
ROWS = [
    json.loads(line)
    for line in (FIXTURES / "HuggingFaceH4/MATH-500/default/test.jsonl").read_text("utf-8").splitlines()
]
CLOSING = "\nFinal Answer: The final answer is $7$. I hope it is correct."


class Texts:
    """Finds equal what contains the gold text; an answer of nothing cannot be read, one of `loop` is never done."""

    version = "0"
    asked: ClassVar[list[Pair]] = []

    def __init__(self, jobs: int) -> None:
        pass

    def compare(self, pairs: Sequence[Pair]) -> list[Equality]:
        self.asked.extend(pairs)
        return [self._one(pair) for pair in pairs]

    def _one(self, pair: Pair) -> Equality:
        if pair.answer in ("", "loop"):
            return "unread" if pair.answer == "" else "slow"
        return "equal" if pair.gold in pair.answer else "different"

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(math_metric, "MathProcess", Texts)
    monkeypatch.setattr(Texts, "asked", [])


def answered(tmp_path: Path, answers: Sequence[str], told: list[str] | None = None) -> RunFolder:
    """MATH-500 on a model that answers the n-th doc with the n-th text."""

    def listen(event: Event) -> None:
        if isinstance(event, Note) and told is not None:
            told.append(event.text)

    with closing(open_backend(ModelOptions("hash", backend="scripted"))) as engine:

        def generate(requests: Sequence[GenerateRequest], *, skip: Any = frozenset()) -> Iterator[Completion]:
            for one in requests:
                yield Completion(one, answers[one.doc_id], "stop", 1)

        engine.generate = generate  # type: ignore[method-assign]
        settings = RunSettings(
            ModelOptions("hash", backend="scripted"),
            tasks="minerva_math500",
            render=RenderSettings(data_root=FIXTURES),
            output=tmp_path / "results",
        )
        return RunFolder(run(settings, backend=engine, on_event=listen).path)


def test_both_metrics_of_a_task_stand_in_the_order_of_its_file(tmp_path: Path) -> None:
    told: list[str] = []
    answers = [ROWS[0]["solution"], ROWS[1]["solution"] + CLOSING, "loop", "", *["nothing"] * 5]
    run = answered(tmp_path, answers, told)
    rows = {row.metric: row for row in run.record().rows}
    assert list(rows) == ["exact_match", "math_verify"]
    assert rows["exact_match"].value == pytest.approx(1 / 9)
    assert rows["math_verify"].value == pytest.approx(2 / 9)
    counts = "2 equal, 5 different, 1 without an answer that can be read, 1 not compared in time"
    assert told[-1] == f"minerva_math500: 9 answers: {counts}."
    assert rows["math_verify"].se_method == "wilson"


def test_thoughts_are_left_out_by_their_tags(tmp_path: Path) -> None:
    answers = [f"<think>{ROWS[0]['solution']}</think>no", "<think>never ends", *["nothing"] * 7]
    run = answered(tmp_path, answers)
    options = {"gold": "solution", "think_end": "</think>"}
    told: list[str] = []
    asked = ScoreSettings(("math_verify",), data_root=FIXTURES, options=options)
    (scored,) = score(run, asked, on_event=lambda event: told.append(getattr(event, "text", ""))).scored
    assert scored.rows[0].value == 0.0
    assert told[-1] == "minerva_math500: 1 thought cut off before </think>: nothing to compare."
    assert [pair.answer for pair in Texts.asked[-9:]][:2] == ["no", ""]


def test_without_a_field_the_targets_are_the_right_answers(tmp_path: Path) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    run = answered(tmp_path, ["$7$"] * 9)
    metric = math_metric.MathVerify(ScoreSettings(("math_verify",)), lambda event: None)
    item = run.items("minerva_math500")[1]
    assert metric._golds(item, {}) == ["$7$"]


def test_what_cannot_be_is_a_sentence(tmp_path: Path) -> None:
    run = answered(tmp_path, ["$7$"] * 9)
    with pytest.raises(DataError, match="looks for the right answer in the field 'nowhere', which document 0 has not"):
        score(run, ScoreSettings(("math_verify",), data_root=FIXTURES, options={"gold": "nowhere"}))
    with pytest.raises(ArgumentError, match=r"math_verify has no option 'golf'.*Did you mean gold"):
        score(run, ScoreSettings(("math_verify",), data_root=FIXTURES, options={"golf": "solution"}))

"""A task of more docs than a window: the same results as if it were held, and a kill loses no more."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchbench.backends.scripted import ScriptedBackend
from benchbench.core.errors import DamageError
from benchbench.core.item_table import HeldItems, answered, table_of
from benchbench.runner.run import run
from benchbench.store.damage import damage_of_run
from benchbench.store.folder import RunFolder, RunWriter
from benchbench.store.part_items import PartItems
from benchbench.store.table import read_part
from tests.conftest import REPO
from tests.runner.toy import QUIZ, WRITE, comparable, make_world, part_bytes, quiz_rows, settings, write_rows
from tests.windows import window_of

ALONE = "hash,batch=1"
"""Batches of one: the scripted engine's numbers do not depend on which requests stand beside each other."""


@pytest.fixture
def world(tmp_path):
    """Choices with clusters, F1 and AUROC; texts with BLEU; whole texts."""
    make_world(tmp_path, quiz=23, write=17)
    metrics = [{"metric": name} for name in ("acc", "macro_f1", "mcc", "auroc")]
    quiz = {**QUIZ, "cluster": "{{ question[8:9] }}", "metric_list": metrics}
    write = {**WRITE, "metric_list": [{"metric": "exact_match"}, {"metric": "bleu"}, {"metric": "chrf"}]}
    roll = {
        **{key: WRITE[key] for key in ("version", "group", "test_split")},
        "task": "toy_roll",
        "dataset_path": "toy/write",
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{ answer }} konec",
    }
    for task in (quiz, write, roll):
        (tmp_path / "tasks" / f"{task['task']}.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    rows = [{**row, "label": n % 3} for n, row in enumerate(quiz_rows(23))]
    write_rows(tmp_path / "hub/toy/quiz/default/test.jsonl", rows)
    return tmp_path


def items_of(path: Path) -> dict[str, list]:
    return {part.parent.name: read_part(part) for part in sorted(path.glob("items/*/part-00000.parquet"))}


@pytest.mark.parametrize(("model", "size"), [(ALONE, 5), (ALONE, 1), (f"{ALONE},fail=0.1", 5)])
def test_windows_change_no_result(world, monkeypatch, model, size):
    whole = run(settings(world, model, output=world / "whole"))
    window_of(size, monkeypatch.setattr)
    parts = run(settings(world, model, output=world / "parts"))
    assert comparable(parts.record) == comparable(whole.record)
    assert items_of(parts.path) == items_of(whole.path)
    assert not [*parts.path.rglob("window-*"), *parts.path.rglob("live.jsonl"), *parts.path.rglob(".*.tmp")]


def test_a_task_that_fits_a_window_has_the_bytes_that_it_always_had(world, monkeypatch):
    whole = run(settings(world, output=world / "whole"))
    window_of(23, monkeypatch.setattr)
    assert part_bytes(run(settings(world, output=world / "same")).path) == part_bytes(whole.path)


class StoppingError(Exception):
    """The engine breaks."""


def stop_after(monkeypatch, count: int) -> None:
    """From now on the scripted engine breaks after so many answers."""

    real, left = ScriptedBackend._score, [count]

    def score(self, *arguments):
        left[0] -= 1
        if left[0] < 0:
            raise StoppingError
        return real(self, *arguments)

    monkeypatch.setattr(ScriptedBackend, "_score", score)


@pytest.mark.parametrize("answers", [1, 15, 28, 62])
def test_a_stopped_run_goes_on_in_its_window(world, monkeypatch, answers):
    window_of(5, monkeypatch.setattr)
    whole = run(settings(world, tasks="toy_quiz", output=world / "whole"))
    with monkeypatch.context() as patch:
        stop_after(patch, answers)
        with pytest.raises(StoppingError):
            run(settings(world, tasks="toy_quiz"))
    (folder,) = [RunFolder(path.parent) for path in (world / "results").glob("*/*/plan.json")]
    done = folder.items("toy_quiz")
    assert len(done) == answers // 15 * 5 + len(folder.live("toy_quiz"))
    expected = {item.doc_id: item.loglikelihoods for item in items_of(whole.path)["toy_quiz"]}
    assert all(item.loglikelihoods == expected[item.doc_id] for item in done)
    again = run(settings(world, tasks="toy_quiz"))
    assert again.resumed
    assert part_bytes(again.path) == part_bytes(whole.path)
    assert comparable(again.record) == comparable(whole.record)


def test_other_runs_are_reused_window_by_window(world, monkeypatch):
    window_of(5, monkeypatch.setattr)
    first = run(settings(world, ALONE, tasks="toy_quiz"))
    again = run(settings(world, ALONE, tasks="toy_quiz,toy_write"))
    assert again.record.provenance.reused == 23
    assert part_bytes(again.path)["items/toy_quiz/part-00000.parquet"] == part_bytes(first.path).popitem()[1]


def test_a_window_that_was_answered_but_not_sealed_is_sealed(world, monkeypatch):
    window_of(5, monkeypatch.setattr)
    whole = run(settings(world, tasks="toy_quiz", output=world / "whole"))
    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "seal_window", lambda self, task, number, *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(settings(world, tasks="toy_quiz"))
    again = run(settings(world, tasks="toy_quiz"))
    assert part_bytes(again.path) == part_bytes(whole.path)


def test_a_damaged_window_is_found_and_asked_again_alone(world, monkeypatch):
    window_of(5, monkeypatch.setattr)
    whole = run(settings(world, tasks="toy_quiz", output=world / "whole"))
    with monkeypatch.context() as patch:
        stop_after(patch, 32)
        with pytest.raises(StoppingError):
            run(settings(world, tasks="toy_quiz"))
    (folder,) = [RunFolder(path.parent) for path in (world / "results").glob("*/*/plan.json")]
    assert folder.windows("toy_quiz") == [0, 1]
    assert not list(damage_of_run(folder))
    path = folder.window_path("toy_quiz", 1)
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 4
    path.write_bytes(bytes(data))
    assert [(one.path, one.remedy) for one in damage_of_run(folder)] == [(path, "run")]
    with pytest.raises(DamageError, match=r"window-00001\.parquet is damaged: .*--repair"):
        folder.items("toy_quiz")
    asked: list[int] = []
    real = ScriptedBackend._score

    def noted(self, request, *rest):
        asked.append(request.doc_id)
        return real(self, request, *rest)

    monkeypatch.setattr(ScriptedBackend, "_score", noted)
    again = run(settings(world, tasks="toy_quiz"))
    assert min(asked) == 5
    assert {5, 6, 7, 8, 9} <= {*asked}
    assert part_bytes(again.path) == part_bytes(whole.path)


@pytest.mark.slow
def test_a_run_that_is_killed_at_every_fifth_call_ends_the_same(tmp_path):
    make_world(tmp_path, quiz=7, write=1)
    arguments = [sys.executable, "-m", "tests.runner.crash", str(tmp_path), "1", "5", "3"]
    done = subprocess.run(arguments, cwd=REPO, capture_output=True, text=True, check=True)
    kills = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(kills) > 3
    assert all(kill["killed"] and kill["same"] for kill in kills), kills


def test_items_are_read_as_they_would_be_held(world, monkeypatch):
    window_of(5, monkeypatch.setattr)
    path = run(settings(world, f"{ALONE},fail=0.1", tasks="toy_quiz")).path / "items/toy_quiz/part-00000.parquet"
    held = read_part(path)
    read = PartItems([path])
    assert isinstance(table_of(held), HeldItems)
    assert table_of(read) is read
    assert list(read) == held
    assert read[-1] == held[-1]
    assert read[3:9:2] == held[3:9:2]
    assert any(item.outcome == "failed" for item in held)
    for mine, theirs in ((read, HeldItems(held)), (answered(read), answered(held))):
        assert len(mine) == len(theirs)
        assert mine.scores("acc") == theirs.scores("acc")
        assert mine.scores("none") == theirs.scores("none")
        assert (mine.clusters(), mine.outcomes()) == (theirs.clusters(), theirs.outcomes())
        assert mine.numbers("doc_id") == theirs.numbers("doc_id")
        assert mine.sizes("targets") == theirs.sizes("targets")
        assert mine.total("num_tokens") == theirs.total("num_tokens")
        assert [item.gold for item in mine.reading("gold")] == [item.gold for item in theirs.reading("gold")]

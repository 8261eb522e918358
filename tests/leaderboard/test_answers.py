"""The first sentences of a leaderboard say what the board's rank intervals and the verdicts say."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchbench.leaderboard.answers import Best, best_of, bought, main_curve
from benchbench.leaderboard.board import make_board
from benchbench.leaderboard.duels import Duels
from benchbench.leaderboard.paired import ItemScores
from benchbench.leaderboard.records import read_records
from benchbench.leaderboard.training import VerdictOptions
from benchbench.leaderboard.trainings import make_training
from tests.leaderboard.make import measured, task

DOCS = 400


def board_best(root: Path, shares: dict[str, float], *, tasks: tuple[str, ...] = ("one", "two")) -> Best:
    """Models that get these shares of two tasks right, on docs of their own."""
    for place, (model, share) in enumerate(shares.items()):
        rng = np.random.default_rng(place)
        made = {name: task((rng.permutation(DOCS) < share * DOCS).astype(float).tolist(), chance=0.0) for name in tasks}
        measured(root, model, made)
    records = read_records([root])
    items = ItemScores()
    found = best_of(make_board(records.listed, items, Duels(records.listed, items), (), ("one", "two", "three")))
    assert found is not None
    return found


def test_one_model_ahead_of_all_is_best(tmp_path: Path) -> None:
    found = board_best(tmp_path, {"a": 0.9, "b": 0.6, "c": 0.5})
    assert found.is_certain
    assert found.leader.entry.name == "a"
    assert found.sentence.startswith("is best of 3 models on 2 tasks (mean 90.0): ")
    assert found.sentence.endswith(
        "no other may hold first place. Error rate: 5 %, over all models. 2 of 3 tasks are here."
    )


def test_models_that_may_hold_first_place_are_named(tmp_path: Path) -> None:
    found = board_best(tmp_path, {"a": 0.80, "b": 0.79, "c": 0.78, "d": 0.2})
    assert not found.is_certain
    assert [one.entry.name for one in found.rivals] == ["b", "c"]
    assert "not for certain: b and c may hold first place, too; 1 model may not." in found.sentence


def test_all_alike_leave_nobody_out(tmp_path: Path) -> None:
    shares = dict.fromkeys("abcdefg", 0.5)
    found = board_best(tmp_path, shares)
    assert len(found.rivals) == 6
    assert ": b, c, d, e and 2 more may hold first place, too. " in found.sentence


def test_alone_is_not_best(tmp_path: Path) -> None:
    assert board_best(tmp_path, {"a": 0.5}).sentence.startswith("is the only model asked these 2 tasks (mean 50.0")


def test_another_set_of_tasks_is_told(tmp_path: Path) -> None:
    measured(tmp_path, "z", {"one": task([1.0] * DOCS, chance=0.0)})
    found = board_best(tmp_path, {"a": 0.9, "b": 0.6})
    assert found.leader.entry.name == "a"
    assert found.sentence.endswith("1 other model lacked some of these tasks, or answered them otherwise.")


def of_training(root: Path, shares: list[float]) -> str:
    for step, share in enumerate(shares, 1):
        scores = (np.arange(DOCS) < share * DOCS).astype(float).tolist()
        measured(root, f"run@step{step}000", {"one": task(scores, chance=0.0)}, series="run", step=step * 1000)
    ((name, entries),) = read_records([root]).series().items()
    made = make_training(name, entries, ItemScores(), VerdictOptions())
    said = bought(made)
    verdict = main_curve(made).verdict
    assert verdict is not None
    whole = verdict.sentence("one", "acc", is_share=True)
    assert said[0].lower() + said[1:].partition(". ")[0].lower() in whole.lower(), "as the training's own page says it"
    return said


def test_a_training_that_rises_still_improves(tmp_path: Path) -> None:
    said = of_training(tmp_path, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert said.startswith("The last 2k steps (4k→6k) bought +20.00 pp, 95 % CI ")
    assert said.endswith("It still improves (one acc).")


def test_a_training_that_has_risen_says_since_when(tmp_path: Path) -> None:
    said = of_training(tmp_path, [0.1, 0.4, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6])
    assert "It has stood where it stands today since 3k, as far as can be told (one acc)." in said


def test_a_training_that_falls_is_said_to_have_regressed(tmp_path: Path) -> None:
    assert "It has regressed since " in of_training(tmp_path, [0.6, 0.6, 0.6, 0.6, 0.6, 0.1])


def test_too_little_data_is_said(tmp_path: Path) -> None:
    for step in (1, 2):
        measured(tmp_path, f"run@step{step}", {"one": task([1.0, 0.0], chance=0.0)}, series="run", step=step)
    ((name, entries),) = read_records([tmp_path]).series().items()
    assert bought(make_training(name, entries, ItemScores())).startswith("Nothing can be said yet: ")

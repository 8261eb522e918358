"""Which models and trainings a site shows: one line a model, one page a training, whatever their folders are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchbench.leaderboard.site.build import build_site
from tests.leaderboard.site.page import Page
from tests.leaderboard.site.synthetic import write_run


def scores(seed: int, share: float = 0.5, tasks: tuple[str, ...] = ("quiz", "talk")) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {task: (rng.random(60) < share).astype(float) for task in tasks}


def at(location: str, finished: str = "2026-01-02") -> dict[str, Any]:
    """What a record says of where its model lay and when it was finished."""
    return {
        "settings": {"model": location, "limit": None, "seed": 1},
        "provenance": {"started": None, "finished": finished, "seconds": 1.0, "reused": 0, "tasks": {}},
    }


def board(site: Path) -> dict[str, str]:
    """Model → its line's text in the overview."""
    return {row["model"][0]: row["rank"][0] for row in Page(site / "index.html").rows("board")}


def test_checkpoints_in_folders_of_bare_numbers_are_one_training(tmp_path: Path) -> None:
    for i, step in enumerate((75, 300)):
        checkpoint = {"step": step, "tokens_seen": None}
        place = at(f"/runs/train2/{step}")
        write_run(tmp_path / "results", str(step), scores(i), run_id=f"r{step}", checkpoint=checkpoint, **place)
    built = build_site([tmp_path / "results"], tmp_path / "site")
    assert (built.models, built.sweeps) == (1, 1)
    assert list(board(tmp_path / "site")) == ["train2@300"]
    assert "2 checkpoints, steps 75 to 300" in Page(next((tmp_path / "site" / "sweeps").iterdir())).text


def test_two_folders_with_one_last_part_are_two_models(tmp_path: Path) -> None:
    for i, run in enumerate(("runA", "runB")):
        write_run(tmp_path / "results", "final", scores(i), run_id=run, weights=run, **at(f"/exp/{run}/final"))
    build_site([tmp_path / "results"], tmp_path / "site")
    assert set(board(tmp_path / "site")) == {"runA/final", "runB/final"}


def test_two_names_of_the_same_weights_are_one_line_with_the_scores_of_both(tmp_path: Path) -> None:
    root = tmp_path / "results"
    write_run(root, "run@step9", scores(1, tasks=("quiz",)), weights="w", **at("/exp/run/step9"))
    write_run(root, "final", scores(1, tasks=("quiz", "talk")), weights="w", **at("/exp/final"))
    write_run(root, "other", scores(2, tasks=("quiz", "talk")), **at("/exp/other"))
    built = build_site([root], tmp_path / "site")
    assert built.models == 2
    shown = board(tmp_path / "site")
    assert set(shown) == {"run@step9same weights as final", "other"}
    assert all(rank in ("1", "2", "1–2") for rank in shown.values())
    (page,) = (p for p in (tmp_path / "site" / "models").iterdir() if p.name.startswith("run"))
    assert "Same weightsfinal" in Page(page).text.replace("\n", "")
    assert {row["task"][0] for row in Page(page).rows("scores")} == {"quiz", "talk"}


def test_a_curve_goes_through_the_newest_weights_of_a_step_that_was_overwritten(tmp_path: Path) -> None:
    root = tmp_path / "results"
    for step, share, day, weights in ((5, 0.2, 1, "a"), (9, 0.0, 9, "new"), (9, 1.0, 2, "old")):
        place = at(f"/exp/run/step{step}", f"2026-01-0{day}")
        found = scores(step, share, ("quiz",))
        write_run(root, f"run@step{step}", found, run_id=f"r{day}", weights=weights, **place)
    build_site([root], tmp_path / "site")
    page = Page(next((tmp_path / "site" / "sweeps").iterdir()))
    assert "2 checkpoints" in page.text
    table = next(rows for rows in page.tables.values() if any(row[0][0] == "9" for row in rows))
    assert [row[1][0] for row in table if row[0][0] == "9"] == ["0.0000"]


def test_a_training_that_tells_tokens_alone_stands_on_an_axis_of_tokens(tmp_path: Path) -> None:
    for i, billions in enumerate((100, 300, 2000)):
        write_run(tmp_path / "results", f"org/viking@{billions}B", scores(i), run_id=f"r{billions}")
    built = build_site([tmp_path / "results"], tmp_path / "site")
    assert built.sweeps == 1
    text = Page(next((tmp_path / "site" / "sweeps").iterdir())).text
    assert "3 checkpoints, 100 to 2,000 billion tokens" in text
    assert "wherever a step is named, it is billion tokens" in text
    assert "2,000 billion tokens" in Page(tmp_path / "site" / "sweeps.html").text


def test_stages_and_seeds_are_trainings_of_their_own(tmp_path: Path) -> None:
    for i, name in enumerate(("stage1-step1000", "stage1-step2000", "stage2-step1000", "step1000-seed-3")):
        write_run(tmp_path / "results", f"org/olmo@{name}", scores(i), run_id=f"r{i}")
    built = build_site([tmp_path / "results"], tmp_path / "site")
    assert built.sweeps == 1
    assert "steps 1,000 to 2,000" in Page(next((tmp_path / "site" / "sweeps").iterdir())).text


def test_the_same_weights_under_two_names_duel_with_the_others(tmp_path: Path) -> None:
    for name, weights, seed, share in (("copy", "w1", 1, 0.9), ("first", "w1", 1, 0.9), ("weak", "w2", 2, 0.1)):
        write_run(tmp_path / "results", name, scores(seed, share), run_id=name, weights=weights, **at(f"/m/{name}"))
    build_site([tmp_path / "results"], tmp_path / "site")
    won = [float(row["duels"][0]) for row in Page(tmp_path / "site" / "index.html").rows("board")]
    assert won == [1.0, 0.0]

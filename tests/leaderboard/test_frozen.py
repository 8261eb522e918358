"""What board, comparison and sweep pages give for a fixed store, and how charts are drawn, digit by digit."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchbench.leaderboard.chart import Dot, Line, Panel, axis_of, rank_strip, strip, svg, ticks
from benchbench.leaderboard.comparison import compare_models
from benchbench.leaderboard.paired import ItemScores
from benchbench.leaderboard.records import read_records
from benchbench.leaderboard.site.build import SiteOptions, build_site
from benchbench.leaderboard.training import VerdictOptions
from benchbench.leaderboard.trainings import figures, make_training
from benchbench.store.find import find_models
from tests.frozen import stands
from tests.leaderboard.test_one_source import CHANCE, FILES, GROUPS, STEPS, tasks_at
from tests.leaderboard.world import write_run, write_training

FILE = Path(__file__).with_name("frozen.json")
DOTS = (Dot(0, 0.25), Dot(1000, 0.31, 0.27, 0.36), Dot(2000, 0.42, 0.4, 0.5), Dot(64000, 0.58, 0.55, 0.61))
PANELS = {
    "plain": Panel("csmpt acc", (Line("csmpt", DOTS),), reference=0.25, note="It rises."),
    "three": Panel("a & b", tuple(Line(name, DOTS[i:]) for i, name in enumerate(("cs", "fr", "en"))), log_x=True),
    "large": Panel("ppl", (Line("a", (Dot(1, 12_345.0), Dot(2, 9_876.0, 9_000.0, 10_500.0))),), x_label="tokens"),
}
AXIS = axis_of([0.2, None, 0.9])
DRAWN: dict[str, Callable[[], Any]] = {
    **{f"svg {name}": lambda p=panel: svg([p]) for name, panel in PANELS.items()},
    "svg of many": lambda: svg([*PANELS.values()] * 2, columns=3),
    "ticks": lambda: [ticks(low, high) for low, high in ((0.0, 1.0), (0.31, 0.33), (0.0, 64_000.0), (-5.0, 20.0))],
    "axes": lambda: [AXIS, axis_of([0.0]), axis_of([2.0, 2.0])],
    "strips": lambda: [
        strip(AXIS, value, low, high, mark)
        for value, low, high, mark in ((0.5, 0.4, 0.7, 0.25), (0.2, None, None, None), (0.9, 0.85, 1.2, 5.0))
    ],
    "ranks": lambda: [rank_strip(low, high, 9) for low, high in ((1, 1), (2, 5), (9, 9))],
}

PAGES = ("index", "models/other", "suites/pair", "sweeps", "sweeps/run", "tasks", "tasks/pair_cs", "tasks/texts")


@pytest.mark.parametrize("name", DRAWN)
def test_drawings_stand(name: str) -> None:
    stands(FILE, name, DRAWN[name]())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("frozen") / "results"
    shared = {"groups": GROUPS, "files": FILES, "chance": CHANCE}
    write_training(root, "run", {step: tasks_at(rank, rank) for rank, step in enumerate(STEPS)}, **shared)
    write_run(root, "other", tasks_at(3, 99), series="other", step=None, tokens_seen=None, **shared)
    return root


def test_verdicts_stand(store: Path) -> None:
    training = make_training("run", read_records([store]).series()["run"], ItemScores(), VerdictOptions())
    stands(FILE, "verdicts", [[curve.sentence, figures(curve)] for curve in training.headline_curves])


def test_comparisons_stand(store: Path) -> None:
    rows = compare_models(find_models(["run@600", "other"], store)).rows
    stands(FILE, "comparison", [[row.task, row.duel, row.outcome, row.dropped] for row in rows])


def test_pages_stand(store: Path, tmp_path: Path) -> None:
    """A page of each kind: what is read, and the numbers that are sorted by."""
    build_site([store], tmp_path / "site", SiteOptions(title="One"))
    for page in PAGES:
        body = (tmp_path / "site" / f"{page}.html").read_text(encoding="utf-8").partition("<main")[2]
        plain = re.sub(r"<(script|style|svg).*?</\1>", "", body.partition("</main>")[0], flags=re.DOTALL)
        read = [" ".join(part.split()) for part in re.split(r"<[^>]*>", plain.partition(">")[2])]
        stands(FILE, f"page {page}", [[part for part in read if part], re.findall(r'data-v="([^"]*)"', plain)])

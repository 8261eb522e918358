"""What comparisons, boards and trainings say of a store with one of each thing, and of one with gaps, as data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchbench.core.record import ScoringRecord
from benchbench.leaderboard.board import make_board
from benchbench.leaderboard.chart import Dot, Line, Panel, svg
from benchbench.leaderboard.comparison import CompareOptions, compare_models
from benchbench.leaderboard.duels import Duels, flat
from benchbench.leaderboard.metrics import metric_of
from benchbench.leaderboard.paired import ItemScores
from benchbench.leaderboard.records import Records, read_records
from benchbench.leaderboard.site.board_page import heat_of
from benchbench.leaderboard.training import Training, VerdictOptions, about, is_log, panels
from benchbench.leaderboard.trainings import figures, make_training
from benchbench.leaderboard.weights import Benchmark, benchmark_of, benchmarks, weights_of
from benchbench.store.find import find_models
from tests.frozen import stands
from tests.leaderboard.site.everything import CHANCE, FILES, GROUPS, everything
from tests.leaderboard.world import choice, rolling, write_run

FILE = Path(__file__).with_name("records.json")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return everything(tmp_path_factory.mktemp("records") / "results")


@pytest.fixture(scope="module")
def known(store: Path) -> Records:
    return read_records([store])


def test_entries_stand(known: Records) -> None:
    found = [
        [e.name, e.series, e.step, e.tokens_seen, e.position, e.num_parameters, e.is_imported, e.twins, len(e.cells)]
        for e in (*known.entries, *known.listed)
    ]
    cells = [
        [e.name, cell.task, cell.family, cell.value, cell.stderr, cell.range, cell.variant.kind, cell.variant.num_docs]
        for e in known.listed
        for cell in e.cells.values()
    ]
    names = {name: [e.name for e in members] for name, members in known.series().items()}
    stands(FILE, "entries", [found, cells, names, known.skipped])


@pytest.mark.parametrize(
    ("names", "options"),
    [
        (("alone", "run@10000"), CompareOptions()),
        (("alone", "run@10000"), CompareOptions(("all",), weighting="tasks")),
        (("run@100", "alone", "run@10000"), CompareOptions(delta=0.2)),
        (("alone", "asked", "broken"), CompareOptions()),
        (("broken", "alone"), CompareOptions(("acc,bpb_gold",))),
    ],
)
def test_comparisons_stand(store: Path, names: tuple[str, ...], options: CompareOptions) -> None:
    found = compare_models(find_models(list(names), store), options)
    rows = [list(flat(row).values()) for row in found.rows]
    assert rows
    refused = [[one.a, one.b, one.task, one.metric, one.reason] for one in found.refused]
    stands(FILE, f"compare {' '.join(names)} {options}", [rows, refused, found.num_pairs])


def shown(training: Training) -> list[Any]:
    curves = [training.overall, *training.curves] if training.overall is not None else training.curves
    return [
        [
            [c.task, c.metric, c.sentence, c.label, c.problem, c.n, c.chance, c.is_main, c.has_items, c.members]
            + [[p.step, p.value] for p in c.points[-2:]]
            + [figures(c), training.beside(c)]
            for c in curves
        ],
        training.left_out,
        about(training),
        [
            [panel.title, panel.x_label, panel.reference, panel.note, panel.log_x]
            for panel in panels(training.main_curves)
        ],
    ]


@pytest.mark.parametrize(
    "options",
    [VerdictOptions(), VerdictOptions(looks=1, weighting="tasks", since=200), VerdictOptions(delta=0.3)],
)
def test_trainings_stand(known: Records, options: VerdictOptions) -> None:
    made = [make_training(name, members, ItemScores(), options) for name, members in known.series().items()]
    assert len(made) == 2
    stands(FILE, f"trainings {options}", [shown(one) for one in made])


def test_trainings_with_gaps_say_what_is_missing(tmp_path: Path) -> None:
    """Published numbers without a value, without an error and without a number of docs, beside whole ones."""
    for rank, step in enumerate((10, 20, 40)):
        right = (np.arange(40) % 5 < 1 + rank).astype(float)
        tasks = {name: choice(name, right) for name in ("pair_cs", "pair_fr", "single", "ends", "gaps", "some")}
        if rank == 1:
            del tasks["some"]
        tasks["texts"] = rolling("texts", 4 - 0.1 * rank + 0.01 * np.arange(20))
        folder = write_run(
            tmp_path, f"odd@step{step}", tasks, groups=GROUPS[:1], chance=CHANCE, files=FILES,
            series="odd", step=step, tokens_seen=None,
        )  # fmt: skip
        values = json.loads((folder.path / "run.json").read_text(encoding="utf-8"))
        values["origin"] = {"kind": "table", "file": "table.csv", "sha256": "0"}
        for row in values["rows"]:
            if (row["task"], rank) in (("pair_fr", 1), ("single", 1)):
                row.update(value=None) if row["task"] == "single" else row.update(stderr=None)
            if row["task"] == "ends":
                row.update(n=None)
        for path in folder.path.rglob("*.parquet"):
            path.unlink()
        (folder.path / "run.json").write_text(json.dumps(values), encoding="utf-8")
    records = read_records([tmp_path])
    made = make_training("odd", records.series()["odd"], ItemScores(), VerdictOptions())
    problems = {curve.task: curve.problem for curve in made.main_curves}
    assert problems["single"] == "a checkpoint has no value"
    assert problems["pair_fr"] == "a checkpoint has neither items nor a standard error"
    assert problems["pair"] == "not every task of pair has a acc that can be judged"
    stands(FILE, "trainings with gaps", shown(made))


def test_boards_and_grids_stand(known: Records) -> None:
    items = ItemScores()
    duels = Duels(known.listed, items)
    groups = benchmarks(run.record for entry in known.listed for run in entry.runs)
    found = []
    for tasks, weighting in (
        (None, "benchmarks"),
        (None, "tasks"),
        (["single", "ends"], "tasks"),
        (["absent"], "tasks"),
    ):
        board = make_board(known.listed, items, duels, groups, tasks, weighting=weighting)  # type: ignore[arg-type]
        for group in board.groups:
            lines = [
                [
                    s.entry.name,
                    s.mean,
                    s.stderr,
                    s.interval,
                    s.rank,
                    s.win_rate,
                    s.duel_wins,
                    list(s.normalised.values()),
                ]
                for s in group.standings
            ]
            titles = {variant: variant.task for variant in group.variants}
            found.append([lines, group.ranked_by, list(group.weights.values()), heat_of(group, duels, titles)])
        found.append([board.left_out, board.unknown_chance, board.missing])
    stands(FILE, "boards", [found, duels.problems])


def test_weights_of_tasks_stand() -> None:
    """By hand: two benchmarks and a task are a third each."""
    by_size, alike = Benchmark("g", ("a", "b"), True), Benchmark("h", ("c", "d", "e"), False)
    docs = {"a": 30.0, "b": 10.0, "c": 5.0, "d": 500.0, "x": 7.0}
    assert weights_of(docs, (by_size, alike)) == pytest.approx(
        {"a": 0.25, "b": 1 / 12, "c": 1 / 6, "d": 1 / 6, "x": 1 / 3}
    )
    assert weights_of(docs, (by_size, alike), "tasks") == pytest.approx(dict.fromkeys(docs, 0.2))
    assert benchmark_of("d", (by_size, alike)) is alike
    assert benchmark_of("x", (by_size, alike)) is None


@pytest.mark.parametrize("chance", [None, 0.25])
def test_metrics_stand(known: Records, chance: float | None) -> None:
    (entry,) = [entry for entry in known.entries if entry.name == "lonely"]
    record = entry.runs[0].record
    task = record.tasks["nobody"]
    found = []
    for output in ("multiple_choice", "generate_until", "loglikelihood_rolling"):
        scoring: ScoringRecord = replace(task.scoring, chance=chance, output_type=output, metrics=())
        changed = replace(record, tasks={"nobody": replace(task, scoring=scoring)})
        names = {
            "multiple_choice": ("acc", "acc_norm", "auroc", "mcc", "bpb_gold", "f1", "brier_score"),
            "generate_until": ("exact_match", "bleu", "ter", "rouge1"),
            "loglikelihood_rolling": ("word_perplexity", "bits_per_byte"),
        }[output]
        for name in names:
            one = metric_of(changed, "nobody", name)
            more = [one.lacks_chance, one.column, one.is_mean, one.is_log, one.scale, one.delta]
            found.append([one, *more, one.margin(3.0, 5.0), one.margin(0.0)])
    stands(FILE, f"metrics {chance}", found)


def test_long_spans_of_steps_stand_on_a_logarithmic_axis() -> None:
    assert is_log([0, 10, 20, 40, 501])
    assert not is_log([0, 10, 20, 40, 500])
    assert not is_log([10, 20, 600])
    assert not is_log([])


@pytest.mark.parametrize("level", [0.0, 0.5, -20.0])
def test_charts_of_one_level_have_an_axis_around_it(level: float) -> None:
    drawn = svg([Panel("flat", (Line("a", (Dot(5, level), Dot(5, level))),), reference=level)])
    stands(FILE, f"flat chart at {level}", drawn)


def test_models_that_share_no_doc_have_no_duel_and_the_task_is_named(tmp_path: Path) -> None:
    first = np.where(np.arange(20) < 10, 1.0, np.nan)
    for name, right in (("one", first), ("two", first[::-1])):
        write_run(tmp_path, name, {"quiz": choice("quiz", right)}, series=name, step=None, tokens_seen=None)
    entries = read_records([tmp_path]).listed
    duels = Duels(entries, ItemScores())
    (variant,) = entries[0].cells
    assert duels.of(variant) is None
    assert duels.problems == ["no duels on quiz: no doc of quiz has a acc in all of them."]

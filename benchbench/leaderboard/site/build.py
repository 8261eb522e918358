"""`build_site`: run folders in, a folder of pages out. The same records give the same bytes."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from benchbench.core.errors import DataError
from benchbench.core.format import name, several, shown
from benchbench.leaderboard.answers import bought
from benchbench.leaderboard.board import FEWER_DRAWS, MANY, Board, make_board
from benchbench.leaderboard.duels import Duels
from benchbench.leaderboard.paired import FEW, ItemScores, cores, spread
from benchbench.leaderboard.records import Entry, Records, Variant, read_records
from benchbench.leaderboard.site.arena_page import arena_page
from benchbench.leaderboard.site.board_page import (
    Answer,
    Download,
    best_model,
    board_fields,
    board_page,
    ranked_models,
    suite_column,
)
from benchbench.leaderboard.site.docs_page import page_of_docs
from benchbench.leaderboard.site.folder import check_out, write_site
from benchbench.leaderboard.site.model_page import page_of_model, reported_page
from benchbench.leaderboard.site.parts import (
    Link,
    Page,
    PageRenderer,
    as_shown,
    docs_page,
    labels,
    model_page,
    suite_page,
    sweep_page,
    task_page,
)
from benchbench.leaderboard.site.sweep_page import training_page, trainings_page
from benchbench.leaderboard.site.task_page import page_of_task, tasks_page
from benchbench.leaderboard.training import VerdictOptions
from benchbench.leaderboard.trainings import make_training
from benchbench.leaderboard.weights import Weighting, benchmarks
from benchbench.stats.ranks import DRAWS
from benchbench.store.arena import ArenaRecord, read_arenas
from benchbench.store.frames import RUN_COLUMNS, mark_current, run_rows
from benchbench.store.reported import FOLDER, ReportedSource, read_reported
from benchbench.store.spreadsheet import to_csv

MOST_SUITES = 6
MOST_TRAININGS = 4


@dataclass(frozen=True, slots=True)
class SiteOptions:
    """What a site is to be like."""

    title: str = "Leaderboard"
    suites: Mapping[str, tuple[str, ...]] | None = None
    """Suite → its tasks: boards of their own, beside those of the benchmarks that the records name."""
    docs: int = 4
    """Models whose answers a page of docs holds; 0: no such pages."""
    weighting: Weighting = "benchmarks"
    """How tasks count in a mean of tasks."""


@dataclass(frozen=True, slots=True)
class Built:
    """What was built."""

    index: Path
    pages: int
    models: int
    tasks: int
    sweeps: int
    skipped: tuple[str, ...]
    """Runs that were not taken, and remarks."""


def build_site(roots: Sequence[Path], out: Path, options: SiteOptions | None = None) -> Built:
    """Writes the site of all finished runs below `roots` into `out`.

    Raises:
        ArgumentError: `out` holds other files than a site.
        StoreError: a results folder is missing, or `out` cannot be written.
    """
    chosen = options or SiteOptions()
    check_out(out)
    records = read_records(roots)
    reported, problems = _reported(roots)
    arenas, torn = read_arenas(roots)
    site = _Site(records, reported, arenas, chosen)
    site.problems += [*problems, *torn]
    pages = dict(site.pages([str(root) for root in roots]))
    write_site(out, pages)
    tasks = {variant.task for entry in records.entries for variant in entry.cells}
    html = sum(path.endswith(".html") for path in pages)
    return Built(
        out / "index.html", html, len(records.listed), len(tasks), len(records.series()), tuple(site.skipped())
    )


def _reported(roots: Sequence[Path]) -> tuple[list[ReportedSource], list[str]]:
    found: list[ReportedSource] = []
    problems: list[str] = []
    for path in sorted(path for root in roots for path in (root / FOLDER).glob("*.yaml")):
        try:
            found.append(read_reported(path))
        except DataError as error:
            problems.append(f"{FOLDER}/{path.name}: {str(error).replace(str(path), path.name)}")
    return sorted(found, key=lambda source: (source.source, source.file)), problems


@dataclass(frozen=True, slots=True)
class EmptyPage:
    """The overview where there is nothing yet."""

    template: ClassVar[str] = "empty.html"
    folders: str
    """Where results were looked for."""
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MethodsPage:
    """What the numbers mean."""

    template: ClassVar[str] = "methods.html"
    draws: int = DRAWS
    """Of the rank intervals."""
    fewer: int = FEWER_DRAWS
    many: int = MANY
    """Models of a group above which `fewer` are drawn."""


class _Site:
    """Holds what several pages share."""

    def __init__(
        self,
        records: Records,
        reported: Sequence[ReportedSource],
        arenas: Sequence[ArenaRecord],
        options: SiteOptions,
    ) -> None:
        self.records = records
        self.reported = reported
        self.arenas = arenas
        self.options = options
        self.problems: list[str] = []
        self.items = ItemScores()
        self.items.read_ahead(cell for entry in records.entries for cell in entry.cells.values())
        self.duels = Duels(records.listed, self.items)
        judged = VerdictOptions(weighting=options.weighting)
        self.sweeps = [make_training(s, e, self.items, judged) for s, e in records.series().items()]
        self.boards = self._boards()
        self.renderer = PageRenderer(name(options.title), self._nav())

    def _nav(self) -> tuple[tuple[str, str], ...]:
        """(label, path) of the pages that every page names."""
        known = (
            ("Overview", "index.html", True),
            ("Tasks", "tasks.html", bool(self.records.listed)),
            ("Sweeps", "sweeps.html", bool(self.sweeps)),
            ("Arena", "arena.html", bool(self.arenas)),
            ("Reported", "reported.html", bool(self.reported)),
            ("Methods", "methods.html", True),
        )
        return tuple((label, path) for label, path, is_there in known if is_there)

    def _boards(self) -> dict[str, Board]:
        """The overview, then suites and benchmarks of which two tasks or more were asked, each set of tasks once."""
        listed = self.records.listed
        groups = benchmarks(source.record for entry in listed for source in entry.runs)

        def board(tasks: Sequence[str] | None) -> Board:
            return make_board(listed, self.items, self.duels, groups, tasks, weighting=self.options.weighting)

        here = {variant.task for entry in listed for variant in entry.cells}
        wanted = {**(self.options.suites or {}), **{group.name: group.tasks for group in groups}}
        seen: set[frozenset[str]] = {frozenset(here)}
        found = {"overview": board(None)}
        for suite, tasks in wanted.items():
            present = frozenset(tasks) & here
            if len(present) > 1 and present not in seen and suite != "overview":
                seen.add(present)
                made = board(sorted(tasks))
                if made.groups:
                    found[suite] = made
        return found

    def _suites(self) -> list[tuple[str, Board]]:
        return [(suite, board) for suite, board in self.boards.items() if suite != "overview"]

    def skipped(self) -> tuple[str, ...]:
        """Everything that was not taken, once each."""
        found = {*self.records.skipped, *self.problems, *self.items.problems, *self.duels.problems}
        return tuple(shown(sentence, 400) for sentence in sorted(found))

    def pages(self, folders: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Path → content of every file."""
        listed = self.records.listed
        if not listed and not self.reported:
            yield self._page("index.html", "Nothing here yet", EmptyPage(", ".join(folders), self.skipped()))
        yield self._page("methods.html", "Methods", MethodsPage())
        if self.arenas:
            yield self._page("arena.html", "Arena", arena_page(self.arenas))
        if self.reported:
            yield self._page("reported.html", "Reported numbers", reported_page(self.reported))
        if listed:
            cells = sum(len(entry.cells) for entry in listed)
            with spread(self._model_page, listed, min(1, cores() - 1) if cells > FEW else 0) as models:
                yield from self._task_pages()
                yield from models
            yield from self._sweep_pages()
            yield from data_files(self.records, self.boards).items()
        if listed or self.reported:
            yield from self._board_pages()  # last, for the overview names what could not be read for other pages

    def _page(self, path: str, heading: str, page: Page) -> tuple[str, bytes]:
        return path, self.renderer.render(page, path, heading).encode("utf-8", errors="replace")

    def _board_pages(self) -> Iterator[tuple[str, bytes]]:
        suites = self._suites()
        columns = [suite_column(suite, board) for suite, board in suites[:MOST_SUITES]]
        overview = replace(
            board_page(self.boards["overview"], self.duels, suites=columns),
            lead=self._lead(),
            answers=tuple(self._answers()),
            notes=_left_out(self.boards["overview"]),
            has_series=bool(self.sweeps),
            downloads=_downloads() if self.records.listed else (),
            skipped=self.skipped(),
        )
        yield self._page("index.html", name(self.options.title), overview)
        for suite, board in suites:
            page = replace(board_page(board, self.duels), lead=_suite_lead(suite, board), notes=_left_out(board))
            yield self._page(suite_page(suite), name(suite), page)

    def _answers(self) -> Iterator[Answer]:
        """First for the whole board, then for its suites, then for the trainings."""
        yield from best_model(Link(None, "All tasks"), self.boards["overview"])
        for suite, board in self._suites()[:MOST_SUITES]:
            yield from best_model(Link(suite_page(suite), name(suite)), board)
        for sweep in self.sweeps[:MOST_TRAININGS]:
            yield Answer(Link(sweep_page(sweep.name), name(sweep.name)), None, bought(sweep))
        if (more := len(self.sweeps) - MOST_TRAININGS) > 0:
            yield Answer(Link("sweeps.html", several(more, "more training")), None, "under Sweeps.")

    def _lead(self) -> str:
        listed = self.records.listed
        if not listed:
            return "There are no finished runs yet; reported numbers are under Reported."
        tasks = {variant.task for entry in listed for variant in entry.cells}
        sweeps = f", {len(self.sweeps)} series of checkpoints" if self.sweeps else ""
        return f"{several(len(listed), 'model')}, {several(len(tasks), 'task')}{sweeps}."

    def _task_pages(self) -> Iterator[tuple[str, bytes]]:
        yield self._page("tasks.html", "Tasks", tasks_page(self.records.listed))
        listed, every = _by_task(self.records.listed), _by_task(self.records.entries)
        for task in sorted(every):
            entries = listed.get(task) or every[task]  # all that have it, where none of the listed models does
            docs: dict[Variant, str] = {}
            for variant, path, content in self._docs_pages(task, entries):
                docs[variant] = path
                yield path, content
            page = page_of_task(task, entries, self.duels, docs, self.reported)
            yield self._page(task_page(task), name(task), page)

    def _docs_pages(self, task: str, entries: Sequence[Entry]) -> Iterator[tuple[Variant, str, bytes]]:
        if self.options.docs == 0:
            return
        variants = sorted({v for entry in entries for v in entry.cells if v.task == task})
        titles = labels(variants)
        for variant in variants:
            own = [entry for entry in entries if variant in entry.cells]
            better = own[0].cells[variant].metric.higher_is_better
            best = sorted(own, key=lambda e: (e.cells[variant].value or 0.0) * (-1 if better else 1))
            shown = best[: self.options.docs]
            shown += self._earlier(variant, shown, self.options.docs - len(shown))
            found = page_of_docs(variant, titles[variant], shown, task_page(task))
            if found is not None:
                self.problems += found.problems
                yield variant, *self._page(docs_page(variant), f"{titles[variant]}: docs and answers", found.page)

    def _earlier(self, variant: Variant, shown: Sequence[Entry], most: int) -> list[Entry]:
        """Earlier checkpoints of the shown ones, newest first and evenly from the first on: which docs were learned?"""
        series = {entry.series for entry in shown if entry.position is not None}
        known = set(map(id, shown))
        earlier = [
            entry
            for entry in self.records.entries
            if entry.series in series
            and id(entry) not in known
            and entry.position is not None
            and variant in entry.cells
        ]
        earlier.sort(key=lambda entry: entry.position or 0)
        count = min(most, len(earlier))
        places = {round(place * (len(earlier) - 1) / max(1, count - 1)) for place in range(count)}
        return [earlier[place] for place in sorted(places, reverse=True)]

    def _model_page(self, entry: Entry) -> tuple[str, bytes]:
        has_sweep = entry.position is not None and entry.series in {sweep.name for sweep in self.sweeps}
        return self._page(model_page(entry), name(entry.name), page_of_model(entry, has_sweep))

    def _sweep_pages(self) -> Iterator[tuple[str, bytes]]:
        if self.sweeps:
            yield self._page("sweeps.html", "Sweeps", trainings_page(self.sweeps))
        for sweep in self.sweeps:
            yield self._page(sweep_page(sweep.name), name(sweep.name), training_page(sweep))


def _downloads() -> tuple[Download, ...]:
    about = {"runs": "one row per run, task and metric", "board": "means and ranks of every board"}
    return tuple(
        Download(f"data/{name}.{kind}", f"{name}.{kind}", what) for name, what in about.items() for kind in KINDS
    )


def _by_task(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        for task in {variant.task for variant in entry.cells}:
            found.setdefault(task, []).append(entry)
    return found


def _left_out(board: Board) -> tuple[str, ...]:
    """What is in no mean, and why."""
    notes = [
        ("Not in the mean, for they have no best possible score or no value: {}.", board.left_out),
        ("Not in the mean, for their chance is not known (say it at import with --chance): {}.", board.unknown_chance),
    ]
    return tuple(text.format(_listed(tasks)) for text, tasks in notes if tasks)


def _listed(tasks: Sequence[str], most: int = 12) -> str:
    more = f" and {len(tasks) - most} more" if len(tasks) > most else ""
    return ", ".join(map(name, tasks[:most])) + more


def _suite_lead(suite: str, board: Board) -> str:
    """Which of the suite's tasks are here."""
    here = len(board.tasks) + len(board.left_out) + len(board.unknown_chance)
    if not board.missing:
        return f"The models on {name(suite)}, all {here} tasks."
    total = here + len(board.missing)
    return f"The models on {here} of {total} tasks of {name(suite)}; missing: {_listed(board.missing)}."


KINDS = ("csv", "json", "parquet")


def data_files(records: Records, boards: Mapping[str, Board]) -> dict[str, bytes]:
    """Path → content: runs and board, each as CSV, JSON and parquet."""
    found = {run.name: run for entry in records.entries for run in entry.runs}
    named = [(name, row) for name, run in sorted(found.items()) for row in run_rows(run.folder, run.record)]
    mark_current([row for _, row in named])
    runs = [{**row, "run": name} for name, row in named]
    columns = {"board": "string", "group": "Int64", **{field.name: field.dtype for field in board_fields()}}
    return {**_files("runs", runs, RUN_COLUMNS), **_files("board", _board_rows(boards), columns)}


def _board_rows(boards: Mapping[str, Board]) -> list[dict[str, object]]:
    return [
        {"board": title, "group": number + 1, **{field.name: field.value(ranked) for field in board_fields()}}
        for title, board in boards.items()
        for number, ranked in ranked_models(board)
    ]


def _files(name: str, rows: Sequence[Mapping[str, object]], columns: Mapping[str, str]) -> dict[str, bytes]:
    import pandas as pd

    frame = pd.DataFrame(list(rows), columns=list(columns)).astype(dict(columns))
    plain = frame.astype(object).where(frame.notna(), None).to_dict("records")
    lines = ",\n".join(as_shown(json.dumps(row, ensure_ascii=False, allow_nan=False)) for row in plain)
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return {
        f"data/{name}.csv": to_csv(frame).encode("utf-8", errors="replace"),
        f"data/{name}.json": f"[\n{lines}\n]\n".encode(),
        f"data/{name}.parquet": buffer.getvalue(),
    }

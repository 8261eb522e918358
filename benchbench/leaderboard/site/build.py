"""`build_site`: run folders in, a folder of pages out. The same records give the same bytes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchbench.core.errors import ArgumentError, DataError
from benchbench.core.format import name, several, shown
from benchbench.leaderboard.board import FEWER_DRAWS, MANY, Board, make_board
from benchbench.leaderboard.duels import Duels
from benchbench.leaderboard.paired import ItemScores
from benchbench.leaderboard.processes import FEW, cores, spread
from benchbench.leaderboard.records import Entry, Records, Variant, read_records
from benchbench.leaderboard.site.board_page import SuiteColumn, board_context, suite_column
from benchbench.leaderboard.site.model_page import model_context, reported_context, sweeps_context, tasks_context
from benchbench.leaderboard.site.parts import labels, model_page, samples_page, suite_page, sweep_page, task_page
from benchbench.leaderboard.site.render import Renderer, data_files
from benchbench.leaderboard.site.sweep_page import sweep_context
from benchbench.leaderboard.site.task_page import task_context
from benchbench.leaderboard.site.viewer import samples_context
from benchbench.leaderboard.training import Training, VerdictOptions
from benchbench.leaderboard.trainings import make_training
from benchbench.leaderboard.weights import Weighting, benchmarks
from benchbench.stats.ranks import DRAWS
from benchbench.store.files import make_folder, os_errors, write_whole
from benchbench.store.reported import FOLDER, ReportedSource, read_reported

MARK = ".benchbench-site"
"""Names the files of a site, so that the next build takes away those that it no longer writes."""
MOST_SUITES = 6
_SUBFOLDERS = ("data", "models", "samples", "suites", "sweeps", "tasks")


@dataclass(frozen=True, slots=True)
class SiteOptions:
    """What a site is to be like."""

    title: str = "Leaderboard"
    suites: Mapping[str, tuple[str, ...]] | None = None
    """Suite → its tasks: boards of their own, beside those of the benchmarks that the records name."""
    samples: int = 4
    """Models whose answers a task's page of docs holds; 0: no such pages."""
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
    passed_over: tuple[str, ...]


def build_site(roots: Sequence[Path], out: Path, options: SiteOptions | None = None) -> Built:
    """Writes the site of all finished runs below `roots` into `out`.

    Raises:
        ArgumentError: `out` holds other files than a site.
        StoreError: a results folder is missing, or `out` cannot be written.
    """
    chosen = options or SiteOptions()
    _check_out(out)
    records = read_records(roots)
    reported, problems = _reported(roots)
    site = _Site(records, reported, chosen)
    site.problems += problems
    pages = dict(site.pages([str(root) for root in roots]))
    _write(out, pages)
    tasks = {variant.task for entry in records.entries for variant in entry.cells}
    html = sum(path.endswith(".html") for path in pages)
    return Built(
        out / "index.html", html, len(records.listed), len(tasks), len(records.series()), tuple(site.all_passed())
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


class _Site:
    """Holds what several pages share."""

    def __init__(self, records: Records, reported: Sequence[ReportedSource], options: SiteOptions) -> None:
        self.records = records
        self.reported = reported
        self.options = options
        self.problems: list[str] = []
        self.listed = records.listed
        self.by_task = _by_task(self.listed)
        self.items = ItemScores()
        self.items.read_ahead(cell for entry in records.entries for cell in entry.cells.values())
        self.duels = Duels(self.listed, self.items)
        self.groups = benchmarks(run.record for entry in self.listed for run in entry.runs)
        judged = VerdictOptions(weighting=options.weighting)
        self.sweeps = [make_training(s, e, self.items, judged) for s, e in records.series().items()]
        self.swept = {sweep.name for sweep in self.sweeps}
        self.boards = {"overview": self._board(None), **self._suites()}
        nav = [("Overview", "index.html"), ("Tasks", "tasks.html")] if self.listed else [("Overview", "index.html")]
        nav += [("Sweeps", "sweeps.html")] if self.sweeps else []
        nav += [("Reported", "reported.html")] if reported else []
        self.renderer = Renderer(name(options.title), (*nav, ("Methods", "methods.html")))

    def _board(self, tasks: Sequence[str] | None) -> Board:
        return make_board(self.listed, self.items, self.duels, self.groups, tasks, weighting=self.options.weighting)

    def _suites(self) -> dict[str, Board]:
        """Suites and benchmarks of which two tasks or more were asked, each set of tasks once."""
        here = {variant.task for entry in self.listed for variant in entry.cells}
        wanted = {**(self.options.suites or {}), **{group.name: group.tasks for group in self.groups}}
        seen: set[frozenset[str]] = {frozenset(here)}
        found: dict[str, Board] = {}
        for suite, tasks in wanted.items():
            present = frozenset(tasks) & here
            if len(present) > 1 and present not in seen and suite != "overview":
                seen.add(present)
                board = self._board(sorted(tasks))
                if board.groups:
                    found[suite] = board
        return found

    def all_passed(self) -> list[str]:
        """Everything that was not taken, once each."""
        return [
            shown(s, 400)
            for s in sorted({*self.records.passed_over, *self.problems, *self.items.problems, *self.duels.problems})
        ]

    def pages(self, folders: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Path → content of every file."""
        if not self.listed and not self.reported:
            context = {"folders": ", ".join(folders), "passed": self.all_passed()}
            yield "index.html", self._page("empty.html", "index.html", "Nothing here yet", context)
        yield "methods.html", self._page("methods.html", "methods.html", "Methods", self._methods())
        if self.reported:
            context = reported_context(self.reported)
            yield "reported.html", self._page("reported.html", "reported.html", "Reported numbers", context)
        if self.listed:
            cells = sum(len(entry.cells) for entry in self.listed)
            with spread(self._model_page, self.listed, min(1, cores() - 1) if cells > FEW else 0) as models:
                yield from self._task_pages()
                yield from models
            yield from self._sweep_pages()
            yield from data_files(self.records, self.boards).items()
        if self.listed or self.reported:
            yield from self._board_pages()  # last, for the overview names what could not be read for other pages

    def _methods(self) -> dict[str, Any]:
        return {"draws": DRAWS, "fewer": FEWER_DRAWS, "many": MANY}

    def _page(self, template: str, path: str, heading: str, context: Mapping[str, Any]) -> bytes:
        return self.renderer.page(template, path, heading, context).encode("utf-8", errors="replace")

    def _board_pages(self) -> Iterator[tuple[str, bytes]]:
        suites = [(suite, board) for suite, board in self.boards.items() if suite != "overview"]
        columns: list[SuiteColumn] = [suite_column(suite, board) for suite, board in suites[:MOST_SUITES]]
        overview = board_context(self.boards["overview"], self.duels, "", suites=columns)
        kinds = (("csv", "CSV"), ("json", "JSON"), ("parquet", "parquet"))
        downloads = [
            {"href": f"data/{what}.{kind}", "label": f"{what}.{kind}", "what": about}
            for what, about in (
                ("runs", "one row per run, task and metric"),
                ("board", "means and ranks of every board"),
            )
            for kind, _ in kinds
        ]
        shared = {"has_series": bool(self.sweeps), "lead": self._lead(), "downloads": downloads if self.listed else []}
        notes = _left_out(self.boards["overview"])
        heading = name(self.options.title)
        context = {**overview, **shared, "notes": notes, "passed": self.all_passed()}
        yield "index.html", self._page("index.html", "index.html", heading, context)
        for suite, board in suites:
            context = {
                **board_context(board, self.duels, "../"),
                "has_series": False,
                "lead": _suite_lead(suite, board),
                "downloads": [],
                "notes": _left_out(board),
                "passed": [],
            }
            yield suite_page(suite), self._page("index.html", suite_page(suite), name(suite), context)

    def _lead(self) -> str:
        if not self.listed:
            return "There are no finished runs yet; reported numbers are under Reported."
        tasks = {variant.task for entry in self.listed for variant in entry.cells}
        sweeps = f", {len(self.sweeps)} series of checkpoints" if self.sweeps else ""
        return f"{several(len(self.listed), 'model')}, {several(len(tasks), 'task')}{sweeps}."

    def _task_pages(self) -> Iterator[tuple[str, bytes]]:
        yield "tasks.html", self._page("listing.html", "tasks.html", "Tasks", tasks_context(self.listed))
        tasks = sorted({variant.task for entry in self.records.entries for variant in entry.cells})
        for task in tasks:
            samples: dict[Variant, str] = {}
            for variant, path, content in self._samples(task):
                samples[variant] = path
                yield path, content
            entries = self._on(task)
            context = task_context(task, entries, self.duels, samples, self.reported, "../")
            yield task_page(task), self._page("task.html", task_page(task), name(task), context)

    def _on(self, task: str) -> Sequence[Entry]:
        """The listed models, or where none of them has the task all that do."""
        return self.by_task.get(task) or _by_task(self.records.entries)[task]

    def _samples(self, task: str) -> Iterator[tuple[Variant, str, bytes]]:
        entries = self._on(task) if self.options.samples > 0 else ()
        variants = sorted({v for entry in entries for v in entry.cells if v.task == task})
        titles = labels(variants)
        for variant in variants:
            own = [entry for entry in entries if variant in entry.cells]
            better = own[0].cells[variant].metric.higher_is_better
            best = sorted(own, key=lambda e: (e.cells[variant].value or 0.0) * (-1 if better else 1))
            found = samples_context(variant, titles[variant], best[: self.options.samples], task_page(task))
            if found is not None:
                self.problems += found.problems
                path = samples_page(variant)
                yield (
                    variant,
                    path,
                    self._page("samples.html", path, f"{titles[variant]}: docs and answers", found.context),
                )

    def _model_page(self, entry: Entry) -> tuple[str, bytes]:
        context = model_context(entry, entry.position is not None and entry.series in self.swept)
        return model_page(entry), self._page("model.html", model_page(entry), name(entry.name), context)

    def _sweep_pages(self) -> Iterator[tuple[str, bytes]]:
        if self.sweeps:
            context = sweeps_context(self.sweeps)
            yield "sweeps.html", self._page("listing.html", "sweeps.html", "Sweeps", context)
        for sweep in self.sweeps:
            yield sweep_page(sweep.name), self._sweep_page(sweep)

    def _sweep_page(self, sweep: Training) -> bytes:
        return self._page("sweep.html", sweep_page(sweep.name), name(sweep.name), sweep_context(sweep))


def _by_task(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        for task in {variant.task for variant in entry.cells}:
            found.setdefault(task, []).append(entry)
    return found


def _left_out(board: Board) -> list[str]:
    """What is in no mean, and why."""
    notes = [
        ("Not in the mean, for they have no best possible score or no value: {}.", board.left_out),
        ("Not in the mean, for their chance is not known (say it at import with --chance): {}.", board.unknown_chance),
    ]
    return [text.format(_listed(tasks)) for text, tasks in notes if tasks]


def _listed(tasks: Sequence[str], most: int = 12) -> str:
    more = f" and {len(tasks) - most} more" if len(tasks) > most else ""
    return ", ".join(map(name, tasks[:most])) + more


def _suite_lead(suite: str, board: Board) -> str:
    """Which of the suite's tasks are here."""
    here = len({variant.task for group in board.groups for variant in group.variants})
    here += len(board.left_out) + len(board.unknown_chance)
    if not board.missing:
        return f"The models on {name(suite)}, all {here} tasks."
    total = here + len(board.missing)
    return f"The models on {here} of {total} tasks of {name(suite)}; missing: {_listed(board.missing)}."


def _check_out(out: Path) -> None:
    if out.is_file():
        raise ArgumentError(f"--out {out} is a file; a folder was expected.")
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file():
        raise ArgumentError(f"--out {out} holds other files than a site; give an empty or new folder.")


def _write(out: Path, pages: Mapping[str, bytes]) -> None:
    make_folder(out)
    old = (out / MARK).read_text(encoding="utf-8").splitlines() if (out / MARK).is_file() else []
    write_whole(out / MARK, "".join(f"{path}\n" for path in sorted({*old, *pages})).encode())
    for folder in {path.partition("/")[0] for path in pages if "/" in path}:
        make_folder(out / folder)
    for path, content in pages.items():
        with os_errors(out / path, "write"):
            (out / path).write_bytes(content)
    for path in set(old) - set(pages):
        if path.partition("/")[0] in (*_SUBFOLDERS, path) and ".." not in path:
            (out / path).unlink(missing_ok=True)
    for folder in _SUBFOLDERS:
        if (out / folder).is_dir() and not any((out / folder).iterdir()):
            shutil.rmtree(out / folder)
    write_whole(out / MARK, "".join(f"{path}\n" for path in sorted(pages)).encode())

"""`benchbench data`: data sets in a folder, for machines that cannot reach the Hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchbench.cli.console import cell, print_json, print_table, say, tell_lines, text_table
from benchbench.cli.main import FAILED, VerbApp
from benchbench.cli.options import AsJson, IncludePath, task_index
from benchbench.cli.progress import busy
from benchbench.core.errors import ArgumentError, did_you_mean
from benchbench.core.format import byte_size, several

if TYPE_CHECKING:
    from benchbench.tasks.data_root import Pulled
    from benchbench.tasks.index import TaskIndex
    from benchbench.tasks.task import AnyTask

app = VerbApp(no_args_is_help=True, help="Fetch, list and verify data sets for machines without internet.")

DataRoot = Annotated[Path | None, typer.Option(envvar="BENCHBENCH_DATA", help="Folder with data sets.")]

WORDS = {
    "pulled": "pulled",
    "kept": "there already",
    "own": "there already, not by `data pull`: left alone",
    "absent": "not on the Hub, and needed for shots only",
    "failed": "failed",
}


@app.command()
@busy("pulling", bar=False)
def pull(
    suite: Annotated[
        str, typer.Argument(metavar="SUITE", help="Suites, groups, tags, tasks or globs, separated by commas.")
    ],
    to: Annotated[Path, typer.Option(help="Data root to fill; later given as --data-root or BENCHBENCH_DATA.")],
    file_format: Annotated[str, typer.Option("--format", help="jsonl or parquet.")] = "jsonl",
    again: Annotated[bool, typer.Option("--again", help="Load anew what an earlier pull has brought.")] = False,
    include_path: IncludePath = None,
    as_json: AsJson = False,
) -> None:
    """Fetch from the Hub every split that the tasks of SUITE read, shots included, and lock the revisions."""
    from benchbench.tasks.data_root import FORMATS
    from benchbench.tasks.data_root import pull as pull_tasks

    if file_format not in FORMATS:
        raise ArgumentError(f"--format {file_format!r} is not jsonl or parquet.{did_you_mean(file_format, FORMATS)}")
    tasks = task_index(include_path).select(suite).tasks
    for remark in dict.fromkeys(remark for task in tasks for remark in task.remarks):
        say(remark)
    results = []
    for result in pull_tasks(tasks, to, file_format=file_format, again=again):
        results.append(result)
        if not as_json:
            say(_pulled_line(result))
    failed = [result for result in results if result.outcome == "failed"]
    if as_json:
        print_json({"root": str(to), "files": [asdict(result) for result in results]}, ensure_ascii=True)
    else:
        tell_lines(_pulled_summary(results, to))
    if failed:
        raise typer.Exit(FAILED)


def _pulled_line(result: Pulled) -> str:
    entry = result.entry
    revision = f", revision {entry.revision[:12]}" if entry is not None and entry.revision else ""
    facts = (
        f" ({several(entry.documents, 'document')}, {byte_size(entry.bytes)}{revision})" if entry is not None else ""
    )
    return f"{result.place}: {result.error or WORDS[result.outcome]}{facts}"


def _pulled_summary(results: Sequence[Pulled], root: Path) -> str:
    if not results:
        return "Nothing to pull: these tasks bring their own files."
    new = [result.entry for result in results if result.outcome == "pulled" and result.entry is not None]
    failed = sum(result.outcome == "failed" for result in results)
    there = sum(result.outcome in ("kept", "own") for result in results)
    tail = f" {failed} failed; the same command tries them again." if failed else f" Use it with --data-root {root}"
    total = byte_size(sum(entry.bytes for entry in new))
    return f"{several(len(new), 'split')} pulled ({total}), {there} there already, in {root}.{tail}"


@app.command()
def ls(data_root: DataRoot = None, include_path: IncludePath = None, as_json: AsJson = False) -> None:
    """List the data sets of a data root: documents, sizes, and the tasks that can run on them."""
    from benchbench.tasks.data_root import count, files_of, missing, needed_splits, read_lock

    root = _root(data_root)
    found, lock = files_of(root), read_lock(root)
    tasks = _tasks(task_index(include_path), None)
    lacking = missing(tasks, found)
    users: dict[str, list[str]] = {}
    for task in tasks:
        for place in dict.fromkeys(one.place for one in needed_splits(task) if task.name not in lacking):
            users.setdefault(place, []).append(task.name)
    files: list[DataFile] = []
    for place, path in found.items():
        name = path.relative_to(root).as_posix()
        data_set, config, split = place.rsplit("/", 2)
        entry = lock.get(name)
        files.append(
            DataFile(
                file=name,
                data_set=data_set,
                config=config,
                split=split,
                documents=count(path),
                bytes=path.stat().st_size,
                revision=entry.revision if entry is not None else None,
                locked=entry is not None,
                tasks=tuple(users.get(place, ())),
            )
        )
    if as_json:
        print_json({"root": str(root), "files": [asdict(file) for file in files]})
    else:
        _show_files(root, files, sum(bool(needed_splits(task)) and task.name not in lacking for task in tasks))


@dataclass(frozen=True, slots=True)
class DataFile:
    """A split in a data root."""

    file: str
    """Its path from the root."""
    data_set: str
    config: str
    split: str
    documents: int
    bytes: int
    revision: str | None
    """The Hub's commit, where the lock file tells it."""
    locked: bool
    """The lock file knows it."""
    tasks: tuple[str, ...]
    """Those that read it and lack nothing."""


def _show_files(root: Path, files: Sequence[DataFile], served: int) -> None:
    """One row per data set; its configurations and splits are counted together."""
    if not files:
        tell_lines(f"{root} holds no data sets. Fill it: benchbench data pull SUITE --to {root}")
        return
    table = text_table("data set", "documents", "size", "tasks", right=("size",))
    for data_set in dict.fromkeys(file.data_set for file in files):
        mine = [file for file in files if file.data_set == data_set]
        configs = [*dict.fromkeys(file.config for file in mine)]
        splits: dict[str, int] = {}
        for file in mine:
            splits[file.split] = splits.get(file.split, 0) + file.documents
        label = data_set if configs == ["default"] else f"{data_set}: {_short(configs)}"
        names = [*dict.fromkeys(name for file in mine for name in file.tasks)]
        documents = ", ".join(f"{split} {documents:,}" for split, documents in splits.items())
        table.add_row(*map(cell, (label, documents, byte_size(sum(f.bytes for f in mine)), _short(names) or "none")))
    print_table(table)
    total = byte_size(sum(file.bytes for file in files))
    in_all = sum(file.documents for file in files)
    tell_lines(
        f"\n{several(len(files), 'file')}, {several(in_all, 'document')}, {total}; {served:,} tasks can run on it."
    )


def _short(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} … {names[-1]} ({len(names)})"


@app.command()
@busy("verifying", bar=False)
def verify(
    suite: Annotated[
        str | None, typer.Argument(metavar="[SUITE]", help="Tasks that must find their data. Default: see below.")
    ] = None,
    data_root: DataRoot = None,
    include_path: IncludePath = None,
    as_json: AsJson = False,
) -> None:
    """Hold the files against the lock file, read every document, and name the tasks that lack data.

    Without SUITE, tasks are named whose data are there in part; they do not fail the check.
    """
    from benchbench.tasks.data_root import damage, files_of, missing, read_lock

    root = _root(data_root)
    found, lock = files_of(root), read_lock(root)
    lacking = missing(_tasks(task_index(include_path), suite), found)
    if suite is None:
        data_sets = {place.rsplit("/", 1)[0] for place in found}
        lacking = {n: places for n, places in lacking.items() if any(p.rsplit("/", 1)[0] in data_sets for p in places)}
    names = {path.relative_to(root).as_posix() for path in found.values()}
    facts = Verified(
        root=str(root),
        files=len(names),
        locked=len(names & lock.keys()),
        damaged=tuple(damage(root, lock)),
        missing=lacking,
        command=f"benchbench data pull {suite or ','.join(lacking)} --to {root}" if lacking else None,
    )
    if as_json:
        print_json(asdict(facts))
    else:
        _show_verified(facts)
    if facts.damaged or (lacking and suite is not None):
        raise typer.Exit(FAILED)


@dataclass(frozen=True, slots=True)
class Verified:
    """What `data verify` found."""

    root: str
    files: int
    locked: int
    """Files that the lock file knows."""
    damaged: tuple[str, ...]
    """A sentence for each."""
    missing: Mapping[str, list[str]]
    """Task → the splits that it lacks."""
    command: str | None
    """What fetches them."""


def _show_verified(facts: Verified) -> None:
    for sentence in facts.damaged:
        tell_lines(f"damaged: {sentence}")
    for name, places in facts.missing.items():
        tell_lines(f"{name} lacks {', '.join(places)}")
    if facts.missing:
        tell_lines(f"To fetch what is missing: {facts.command}")
    if facts.damaged:
        tell_lines("Damaged files that were pulled come back after removing them and pulling their tasks again.")
    unlocked = facts.files - facts.locked
    without = f" {several(unlocked, 'file')} could only be read: the lock file does not know them." if unlocked else ""
    verdict = f"{len(facts.damaged)} of them damaged or gone" if facts.damaged else "all of them sound"
    tell_lines(f"{several(facts.files, 'file')} in {facts.root}, {verdict}.{without}")


def _root(data_root: Path | None) -> Path:
    if data_root is None:
        raise ArgumentError("Which folder? Give --data-root DIR, or set BENCHBENCH_DATA.")
    return data_root


def _tasks(index: TaskIndex, suite: str | None) -> list[AnyTask]:
    return [*index.select(suite).tasks] if suite is not None else [index.task(name) for name in index.variants]

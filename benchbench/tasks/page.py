"""The page that lists every task, made of the task files alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchbench.tasks.dialect import Variant
from benchbench.tasks.index import TaskIndex, packaged_tasks

_HEAD = """\
# All tasks

Written by `benchbench tasks page --to tasks/TASKS.md`; a test holds it against the task files. One row per file: a file
with a matrix makes many tasks. Documents are those of the evaluated split, per task or from the smallest to the
largest; where the table has none, the file states no number, and `benchbench tasks check` counts them.

"""


def render_page(index: TaskIndex) -> str:
    """The page in Markdown, for the tasks that ship: a table of tasks and one of suites."""
    root = packaged_tasks()
    files: dict[Path, list[Variant]] = {}
    for variant in index.variants.values():
        if variant.path.is_relative_to(root):
            files.setdefault(variant.path, []).append(variant)
    header = ("tasks", "number", "kind", "shots", "documents", "metrics", "data", "licence")
    lines = [_HEAD, *_table(header, [_row(index, root, path, variants) for path, variants in files.items()])]
    lines += ["\n## Suites\n\n"]
    suites = [(f"`{s.name}`", str(len(index.names(s.name))), s.description) for s in index.suites.values()]
    return "".join([*lines, *_table(("suite", "tasks", ""), suites)])


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |\n|{'---|' * len(header)}\n"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |\n"


def _row(index: TaskIndex, root: Path, path: Path, variants: Sequence[Variant]) -> tuple[str, ...]:
    names = [variant.name for variant in variants]
    shown = names if len(names) <= 4 else [names[0], "…", names[-1]]
    task = index.task(names[0])
    folder = path.parent.relative_to(root).as_posix()
    return (
        f"[{folder}]({folder}/README.md): " + ", ".join(name if name == "…" else f"`{name}`" for name in shown),
        f"{len(names):,}",
        task.output_type,
        str(task.config.num_fewshot or 0),
        _documents(variants),
        ", ".join(f"`{metric.name}`" for metric in task.scoring.metrics),
        _same([str(variant.raw["dataset_path"]) for variant in variants]),
        _same([str(variant.raw.get("licence") or "none stated") for variant in variants]),
    )


def _documents(variants: Sequence[Variant]) -> str:
    found: set[Any] = {(variant.raw.get("metadata") or {}).get("documents") for variant in variants}
    counts = {count for count in found if isinstance(count, int)}
    if not counts:
        return ""
    shown = f"{min(counts):,}" if len(counts) == 1 else f"{min(counts):,} to {max(counts):,}"
    return shown if counts == found else f"{shown}; not stated for all"


def _same(values: Sequence[str]) -> str:
    different = [*dict.fromkeys(values)]
    return ", ".join(different) if len(different) <= 3 else f"{different[0]}, … ({len(different)})"

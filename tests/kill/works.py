"""What is killed: commands that write files, and what of those files has to come out the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.runner.toy import comparable, part_bytes

METRICS = "chrf,bleu,ter,f1,rougeL"
Tree = dict[str, Any]
"""Path → what the file holds."""


@dataclass(frozen=True, slots=True)
class Work:
    """A command, by what it reads from a world and writes into a folder."""

    name: str
    arguments: Callable[[Path, Path], list[str]]
    """World and folder → the command line. The folder holds at first what `before-NAME` in the world does."""
    begun: Callable[[Path], bool]
    """Whether the folder shows that the work has begun."""
    seen: Callable[[Path], Tree]
    """What the folder holds, without what differs between two undisturbed runs."""
    hub: bool = False
    """Data sets come from a stand-in for the Hub."""


def run_of(model: str, *more: str) -> Callable[[Path, Path], list[str]]:
    """An evaluation of both toy tasks; `WORLD` in a word stands for the world's folder."""

    def arguments(world: Path, output: Path) -> list[str]:
        options = [word.replace("WORLD", str(world)) for word in ("--model", model, *more)]
        return ["run", *options, "--tasks", "toy", *inputs(world), "--output", str(output)]

    return arguments


def inputs(world: Path) -> list[str]:
    """Where tasks and their rows lie."""
    return ["--include-path", str(world / "tasks"), "--data-root", str(world / "hub")]


def score(world: Path, output: Path) -> list[str]:
    """Metrics added to the finished run that is there."""
    return ["score", "latest", "--metric", METRICS, *inputs(world), "--output", str(output)]


def pull(world: Path, output: Path) -> list[str]:
    """Rows of the toy tasks."""
    return ["data", "pull", "toy", "--include-path", str(world / "tasks"), "--to", str(output)]


def leaderboard(world: Path, output: Path) -> list[str]:
    """The site of three runs, over a site of two of them."""
    return ["leaderboard", "--results", str(world / "three"), "--out", str(output)]


def run_files(output: Path) -> Tree:
    """Parts, record and file names of the only run."""
    (path,) = [found.parent for found in output.glob("*/*/plan.json")]
    record = comparable(json.loads((path / "run.json").read_bytes()))
    return {**part_bytes(path), "run.json": record, "names": sorted(tree(output))}


def scored_files(output: Path) -> Tree:
    """All files; records of scores without how long they took and when they were made, and their copies by name."""
    return {name: untimed(name, data) for name, data in tree(output).items()}


def untimed(name: str, data: bytes) -> Any:
    """A file without times: of JSON what says none, and no checksum over them; of a copy that it is there."""
    if name.endswith(".copy"):
        return "a copy"
    if not name.endswith(".json"):
        return data
    values = json.loads(data)
    return {key: value for key, value in values.items() if key not in ("provenance", "made", "seconds", "checksum")}


def tree(folder: Path) -> Tree:
    """Path → bytes of every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def in_the_middle(output: Path) -> bool:
    """Whether a run has stored its first answers."""
    return bool(list(output.glob("*/*/items/*/live.jsonl")))


def locked(output: Path) -> bool:
    """Whether a process has a run folder in hand."""
    return bool(list(output.glob("*/*/.lock")))


ENGINE = Work(
    "engine",
    run_of("WORLD/model", "--backend", "hf", "--device", "cpu", "--batch-tokens", "256"),
    in_the_middle,
    run_files,
)
SCRIPTED = Work("run", run_of("scripted:hash,delay=0.002"), locked, run_files)
SCORE = Work("score", score, locked, scored_files)
PULL = Work("pull", pull, lambda output: output.exists(), tree, hub=True)
SITE = Work("leaderboard", leaderboard, lambda output: True, tree)
WORKS = {work.name: work for work in (ENGINE, SCRIPTED, SCORE, PULL, SITE)}


def rows_of(world: Path, path: str) -> dict[str, list[dict[str, Any]]]:
    """Split → rows of a data set of the world: what the stand-in for the Hub gives."""
    files = sorted((world / "hub" / path / "default").glob("*.jsonl"))
    return {file.stem: [json.loads(line) for line in file.read_text().splitlines()] for file in files}

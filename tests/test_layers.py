"""Who may import whom, and what importing costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "benchbench"
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "stats": set(),
    "tasks": {"core"},
    "backends": {"core"},
    "store": {"core"},
    "scoring": {"core", "stats"},
    "runner": {"core", "stats", "tasks", "scoring", "backends", "store"},
    "leaderboard": {"core", "stats", "store", "scoring"},  # scoring: corpus metrics on the docs that two runs share
    "extensions": set(),
    "extensions/comet": {"core", "scoring"},
    "extensions/demo": {"core"},
    "extensions/interchange": {"core", "store"},
    "extensions/parity": {"core", "stats", "scoring", "backends", "store", "runner", "leaderboard"},
    "extensions/rescore": {"core", "tasks", "scoring", "store", "runner", "extensions/comet"},
    "extensions/slurm": {"core", "store", "runner"},
    "cli": {"core", "stats", "tasks", "scoring", "backends", "store", "runner", "leaderboard"}
    | {f"extensions/{name}" for name in ("comet", "demo", "interchange", "parity", "rescore", "slurm")},
    "__init__": {"store", "leaderboard"},  # load_runs, load_items and compare, on first use
    "callbacks": {"core", "backends", "runner"},
    "__main__": {"cli"},
}
HEAVY = (
    "torch", "transformers", "datasets", "pandas", "pyarrow", "scipy", "numpy", "sacrebleu", "pydantic", "jinja2"
)  # fmt: skip
FILES = sorted(PACKAGE.rglob("*.py"))


def room(file: Path) -> str:
    """The innermost room with a rule of its own that a file lies in: a folder, or a file at the top."""
    return room_of(file.relative_to(PACKAGE).with_suffix("").parts)


def room_of(parts: Sequence[str]) -> str:
    """The room of a module, given the parts of its name below the package."""
    return next(
        (name for n in range(len(parts), 0, -1) if (name := "/".join(parts[:n])) in MAY_IMPORT), "/".join(parts[:1])
    )


def imported_modules(tree: ast.AST) -> Iterator[str]:
    """Every module that the code imports, also inside functions; relative imports start with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ([f"{module}.{alias.name}" for alias in node.names] if module == "benchbench" else [module])


def broken_rules(file: Path, text: str) -> list[str]:
    """What a file imports that its room may not."""
    here = room(file)
    found = []
    for module in imported_modules(ast.parse(text)):
        if module.startswith("."):
            found.append(f"relative import {module}")
        parts = module.split(".")
        if parts[0] == "benchbench" and len(parts) > 1:
            there = room_of(parts[1:])
            if there not in MAY_IMPORT[here] | {here, "__version__"}:
                found.append(f"{here} imports {module}")
    return found


def test_every_room_has_a_rule() -> None:
    assert {room(file) for file in FILES} == set(MAY_IMPORT)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_room_imports_only_what_lies_below_it(file: Path) -> None:
    assert broken_rules(file, file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("place", "text", "count"),
    [
        ("core/x.py", "from benchbench.tasks.index import TaskIndex", 1),
        ("core/x.py", "def f():\n    import benchbench.store.files", 1),
        ("tasks/x.py", "from .yamlfile import load", 1),
        ("stats/x.py", "from benchbench import core", 1),
        ("leaderboard/x.py", "from benchbench.backends import open_backend", 1),
        ("runner/x.py", "from benchbench.scoring import aggregate\nfrom benchbench import __version__", 0),
        ("cli/x.py", "from benchbench.runner.run import run\nimport torch", 0),
    ],
)
def test_the_rule_notices(place: str, text: str, count: int) -> None:
    assert len(broken_rules(PACKAGE / place, text)) == count


@pytest.mark.parametrize("module", ["benchbench", "benchbench.cli.main", "benchbench.core.types"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def test_no_file_outgrows_its_noun() -> None:
    long = {str(f.relative_to(PACKAGE)): n for f in FILES if (n := len(f.read_text("utf-8").splitlines())) > 400}
    assert long == {}

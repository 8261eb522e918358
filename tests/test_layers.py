"""Who may import whom, and what importing costs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "benchbench"
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "stats": {"core"},  # core.format: how its sentences write numbers
    "tasks": {"core"},
    "backends": {"core"},  # engines are reached through the table by name
    "backends/models": {"core", "backends"},
    "backends/hf": {"core", "backends", "backends/models"},
    "backends/vllm": {"core", "backends", "backends/models"},
    "backends/api": {"core", "backends", "backends/models"},
    "backends/pool": {"core", "backends", "backends/models"},
    "store": {"core"},
    "scoring": {"core", "stats"},
    "runner": {"core", "stats", "tasks", "scoring", "backends", "backends/models", "store"},
    "leaderboard": {"core", "stats", "store", "scoring"},  # scoring: corpus metrics on the docs that two runs share
    "extensions": set(),
    "extensions/comet": {"core", "scoring"},
    "extensions/demo": {"core"},
    "extensions/gguf": {"core", "backends", "backends/models"},
    "extensions/log": {"core", "store", "runner"},
    "extensions/leaks": {"core", "stats", "backends", "store"},
    "extensions/lm_eval": {"core", "stats", "tasks", "scoring"},
    "extensions/interchange": {"core", "store"},
    "extensions/memory": {"core", "stats", "backends", "backends/hf", "backends/models"},
    "extensions/mathematics": {"core"},
    "extensions/programs": {"core"},
    "extensions/parity": {"core", "stats", "tasks", "scoring", "backends", "store", "runner", "leaderboard"},
    "extensions/rescore": {"core", "stats", "tasks", "scoring", "store", "runner"}
    | {f"extensions/{name}" for name in ("comet", "judge", "mathematics", "programs")},
    "extensions/judge": {"core", "stats", "tasks", "scoring", "backends", "store", "runner", "extensions/rescore"},
    "extensions/slurm": {"core", "store", "runner"},
    "cli": {"core", "stats", "tasks", "scoring", "backends", "backends/models", "store", "runner", "leaderboard"}
    | {
        f"extensions/{name}"
        for name in ("comet", "demo", "interchange", "judge", "leaks", "memory", "parity", "rescore", "slurm")
    },
    "__init__": {"core", "store", "leaderboard", "notebook"},  # the version; what people call, on first use
    "callbacks": {"core", "backends", "backends/hf", "runner"},
    "composer": {"core", "backends", "backends/hf", "backends/models", "runner"},
    "notebook": {"core", "store", "leaderboard", "backends", "backends/hf", "runner"},
    "__main__": {"cli"},
}
HEAVY = (
    "torch", "transformers", "datasets", "pandas", "pyarrow", "scipy", "numpy", "sacrebleu", "pydantic", "jinja2"
)  # fmt: skip
FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(file: Path) -> str:
    """The name by which a file is imported."""
    return ".".join(("benchbench", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {module_name(file): file for file in FILES}


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
            whole = [f"{module}.{alias.name}" for alias in node.names]
            yield from (name if module == "benchbench" or name in MODULES else module for name in whole)


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
        ("stats/x.py", "from benchbench import store", 1),
        ("leaderboard/x.py", "from benchbench.backends import open_backend", 1),
        ("backends/hf/x.py", "from benchbench.backends.vllm.plan import make_asks", 1),
        ("backends/hf/x.py", "from benchbench.backends import api", 1),
        ("backends/hf/x.py", "from benchbench.backends.models.find import find_model", 0),
        ("backends/x.py", "from benchbench.extensions.gguf import ENGINE", 1),
        ("runner/x.py", "from benchbench.scoring import aggregate\nfrom benchbench import __version__", 0),
        ("cli/x.py", "from benchbench.runner.run import run\nimport torch", 0),
    ],
)
def test_the_rule_notices(place: str, text: str, count: int) -> None:
    assert len(broken_rules(PACKAGE / place, text)) == count


def modules_imported_by(file: Path) -> set[str]:
    """Modules of the package that a file imports anywhere, also in functions and for type checking."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in names}
    return (found & set(MODULES)) - {module_name(file)}


def circles(imports: Mapping[str, set[str]]) -> list[set[str]]:
    """Groups of modules that import one another, also through others."""
    reach = {module: {module} for module in imports}
    changed = True
    while changed:
        before = {module: len(found) for module, found in reach.items()}
        for module, direct in imports.items():
            reach[module] |= direct.union(*(reach[other] for other in direct))
        changed = any(len(found) != before[module] for module, found in reach.items())
    groups = {frozenset(other for other in reach[module] if module in reach[other]) for module in imports}
    return [set(group) for group in groups if len(group) > 1]


def test_no_module_imports_itself_through_others() -> None:
    assert circles({name: modules_imported_by(file) for name, file in MODULES.items()}) == []


def test_a_circle_is_noticed() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]


@pytest.mark.parametrize("module", ["benchbench", "benchbench.cli.main", "benchbench.core.types"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def test_no_file_outgrows_its_noun() -> None:
    long = {str(f.relative_to(PACKAGE)): n for f in FILES if (n := len(f.read_text("utf-8").splitlines())) > 400}
    assert long == {}


def annotations_of(node: ast.stmt) -> Iterator[ast.expr]:
    """Of a public function its parameters' and its result's; of a class those of its fields and public methods."""
    if isinstance(node, ast.FunctionDef):
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        yield from (one.annotation for one in every if one is not None and one.annotation is not None)
        yield from [node.returns] if node.returns is not None else []
    elif isinstance(node, ast.AnnAssign):
        yield node.annotation
    elif isinstance(node, ast.ClassDef):
        for inner in node.body:
            name = inner.name if isinstance(inner, ast.FunctionDef) else ""
            if not name.startswith("_") or name == "__init__":
                yield from annotations_of(inner)


def untyped_names(text: str) -> set[str]:
    """Public functions and classes of a module with an annotation that says `Any`."""
    return {
        node.name
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        if any("Any" in re.findall(r"\w+", ast.unparse(one)) for one in annotations_of(node))
    }


def names_used_elsewhere() -> set[str]:
    """`module.name` of everything that a room imports from another one."""
    found = set()
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            if module.startswith("benchbench.") and room_of(module.split(".")[1:]) != room(file):
                found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def test_what_crosses_a_room_has_a_type() -> None:
    used = names_used_elsewhere()
    untyped = {
        f"{module}.{name}" for module, file in MODULES.items() for name in untyped_names(file.read_text("utf-8"))
    }
    assert untyped & used == set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def f(x: dict[str, Any]) -> int: ...", {"f"}),
        ("def f(x: int) -> 'Mapping[str, Any]': ...", {"f"}),
        ("class C:\n    x: Any\n", {"C"}),
        ("class C:\n    def m(self, *more: Any) -> int: ...\n", {"C"}),
        ("class C:\n    def _m(self, x: Any) -> int: ...\n", set()),
        ("def _f(x: Any) -> int: ...\ndef g(x: AnyOf) -> int: ...", set()),
    ],
)
def test_the_types_are_looked_at(text: str, found: set[str]) -> None:
    assert untyped_names(text) == found

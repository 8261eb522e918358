"""How the tests themselves are written: a test that asserts only inside a loop or an `if` proves that it got there."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import REPO

TESTS = REPO / "tests"
KEEPS_THE_LENGTH = {"enumerate", "zip", "sorted", "reversed", "list", "tuple", "set", "product", "permutations"}
"""Calls whose result has elements where each argument has some."""
VIEWS = {"items", "keys", "values"}


def literals(tree: ast.AST) -> dict[str, ast.expr]:
    """Name → what is assigned to it in a statement, or in a function, where that is written once."""
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None) if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) else None
        for target in targets if value is not None else []:
            if isinstance(target, ast.Name):
                found.setdefault(target.id, []).append(value)
    return {name: values[0] for name, values in found.items() if len(values) == 1}


class Reader:
    """Reads whether the code of one file is certain to assert something."""

    def __init__(self, tree: ast.Module) -> None:
        self.shared = {name: value for node in tree.body for name, value in literals(node).items()}
        self.named = self.shared
        self.functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        self.imported = {
            name.asname or name.name: (node.module, name.name)
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests.")
            for name in node.names
        }
        self.known: dict[str, bool] = {}

    def asserts(self, function: ast.FunctionDef) -> bool:
        """Whether every way through the function asserts."""
        around, self.named = self.named, self.shared | literals(function)
        certain = any(map(self.is_certain, function.body))
        self.named = around
        return certain

    def is_helper(self, name: str) -> bool:
        """Whether a function of this folder, written here or imported by name, is certain to assert."""
        if name in self.imported:
            module, original = self.imported[name]
            path = REPO.joinpath(*str(module).split(".")).with_suffix(".py")
            return path.is_file() and reader(path).is_helper(original)
        if name in self.functions and name not in self.known:
            self.known[name] = False  # what calls only itself asserts nothing
            self.known[name] = self.asserts(self.functions[name])
        return self.known.get(name, False)

    def is_certain(self, node: ast.AST) -> bool:
        """Whether running this statement or expression asserts, whatever the data."""
        match node:
            case ast.Assert(test=test):
                return not self.may_be_empty(test)
            case ast.FunctionDef() | ast.Lambda() | ast.ClassDef() | ast.While():
                return False
            case ast.For(iter=iterated, body=body):
                return self.has_elements(iterated) and any(map(self.is_certain, body))
            case ast.If(body=body, orelse=otherwise):
                return any(map(self.is_certain, body)) and any(map(self.is_certain, otherwise))
            case ast.Call(func=ast.Attribute(value=ast.Name(id="pytest"), attr="raises" | "fail")):
                return True
            case ast.Call(func=ast.Attribute(attr=name)) if name.startswith("assert_"):
                return True
            case ast.Call(func=ast.Name(id=name)) if self.is_helper(name):
                return True
        return any(map(self.is_certain, ast.iter_child_nodes(node)))

    def may_be_empty(self, test: ast.expr) -> bool:
        """Whether this is `all(… for … in …)` over what may have no elements."""
        match test:
            case ast.Call(func=ast.Name(id="all"), args=[ast.GeneratorExp(generators=[first, *_])]):
                return not self.has_elements(first.iter)
            case ast.BoolOp(op=ast.And(), values=values):
                return all(map(self.may_be_empty, values))
        return False

    def has_elements(self, iterated: ast.expr) -> bool:
        """Whether something is certain to be iterated over: a literal, a range of numbers, a name for one."""
        match iterated:
            case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts) | ast.Dict(keys=parts):
                return bool(parts)
            case ast.Constant(value=str(text)):
                return bool(text)
            case ast.Name(id=name):
                return name in self.named and self.has_elements(self.named[name])
            case ast.Call(func=ast.Attribute(value=whole, attr=name), args=[]) if name in VIEWS:
                return self.has_elements(whole)
            case ast.Call(func=ast.Name(id="range"), args=parts):
                return all(isinstance(part, ast.Constant) for part in parts) and bool(eval(ast.unparse(iterated)))
            case ast.Call(func=ast.Name(id=name), args=parts) if name in KEEPS_THE_LENGTH and parts:
                return all(map(self.has_elements, parts))
        return False


@cache
def reader(path: Path) -> Reader:
    """The reader of a file."""
    return Reader(ast.parse(path.read_text(encoding="utf-8")))


def vacuous(path: Path) -> list[str]:
    """Tests of a file that may pass without having asserted anything."""
    found = reader(path)
    return [name for name, f in found.functions.items() if name.startswith("test_") and not found.asserts(f)]


def test_no_test_can_pass_without_an_assertion() -> None:
    paths = sorted(TESTS.rglob("test_*.py"))
    assert len(paths) > 100
    found = [f"{path.relative_to(REPO)}: {name}" for path in paths for name in vacuous(path)]
    assert not found, "\n".join(["assert also outside of the loop or the `if`, for example on the count:", *found])


@pytest.mark.parametrize(
    ("body", "certain"),
    [
        ("assert x", True),
        ("pass", False),
        ("for i in rows: assert i", False),
        ("for i in rows: assert i\n assert len(rows) == 3", True),
        ("for i in (1, 2): assert i", True),
        ("for i in (): assert i", False),
        ("for i in range(3): assert i", True),
        ("for i in range(n): assert i", False),
        ("rows = {'a': 1}\n for i, j in rows.items(): assert i", True),
        ("rows = {'a': 1}\n rows = load()\n for i in rows: assert i", False),
        ("for i, j in zip((1, 2), rows): assert i", False),
        ("for i in (1, 2):\n  if i > 5: assert x", False),
        ("if x: assert x", False),
        ("if x: assert x\n else: assert y", True),
        ("while x: assert x", False),
        ("assert all(i for i in rows)", False),
        ("assert all(i for i in rows) and rows", True),
        ("with pytest.raises(ValueError): f()", True),
        ("for i in rows:\n  with pytest.raises(ValueError): f()", False),
        ("def inner(): assert x", False),
        ("check_all(x)", True),
        ("check_each(x)", False),
    ],
)
def test_the_reader_of_tests_tells_a_certain_assertion(body: str, certain: bool) -> None:
    helpers = "def check_all(x):\n assert x\ndef check_each(x):\n for i in x: assert i\n"
    found = Reader(ast.parse(f"{helpers}def test():\n {body}"))
    assert found.asserts(found.functions["test"]) is certain

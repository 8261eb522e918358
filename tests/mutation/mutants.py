"""Small changes to source code, one at a time: a comparison, a sign, a constant, a result, a statement left out."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

SWAPS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.MatMult: ast.Mult, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
LEFT_OUT = frozenset(("annotation", "returns", "decorator_list"))
"""Fields of the syntax tree that no test can see."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change in one file."""

    path: Path
    number: int
    """Which of the file's changes, in the order in which `changes` gives them."""
    first_line: int
    last_line: int
    """The lines of the statement that holds the change; of an `if` or a loop, those of its head."""
    at_import: bool
    """Whether the statement runs when the module is imported."""
    what: str
    """The changed piece of code before and after."""


@dataclass(frozen=True, slots=True)
class Change:
    """Where in a tree something else can stand."""

    parent: ast.AST
    field: str
    index: int | None
    """Place in the field where that is a list."""
    old: ast.AST
    new: ast.AST
    statement: ast.stmt
    at_import: bool

    def make(self) -> None:
        """Changes the tree."""
        if self.index is None:
            setattr(self.parent, self.field, self.new)
        else:
            getattr(self.parent, self.field)[self.index] = self.new


def mutants_of(path: Path) -> list[Mutant]:
    """Every change that can be made to a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        Mutant(
            path,
            number,
            change.statement.lineno,
            last_line(change.statement),
            change.at_import,
            f"{head(change.old)} → {head(change.new)}",
        )
        for number, change in enumerate(changes(tree))
    ]


def changed(mutant: Mutant) -> ast.Module:
    """The code of the mutant's file with its change."""
    tree = ast.parse(mutant.path.read_text(encoding="utf-8"))
    (change,) = islice(changes(tree), mutant.number, mutant.number + 1)
    change.make()
    return ast.fix_missing_locations(tree)


def changes(tree: ast.Module) -> Iterator[Change]:
    """Every change, in the order of the code; strings, annotations and decorators stay as they are."""
    for statement in tree.body:
        yield from _below(tree, "body", tree.body.index(statement), statement, statement, True)


def _below(
    parent: ast.AST, field: str, index: int | None, node: ast.AST, statement: ast.stmt, at_import: bool
) -> Iterator[Change]:
    if isinstance(node, ast.stmt):
        statement = node
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    for new in replacements(node):
        yield Change(parent, field, index, node, ast.copy_location(new, node), statement, at_import)
    at_import = at_import and not isinstance(node, ast.FunctionDef | ast.Lambda)
    for name, value in ast.iter_fields(node):
        if name in LEFT_OUT or isinstance(node, ast.JoinedStr):
            continue
        for place, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST):
                yield from _below(node, name, place if isinstance(value, list) else None, child, statement, at_import)


def replacements(node: ast.AST) -> Iterator[ast.AST]:
    """What can stand instead of a piece of code."""
    match node:
        case ast.Compare(ops=ops):
            for i, op in enumerate(ops):
                yield _with(node, ops=[*ops[:i], SWAPS[type(op)](), *ops[i + 1 :]])
        case ast.BinOp(op=op) | ast.BoolOp(op=op) if type(op) in SWAPS:
            yield _with(node, op=SWAPS[type(op)]())
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(value=float(value)):
            yield ast.Constant(value * 1.5 or 1.0)
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield ast.Return(ast.Constant(None))
        case ast.If(test=test) | ast.IfExp(test=test) if not isinstance(test, ast.Compare | ast.UnaryOp):
            yield _with(node, test=ast.copy_location(ast.UnaryOp(ast.Not(), test), test))
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise():
            yield ast.Pass()


def _with(node: ast.AST, **fields: object) -> ast.AST:
    new = copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def last_line(statement: ast.stmt) -> int:
    """The last line of a statement, or of the head of one with a body."""
    body = getattr(statement, "body", None)
    return max(statement.lineno, body[0].lineno - 1) if body else statement.end_lineno or statement.lineno


def head(node: ast.AST) -> str:
    """A piece of code in one short line."""
    text = ast.unparse(replace_body(node)).partition("\n")[0]
    return text if len(text) <= 90 else f"{text[:90]}…"


def replace_body(node: ast.AST) -> ast.AST:
    """The node without what lies in its body, of which only the head is shown."""
    return _with(node, body=[ast.Pass()], orelse=[]) if isinstance(node, ast.If) else node

"""Jinja for strangers' templates: strict about names, no way to Python, and bounded in size and time.

Renders to the same bytes as lm-eval's environment (`keep_trailing_newline`, default delimiters and
whitespace, `regex_replace`) for every template that stays within the limits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial, update_wrapper
from typing import Any

from jinja2 import StrictUndefined, Undefined, nodes
from jinja2.runtime import LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.utils import Cycler, Joiner, Namespace
from jinja2.visitor import NodeTransformer

from benchbench.core import limits
from benchbench.core.jinja_filters import FILTERS
from benchbench.core.patterns import TooMuchWorkError

MAX_TEMPLATE_CHARS = 100_000

_TEXT_METHODS = frozenset((
    "capitalize", "casefold", "center", "count", "endswith", "find", "index", "isalnum", "isalpha", "isdecimal",
    "isdigit", "islower", "isnumeric", "isspace", "istitle", "isupper", "join", "ljust", "lower", "lstrip",
    "partition", "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rjust", "rpartition", "rsplit",
    "rstrip", "split", "splitlines", "startswith", "strip", "swapcase", "title", "upper", "zfill",
))  # fmt: skip
_METHODS: dict[type, frozenset[str]] = {
    str: _TEXT_METHODS,
    list: frozenset({"count", "index"}),
    tuple: frozenset({"count", "index"}),
    dict: frozenset({"get", "items", "keys", "values"}),
}
_STATEMENTS_REFUSED = {
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "from … import",
    nodes.Extends: "extends",
    nodes.Block: "block",
}


class _Leaf(Namespace):
    """Jinja's namespace, printed without its contents: those may hold it again."""

    def __repr__(self) -> str:
        return "<namespace>"


GLOBALS: dict[str, Any] = {"range": safe_range, "dict": dict, "namespace": _Leaf, "cycler": Cycler, "joiner": Joiner}

_SIZED = (str, list, tuple, dict)
MAX_ARGUMENTS = 1000


class Sandbox(ImmutableSandboxedEnvironment):
    """One environment per thread; `compile_template` is its door."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        self.meter = limits.Meter()
        self.printed: Callable[[object], None] | None = None
        """Told of what a template prints that is neither text nor a number, where somebody wants to know."""
        super().__init__(undefined=StrictUndefined, keep_trailing_newline=True, finalize=self._printable)
        self.globals = dict(GLOBALS)
        self.binop_table |= {"+": limits.add, "*": limits.multiply, "**": limits.power, "%": limits.modulo}
        self.concat = partial(limits.join, "")  # type: ignore[method-assign]
        own: dict[str, Callable[..., Any]] = {"regex_replace": self.meter.regex_replace, "sum": self._sum}
        self.filters = {name: self.metered(function) for name, function in {**FILTERS, **own}.items()}
        self.filters |= {"_counted": self.meter.counted, "_bounded": self._bounded, "_concat": self._concat}
        self.filters |= {"_sized": self.meter.bounded, "_arguments": self._arguments}
        self.tests = {name: self.metered(function) for name, function in self.tests.items()}  # type: ignore[arg-type]

    def metered(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A filter or test that charges a step and is bounded in its result."""
        meter = self.meter

        def metered(*args: Any, **kwargs: Any) -> Any:
            meter.tick()
            found = meter.bounded(function(*args, **kwargs))
            if any(type(value) in _SIZED and len(value) > limits.LARGE for value in args):
                meter.look_at_clock()
            return found

        return update_wrapper(metered, function)

    def _printable(self, value: Any) -> Any:
        """What `{{ value }}` may print: not a generator's address, nothing beyond the limits."""
        if type(value) is str:
            return value
        if hasattr(value, "__next__"):
            raise TypeError("the value is a generator; add `|list` or `|join`")
        self.meter.bounded(value)
        if self.printed is not None and not isinstance(value, str | int | float):
            self.printed(value)
        return self.meter.bounded(str(value)) if type(value) in _SIZED else value

    def _sum(self, value: Iterable[Any], attribute: str | int | None = None, start: int | float = 0) -> int | float:
        total = start
        for part in self.meter.counted(value):
            total = self.meter.bounded(limits.add(total, part if attribute is None else part[attribute]))
        return total

    def _arguments(self, values: Any) -> Any:
        """The values behind `*` or `**` in a call."""
        if hasattr(values, "__len__") and len(values) > MAX_ARGUMENTS:
            raise TooMuchWorkError(f"calls something with more than {MAX_ARGUMENTS:,} arguments")
        return values

    def _bounded(self, container: Any) -> Any:
        for value in container.values() if isinstance(container, dict) else container:
            if isinstance(value, Undefined):
                str(value)
        return self.meter.bounded(container)

    def _concat(self, parts: Iterable[Any]) -> str:
        return self.meter.bounded(limits.join("", (str(self._printable(part)) for part in parts)))  # type: ignore[no-any-return]

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """A short list of methods per type; nothing with an underscore in front."""
        if isinstance(obj, (LoopContext, Macro, Cycler, Joiner, Namespace)):
            return bool(super().is_safe_attribute(obj, attr, value))
        return attr in _METHODS.get(type(obj), ())

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Nothing: `str.format` is no method of the sandbox, because its fields reach attributes and widths."""
        return None

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """`+ * ** %`, refused before the result gets too long."""
        return self.meter.bounded(self.binop_table[operator](left, right))

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call `__obj`, as a step, with its result bounded before it is made."""
        __self.meter.tick()
        text = getattr(__obj, "__self__", None)
        if isinstance(text, str):
            name = __obj.__name__
            if name == "join":
                return __self.meter.bounded(limits.join(text, __self.meter.counted(*args)))
            if name == "replace":
                given = {key: value for key, value in kwargs.items() if key[0] != "_"}  # jinja2 adds some
                return __self.meter.bounded(limits.replace(text, *args, **given))
            if name in ("center", "ljust", "rjust", "zfill"):
                limits.check_width(args[0])
        found = __self.meter.bounded(super().call(__context, __obj, *args, **kwargs))
        if isinstance(text, _SIZED) and len(text) > limits.LARGE:
            __self.meter.look_at_clock()
        return found


_local = threading.local()


def sandbox() -> Sandbox:
    """This thread's environment: compiled templates keep state that threads may not share."""
    if not hasattr(_local, "sandbox"):
        _local.sandbox = Sandbox()
    return _local.sandbox  # type: ignore[no-any-return]


def check_statements(tree: nodes.Template) -> None:
    """TooMuchWorkError, whose message is a clause, for statements whose work or text cannot be bounded."""
    for kind, word in _STATEMENTS_REFUSED.items():
        if tree.find(kind) is not None:
            raise TooMuchWorkError(f"`{word}` is not allowed: a template stands alone")
    if any(loop.recursive for loop in tree.find_all(nodes.For)):
        raise TooMuchWorkError("`recursive` loops are not allowed")


class Guard(NodeTransformer):
    """Rewrites a tree so that loops are counted and containers and `~` are bounded as they are made.

    jinja2 finds the methods by the names of its node classes.
    """

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        """See jinja2."""
        self.generic_visit(node)
        node.iter = _filtered(node.iter, "_counted")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        """See jinja2."""
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), "_concat")

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        """See jinja2."""
        self.generic_visit(node)
        return _filtered(node, "_sized") if isinstance(node.arg, nodes.Slice) else node

    def visit_Call(self, node: nodes.Call) -> nodes.Node:  # noqa: N802
        """See jinja2."""
        self.generic_visit(node)
        for part in ("dyn_args", "dyn_kwargs"):
            if getattr(node, part) is not None:
                setattr(node, part, _filtered(getattr(node, part), "_arguments"))
        return node

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        """See jinja2."""
        return _filtered(self.generic_visit(node), "_bounded")

    visit_Dict = visit_List  # noqa: N815

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        """See jinja2."""
        self.generic_visit(node)
        return _filtered(node, "_bounded") if node.ctx == "load" else node


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)

"""Jinja for strangers' templates: strict about names, no way to Python, and bounded in size and time.

Renders to the same bytes as lm-eval's environment (`keep_trailing_newline`, default delimiters and
whitespace, `regex_replace`) for every template that stays within the limits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial, update_wrapper
from typing import Any, cast

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, Undefined, nodes
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.utils import Cycler, Joiner, Namespace
from jinja2.visitor import NodeTransformer

from benchbench.core import limits
from benchbench.core.errors import TaskError, did_you_mean
from benchbench.core.jinja_filters import FILTERS
from benchbench.core.patterns import TooMuchWorkError
from benchbench.core.plugins import load_entry_point
from benchbench.core.types import Json

MAX_TEMPLATE_CHARS = 100_000
MAX_PROGRAMS = 4096
FILTER_ENTRY_POINTS = "benchbench.jinja_filters"

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


_GLOBALS: dict[str, Any] = {"range": safe_range, "dict": dict, "namespace": _Leaf, "cycler": Cycler, "joiner": Joiner}

_SIZED = (str, list, tuple, dict)
MAX_ARGUMENTS = 1000


class Sandbox(ImmutableSandboxedEnvironment):
    """One environment per thread; `compile_template` is its door."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        self.meter = limits.Meter()
        self.programs: dict[str, Program] = {}
        super().__init__(undefined=StrictUndefined, keep_trailing_newline=True, finalize=self._printable)
        self.globals = dict(_GLOBALS)
        self.binop_table |= {"+": limits.add, "*": limits.multiply, "**": limits.power, "%": limits.modulo}
        self.concat = partial(limits.join, "")  # type: ignore[method-assign]
        own: dict[str, Callable[..., Any]] = {"regex_replace": self.meter.regex_replace, "sum": self._sum}
        self.filters = {name: self._metered(function) for name, function in {**FILTERS, **own}.items()}
        self.filters |= {"_counted": self.meter.counted, "_bounded": self._bounded, "_concat": self._concat}
        self.filters |= {"_sized": self.meter.bounded, "_arguments": self._arguments}
        self.tests = {name: self._metered(function) for name, function in self.tests.items()}  # type: ignore[arg-type]

    def _metered(self, function: Callable[..., Any]) -> Callable[..., Any]:
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


def parse(source: str, where: str) -> nodes.Template:
    """The syntax tree of a template, refused (TaskError, beginning with `where`) if it may not run here."""
    if len(source) > MAX_TEMPLATE_CHARS:
        raise TaskError(f"{where}: a template of more than {MAX_TEMPLATE_CHARS:,} characters.")
    try:
        tree = sandbox().parse(source)
        check_statements(tree)
    except TooMuchWorkError as error:
        raise TaskError(f"{where}: {error}.") from error
    except TemplateSyntaxError as error:
        raise TaskError(f"{where}: the template does not parse: {error.message} (its line {error.lineno}).") from error
    except RecursionError as error:
        raise TaskError(f"{where}: the template is nested too deeply.") from error
    except ValueError as error:
        raise TaskError(f"{where}: the template does not parse: {error}.") from error
    _check_names(tree, where)
    return tree


def check_statements(tree: nodes.Template) -> None:
    """TooMuchWorkError, whose message is a clause, for statements whose work or text cannot be bounded."""
    for kind, word in _STATEMENTS_REFUSED.items():
        if tree.find(kind) is not None:
            raise TooMuchWorkError(f"`{word}` is not allowed: a template stands alone")
    if any(loop.recursive for loop in tree.find_all(nodes.For)):
        raise TooMuchWorkError("`recursive` loops are not allowed")


def _check_names(tree: nodes.Template, where: str) -> None:
    env = sandbox()
    for node in tree.find_all(nodes.Filter):
        if node.name not in env.filters and not _register_filter(env, node.name):
            known = [name for name in env.filters if not name.startswith("_")]
            raise TaskError(f"{where}: no filter named {node.name!r}.{did_you_mean(node.name, known)}")
    for test in tree.find_all(nodes.Test):
        if test.name not in env.tests:
            raise TaskError(f"{where}: no test named {test.name!r}.{did_you_mean(test.name, env.tests)}")


def _register_filter(env: Sandbox, name: str) -> bool:
    """Filters of installed packages: `name = module:function` in the entry point group FILTER_ENTRY_POINTS."""
    function = load_entry_point(FILTER_ENTRY_POINTS, name)
    if function is None:
        return False
    env.filters[name] = env._metered(cast("Callable[..., Any]", function))
    return True


class _Guard(NodeTransformer):
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


def _single_expression(tree: nodes.Template) -> nodes.Expr | None:
    """The expression, if the template is exactly one `{{ expression }}` and nothing else."""
    match tree.body:
        case [nodes.Output(nodes=[nodes.TemplateData()])]:
            return None
        case [nodes.Output(nodes=[expression])]:
            return expression
    return None


class Program:
    """A compiled template. It belongs to the thread that compiled it."""

    __slots__ = ("_expression", "_meter", "_text", "is_expression")

    def __init__(self, source: str, where: str) -> None:
        env = sandbox()
        env.meter.close()
        self._meter = env.meter
        self._text = _compiled(env, parse(source, where), where)
        expression = _single_expression(parse(source, where))
        self.is_expression = expression is not None
        self._expression = None
        if expression is not None:
            result = nodes.Assign(nodes.Name("result", "store"), expression, lineno=1)
            self._expression = _compiled(env, nodes.Template([result], lineno=1), where)

    def text(self, scope: Mapping[str, Json]) -> str:
        """The template rendered. Raises whatever the template raises; see `template.Field` for sentences."""
        self._meter.start()
        template = self._text
        return limits.join("", template.root_render_func(self._context(template, scope)))

    def value(self, scope: Mapping[str, Json]) -> object:
        """The value of a single expression with its own type; of any other template its text."""
        template = self._expression
        if template is None:
            return self.text(scope)
        self._meter.start()
        context = self._context(template, scope)
        for _ in template.root_render_func(context):
            pass
        value = context.vars["result"]
        if isinstance(value, Undefined):
            str(value)
        return self._meter.bounded(value)

    def _context(self, template: Template, scope: Mapping[str, Json]) -> Context:
        return template.new_context({**_GLOBALS, **scope}, shared=True)


def _compiled(env: Sandbox, tree: nodes.Template, where: str) -> Template:
    tree = _Guard().visit(tree)
    tree.set_environment(env)
    try:
        return env.from_string(tree)
    except (TemplateError, RecursionError, MemoryError, SyntaxError, TooMuchWorkError) as error:
        raise TaskError(f"{where}: the template does not compile: {error}.") from error


def compile_template(source: str, where: str) -> Program:
    """The compiled template, made once per thread and text. TaskError beginning with `where` if it may not run."""
    programs = sandbox().programs
    if source not in programs:
        if len(programs) >= MAX_PROGRAMS:
            programs.clear()
        try:
            programs[source] = Program(source, where)
        except (RecursionError, MemoryError) as error:
            raise TaskError(f"{where}: the template is nested too deeply.") from error
    return programs[source]

"""Templates of task files, compiled for the sandbox: what they may not be is a TaskError that names the place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, cast

from jinja2 import Template, TemplateError, TemplateSyntaxError, Undefined, nodes
from jinja2.runtime import Context

from benchbench.core import limits
from benchbench.core.errors import TaskError, did_you_mean
from benchbench.core.patterns import TooMuchWorkError
from benchbench.core.pieces import Pieces
from benchbench.core.plugins import load_entry_point
from benchbench.core.sandbox import GLOBALS, MAX_TEMPLATE_CHARS, Guard, check_statements, sandbox
from benchbench.core.types import Json

MAX_PROGRAMS = 4096
FILTER_ENTRY_POINTS = "benchbench.jinja_filters"


class _Programs(threading.local):
    """Compiled templates by their text: they belong to the sandbox of their thread."""

    def __init__(self) -> None:
        self.known: dict[str, Program] = {}


_programs = _Programs()


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


def _check_names(tree: nodes.Template, where: str) -> None:
    env = sandbox()
    for node in tree.find_all(nodes.Filter):
        if node.name not in env.filters and not _register_filter(node.name):
            known = [name for name in env.filters if not name.startswith("_")]
            raise TaskError(f"{where}: no filter named {node.name!r}.{did_you_mean(node.name, known)}")
    for test in tree.find_all(nodes.Test):
        if test.name not in env.tests:
            raise TaskError(f"{where}: no test named {test.name!r}.{did_you_mean(test.name, env.tests)}")


def _register_filter(name: str) -> bool:
    """Filters of installed packages: `name = module:function` in the entry point group FILTER_ENTRY_POINTS."""
    function = load_entry_point(FILTER_ENTRY_POINTS, name)
    if function is None:
        return False
    env = sandbox()
    env.filters[name] = env.metered(cast("Callable[..., Any]", function))
    return True


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

    __slots__ = ("_expression", "_meter", "_pieces", "_text", "is_expression")

    def __init__(self, source: str, where: str) -> None:
        env = sandbox()
        env.meter.close()
        self._meter = env.meter
        self._text = _compiled(parse(source, where), where)
        tree = parse(source, where)  # compiling changed the first one
        self._pieces = Pieces.of(tree)
        expression = _single_expression(tree)
        self.is_expression = expression is not None
        self._expression = None
        if expression is not None:
            result = nodes.Assign(nodes.Name("result", "store"), expression, lineno=1)
            self._expression = _compiled(nodes.Template([result], lineno=1), where)

    def text(self, scope: Mapping[str, Json]) -> str:
        """The template rendered. Raises whatever the template raises; see `template.Field` for sentences."""
        plain = None if self._pieces is None else self._pieces.text(scope)
        if plain is not None:
            return plain
        self._meter.start()
        template = self._text
        return limits.join("", template.root_render_func(self._context(template, scope)))

    def value(self, scope: Mapping[str, Json]) -> object:
        """The value of a single expression with its own type; of any other template its text."""
        template = self._expression
        if template is None:
            return self.text(scope)
        plain = None if self._pieces is None else self._pieces.value(scope)
        if plain is not None:
            return plain
        self._meter.start()
        context = self._context(template, scope)
        for _ in template.root_render_func(context):
            pass
        value = context.vars["result"]
        if isinstance(value, Undefined):
            str(value)
        return self._meter.bounded(value)

    def _context(self, template: Template, scope: Mapping[str, Json]) -> Context:
        return template.new_context({**GLOBALS, **scope}, shared=True)


def _compiled(tree: nodes.Template, where: str) -> Template:
    env, tree = sandbox(), Guard().visit(tree)
    tree.set_environment(env)
    try:
        return env.from_string(tree)
    except (TemplateError, RecursionError, MemoryError, SyntaxError, TooMuchWorkError) as error:
        raise TaskError(f"{where}: the template does not compile: {error}.") from error


def compile_template(source: str, where: str) -> Program:
    """The compiled template, made once per thread and text. TaskError beginning with `where` if it may not run."""
    programs = _programs.known
    if source not in programs:
        if len(programs) >= MAX_PROGRAMS:
            programs.clear()
        try:
            programs[source] = Program(source, where)
        except (RecursionError, MemoryError) as error:
            raise TaskError(f"{where}: the template is nested too deeply.") from error
    return programs[source]

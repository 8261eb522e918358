"""Chat templates of strangers: the text that transformers' `apply_chat_template` makes, within the sandbox's bounds."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from jinja2 import Template, TemplateError, Undefined, filters, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import SandboxedEnvironment

from benchbench.core import limits
from benchbench.core.patterns import TooMuchWorkError
from benchbench.core.sandbox import MAX_TEMPLATE_CHARS, Guard, Sandbox, check_statements
from benchbench.core.types import Json

TODAY = "26 Jul 2024"
"""What a template that writes today's date is told: the same prompts every day. Llama's templates fall back on it."""
MAX_INDENT = 100
"""Characters before a line, and in JSON those of one level."""
_TAG = "CONTINUE_FINAL_MESSAGE_TAG "
"""Put after the message that goes on, to find its end in the text; transformers' own."""
_MORE_METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset({"isascii", "isidentifier", "isprintable"}),
    list: frozenset({"copy"}),
    dict: frozenset({"copy"}),
}
_WIDE_FIELD = re.compile(r"\d{4}|:[^{}]*\{")
"""In a text with `{fields}`: a width of a thousand or more, or one that is a field itself."""


def render(source: str, messages: Sequence[Mapping[str, str]], variables: Mapping[str, Json], *, go_on: bool) -> str:
    """The conversation as text, up to where an answer begins; with `go_on` up to the end of its last message.

    `variables` are the tokenizer's special tokens. Raises what a template may raise, among it `TooMuchWorkError`, and
    ValueError where it loses the message to go on with.
    """
    chat = [dict(message) for message in messages]
    if go_on and "content" not in source:
        raise ValueError("it does not read the message that is to go on")
    final = chat[-1]["content"]
    if go_on:
        chat[-1]["content"] = final + _TAG
    scope = {**variables, "messages": chat, "tools": None, "documents": None, "add_generation_prompt": not go_on}
    text = _text(source, scope)
    return _before_tag(text, final) if go_on else text


def _before_tag(text: str, final: str) -> str:
    if final.strip() not in text or _TAG.strip() not in text:
        raise ValueError("the message that is to go on does not appear in its text")
    place = text.rindex(_TAG.strip())
    # A template that strips messages has taken the tag's last space, and so the message's own too.
    return text[:place] if text.startswith(_TAG, place) else text[:place].rstrip()


def _text(source: str, scope: Mapping[str, Any]) -> str:
    if len(source) > MAX_TEMPLATE_CHARS:
        raise TooMuchWorkError(f"it has more than {MAX_TEMPLATE_CHARS:,} characters")
    if not hasattr(_local, "sandbox"):
        _local.sandbox = ChatSandbox()
    sandbox: ChatSandbox = _local.sandbox
    return sandbox.text(source, scope)


_local = threading.local()
"""One sandbox per thread, as for task templates."""


class _Generation(Extension):
    """`{% generation %}`: marks what the assistant says, for training; its text is that of its body."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's own form

    def parse(self, parser: Parser) -> nodes.Node:
        """See jinja2."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Any) -> str:
        return str(caller())


class _Dict:
    """What a template calls `dict`, without the attributes of the class."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        """As `dict.fromkeys`."""
        return dict.fromkeys(*args, **kwargs)


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _strftime_now(format: str) -> str:  # noqa: A002 - templates may name it
    return TODAY


def _tojson(
    x: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    width = len(indent) if isinstance(indent, str) else indent or 0
    between = sum(len(separator) for separator in separators or ())
    if width > MAX_INDENT or between > MAX_INDENT:
        raise TooMuchWorkError(f"writes JSON with more than {MAX_INDENT} characters between values")
    levels = _depth(x) if width else 1
    if limits.weight(x) * (1 + (width * levels + between) // 4) > limits.MAX_CHARS:
        raise limits.too_long()
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _depth(value: Any) -> int:
    inner: Iterator[Any] = iter(value.values() if isinstance(value, dict) else value if type(value) is list else ())
    return 1 + max(map(_depth, inner), default=0)


def _indent(s: Any, width: Any = 4, first: bool = False, blank: bool = False) -> str:
    text, before = str(s), len(width) if isinstance(width, str) else width
    if len(text) + (text.count("\n") + 1) * max(before, 0) > limits.MAX_CHARS:
        raise limits.too_long()
    return filters.do_indent(text, width, first, blank)


def _format(value: Any, *args: Any, **kwargs: Any) -> str:
    return str(limits.modulo(str(value), kwargs or args))


def _plain(value: Any) -> str:
    """Where `safe` and `escape` are jinja2's markup; nothing here escapes by itself, so it is text like any other."""
    return limits.join("", (str(value),))


def _escape(value: Any) -> str:
    return str(filters.FILTERS["escape"](str(value)))


class ChatSandbox(Sandbox):
    """The task templates' sandbox with the dialect of transformers' chat templates."""

    def __init__(self) -> None:
        super().__init__()
        self._templates: dict[str, Template] = {}
        self.undefined = Undefined
        self.trim_blocks = self.lstrip_blocks = True
        self.keep_trailing_newline = False
        self.add_extension(_Generation)
        self.add_extension(loopcontrols)
        self.globals |= {
            "dict": _Dict(),
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
        }
        own = {"tojson": _tojson, "indent": _indent, "format": _format, "safe": _plain, "escape": _escape, "e": _escape}
        jinjas = {name: filters.FILTERS[name] for name in ("attr", "groupby", "truncate")}
        self.filters |= {name: self.metered(function) for name, function in {**jinjas, **own}.items()}

    def text(self, source: str, scope: Mapping[str, Any]) -> str:
        """The template rendered. Raises whatever it raises."""
        if source not in self._templates:
            self.meter.close()  # so that the compiler runs no filters on constants
            tree = self.parse(source)
            check_statements(tree)
            tree = Guard().visit(tree)
            tree.set_environment(self)
            self._templates[source] = self.from_string(tree)
        template = self._templates[source]
        self.meter.start()
        return limits.join("", template.root_render_func(template.new_context(dict(scope))))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """`str.format` and `format_map` without attributes, refused before the text gets too long."""
        wrapped = SandboxedEnvironment.wrap_str_format(self, value)
        if wrapped is None:
            return None
        pattern, formatted = str(value.__self__), wrapped

        def bounded(*args: Any, **kwargs: Any) -> str:
            if _WIDE_FIELD.search(pattern):
                raise TooMuchWorkError("formats a text with a field of a thousand characters or more")
            if pattern.count("{") * limits.weight([*args, *kwargs.values()]) > limits.MAX_CHARS:
                raise limits.too_long()
            return formatted(*args, **kwargs)

        return bounded

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """A few methods more than in task files."""
        if isinstance(obj, _Dict):
            return attr == "fromkeys"
        if isinstance(obj, _Generation):
            return attr == "_body"
        return attr in _MORE_METHODS.get(type(obj), ()) or super().is_safe_attribute(obj, attr, value)

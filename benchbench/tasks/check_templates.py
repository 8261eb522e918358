"""Whether the templates of a task saw its documents: what they print, and what stays equal from one to the next."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from jinja2 import meta

from benchbench.core.format import kind_of
from benchbench.core.sandbox import sandbox
from benchbench.core.types import Json, RenderedDoc
from benchbench.tasks.config import PromptVariant
from benchbench.tasks.finding import Finding, asked, question_text, right_texts
from benchbench.tasks.task import Task
from benchbench.tasks.template import Field

PROMPT_KEYS = ("doc_to_text", "doc_to_target", "doc_to_choice", "description", "gen_prefix", "src_lang", "tgt_lang")
TASK_KEYS = ("doc_to_length", "doc_to_answer", "doc_to_source", "cluster")
ASKING = ("multiple_choice", "generate_until")
"""Output types of tasks that ask something."""
BRACES = ("{{", "{%")
_SINGLE = re.compile(r"(?<![{%\\])\{\s*(\w+)\s*\}(?!\})")
"""A field in the braces of another language: `{question}`."""


def unseen(task: Task, docs: Sequence[RenderedDoc]) -> Iterator[Finding]:
    """What a person would see at once in a rendered prompt; `docs` are of one prompt, and not empty."""
    variant = task.prompt(docs[0].prompt_name)
    fields = _fields(task, variant)
    columns = docs[0].doc.fields
    yield from _unrendered(task, variant)
    yield from _single_braces(fields, columns)
    yield from _odd_values(task, fields, docs)
    yield from _joints(task, variant, docs)
    yield from _equal_everywhere(task, variant, docs)


def _fields(task: Task, variant: PromptVariant) -> dict[str, Json]:
    """Key → what the file has there, of all keys that are rendered per document."""
    own = {key: getattr(variant, key) for key in PROMPT_KEYS}
    own |= {key: getattr(task.config, key) for key in TASK_KEYS}
    own |= {f"doc.{name}": value for name, value in task.config.doc.items()}
    return {key: value for key, value in own.items() if value is not None}


def _unrendered(task: Task, variant: PromptVariant) -> Iterator[Finding]:
    """Templates where none is rendered."""
    for key in ("doc_to_choice", "doc_to_target"):
        for text in _members(getattr(variant, key)):
            if _has_braces(text):
                yield Finding(
                    None,
                    f"{task.where(key)}: {text!r} in a list is never rendered; write one expression that gives the "
                    f'list, e.g. "{{{{ [first, second] }}}}"',
                    is_error=True,
                )
    kwargs = task.config.generation_kwargs
    plain: dict[str, Sequence[str | None]] = {
        "target_delimiter": [variant.target_delimiter],
        "fewshot_delimiter": [variant.fewshot_delimiter],
        "generation_kwargs": (kwargs.until if kwargs is not None else None) or [],
    }
    for key, texts in plain.items():
        for one in texts:
            if one is not None and _has_braces(one):
                yield Finding(None, f"{task.where(key)}: {one!r} is never rendered", is_error=True)
    for name, value in task.variables.items():
        if isinstance(value, str) and _has_braces(value):
            yield Finding(
                None, f"{task.where('task')}: the matrix variable {name!r} is {value!r}, which is never rendered", True
            )


def _members(value: Json) -> list[str]:
    parts = value if isinstance(value, list) else [*value.values()] if isinstance(value, dict) else []
    return [part for part in parts if isinstance(part, str)]


def _has_braces(text: str) -> bool:
    return any(sign in text for sign in BRACES)


def _single_braces(fields: Mapping[str, Json], columns: Mapping[str, Json]) -> Iterator[Finding]:
    for key, value in fields.items():
        for text in [value] if isinstance(value, str) else _members(value):
            for name in dict.fromkeys(_SINGLE.findall(text)):
                if name in columns:
                    yield Finding(None, f"`{key}`: {{{name}}} is plain text; the field is {{{{ {name} }}}}", False)


def _odd_values(task: Task, fields: Mapping[str, Json], docs: Sequence[RenderedDoc]) -> Iterator[Finding]:
    """Functions, lists, mappings and nothing where text stands."""
    columns = docs[0].doc.fields
    made = [
        (key, Field(value, task.where(key.split(".")[0]), columns))
        for key, value in fields.items()
        if isinstance(value, str) and (value in columns or _has_braces(value))
    ]
    for rendered in docs:
        scope = {**rendered.doc.fields, **task.variables}
        for key, field in made:
            for problem in _problems(key, field, scope, rendered.doc.id):
                yield Finding(rendered.doc.id, f"`{key}` {problem}", is_error=True)


def _problems(key: str, field: Field, scope: Mapping[str, Json], number: int) -> Iterator[str]:
    keeps_type = key in ("doc_to_target", "doc_to_choice") or key.startswith("doc.")
    if field.is_template and not (keeps_type and field.is_expression):
        found: dict[str, None] = {}
        with _watched(lambda value: found.setdefault(f"prints {_shown(value)}")):
            field.text(scope, number)
        yield from found
        return
    value = field.value(scope, number)
    if callable(value):
        yield f"gives {_shown(value)}"
    elif not key.startswith("doc."):
        parts = value if isinstance(value, list | tuple) and keeps_type else [value]
        is_plain = key == "doc_to_choice" and isinstance(value, dict)
        yield from (f"gives {_shown(one)}" for one in parts if not is_plain and not isinstance(one, str | int | float))


def _shown(value: object) -> str:
    if callable(value):
        name = getattr(value, "__name__", "name")
        return f"a function of its value, {name}(); a field of that name is written ['{name}']"
    return kind_of(value) + ("" if value is None else f", {value!r:.60}")


@contextmanager
def _watched(told: Callable[[object], object]) -> Iterator[None]:
    environment = sandbox()
    environment.printed = lambda value: (told(value), None)[1]
    try:
        yield
    finally:
        environment.printed = None


def _joints(task: Task, variant: PromptVariant, docs: Sequence[RenderedDoc]) -> Iterator[Finding]:
    """Prompts that ask nothing by mistake, and white space on both sides of the place where an answer begins."""
    if (
        task.config.turns is None
        and "doc_to_text" not in task.config.model_fields_set
        and not variant.doc_to_text
        and task.output_type in ASKING
    ):
        yield Finding(
            None, '`doc_to_text` is missing: nothing is asked; if that is meant, write `doc_to_text: ""`', False
        )
    between = " " if variant.target_delimiter is None else variant.target_delimiter
    if task.output_type == "generate_until" or not between[:1].isspace():
        return
    ends = [rendered.doc.id for rendered in docs if question_text(asked(rendered)[0])[-1:].isspace()]
    if ends:
        yield Finding(
            None,
            f"{len(ends):,} prompts end with white space (document {ends[0]}), and `target_delimiter` puts more behind "
            "it: the answer is then of other tokens than in plain text",
            is_error=False,
        )


def _equal_everywhere(task: Task, variant: PromptVariant, docs: Sequence[RenderedDoc]) -> Iterator[Finding]:
    """What does not vary, in a task of more than one document."""
    if len(docs) < 2:
        return
    every = f"all {len(docs):,} documents"
    prompts = {tuple(map(question_text, asked(rendered))) for rendered in docs}
    if len(prompts) == 1 and any(text.strip() for text in next(iter(prompts))):
        yield Finding(None, f"{every} have the same prompt, {next(iter(prompts))[0]!r:.100}", False)
    rights = {_right(rendered) for rendered in docs}
    if len(rights) == 1 and None not in rights and task.scoring.metrics:
        yield Finding(None, f"{every} have the same right answer, {next(iter(rights))!r:.100}", False)
    if len({rendered.choices for rendered in docs}) == 1 and _reads_fields(variant.doc_to_choice, docs[0]):
        yield Finding(None, f"{every} have the same choices, although they are made of fields", False)


def _right(rendered: RenderedDoc) -> tuple[str, ...] | None:
    if rendered.choices and len({len(asked(rendered)), 1}) > 1:
        return None  # the choices are contexts
    return right_texts(rendered) or None


def _reads_fields(spec: object, rendered: RenderedDoc) -> bool:
    if not isinstance(spec, str):
        return False
    columns = {*rendered.doc.fields}
    return spec in columns or bool(columns & meta.find_undeclared_variables(sandbox().parse(spec)))

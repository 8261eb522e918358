"""From a task file (YAML that strangers wrote) to its variants: `include`, `languages`, `matrix`."""

from __future__ import annotations

import errno
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from math import isfinite
from pathlib import Path
from typing import Any, TypeGuard

import yaml

from benchbench.core.errors import TaskError
from benchbench.core.files import is_regular, read_regular
from benchbench.core.format import kind_of
from benchbench.core.types import Json

MAX_FILE_BYTES = 1_000_000
MAX_NODES = 100_000
"""Nodes of one file with every alias written out: stops alias bombs."""
MAX_DEPTH = 60
MAX_SAFE_SIGNS = 1000
"""Fewer signs that open a level cannot nest deep enough to hurt."""

MAX_NUMBER = 100
"""Signs of a number."""

TEXT_TAG = "tag:yaml.org,2002:str"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class PlainLoader(_Base):  # type: ignore[misc]
    """PyYAML's safe loader with numbers as a person writes them, and as in YAML 1.2 none in base 60."""

    def resolve(self, kind: type, value: str, implicit: tuple[bool, bool]) -> str:
        """The tag of a node."""
        tag: str = super().resolve(kind, value, implicit)
        return TEXT_TAG if tag in _NUMBERS and ":" in value else tag


class _Loader(PlainLoader):
    """A loader that also refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Json]:
        _refuse_repeated_keys(node)
        mapping: dict[Hashable, Json] = super().construct_mapping(node, deep=deep)
        return mapping


def _construct_number(loader: PlainLoader, node: yaml.ScalarNode) -> int | float:
    """A number of a length that a person would write. ConstructorError for others, infinity and NaN."""
    text = node.value
    construct = getattr(yaml.SafeLoader, f"construct_yaml_{node.tag.rpartition(':')[2]}")
    if len(text) <= MAX_NUMBER and ":" not in text:
        value: int | float = construct(loader, node)
        if isfinite(value):
            return value
    shown = text if len(text) <= 20 else f"{text[:19]}…"
    raise yaml.constructor.ConstructorError(None, None, f"{shown!r} is no number that a task can use", node.start_mark)


for _tag in _NUMBERS:
    PlainLoader.add_constructor(_tag, _construct_number)


def _refuse_repeated_keys(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} is given twice", key.start_mark)
            seen.add(key.value)


_WRONG_FOR_ITS_TAG = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What PyYAML raises for `!!bool maybe`, or a date in month 99."""


def read_yaml(path: Path) -> dict[str, Json]:
    """The mapping in `path`. TaskError, with file and line, for anything that is not plain data."""
    text = _read_text(path)
    loader = _Loader(text)
    try:
        check_depth(text, path)
        node = loader.get_single_node()
        _check_size(node, path)
        value = loader.construct_document(node) if node is not None else None
    except yaml.YAMLError as error:
        raise TaskError(_sentence(path, error)) from error
    except RecursionError as error:
        raise _too_deep(path) from error
    except _WRONG_FOR_ITS_TAG as error:
        raise TaskError(f"{path}: a value cannot be read: {error}.") from error
    finally:
        loader.dispose()
    if not isinstance(value, dict):
        raise TaskError(f"{path}: expected a mapping of keys to values, found {kind_of(value)}.")
    return value


def line_of(path: Path, location: Sequence[str | int]) -> int | None:
    """Line (from 1) of the key or entry at `location`, as far as the file has it; None if it has no such place."""
    node = _compose(path)
    line = None
    for step in location:
        child = _child(node, step)
        if child is None:
            break
        line, node = child
    return line


def _child(node: yaml.Node | None, step: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step].start_mark.line + 1, node.value[step]
    return None


@lru_cache(maxsize=4)
def _compose(path: Path) -> yaml.Node | None:
    try:
        text = _read_text(path)
        check_depth(text, path)
        root: yaml.Node | None = yaml.compose(text, Loader=_Loader)
        return root
    except (yaml.YAMLError, TaskError, RecursionError, ValueError):
        return None


def task_text(path: Path) -> str:
    """The text of a task file in any dialect of YAML, for a loader that has no bounds of its own. TaskError."""
    text = _read_text(path)
    try:
        check_depth(text, path)
        _check_size(yaml.compose(text, Loader=PlainLoader), path)
    except yaml.YAMLError as error:
        raise TaskError(_sentence(path, error)) from error
    except RecursionError as error:
        raise _too_deep(path) from error
    return text


def _read_text(path: Path) -> str:
    try:
        return read_regular(path, MAX_FILE_BYTES).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise TaskError(f"{path}: not UTF-8 text (byte {error.start}).") from error
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise TaskError(
                f"{path}: larger than {MAX_FILE_BYTES:,} bytes; put rows in a data file, not in the task."
            ) from error
        raise TaskError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except ValueError as error:  # a NUL byte in the name
        raise TaskError(f"{str(path)!r}: cannot be read: {error}.") from error


def check_depth(text: str, path: Path) -> None:
    """Before nodes are made: libyaml's composer recurses in C, and a deep file would crash the process."""
    if sum(text.count(sign) for sign in ("[", "{", "- ", "? ", ": ", "-\t", "?\t", ":\t")) < MAX_SAFE_SIGNS:
        return
    depth = 0
    for event in yaml.parse(text, Loader=_Base):
        if isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            depth += 1
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            depth -= 1
        if depth > MAX_DEPTH:
            raise _too_deep(path)


def _too_deep(path: Path) -> TaskError:
    return TaskError(f"{path}: nested deeper than a task file may be ({MAX_DEPTH} levels).")


def _check_size(root: yaml.Node | None, path: Path) -> None:
    """Walks the tree with aliases written out; stops early, so that a bomb costs nothing."""
    stack: list[Iterator[yaml.Node]] = [iter([root] if root is not None else [])]
    count = 0
    while stack:
        node = next(stack[-1], None)
        if node is None:
            stack.pop()
            continue
        count += 1
        if count > MAX_NODES:
            raise TaskError(f"{path}: holds more than {MAX_NODES:,} values once its aliases are written out.")
        if len(stack) > MAX_DEPTH:
            raise _too_deep(path)
        stack.append(_children(node))


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return (child for pair in node.value for child in pair)
    return iter(node.value if isinstance(node, yaml.SequenceNode) else ())


def _sentence(path: Path, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
    problem = getattr(error, "problem", None) or str(error)
    if "could not determine a constructor for the tag" in problem:
        tag = problem.split("'")[1].replace("tag:yaml.org,2002:", "!!")
        return tag_refusal(where, tag)
    quoted = ' A template is text: put it into quotes, "{{ field }}".' if "unhashable key" in problem else ""
    return f"{where}: {problem}.{quoted}"


def tag_refusal(where: str, tag: str) -> str:
    """The sentence on a tag that stands for Python."""
    return f"{where}: the tag {tag} is not allowed: a task file holds data, never Python.{_tag_hint(tag)}"


PYTHON_HINT = (
    " Derive fields with `doc` and rows with `keep` and `explode` instead of process_docs, or run the original with "
    "--tasks lm_eval:NAME, the file itself with --tasks lm_eval:FILE.yaml --trust-task-code."
)


def _tag_hint(tag: str) -> str:
    return PYTHON_HINT if tag == "!function" else ""


TASK_NAME = re.compile(r"[\w.:@+-]+")
MAX_VARIANTS = 20_000
MAX_INCLUDES = 100
"""Files that one task file may read, each time it does so."""
FILE_KEYS = ("include", "languages", "matrix", "matrix_skip")
"""Keys that shape the file and are gone from its variants."""
RUN_TIME_KEYS = frozenset((
    "doc", "doc_to_text", "doc_to_target", "doc_to_choice", "doc_to_length", "cluster", "description", "gen_prefix",
    "prompts", "fewshot_config", "doc_to_decontamination_query", "doc_to_answer", "keep",
    "src_lang", "tgt_lang", "doc_to_source", "doc_to_program", "turns", "doc_to_temperature",
))  # fmt: skip
"""Keys that are rendered per document; matrix variables are among their names."""


@dataclass(frozen=True, slots=True)
class TaskVariant:
    """One task of a file, not yet checked."""

    name: str
    raw: Mapping[str, Json]
    variables: Mapping[str, Json]
    """Matrix variables, visible to every template."""
    path: Path
    origins: Mapping[str, Path] = field(default_factory=dict)
    """Which file gave a key, where it is not `path`."""


def read_task_file(path: Path, roots: Sequence[Path]) -> tuple[dict[str, Json], dict[str, Path]]:
    """The file's keys with its `include` parents' keys under them, and where each inherited key came from.

    Neither a link nor an `include` leads out of the folders `roots`: whoever wrote the task may not choose what else of
    the disk is read. TaskError where one does.
    """
    return _read_with_parents(path, roots, (), iter(range(MAX_INCLUDES)))


def _read_with_parents(
    path: Path, roots: Sequence[Path], children: tuple[Path, ...], left: Iterator[int]
) -> tuple[dict[str, Json], dict[str, Path]]:
    """`left` has one entry for each file that may still be read."""
    if path in children:
        raise TaskError(f"{path}: includes itself, by way of {', '.join(str(child) for child in children)}.")
    if next(left, None) is None:
        raise TaskError(f"{children[0]}: includes more than {MAX_INCLUDES} files, one by way of the other.")
    check_inside(path, roots, f"{where(children[-1], ['include'])}: " if children else "")
    own = read_yaml(path)
    parents = own.pop("include", None) or []
    merged: dict[str, Json] = {}
    origins: dict[str, Path] = {}
    for name in parents if isinstance(parents, list) else [parents]:
        if not isinstance(name, str):
            raise TaskError(f"{where(path, ['include'])}: `include` takes file names, not {name!r}.")
        values, places = _read_with_parents(path.parent / name, roots, (*children, path), left)
        merged |= values
        origins |= {key: places.get(key, path.parent / name) for key in values}
    for key in own:
        origins.pop(key, None)
    return merged | own, origins


def check_inside(path: Path, roots: Sequence[Path], before: str = "") -> None:
    """TaskError, which begins with `before`, where `path`, links followed, lies outside the folders `roots`."""
    try:
        is_inside = any(path.resolve().is_relative_to(root.resolve()) for root in roots)
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, a NUL byte
        raise TaskError(f"{before}{path} cannot be read: {error}.") from error
    if not is_inside:
        raise TaskError(
            f"{before}{path} lies outside {roots[0]} and is not read. Copy it there, or give a folder that holds both."
        )


def variants(path: Path, raw: Mapping[str, Json], origins: Mapping[str, Path]) -> Iterator[TaskVariant]:
    """One TaskVariant per row of the file's matrix; one in all for a file without."""
    plain = {key: value for key, value in raw.items() if key not in FILE_KEYS}
    rows = _rows(path, raw)
    for variables in rows:
        values = plain if not variables else {k: _fill(path, k, v, variables) for k, v in plain.items()}
        name = values.get("task")
        if not isinstance(name, str) or not TASK_NAME.fullmatch(name):
            raise TaskError(f"{where(path, ['task'])}: `task` must be a name of letters, digits and _ . : @ + -.")
        yield TaskVariant(name, values, variables, path, origins)


def _rows(path: Path, raw: Mapping[str, Json]) -> list[dict[str, Json]]:
    languages, matrix = raw.get("languages"), raw.get("matrix")
    if languages is not None and matrix is not None:
        raise TaskError(f"{where(path, ['languages'])}: give `languages` or `matrix`, not both.")
    if languages is not None:
        matrix = {"language": languages}
    if matrix is None:
        return [{}]
    rows = [dict(row) for row in matrix] if _is_rows(matrix) else _combinations(path, matrix)
    if len(rows) > MAX_VARIANTS:
        raise TaskError(f"{where(path, ['matrix'])}: the matrix makes {len(rows):,} tasks, more than {MAX_VARIANTS:,}.")
    skip = raw.get("matrix_skip")
    return rows if skip is None else [row for row in rows if not _fill(path, "matrix_skip", skip, row)]


def _is_rows(matrix: Json) -> TypeGuard[list[dict[str, Json]]]:
    return isinstance(matrix, list) and all(isinstance(row, dict) and row for row in matrix)


def _combinations(path: Path, matrix: Json) -> list[dict[str, Json]]:
    if not isinstance(matrix, dict) or not matrix:
        raise TaskError(
            f"{where(path, ['matrix'])}: `matrix` is a mapping of axes (axis: [values]) "
            "or a list of rows ({name: value})."
        )
    axes = [[*_axis(path, str(name), values)] for name, values in matrix.items()]
    size = 1
    for axis in axes:
        size *= len(axis)
    if size > MAX_VARIANTS:
        raise TaskError(f"{where(path, ['matrix'])}: the matrix makes {size:,} tasks, more than {MAX_VARIANTS:,}.")
    return [{key: value for part in parts for key, value in part.items()} for parts in product(*axes)]


def _axis(path: Path, name: str, values: Json) -> Iterator[dict[str, Json]]:
    if isinstance(values, list) and all(isinstance(value, (str, int)) for value in values):
        yield from ({name: value} for value in values)
    elif isinstance(values, dict) and all(more is None or isinstance(more, dict) for more in values.values()):
        for value, more in values.items():
            extras = more if isinstance(more, dict) else {}
            yield {name: value, **{f"{name}_{key}": extra for key, extra in extras.items()}}
    else:
        raise TaskError(
            f"{where(path, ['matrix', name])}: axis `{name}` is a list of values, or a mapping of each value to "
            "further variables."
        )


def _fill(path: Path, key: str, value: Json, variables: Mapping[str, Json]) -> Json:
    """`value` with the matrix variables put in, unless it is rendered per document anyway."""
    if key in RUN_TIME_KEYS:
        return value
    if isinstance(value, str):
        return _fill_text(path, key, value, variables)
    if isinstance(value, list):
        return [_fill(path, key, part, variables) for part in value]
    if isinstance(value, dict):
        return {name: _fill(path, key, part, variables) for name, part in value.items()}
    return value


_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def _fill_text(path: Path, key: str, text: str, variables: Mapping[str, Json]) -> Json:
    if "{{" not in text and "{%" not in text:
        return text
    whole = _PLACEHOLDER.fullmatch(text)
    if whole and whole[1] in variables:
        return variables[whole[1]]
    filled = _PLACEHOLDER.sub(lambda match: str(variables.get(match[1], match[0])), text)
    if "{{" not in filled and "{%" not in filled:
        return filled
    from benchbench.tasks.template import Field  # jinja2 only where plain names do not do

    value: Json = Field(text, f"{where(path, [key])}: `{key}`", ()).value(variables, "the matrix")
    return value


def where(path: Path, location: Sequence[str | int]) -> str:
    """`file:line` of the key at `location`, or just the file."""
    line = line_of(path, location) if is_regular(path) else None
    return f"{path}:{line}" if line is not None else str(path)

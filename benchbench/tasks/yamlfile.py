"""Reading YAML that strangers wrote: data only, bounded, and able to say on which line a key stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from benchbench.core.errors import TaskError

MAX_FILE_BYTES = 1_000_000
MAX_NODES = 100_000
"""Nodes of one file with every alias written out: stops alias bombs."""
MAX_DEPTH = 60
MAX_SAFE_SIGNS = 1000
"""Fewer signs that open a level cannot nest deep enough to hurt."""

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """PyYAML's safe loader that also refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        _refuse_repeated_keys(node)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping


def _refuse_repeated_keys(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} is given twice", key.start_mark)
            seen.add(key.value)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in `path`. TaskError, with file and line, for anything that is not plain data."""
    text = _read_text(path)
    loader = _Loader(text)
    try:
        _check_depth(text, path)
        node = loader.get_single_node()
        _check_size(node, path)
        value = loader.construct_document(node) if node is not None else None
    except yaml.YAMLError as error:
        raise TaskError(_sentence(path, error)) from error
    except RecursionError as error:
        raise _too_deep(path) from error
    except ValueError as error:
        raise TaskError(f"{path}: a value cannot be read: {error}.") from error
    finally:
        loader.dispose()
    if not isinstance(value, dict):
        raise TaskError(f"{path}: expected a mapping of keys to values, found {_kind(value)}.")
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


def _child(node: Any, step: str | int) -> tuple[int, Any] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step].start_mark.line + 1, node.value[step]
    return None


@lru_cache(maxsize=4)
def _compose(path: Path) -> Any:
    try:
        text = _read_text(path)
        _check_depth(text, path)
        return yaml.compose(text, Loader=_Base)
    except (yaml.YAMLError, TaskError):
        return None


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise TaskError(f"{path}: larger than {MAX_FILE_BYTES:,} bytes; put rows in a data file, not in the task.")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TaskError(f"{path}: not UTF-8 text (byte {error.start}).") from error
    except OSError as error:
        raise TaskError(f"{path}: cannot be read: {error.strerror or error}.") from error


def _check_depth(text: str, path: Path) -> None:
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
        return f"{where}: the tag {tag} is not allowed: a task file holds data, never Python.{_tag_hint(tag)}"
    return f"{where}: {problem}."


def _tag_hint(tag: str) -> str:
    if tag == "!function":
        return " Derive fields with `doc` instead of process_docs, or run the original with --tasks lm_eval:NAME."
    return ""


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"

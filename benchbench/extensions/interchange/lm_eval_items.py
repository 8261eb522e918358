"""lm-eval's samples JSONL (version 0.4): a line per doc and filter becomes an item, so that models can be paired."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

from benchbench.core.errors import DataError
from benchbench.core.files import open_regular
from benchbench.core.ids import content_hash
from benchbench.core.json_record import object_at
from benchbench.core.record import Example
from benchbench.core.registry import influence_column
from benchbench.core.types import Item, Json, Outcome
from benchbench.extensions.interchange.export import OWN, ROLLING
from benchbench.extensions.interchange.imported import Samples
from benchbench.store.table import checked, storable

FIXED = frozenset(
    {
        *("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"),
        *("doc_hash", "prompt_hash", "target_hash"),
    }
)
LONGEST_NUMBER = 19
"""Digits of a doc's number."""
OURS = "benchbench"
"""In files that `results export` wrote: what else the item held."""


@contextmanager
def as_such_files_are(path: Path) -> Iterator[None]:
    """Turns what goes wrong where a file says something else than its kind does into a DataError that names it."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RecursionError, csv.Error) as error:
        raise DataError(f"{path} is not as such files are ({type(error).__name__}: {str(error)[:200]}).") from error


@dataclass(frozen=True, slots=True)
class SamplesFile:
    """A file of one task's samples, read when it is wanted: such files can be large."""

    path: Path
    task: str

    def read(self) -> Samples:
        """The items of all docs that can be read; what is damaged is named, and costs nothing else."""
        docs: dict[int, list[_Line]] = {}
        problems: list[str] = []
        bad: set[int] = set()
        try:
            for line in _lines(self.path, problems):
                docs.setdefault(line.doc_id, []).append(line)
        except OSError as error:
            return Samples((), None, (f"{self.path.name} cannot be read: {error}",))
        items = []
        for doc_id, lines in sorted(docs.items()):
            try:
                items.append(checked(_item(self.task, doc_id, _each_filter_once(lines))))
            except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
                bad.add(doc_id)
                problems.append(f"line {lines[0].number}: doc {doc_id} is not as lm-eval writes it ({_short(error)})")
        first = next((lines[0].content for doc_id, lines in docs.items() if doc_id not in bad), None)
        return Samples(tuple(items), None if first is None else _example(first), tuple(problems))


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    doc_id: int
    content: Mapping[str, Json]


def _short(error: Exception) -> str:
    return str(error)[:120] or type(error).__name__


def _each_filter_once(lines: Sequence[_Line]) -> list[Mapping[str, Json]]:
    """The lines of a doc. ValueError where a filter has two that differ: nobody knows which counts."""
    found: dict[str, Mapping[str, Json]] = {}
    for line in lines:
        pipeline = str(line.content.get("filter") or "none")
        if found.setdefault(pipeline, line.content) != line.content:
            raise ValueError(f"line {line.number} is of the same doc and says something else")
    return list(found.values())


def _example(line: Mapping[str, Json]) -> Example | None:
    pairs = _arguments(line.get("arguments"))
    if not pairs:
        return None
    continuations = tuple(continuation for _, continuation in pairs)
    keys = ("doc_id", "prompt", "continuations")
    return Example(doc_id=line.get("doc_id"), prompt=pairs[0][0], continuations=continuations, keys=keys)


def _lines(path: Path, problems: list[str]) -> Iterator[_Line]:
    """The lines that are samples; the others are named in `problems`."""
    with io.TextIOWrapper(open_regular(path), encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                yield _sample(text, number)
            except (ValueError, RecursionError) as error:
                problems.append(f"line {number}: {_short(error)}")


def _sample(text: str, number: int) -> _Line:
    if any("\udc80" <= sign <= "\udcff" for sign in text):
        raise ValueError("not UTF-8")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({_short(error)}); the file may have been cut") from error
    doc_id = content.get("doc_id") if isinstance(content, dict) else None
    if isinstance(doc_id, str) and doc_id.isdecimal() and len(doc_id) < LONGEST_NUMBER:
        doc_id = int(doc_id)
    if not isinstance(doc_id, int) or isinstance(doc_id, bool):
        raise ValueError("a sample with `doc_id` was expected")
    return _Line(number, doc_id, content)


def _item(task: str, doc_id: int, lines: Sequence[Mapping[str, Json]]) -> Item:
    first = lines[0]
    pairs = _arguments(first.get("arguments"))
    ours = object_at(first, OURS)
    is_rolling = any(_is_pair(first.get(name)) for name in ROLLING)
    lls, greedy, texts = _responses(first.get("resps"), are_numbers=is_rolling)
    choices = tuple(continuation for _, continuation in pairs)
    prediction = _prediction(first, lls)
    scores = {name: value for line in lines for name, value in _scores(line)}
    if not (lls or texts or scores):
        raise ValueError("it has neither an answer nor a score")
    outcome: Outcome = "answered" if prediction not in (None, "", "[invalid]") or lls else "unanswered"
    item = Item(
        task=task,
        doc_id=doc_id,
        doc_hash=str(first.get("doc_hash") or content_hash(first.get("doc")))[:16],
        cluster=None,
        prompt_name="default",
        item_key=str(first.get("prompt_hash") or content_hash([context for context, _ in pairs]))[:16],
        gold=_storable(first.get("target")),
        targets=choices if lls else (_storable(first.get("target")) or "",),
        prediction=prediction,
        outcome=outcome,
        tie=len(lls) > 1 and lls.count(max(lls)) > 1,
        loglikelihoods=lls,
        is_greedy=greedy,
        num_tokens=(),
        texts=texts,
        finish_reasons=(),
        dropped_shots=0,
        truncated_tokens=0,
        failure=None,
        scores=scores,
    )
    return _with_ours(item, ours, lines)


def _with_ours(item: Item, ours: Mapping[str, Json], lines: Sequence[Mapping[str, Json]]) -> Item:
    """The item as it was before it became a sample; as it is, where the line does not come from us."""
    known: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in ours.items() if n in OWN}
    if set(known) != set(OWN) or not all(_fits(item, name, value) for name, value in known.items()):
        return item
    missing = {name: None for line in lines for name in _names(line) if name not in item.scores}
    return replace(item, **known, scores={**item.scores, **missing})


def _fits(item: Item, name: str, value: object) -> bool:
    if name in ("cluster", "gold", "prediction"):
        return value is None or isinstance(value, str)
    return type(value) is type(getattr(item, name))


def _arguments(value: Json) -> list[tuple[str, str]]:
    """(context, continuation) of each request; either layout: lists, or `gen_args_0: {arg_0, arg_1}`."""
    if isinstance(value, dict):
        value = [
            [inner.get("arg_0"), inner.get("arg_1")] if isinstance(inner, dict) else inner for inner in value.values()
        ]
    if not isinstance(value, list):
        return []
    found = []
    for pair in value:
        if isinstance(pair, list) and pair:
            second = pair[1] if len(pair) > 1 and isinstance(pair[1], str) else ""
            found.append((_storable(pair[0]) or "", _storable(second) or ""))
    return found


def _responses(value: Any, *, are_numbers: bool) -> tuple[tuple[float, ...], tuple[bool, ...], tuple[str, ...]]:
    """Log-likelihoods with "is greedy", or texts. `are_numbers`: a text is the log-likelihood of a whole document."""
    lls: list[float] = []
    greedy: list[bool] = []
    texts: list[str] = []
    for request in value if isinstance(value, list) else []:
        for response in request if isinstance(request, list) else [request]:
            if isinstance(response, list) and len(response) == 2:
                lls.append(float(response[0]))
                greedy.append(str(response[1]) == "True")
            elif isinstance(response, str) and not are_numbers:
                texts.append(_storable(response) or "")
            else:
                lls.append(float(response))
    return tuple(lls), tuple(greedy), tuple(texts)


def _prediction(line: Mapping[str, Json], lls: Sequence[float]) -> str | None:
    if lls:
        return str(max(range(len(lls)), key=lls.__getitem__)) if len(lls) > 1 else None
    filtered = line.get("filtered_resps")
    first = filtered[0] if isinstance(filtered, list) and filtered else filtered
    if isinstance(first, list):
        first = first[0] if first else None
    return _storable(first)


def _scores(line: Mapping[str, Json]) -> Iterator[tuple[str, float]]:
    for name, column in _names(line).items():
        raw = line[name]
        value = _value(name, raw) if _is_pair(raw) else raw
        if isinstance(value, int | float) and math.isfinite(value):
            yield column, float(value)


def _names(line: Mapping[str, Json]) -> dict[str, str]:
    """Key in the line → name of the item's score, for every key that is one."""
    pipeline = str(line.get("filter") or "none")
    found = {}
    for name, value in line.items():
        pair = name in ROLLING and _is_pair(value)
        if name not in FIXED and name != OURS and (value is None or isinstance(value, int | float) or pair):
            end = "" if pipeline == "none" else f",{pipeline}"
            bare = name.removesuffix(influence_column(""))
            found[name] = f"{name}{end}" if bare == name else influence_column(f"{bare}{end}")
    return found


def _is_pair(value: Json) -> TypeGuard[list[float]]:
    """(log-likelihood of a text, its words or bytes)."""
    return isinstance(value, list) and len(value) == 2 and all(isinstance(part, int | float) for part in value)


def _value(name: str, pair: Sequence[float]) -> float | None:
    """The text's own perplexity, or its bits per byte; None where it has no words or bytes, or beyond a float."""
    total, units = pair
    if not units:
        return None
    try:
        return -total / units / math.log(2) if name == "bits_per_byte" else math.exp(-total / units)
    except OverflowError:
        return None


def _storable(value: Json) -> str | None:
    """Text that UTF-8 can hold; anything that is not text as JSON."""
    if value is None:
        return None
    return storable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))

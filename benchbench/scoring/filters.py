"""Filters and text metrics by name: filters equal to lm-eval's, and what other packages add by entry points.

A plug-in metric is a function in the entry point group `benchbench.metrics`:

    def shouting(prediction: str, targets: Sequence[str], *, weight: float = 1.0) -> float | None:
        '''Share of answers in capitals.'''
        return weight * prediction.isupper()

    shouting.bounds = (0.0, 1.0)  # smallest and largest possible score; without them it is in no mean of boards
    shouting.higher_is_better = True

It scores one filtered text; options of the `metric_list` entry arrive as keywords, None means that the
metric has no value for this item. The rows of a table are the mean with its interval, or any other
aggregation of item scores that the task names. A plug-in filter is a function in `benchbench.filters`,
shaped as `Filter`. Only a task that names a plug-in imports it.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, Protocol, TypeVar, cast

from benchbench.core import patterns
from benchbench.core.errors import TaskError, did_you_mean
from benchbench.core.math_answers import NOT_FOUND, final_answer
from benchbench.core.plugins import load_entry_point
from benchbench.core.registry import FILTER_GROUP
from benchbench.core.types import FilterSpec, Json

NUMBER_AFTER_HASHES = r"#### (\-?[0-9\.\,]+)"
INVALID = "[invalid]"


@dataclass(frozen=True, slots=True)
class Filtered:
    """What a pipeline left of a doc's texts."""

    texts: tuple[str, ...]
    found: bool
    """The first text is neither blank nor a fallback: there is an answer to score."""


def apply_filter(spec: FilterSpec | None, texts: Sequence[str], context: FilterContext) -> Filtered:
    """Run a pipeline over the texts of one doc; no pipeline takes the first text.

    Raises:
        TaskError: unknown filter or option, or a pattern that is no regular expression.
        TooMuchWorkError: a pattern takes too long on these texts.
    """
    current = list(texts)
    for name, kwargs in (("take_first", {}),) if spec is None else spec.steps:
        current = _step(name, kwargs, current, context)
    first = current[0] if current else ""
    return Filtered(tuple(current), bool(first.strip()) and first not in _fallbacks(spec))


def _step(name: str, kwargs: Mapping[str, Json], texts: list[str], context: FilterContext) -> list[str]:
    function = find_by_name(name, FILTERS, FILTER_GROUP, "filter")
    try:
        return function(texts, context, **kwargs)
    except (TypeError, re.error) as error:
        raise TaskError(f"Filter {name!r} cannot run with {dict(kwargs)}: {error}.") from error


def _fallbacks(spec: FilterSpec | None) -> set[str]:
    """Texts that stand for "found nothing" in this pipeline."""
    steps = () if spec is None else spec.steps
    stated = {str(kwargs.get("fallback", INVALID)) for name, kwargs in steps if name.endswith("regex")}
    return stated | {NOT_FOUND} if any(name == "minerva_math" for name, _ in steps) else stated


def take_first(texts: Sequence[str], context: FilterContext) -> list[str]:
    """The first text."""
    return list(texts[:1])


def take_first_k(texts: Sequence[str], context: FilterContext, *, k: int) -> list[str]:
    """The first k texts.

    Raises:
        TaskError: fewer than k texts; the task's `repeats` is too small.
    """
    if len(texts) < k:
        raise TaskError(f"take_first_k wants {k} texts, but there are {len(texts)}; raise the task's `repeats`.")
    return list(texts[:k])


def majority_vote(texts: Sequence[str], context: FilterContext) -> list[str]:
    """The most frequent text; of equally frequent ones the earliest."""
    return [text for text, _ in Counter(texts).most_common(1)]


def remove_whitespace(texts: Sequence[str], context: FilterContext) -> list[str]:
    """White space cut at both ends."""
    return [text.strip() for text in texts]


def strip(texts: Sequence[str], context: FilterContext, *, chars: str | None = None) -> list[str]:
    """These characters (white space, if None) cut at both ends."""
    return [text.strip(chars) for text in texts]


def lowercase(texts: Sequence[str], context: FilterContext) -> list[str]:
    """Lower letters."""
    return [text.lower() for text in texts]


def uppercase(texts: Sequence[str], context: FilterContext) -> list[str]:
    """Capital letters."""
    return [text.upper() for text in texts]


THINK = ("<think>", "</think>")
"""What thoughts usually begin and end with."""


def without_reasoning(
    texts: Sequence[str], context: FilterContext, *, start: str = THINK[0], end: str = THINK[1]
) -> list[str]:
    """What stands behind the last end of a thought; of a thought that never ends there is nothing to score."""
    return [_after_thought(text, start, end) for text in texts]


def _after_thought(text: str, start: str, end: str) -> str:
    _, found, after = text.rpartition(end)
    rest = after.lstrip() if found else text
    return rest.partition(start)[0] if start in rest else rest


def never_ends(text: str, start: str = THINK[0], end: str = THINK[1]) -> bool:
    """A thought has begun and has no end: the model was cut off while it thought."""
    return start in text.rpartition(end)[2]


def minerva_math(texts: Sequence[str], context: FilterContext) -> list[str]:
    """See `core.math_answers.final_answer`."""
    return [final_answer(text) for text in texts]


def map_texts(
    texts: Sequence[str],
    context: FilterContext,
    *,
    mapping_dict: Mapping[str, Json] | None = None,
    default_value: Json = None,
) -> list[str]:
    """Each text's entry in the mapping as text; without entry the default, which is "" if None."""
    found = [(mapping_dict or {}).get(text, default_value) for text in texts]
    return ["" if value is None else str(value) for value in found]


def regex(
    texts: Sequence[str],
    context: FilterContext,
    *,
    regex_pattern: str = NUMBER_AFTER_HASHES,
    group_select: int = 0,
    fallback: str = INVALID,
) -> list[str]:
    """The `group_select`-th match in each text (its first non-empty group), or the fallback."""
    found = [_match(regex_pattern, text, group_select) for text in texts]
    return [fallback if match is None else match for match in found]


def multi_choice_regex(  # noqa: PLR0913 - the options are lm-eval's
    texts: Sequence[str],
    context: FilterContext,
    *,
    regex_pattern: str = NUMBER_AFTER_HASHES,
    group_select: int = 0,
    fallback: str = INVALID,
    ignore_case: bool = False,
    ignore_punctuation: bool = False,
    regexes_to_ignore: Sequence[str] | None = None,
) -> list[str]:
    """A choice letter from each text: by the pattern, else by the text of a choice (longest first), which
    becomes its letter in brackets, else by a letter after a colon; else the fallback.
    """

    def simplify(text: str) -> str:
        return _simplified(text, ignore_case, ignore_punctuation, tuple(regexes_to_ignore or ()))

    letters = dict(zip((simplify(choice.strip()) for choice in context.choices), ascii_uppercase, strict=False))
    by_length = sorted((re.escape(choice) for choice in letters), key=len, reverse=True)
    choice_texts = re.compile("|".join(by_length))  # words of ours alone: nothing in it goes back
    after_colon = rf":[\s]*({'|'.join(ascii_uppercase[: len(context.choices)])})"

    def extract(text: str) -> str:
        if match := _match(regex_pattern, text, group_select):
            return match
        if match := _chosen(choice_texts.findall(simplify(text)), group_select):
            return f"({letters[match]})" if match in letters else match
        match = _match(after_colon, text, group_select)
        return f"({match})" if match else fallback

    return [extract(text) for text in texts]


def _match(pattern: str, text: str, select: int) -> str | None:
    """The selected match, stripped; of a match with groups the first non-empty one; None if there is none."""
    found = patterns.pick(pattern, text, select)
    if isinstance(found, tuple):
        found = next((group for group in found if group), None)
    return None if found is None else found.strip()


def _chosen(matches: Sequence[str], select: int) -> str | None:
    return matches[select].strip() if -len(matches) <= select < len(matches) else None


def _simplified(text: str, ignore_case: bool, ignore_punctuation: bool, ignored: tuple[str, ...]) -> str:
    for pattern in ignored:
        text = patterns.sub(pattern, "", text)
    if ignore_case:
        text = text.lower()
    if ignore_punctuation:
        text = "".join(character for character in text if not unicodedata.category(character).startswith("P"))
    return text


FILTERS: dict[str, Filter] = {
    "take_first": take_first,
    "take_first_k": take_first_k,
    "majority_vote": majority_vote,
    "remove_whitespace": remove_whitespace,
    "strip": strip,
    "lowercase": lowercase,
    "uppercase": uppercase,
    "map": map_texts,
    "without_reasoning": without_reasoning,
    "minerva_math": minerva_math,
    "regex": regex,
    "multi_choice_regex": multi_choice_regex,
}


T = TypeVar("T")


class TextMetric(Protocol):
    """Scores one text against the right texts; of several right ones, the best counts."""

    def __call__(self, prediction: str, targets: Sequence[str], *args: Any, **kwargs: Any) -> float | None:
        """Score of the prediction, or None if the metric has no value for it."""
        ...


@dataclass(frozen=True, slots=True)
class FilterContext:
    """What a filter may know of the doc."""

    choices: tuple[str, ...] = ()
    """The doc's choices, where it has any."""


class Filter(Protocol):
    """Turns the texts of one doc (one per repeat, in order) into others, fewer or more."""

    def __call__(self, texts: Sequence[str], context: FilterContext, *args: Any, **kwargs: Any) -> list[str]:
        """The texts that go on."""
        ...


def find_by_name(name: str, built_in: Mapping[str, T], group: str, kind: str) -> T:
    """The metric or filter of this name, `kind` being which of them, from `built_in` or the entry point group.

    Raises:
        TaskError: no built-in and no installed package has it.
    """
    if name in built_in:
        return built_in[name]
    loaded = load_entry_point(group, name)
    if loaded is None:
        raise TaskError(f"No {kind} named {name!r}.{did_you_mean(name, built_in)}")
    return cast(T, loaded)

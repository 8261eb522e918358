"""Filters against lm-eval's own, on the same texts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbench.core.errors import TaskError
from benchbench.core.registry import FILTERS as NAMED
from benchbench.core.types import FilterSpec
from benchbench.scoring.filters import FILTERS, FilterContext, apply_filter

TEXTS = [
    "She has 3 + 4 = 7 apples.\n#### 7",
    "#### 1,234.5 and #### 8",
    "no number at all",
    "",
    "  The answer is $42.  ",
    "It is (B) because",
    "Answer: C",
    "I think Guilty of Romance is right",
    "guilty!",
]
CHOICES = ["Guilty", "Guilty of Romance", "Neither"]
NONE = FilterContext()


def run(name: str, texts: list[str], **kwargs: Any) -> list[str]:
    return list(apply_filter(FilterSpec("f", ((name, kwargs),)), texts, FilterContext(tuple(CHOICES))).texts)


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("regex", {}),
        ("regex", {"regex_pattern": r"#### (\-?[0-9\.\,]+)", "group_select": -1}),
        ("regex", {"regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)", "group_select": -1}),
        ("regex", {"regex_pattern": r"\d+", "fallback": "nic"}),
        ("multi_choice_regex", {"regex_pattern": r"(\([A-Z]\))"}),
        ("multi_choice_regex", {"regex_pattern": r"(\([A-Z]\))", "ignore_case": True, "ignore_punctuation": True}),
        ("multi_choice_regex", {"regex_pattern": r"(\([A-Z]\))", "regexes_to_ignore": ["of "], "group_select": 0}),
        ("remove_whitespace", {}),
        ("lowercase", {}),
        ("uppercase", {}),
        ("map", {"mapping_dict": {"": "empty", "Answer: C": "C"}, "default_value": "?"}),
        ("majority_vote", {}),
        ("take_first_k", {"k": 3}),
        ("take_first", {}),
    ],
)
def test_a_filter_does_what_lm_eval_s_does(name: str, kwargs: dict[str, Any]) -> None:
    pytest.importorskip("lm_eval")
    import lm_eval.filters  # noqa: F401 - registers them
    from lm_eval.api.registry import get_filter

    (theirs,) = get_filter(name)(**kwargs).apply([list(TEXTS)], [{"choices": CHOICES}])
    assert run(name, TEXTS, **kwargs) == ([theirs] if isinstance(theirs, str) else list(theirs))


@given(st.lists(st.text(alphabet="abAB#0123456789 .$,()", max_size=20), min_size=1, max_size=4))
def test_gsm8k_s_filters_agree_on_any_text(texts: list[str]) -> None:
    pytest.importorskip("lm_eval")
    from lm_eval.filters.extraction import RegexFilter

    for kwargs in ({}, {"regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)", "group_select": -1}):
        assert run("regex", texts, **kwargs) == RegexFilter(**kwargs).apply([texts], [])[0]  # type: ignore[arg-type]


def test_no_pipeline_takes_the_first_text() -> None:
    assert apply_filter(None, ["a", "b"], NONE).texts == ("a",)


@pytest.mark.parametrize(
    ("text", "steps", "found"),
    [
        ("#### 5", (("regex", {}), ("take_first", {})), True),
        ("five", (("regex", {}), ("take_first", {})), False),
        ("five", (("regex", {"fallback": "nic"}),), False),
        (" \n", (("take_first", {}),), False),
        ("x", (("map", {"mapping_dict": {"y": "1"}}),), False),
        ("[invalid]", (("take_first", {}),), True),
    ],
)
def test_finding_nothing_is_known(text: str, steps: tuple[tuple[str, dict[str, Any]], ...], found: bool) -> None:
    assert apply_filter(FilterSpec("f", steps), [text], NONE).found is found


def test_steps_run_in_order() -> None:
    spec = FilterSpec("f", (("lowercase", {}), ("strip", {"chars": "."}), ("majority_vote", {})))
    assert apply_filter(spec, ["Ano.", "NE", "ano"], NONE).texts == ("ano",)


@pytest.mark.parametrize(
    ("name", "kwargs", "words"),
    [
        ("regexp", {}, "Did you mean regex"),
        ("regex", {"regex_pattern": "("}, "cannot run"),
        ("regex", {"pattern": "x"}, "cannot run"),
        ("take_first_k", {"k": 99}, "raise the task's `repeats`"),
    ],
)
def test_a_wrong_filter_is_a_sentence(name: str, kwargs: dict[str, Any], words: str) -> None:
    with pytest.raises(TaskError, match=words):
        run(name, TEXTS, **kwargs)


def test_every_named_filter_exists() -> None:
    assert set(NAMED) == set(FILTERS)

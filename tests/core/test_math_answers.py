"""Final answers of MATH: found, normalised, and thoughts left out before."""

from __future__ import annotations

import pytest

from benchbench.core.math_answers import NOT_FOUND, boxed_answer, final_answer, normalized
from benchbench.core.types import FilterSpec
from benchbench.scoring.filters import FilterContext, apply_filter

CASES = [
    (r"\frac12", r"\frac{1}{2}"), ("x=5", "5"), ("10,000", "10000"), ("0,1", "0,1"), (r"\sqrt[3]8", r"\sqrt[3]{8}"),
    (r"\sqrt2", r"\sqrt{2}"), ("5 cm", "5"), (r"2\pi cm", r"2\pi"), (r"\left(3,2\right)", r"\left(3,2\right)"),
    (r"\text{(A)}", "(A)"), (r"90^\circ", "90"), (r"\$5.00", "5.00"), ("1{,}000", "1000"), ("12 dollars", "12"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "expected"), CASES)
def test_answers_are_normalised(answer: str, expected: str) -> None:
    assert normalized(answer) == expected


def test_the_answer_of_a_solution_is_its_last_box() -> None:
    assert boxed_answer(r"First $\boxed{1}$, then $x=\boxed{\frac{1}{2}}$.") == r"\frac{1}{2}"
    assert boxed_answer(r"so \fbox{7}") == "7"
    assert boxed_answer(r"so $\boxed 7$ and") == "7"
    assert boxed_answer("no box") == boxed_answer(r"\boxed{open") == NOT_FOUND


def test_the_answer_of_a_text_is_in_its_closing_sentence() -> None:
    assert final_answer("So.\nFinal Answer: The final answer is $\\frac12$. I hope it is correct.") == r"\frac{1}{2}"
    assert final_answer("Final Answer: The final answer is $7$") == NOT_FOUND
    assert final_answer("7") == NOT_FOUND


def test_a_text_without_a_final_answer_counts_as_unanswered() -> None:
    spec = FilterSpec("final-answer", (("minerva_math", {}),))
    assert not apply_filter(spec, ["7"], FilterContext()).found
    assert apply_filter(spec, ["Final Answer: The final answer is 7. I hope it is correct."], FilterContext()).found


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<think>2 + 2 is 5?\nNo.</think>\n\n4", "4"),
        ("It began in the prompt.</think> 4", "4"),
        ("<think>a</think>b<think>c</think>d", "d"),
        ("<think>without an end 4", ""),
        ("<think>a</think>b<think>and again", "b"),
        ("4", "4"),
    ],
)
def test_thoughts_are_left_out(text: str, left: str) -> None:
    spec = FilterSpec("answer", (("without_reasoning", {}),))
    assert apply_filter(spec, [text], FilterContext()).texts == (left,)


def test_other_tags_may_be_declared() -> None:
    spec = FilterSpec("answer", (("without_reasoning", {"start": "[THINK]", "end": "[/THINK]"}),))
    assert apply_filter(spec, ["[THINK]a[/THINK]</think>b"], FilterContext()).texts == ("</think>b",)

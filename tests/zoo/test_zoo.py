"""The zoo as a test: a handful of families always, a third among the slow tests, all by `python -m tests.zoo`; what is
not right is listed here.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.zoo import check as checking
from tests.zoo.check import Result, check
from tests.zoo.families import IN_BFLOAT16, ROUTED, families
from tests.zoo.page import families_of, page, version_of
from tests.zoo.pool import check_all
from tests.zoo.sizes import EXTRAS, UNBUILDABLE, VARIANTS

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
LOOKS_AHEAD = "sees the tokens that it is to predict"
REFUSED: dict[str, str] = {
    **dict.fromkeys(
        (
            *("bert", "bert-generation", "big_bird", "camembert", "cpmant", "data2vec-text", "electra", "ernie"),
            *("megatron-bert", "rembert", "roberta", "roberta-prelayernorm", "roc_bert", "roformer", "xlm"),
            *("xlm-roberta", "xlm-roberta-xl", "xlnet"),
        ),
        LOOKS_AHEAD,
    ),
    "emu3": "lacks lm_head.weight",
    "gemma4_unified_assistant": "shared_kv_states cannot be None",
    "nemo_speechlm": "config.json asks for",
    "voxtral_realtime": "input_features",
    "granitemoehybrid:states-only": "`get_seq_length` can only be called on Attention layers",
    "whisper": "is a model of speech",
    "xmod": "Input language unknown",
}
"""Family → part of the sentence that says why."""
SOME = ("gpt_neo", "gemma2", "t5", "bert")
"""Checked in every run: a window, a packed window, an encoder-decoder, a refusal."""
EVERY = 3
"""One family of so many is among the slow tests: all of them take many minutes on one core."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The list of families costs an import of transformers, so it is made only where it is asked for."""
    if "family" in metafunc.fixturenames and metafunc.function is test_a_family_is_right_or_refused:
        is_asked = "not slow" not in str(metafunc.config.getoption("markexpr"))
        metafunc.parametrize("family", list(families())[::EVERY] if is_asked else [])


def judge(result: Result) -> None:
    """Fails with a sentence unless the family is what is expected of it."""
    assert result.outcome != "not built", (
        f"{result.family} of transformers {version('transformers')} cannot be made from the general sizes "
        f"({result.sentence}): give it an entry in EXTRAS of tests/zoo/sizes.py."
    )
    expected = REFUSED.get(result.family)
    if expected is None:
        assert result.outcome == "right", result
    else:
        assert result.outcome == "refused", result
        assert expected in result.sentence


@pytest.mark.parametrize("family", SOME)
def test_some_families_are_right_or_refused(family: str) -> None:
    judge(check(family, families()[family]))


@pytest.mark.slow
def test_a_family_is_right_or_refused(family: str) -> None:
    if family in UNBUILDABLE:
        pytest.skip(f"{family}: {UNBUILDABLE[family]}")
    judge(check(family, families()[family]))


@pytest.mark.slow
@pytest.mark.parametrize("family", IN_BFLOAT16)
def test_half_precision_is_right_within_its_rounding(family: str) -> None:
    result = check(family, families()[family], "bfloat16")
    assert result.outcome == "right", result


@pytest.mark.slow
@pytest.mark.parametrize("family", ROUTED)
def test_rounding_that_chooses_another_expert_moves_few_texts(family: str) -> None:
    result = check(family, families()[family], "bfloat16")
    assert result.wrong <= 4, result
    assert result.difference < 1.5
    assert (result.texts, result.failures) == (7, [])


def test_a_score_that_is_off_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = checking._answers

    def off(*arguments: Any) -> list[Any]:
        answers = answer(*arguments)
        object.__setattr__(answers[5], "total", answers[5].total + 0.02)
        return answers

    monkeypatch.setattr(checking, "_answers", off)
    result = check("gpt2", "causal")
    assert (result.outcome, result.wrong, result.texts) == ("wrong", 1, 7)
    assert result.difference == pytest.approx(0.02, abs=1e-3)


def test_a_family_that_cannot_be_made_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRAS, "gpt2", {"n_head": 5})
    result = check("gpt2", "causal")
    assert result.outcome == "not built"
    with pytest.raises(AssertionError, match=r"gpt2 of transformers .* give it an entry in EXTRAS"):
        judge(result)


def test_families_run_in_processes_of_their_own() -> None:
    results = check_all([("gpt2", "causal"), ("bert", "causal")], processes=1)
    assert [(one.family, one.outcome) for one in results] == [("bert", "refused"), ("gpt2", "right")]


def test_expectations_name_families_that_exist() -> None:
    assert {*REFUSED, *UNBUILDABLE, *EXTRAS, *SOME, *IN_BFLOAT16, *ROUTED} <= set(families())
    assert all(name.split(":")[0] in families() for name in VARIANTS)


def test_the_page_is_about_the_families_of_the_installed_transformers() -> None:
    text = PAGE.read_text(encoding="utf-8")
    if version_of(text) != version("transformers"):
        pytest.skip(f"docs/models.md is about transformers {version_of(text)}, installed is {version('transformers')}")
    assert families_of(text) == list(families())


def test_a_page_says_version_outcome_and_reason() -> None:
    text = page(
        [Result("a", "causal", plan="packed", needed=9, computed=4), Result("b", "causal", "refused", sentence="no|")],
        "9.9.9",
    )
    assert version_of(text) == "9.9.9"
    assert families_of(text) == ["a", "b"]
    assert "1 right, 1 refused" in text
    assert "| `b` | causal | refused | no\\| |" in text


def test_what_was_not_computed_in_half_precision_has_no_figure_on_the_page() -> None:
    rounded = [Result("a", "causal", plan="packed", difference=0.25), Result("b", "causal", "time limit")]
    lines = page([], "9.9.9", rounded).splitlines()
    assert lines[-2:] == ["| a | packed | 0.25 | 0 |", "| b | time limit | | |"]

"""The one rule for what a checkpoint's name tells, over names that trainers and publishers write."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbench.core.checkpoint_names import UNITS, NameReading, axis_of, read_name

B, T = 10**9, 10**12

READ = [
    # transformers, Stanford CRFM, DeepSpeed, Megatron, LitGPT, nanotron, Levanter
    ("checkpoint-500", 500, None),
    ("checkpoint500", 500, None),
    ("global_step1000", 1000, None),
    ("iter_0000500", 500, None),
    ("iter_0000500_mp_rank_00", 500, None),
    ("iter-050000-ckpt.pth", 50_000, None),
    ("75", 75, None),
    ("130000", 130_000, None),
    ("0000000500", 500, None),
    ("step-125000", 125_000, None),
    # Composer, llm-foundry
    ("ep0-ba75000-rank0.pt", 75_000, None),
    ("ep0-ba500", 500, None),
    ("ba26500", 26_500, None),
    ("500ba", 500, None),
    # Lightning, NeMo
    ("epoch=1-step=1000.ckpt", 1000, None),
    ("epoch=01-step=0001000-val_loss=2.31.ckpt", 1000, None),
    ("step=1000-v1.ckpt", 1000, None),
    ("model_name=0--val_loss=5.96-step=999-consumed_samples=8000.0", 999, None),
    # fairseq: epoch, then update
    ("checkpoint_1_500.pt", 500, None),
    # Pythia, OLMo 1 to 3, DataDecide, Apertus, Marin
    ("step0", 0, None),
    ("step143000", 143_000, None),
    ("step1000-tokens4B", 1000, 4 * B),
    ("step737000-unsharded", 737_000, None),
    ("stage1-step140000-tokens294B", 140_000, 294 * B),
    ("stage1-step721901-tokens6056B", 721_901, 6056 * B),
    ("stage2-ingredient1-step11921-tokens101B", 11_921, 101 * B),
    ("stage3-step9000", 9000, None),
    ("step1250-seed-default", 1250, None),
    ("step2627139-tokens15T", 2_627_139, 15 * T),
    # SmolLM3, TinyLlama, MultiBERTs, BLOOM, LLM360
    ("stage1-step-3440000", 3_440_000, None),
    ("TinyLlama-1.1B-step-50K-105b", 50_000, 105 * B),
    ("TinyLlama-1.1B-intermediate-step-1431k-3T", 1_431_000, 3 * T),
    ("TinyLlama-1.1B-intermediate-step-715k-1.5T", 715_000, 1500 * B),
    ("multiberts-seed_0-step_1900k", 1_900_000, None),
    ("ckpt_001", 1, None),
    ("ckpt-500", 500, None),
    ("CrystalCoder_phase1_checkpoint_055500", 55_500, None),
    ("Apertus-1.7B-it800000-SFT", 800_000, None),
    # as people write them
    ("step-500k", 500_000, None),
    ("step-1M", 1_000_000, None),
    ("step-1.5m", 1_500_000, None),
    ("STEP_500", 500, None),
    ("Step 500", 500, None),
    ("steps-500", 500, None),
    ("500-steps", 500, None),
    ("10k_steps", 10_000, None),
    ("it-1000", 1000, None),
    ("checkpoint-500-best", 500, None),
    ("checkpoint-12-step-500", 500, None),
    ("step500-20240101", 500, None),
    ("step1000-7b", 1000, None),
    ("step1000tokens4B", 1000, 4 * B),
    ("tokens-4B-step-1000", 1000, 4 * B),
    # tokens alone: Viking, Poro, RedPajama, OpenLLaMA
    ("100B", None, 100 * B),
    ("2000B", None, 2000 * B),
    ("tokens-100B", None, 100 * B),
    ("tokens_900", None, 900),
    ("s-tokens1.5T", None, 1500 * B),
    ("240b_tokens", None, 240 * B),
    ("400bt", None, 400 * B),
]

NOT_READ = [
    *("main", "final", "checkpoints", "misstep5", "deeper-starling", "latest-rank0.pt", "epoch_5.pt"),
    *("checkpoint-epoch-3",),
    *("20240101", "2024-01-01", "1704067200", "v1.5", "1.5", "step1.5", "checkpoint-1.2.3", "checkpoint-3f2a9c"),
    *("7b", "7B", "405B", "110b", "8k", "llama-2-7b", "mpt-30b-8k", "Qwen2.5-7B", "checkpoint-7b", "base_5k", "gpt2"),
    *("gemma-3-4b-it-8bit", "pythia-70m-deduped", "warmup_steps_100", "lr3e-4-batch512", "train_02200B", "", "x" * 300),
]  # fmt: skip

UNCLEAR = [
    ("checkpoint-20240101", "a date or a step"),
    ("step-1,500", "the comma"),
    ("step_500_000", "two numbers"),
    ("checkpoint-500-1", "two numbers"),
    ("step500-iter600", "step 500 and step 600"),
    ("step500ema", "'ema' is no unit of steps"),
    ("step-5b", "'b' is no unit of steps"),
    ("500k", "steps, tokens or a length"),
    ("7B", "tokens seen or the size of the model"),
]


@pytest.mark.parametrize(("name", "step", "tokens"), READ)
def test_a_name_tells_its_step_and_its_tokens(name: str, step: int | None, tokens: int | None) -> None:
    found = read_name(name)
    assert (found.step, found.tokens, found.unclear) == (step, tokens, "")


@pytest.mark.parametrize("name", NOT_READ)
def test_a_number_that_is_no_step_is_not_taken_for_one(name: str) -> None:
    assert not read_name(name).tells


@pytest.mark.parametrize(("name", "why"), UNCLEAR)
def test_a_name_with_two_readings_is_not_read_and_says_why(name: str, why: str) -> None:
    found = read_name(name)
    assert not found.tells
    assert why in found.unclear
    assert name in found.unclear


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("step1000", ""),
        ("stage1-step-40000", "stage1"),
        ("stage2-ingredient3-step1000-tokens3B", "stage2-ingredient3"),
        ("multiberts-seed_3-step_20k", "seed_3"),
        ("step0-seed-large-aux-2", "seed-large-aux-2"),
    ],
)
def test_stages_and_seeds_are_trainings_of_their_own(name: str, part: str) -> None:
    assert read_name(name).part == part


@pytest.mark.parametrize(
    ("name", "is_whole"),
    [
        ("checkpoint-500", True),
        ("75", True),
        ("100B", True),
        ("epoch=1-step=1000.ckpt", True),
        ("stage2-ingredient1-step1000-tokens3B", True),
        ("intermediate-step-480k-1T", True),
        ("TinyLlama-1.1B-step-50K-105b", False),
        ("my-model-step2-sft", False),
        ("20240101", False),
    ],
)
def test_the_name_of_a_checkpoint_is_told_from_that_of_a_model(name: str, is_whole: bool) -> None:
    assert read_name(name).is_whole is is_whole


WORDS = st.sampled_from(["step", "Step", "STEPS", "global_step", "iter", "iteration", "checkpoint", "ckpt", "update"])
GAPS = st.sampled_from(["", "-", "_", "=", " ", "."])
JOINS = st.sampled_from(["-", "_", " "])
STEPS = st.integers(0, 10**8).filter(lambda n: not 19_000_000 <= n < 21_000_000)


@given(WORDS, GAPS, STEPS, st.integers(0, 9))
def test_a_step_is_read_back_from_every_word_gap_and_padding(word: str, gap: str, step: int, padding: int) -> None:
    assert read_name(f"{word}{gap}{step:0{padding}d}").step == step


@given(st.integers(1, 10**6), st.sampled_from(["k", "K", "m", "M"]), WORDS, GAPS)
def test_a_step_with_a_unit_is_multiplied(count: int, unit: str, word: str, gap: str) -> None:
    assert read_name(f"{word}{gap}{count}{unit}").step == count * UNITS[unit.lower()]


@given(STEPS, st.integers(1, 10**4), st.sampled_from("kKmMbBtT"), GAPS, GAPS, JOINS)
def test_step_and_tokens_are_read_back_in_either_order(
    step: int, count: int, unit: str, gap: str, second: str, join: str
) -> None:
    parts = [f"step{gap}{step}", f"tokens{second}{count}{unit}"]
    for name in (join.join(parts), join.join(parts[::-1])):
        found = read_name(name)
        assert (found.step, found.tokens) == (step, count * UNITS[unit.lower()])


@given(st.text(max_size=60))
def test_any_text_is_read_without_an_error_and_with_at_most_one_reading(name: str) -> None:
    found = read_name(name)
    assert not (found.tells and found.unclear)
    assert all(known is None or 0 <= known <= 10**16 for known in (found.step, found.tokens))


@pytest.mark.parametrize("name", ["-" * 250 + "step1x", "step-1-" * 36, "accum" * 50 + "-step1", "ep1_" * 62 + "ba5"])
def test_a_long_name_is_read_at_once(name: str) -> None:
    began = time.process_time()
    read_name(name)
    assert time.process_time() - began < 5


def test_checkpoints_stand_at_their_steps_or_at_their_tokens_in_the_largest_unit() -> None:
    assert axis_of([(5, None), (20, 10)]) == axis_of([(5, 1), (20, None)])
    assert (axis_of([(5, None), (20, 10)]).name, axis_of([(5, None), (20, 10)]).places) == ("step", (5, 20))
    assert axis_of([(None, 100 * B), (None, 1 * T)]).name == "billion tokens"
    assert axis_of([(None, 100 * B), (None, 1 * T)]).places == (100, 1000)
    assert axis_of([(None, 16_780 * 10**6)]).places == (16_780,)
    assert axis_of([(None, 900), (None, 2000)]).name == "tokens"
    with pytest.raises(ValueError, match="cannot be put in order"):
        axis_of([(5, None), (None, 100 * B)])


def test_an_empty_reading_tells_nothing() -> None:
    assert not NameReading().tells

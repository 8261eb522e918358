"""Which families there are: generated from the installed transformers, so that a new version brings its own."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from tests.zoo.sizes import VARIANTS

Kind = Literal["causal", "seq2seq"]
IN_BFLOAT16 = (
    *("llama", "gpt2", "gpt_neo", "gemma2", "phi3", "bloom", "mamba2", "lfm2", "gpt_oss", "falcon_h1", "mixtral"),
    *("deepseek_v3", "jamba", "t5", "bart"),
)
"""Families that are also held against one text in bfloat16."""
ROUTED = ("qwen3_moe", "olmoe", "minimax")
"""Mixtures of experts in which rounding was seen to choose another expert."""


@cache
def families() -> dict[str, Kind]:
    """Every model type that transformers opens as a causal or as a sequence-to-sequence model, by name.

    Its list of sequence-to-sequence models also holds models that hear; of text they are causal models.
    """
    from transformers import CONFIG_MAPPING
    from transformers.models.auto import modeling_auto

    found: dict[str, Kind] = dict.fromkeys(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, "causal")
    for name in modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        found[name] = "seq2seq" if CONFIG_MAPPING[name].is_encoder_decoder else "causal"
    for name in VARIANTS:
        found[name] = found[family_of(name)]
    return dict(sorted(found.items()))


def family_of(name: str) -> str:
    """The family of a variant, which is named `family:variant`."""
    return name.split(":", maxsplit=1)[0]


def opener(name: str) -> Any:
    """The class of transformers that opens the family."""
    import transformers
    from transformers.models.auto import modeling_auto

    family = family_of(name)
    if families()[family] == "causal" and family in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return transformers.AutoModelForCausalLM
    return transformers.AutoModelForSeq2SeqLM


def maker(name: str) -> Any:
    """The class that its checkpoints were saved by: with towers for pictures, where it has any."""
    import transformers
    from transformers.models.auto import modeling_auto

    family = family_of(name)
    if families()[family] == "causal" and family in modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return transformers.AutoModelForImageTextToText
    return opener(family)

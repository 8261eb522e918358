"""Which families there are: generated from the installed transformers, so that a new version brings its own."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

Kind = Literal["causal", "seq2seq"]


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
    return dict(sorted(found.items()))


def opener(family: str) -> Any:
    """The class of transformers that opens the family."""
    import transformers
    from transformers.models.auto import modeling_auto

    if families()[family] == "causal" and family in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return transformers.AutoModelForCausalLM
    return transformers.AutoModelForSeq2SeqLM


def maker(family: str) -> Any:
    """The class that its checkpoints were saved by: with towers for pictures, where it has any."""
    import transformers
    from transformers.models.auto import modeling_auto

    if families()[family] == "causal" and family in modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return transformers.AutoModelForImageTextToText
    return opener(family)

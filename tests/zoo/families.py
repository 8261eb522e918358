"""Which families there are: generated from the installed transformers, so that a new version brings its own."""

from __future__ import annotations

from typing import Literal

Kind = Literal["causal", "seq2seq"]


def families() -> dict[str, Kind]:
    """Every model type that transformers opens as a causal or as a sequence-to-sequence model, by name."""
    from transformers.models.auto import modeling_auto

    found: dict[str, Kind] = dict.fromkeys(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, "causal")
    found |= dict.fromkeys(modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES, "seq2seq")
    return dict(sorted(found.items()))

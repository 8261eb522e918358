"""Whether a model predicts a token from those before it alone: scores of one that sees what follows say nothing."""

from __future__ import annotations

import inspect

import torch

from benchbench.backends.hf.halving import computing
from benchbench.backends.models.loaded import LoadedModel
from benchbench.core.errors import ModelError

PROBE = "The answer is yes, and the reason is plain."
TOLERANCE = 1e-3
"""Share of the largest logit by which rounding may move the scores of a position (16 bits: ten times as much)."""
SWITCHES = ("is_decoder", "causal")
"""What configurations of encoders call the setting that makes them look back only."""


def check_causal(loaded: LoadedModel) -> None:
    """ModelError where the scores of every token move with the last token of the text, which none of them has seen."""
    tokens = loaded.tokenizer(PROBE, add_special_tokens=False)["input_ids"][:12]
    other = next((token for token in tokens if token != tokens[-1]), None)
    if other is None:
        return
    ids = torch.tensor([tokens, [*tokens[:-1], other]], device=loaded.device)
    accepted = inspect.signature(loaded.model.forward).parameters
    no_cache = {"use_cache": False} if "use_cache" in accepted else {}
    with torch.inference_mode(), computing(loaded.model):
        one, two = loaded.model(input_ids=ids, **no_cache).logits[:, :-1].float()
    moved = (one - two).abs().amax(-1)
    rounding = TOLERANCE if loaded.dtype == "float32" else 10 * TOLERANCE
    if bool((moved > rounding * one.abs().amax()).all()):
        raise ModelError(_sentence(loaded))


def _sentence(loaded: LoadedModel) -> str:
    config = loaded.model.config
    off = next((name for name in SWITCHES if getattr(config, name, None) is False), None)
    advice = f" If the weights were trained to write, set {off} to true in config.json." if off else ""
    return (
        f"{loaded.source.name}: {type(loaded.model).__name__} sees the tokens that it is to predict (it attends to "
        f"what follows), so its log-likelihoods would say nothing.{advice}"
    )

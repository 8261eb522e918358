"""A model of transformers asked about texts: log-probabilities of every token, and what it writes after a prefix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchbench.backends.engines import ModelOptions
from benchbench.core.errors import ArgumentError
from benchbench.extensions.memory.scores import TokenScores

if TYPE_CHECKING:
    from benchbench.backends.models.loaded import LoadedModel


@dataclass(frozen=True, slots=True)
class Continued:
    """What came after the prefix of one text."""

    tokens: int
    """That were to come."""
    right: int
    """That came as in the text before the first that did not."""

    @property
    def is_verbatim(self) -> bool:
        """All of it."""
        return self.right == self.tokens


class Probe:
    """One open model."""

    def __init__(self, options: ModelOptions) -> None:
        from benchbench.backends.hf.backend import load_model

        self._loaded: LoadedModel = load_model(options)
        if self._loaded.architecture != "causal":
            raise ArgumentError(
                f"{options.model} is an encoder-decoder; what is learned by heart is asked of causal models."
            )

    def ids(self, text: str) -> list[int]:
        """The tokens of a text, as many as the model sees behind the token before an empty context."""
        found = self._loaded.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return [int(token) for token in found][: self._loaded.max_length - 1]

    def score(self, text: str) -> TokenScores:
        """Of every token of the text. ArgumentError for a text without one."""
        import torch

        ids = self.ids(text)
        if not ids:
            raise ArgumentError(f"the tokenizer makes no token of {text[:40]!r}.")
        rows = torch.tensor([[self._loaded.prefix_token_id, *ids]], device=self._loaded.device)
        with torch.inference_mode():
            logits = self._loaded.model(input_ids=rows).logits[0, :-1].float()
            logs = torch.log_softmax(logits, dim=-1)
            chances = logs.exp()
            own = logs.gather(1, rows[0, 1:, None])[:, 0]
            mean = (chances * logs).sum(dim=-1)
            spread = ((chances * logs.square()).sum(dim=-1) - mean.square()).clamp_min(1e-12).sqrt()
            standard = (own - mean) / spread
        return TokenScores(own.double().cpu().numpy(), standard.double().cpu().numpy())

    def continued(self, text: str, prefix: int, suffix: int) -> Continued | None:
        """How far the likeliest continuation of the first `prefix` tokens is the text's; None for shorter texts."""
        import torch

        ids = self.ids(text)
        if len(ids) < prefix + suffix:
            return None
        goal = ids[prefix : prefix + suffix]
        rows = torch.tensor([[self._loaded.prefix_token_id, *ids[: prefix + suffix]]], device=self._loaded.device)
        # Greedy writing goes on as the text does until the first place where the likeliest token is another one.
        with torch.inference_mode():
            best = self._loaded.model(input_ids=rows).logits[0, prefix:-1].argmax(dim=-1).cpu().numpy()
        other = np.flatnonzero(best != np.array(goal))
        return Continued(suffix, int(other[0]) if len(other) else suffix)


def probe_all(probe: Probe, texts: Sequence[str]) -> list[TokenScores]:
    """Of every text."""
    return [probe.score(text) for text in texts]

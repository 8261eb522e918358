"""Which settings an engine can honour. What it cannot is refused with a sentence, never left out silently."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from benchbench.core.types import GenerationParams


@dataclass(frozen=True, slots=True)
class Abilities:
    """What an engine can do beyond writing the most likely token, or a drawn one."""

    beams: bool = True
    ngrams: bool = True
    """Forbid that an n-gram comes twice."""
    hottest: float = inf
    """The highest temperature it takes."""


def refusal(params: GenerationParams, engine: str, able: Abilities) -> str | None:
    """Why `engine` cannot write with these settings, as a sentence, or None if it can."""
    asked = {
        f"beam search (num_beams={params.num_beams})": params.num_beams > 1 and not able.beams,
        f"no_repeat_ngram_size={params.no_repeat_ngram_size}": params.no_repeat_ngram_size > 0 and not able.ngrams,
        f"temperature={params.temperature}": params.do_sample and params.temperature > able.hottest,
    }
    names = [name for name, is_asked in asked.items() if is_asked]
    if names:
        return f"The task asks for {' and '.join(names)}, which {engine} cannot do; --backend hf can."
    if params.src_lang is not None or params.tgt_lang is not None:
        return (
            "This prompt is a bare sentence, and language tokens say from and into which language it is translated; "
            "only translation models such as NLLB have them, on --backend hf. Give another --prompt."
        )
    return None

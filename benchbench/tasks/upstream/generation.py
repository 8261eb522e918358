"""lm-eval's `generation_kwargs` → GenerationParams, by the rules of its HF backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchbench.core.errors import TaskError
from benchbench.core.types import GenerationParams
from benchbench.tasks.gen_kwargs import LENGTHS

OTHERS = ("top_k", "top_p", "num_beams", "length_penalty", "repetition_penalty", "no_repeat_ngram_size")
WITHOUT_EFFECT = ("do_sample", "temperature", "until", "seed", "use_cache", "early_stopping", "pad_token_id")


def params_of(kwargs: Mapping[str, Any], where: str, seed: int) -> GenerationParams:
    """Settings of one request. Without a length 256 tokens; greedy unless it samples at a temperature above 0.

    Raises:
        TaskError: an option that our backends do not have, or a value that is no number.
    """
    until = kwargs.get("until") or ()
    unknown = [name for name in kwargs if name not in (*LENGTHS, *OTHERS, *WITHOUT_EFFECT)]
    if unknown:
        raise TaskError(f"{where} has {unknown[0]!r}, which no backend here knows.")
    given = {name: kwargs[name] for name in (*OTHERS, *LENGTHS) if kwargs.get(name) is not None}
    wanted = kwargs.get("do_sample")
    try:
        temperature = float(kwargs.get("temperature") or 0.0)
        sampled = temperature > 0 and (wanted is None or bool(wanted))
        return GenerationParams(
            until=(until,) if isinstance(until, str) else tuple(str(stop) for stop in until),
            max_gen_toks=next((int(given[name]) for name in LENGTHS if name in given), 256),
            do_sample=sampled,
            temperature=temperature if sampled else 1.0,
            top_k=int(given["top_k"]) if sampled and "top_k" in given else None,
            top_p=float(given["top_p"]) if sampled and "top_p" in given else None,
            num_beams=int(given.get("num_beams", 1)),
            length_penalty=float(given.get("length_penalty", 1.0)),
            repetition_penalty=float(given.get("repetition_penalty", 1.0)),
            no_repeat_ngram_size=int(given.get("no_repeat_ngram_size", 0)),
            seed=seed if sampled else 0,
        )
    except (TypeError, ValueError) as error:
        raise TaskError(f"{where}: {error}.") from error

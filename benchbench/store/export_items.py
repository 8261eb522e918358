"""Items as lines of lm-eval's samples JSONL: what was answered to each doc, in the layout that its tools read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchbench.core.ids import content_hash
from benchbench.core.registry import influence_column
from benchbench.core.types import Item

OWN = (
    *("cluster", "prompt_name", "item_key", "gold", "targets", "prediction", "outcome", "tie", "is_greedy"),
    *("num_tokens", "prompt_tokens", "finish_reasons", "dropped_shots", "truncated_tokens"),
)
"""Fields of an item that a sample has no place for, or changes. They stand under `benchbench` in each line, so that an
import gives the same item again."""
ROLLING = ("word_perplexity", "byte_perplexity", "bits_per_byte")
"""Metrics whose sample holds (log-likelihood of the text, words or bytes of it) instead of a value."""


def to_samples(record: Mapping[str, Any], items: Sequence[Item]) -> Iterator[dict[str, Any]]:
    """A line per doc and filter of one task, without the docs that failed: lm-eval knows no such outcome.

    An item holds what was answered, not what was asked: `arg_0`, the prompt, is empty except for the one doc whose
    prompt the record keeps as an example. `doc` holds the right answers instead of the data set's row.
    """
    for item in items:
        if item.outcome != "failed":
            task = record["tasks"][item.task]
            filters = [str(one["name"]) for one in task["scoring"].get("filters", ())]
            for place, pipeline in enumerate(filters if len(filters) > 1 else ["none"]):
                yield _sample(item, task, pipeline, is_first=place == 0)


def _sample(item: Item, task: Mapping[str, Any], pipeline: str, *, is_first: bool) -> dict[str, Any]:
    scores = _scores(item, pipeline)
    asked: list[Any] = [list(item.texts)]
    filtered: list[Any] = [item.prediction if is_first else None]
    if task.get("output_type") == "loglikelihood_rolling":
        filtered = [repr(ll) for ll in item.loglikelihoods]
        asked = [[one] for one in filtered]
        scores |= {
            name: _pair(name, scores[name], math.fsum(item.loglikelihoods)) for name in ROLLING if name in scores
        }
    elif item.loglikelihoods:
        filtered = [[repr(ll), str(greedy)] for ll, greedy in zip(item.loglikelihoods, item.is_greedy, strict=True)]
        asked = [[one] for one in filtered]
    return {
        "doc_id": item.doc_id,
        "doc": {"targets": list(item.targets), "gold": item.gold},
        "target": item.gold or "",
        "arguments": {f"gen_args_{i}": pair for i, pair in enumerate(_arguments(item, task))},
        "resps": asked,
        "filtered_resps": filtered,
        "filter": pipeline,
        "metrics": [name for name in scores if not name.endswith(influence_column(""))],
        "doc_hash": item.doc_hash,
        "prompt_hash": item.item_key,
        "target_hash": content_hash(list(item.targets)),
        **scores,
        "benchbench": {name: getattr(item, name) for name in OWN},
    }


def _scores(item: Item, pipeline: str) -> dict[str, Any]:
    """Metric → item score of this filter, the filter's name left out."""
    end = "" if pipeline == "none" else f",{pipeline}"
    found = {}
    for name, score in item.scores.items():
        for column in (name, name.removesuffix(influence_column(""))):
            if column.endswith(end):
                bare = column.removesuffix(end)
                finite = score is not None and math.isfinite(score)
                found[bare if column == name else influence_column(bare)] = score if finite else None
                break
    return found


def _pair(name: str, score: float | None, total: float) -> tuple[float, int] | None:
    """(log-likelihood, words or bytes), worked out from the score, of which they are the only two parts."""
    nats = None if score is None or score <= 0 else score * math.log(2) if name == "bits_per_byte" else math.log(score)
    return None if not nats else (total, round(-total / nats))


def _arguments(item: Item, task: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Prompt and continuation of each request, choices first; a prompt that is not known is empty."""
    example = task.get("example") or {}
    known = example.get("doc_id") == item.doc_id and example.get("characters") == len(example.get("prompt", ""))
    prompt = str(example["prompt"]) if known else ""
    if not item.loglikelihoods:
        yield {"arg_0": prompt, "arg_1": dict(task["resolved"].get("generation_kwargs") or {})}
        return
    if task.get("output_type") == "loglikelihood_rolling":
        yield from ({"arg_0": prompt or "".join(item.targets[:1])} for _ in item.loglikelihoods)
        return
    delimiter = str(task["resolved"].get("target_delimiter", " "))
    for i in range(len(item.loglikelihoods)):
        # Log-likelihoods after those of the choices are of the same choices without the prompt.
        alone = i >= len(item.targets)
        choice = item.targets[i % len(item.targets)] if item.targets else ""
        yield {"arg_0": "" if alone else prompt, "arg_1": delimiter + choice}

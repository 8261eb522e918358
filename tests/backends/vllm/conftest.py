"""Engines for the tests of this folder: one at a time, because vLLM keeps global state."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchbench.backends import open_backend
from benchbench.backends.engines import ModelOptions
from benchbench.core.types import Loglikelihood, LoglikelihoodRequest, Prompt
from tests.models import DEVICE, EAGER

TEXT = (
    "Praha je hlavní město České republiky a leží na řece Vltavě. Le garçon a mangé une pomme rouge près de la forêt. "
    "The quick brown fox jumps over the lazy dog, and the cold air came in; the book was on the table. "
    "Příliš žluťoučký kůň úpěl ďábelské ódy, zatímco pes spal u kamen. L'été dernier, nous avons visité Paris. "
)


@contextlib.contextmanager
def opened(folder: Path, backend: str, **options: Any) -> Iterator[Any]:
    """A backend over the model in `folder`, in fp32, closed at the end."""
    if backend == "vllm":
        options = {**options, "model_args": (*EAGER, *options.get("model_args", ()))}
    engine = open_backend(ModelOptions(str(folder), backend=backend, dtype="float32", device=DEVICE, **options))
    try:
        yield engine
    finally:
        engine.close()


def totals(backend: Any, requests: Sequence[LoglikelihoodRequest]) -> dict[tuple[str, int, int], Loglikelihood]:
    """Answer by key; every request must have one."""
    answers = {answer.request.key: answer for answer in backend.loglikelihood(requests)}
    assert set(answers) == {request.key for request in requests}
    assert all(isinstance(answer, Loglikelihood) for answer in answers.values())
    return answers


def largest_difference(one: dict[Any, Loglikelihood], two: dict[Any, Loglikelihood]) -> float:
    """In nats, over all requests."""
    assert one.keys() == two.keys()
    return max(abs(one[key].total - two[key].total) for key in one)


def mixed_requests(count: int, seed: int = 0, *, longest: int = 300) -> list[LoglikelihoodRequest]:
    """Contexts from nothing to `longest` characters, nested in each other, shared, repeated; continuations from one
    letter to several blocks of the cache; in random order.
    """
    rng = random.Random(seed)
    text = TEXT * (2 + longest // len(TEXT))
    requests = []
    for doc in range(count):
        begin = rng.choice([0, 0, 0, 7, 50])
        cut = begin + rng.choice([0, 1, 30, 60, 90, 120, rng.randrange(longest)])
        end = cut + rng.choice([1, 2, 5, 40, 41, 100, 150])
        continuation = rng.choice([text[cut:end], text[cut:end] + "A", " A", " B", " že", text[cut : cut + 60]])
        requests.append(LoglikelihoodRequest("t", doc, 0, Prompt("", (), text[begin:cut]), continuation))
    rng.shuffle(requests)
    return requests

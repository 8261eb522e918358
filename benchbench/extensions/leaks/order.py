"""Does a model prefer the order in which a benchmark is published? Then it has read the file.

Docs of a test set are exchangeable for a model that never saw them: no order of them is likelier than another, on
average over what orders could have been published. Each shard of neighbouring docs is scored as one text in the
published order and in random ones; the log-likelihoods of the shards' k-th orders are summed. With m random orders the
published one has rank r among m + 1, and p = r/(m + 1) is exact, whatever the model and the docs.
Source: Oren, Meister, Chatterji, Ladhak & Hashimoto, arXiv 2310.17623; exactness: Phipson & Smyth, Stat. Appl. Genet.
Mol. Biol. 9 (2010).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchbench.backends.protocol import Backend
from benchbench.core.errors import ArgumentError, BackendError
from benchbench.core.types import Loglikelihood, RenderedDoc, RollingRequest
from benchbench.extensions.leaks.search import text_of
from benchbench.stats.influence import Floats

FEWEST_DOCS = 8


@dataclass(frozen=True, slots=True)
class OrderOptions:
    """How orders are compared. ArgumentError for numbers that make no sense."""

    orders: int = 199
    """Random orders; p is a multiple of 1/(orders + 1)."""
    shard: int = 10
    """Docs of a text."""
    limit: int | None = 500
    """First docs of the task that are used; None: all."""
    seed: int = 1234

    def __post_init__(self) -> None:
        if self.orders < 19:
            raise ArgumentError(f"--orders is {self.orders}; 19 at least are needed for a p of .05, 199 for .005.")
        if self.shard < 3:
            raise ArgumentError(f"--shard is {self.shard}; a text has 3 docs at least.")


@dataclass(frozen=True, slots=True)
class OrderTest:
    """What the orders say."""

    task: str
    docs: int
    shards: int
    orders: int
    published: float
    """Log-likelihood of the published order, per doc, in nats."""
    shuffled: float
    """Mean of the random ones."""
    p: float
    """One-sided: the published order is no likelier than random ones."""


def permutation_p(totals: Floats) -> float:
    """Exact one-sided p of the first of exchangeable values being the largest; ties count against it."""
    values = np.asarray(totals, dtype=np.float64)
    return float((values >= values[0]).sum() / len(values))


def texts_of(docs: Sequence[str], options: OrderOptions) -> list[list[str]]:
    """For each shard the published text, then random orders."""
    rng = np.random.default_rng(options.seed)
    shards = [docs[start : start + options.shard] for start in range(0, len(docs), options.shard)]
    found = []
    for shard in shards:
        if len(shard) < 3:
            continue
        orders = [np.arange(len(shard)), *(rng.permutation(len(shard)) for _ in range(options.orders))]
        found.append(["\n\n".join(shard[k] for k in order) for order in orders])
    return found


def order_test(task: str, docs: Sequence[RenderedDoc], backend: Backend, options: OrderOptions) -> OrderTest:
    """The test on one task.

    Raises:
        ArgumentError: too few docs.
        BackendError: a text could not be scored.
    """
    texts = [text_of(doc) for doc in docs[: options.limit]]
    if len(texts) < FEWEST_DOCS:
        raise ArgumentError(f"{task} has {len(texts)} docs; the order test takes {FEWEST_DOCS} at least.")
    shards = texts_of(texts, options)
    width = options.orders + 1
    flat = [text for shard in shards for text in shard]
    requests = [RollingRequest(task, place // width, place % width, text) for place, text in enumerate(flat)]
    likely = np.full((len(shards), width), np.nan)
    for answer in backend.loglikelihood_rolling(requests):
        if not isinstance(answer, Loglikelihood):
            raise BackendError(f"{task}: an order could not be scored ({answer.kind}: {answer.message}).")
        likely[answer.request.doc_id, answer.request.index] = answer.total
    totals = likely.sum(axis=0)
    used = sum(min(options.shard, len(texts) - k * options.shard) for k in range(len(shards)))
    mean = float(totals[1:].mean())
    return OrderTest(task, used, len(shards), options.orders, totals[0] / used, mean / used, permutation_p(totals))

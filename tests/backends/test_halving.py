"""A full memory: batches are halved until they fit, and what did not fit is not tried again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from benchbench.backends.hf.generate import CausalGenerator
from benchbench.backends.hf.halving import Halving, halves
from benchbench.backends.hf.scorer import CausalScorer
from benchbench.backends.hf.seq2seq import Seq2SeqEngine
from benchbench.backends.plan import PlanLeaf, PlanReader, PlanRow
from benchbench.backends.tokens import Exhausted

ROWS = 2
"""That memory holds."""


def run(piece: Sequence[int]) -> list[int]:
    if len(piece) > ROWS:
        raise MemoryError("out of memory")
    return list(piece)


def test_every_engine_that_halves_does_it_here() -> None:
    assert all(issubclass(engine, Halving) for engine in (CausalScorer, CausalGenerator, Seq2SeqEngine))


@pytest.mark.parametrize("size", [None, len])
def test_what_memory_holds_is_remembered_from_batch_to_batch(size) -> None:
    engine = Halving()
    for _ in range(20):
        answers = list(engine.in_pieces(list(range(8)), run, smaller=halves, requests=list, size=size))
        assert answers == list(range(8))
    assert engine.retries == 2, "eight rows, then four; never again"
    assert engine.batches == 20 * 4


def test_the_pair_scorer_measures_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(model, layout, block, states, piece):
        return run(piece)

    monkeypatch.setattr("benchbench.backends.hf.scorer.run_batch", full)
    scorer = CausalScorer.__new__(CausalScorer)
    scorer.model = None
    rows = [PlanRow((PlanLeaf((1, 2, 3), (PlanReader(i, 1, (3,)),)),), 0, 3) for i in range(8)]
    for _ in range(20):
        assert len(list(scorer._batch("plain", None, None, rows))) == 8
    assert scorer.retries == 2


def test_one_request_that_does_not_fit_alone_is_named_and_holds_no_other_back() -> None:
    def narrow(piece: Sequence[int]) -> list[int]:
        if 99 in piece:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB")
        return list(piece)

    engine = Halving()
    (lost,) = engine.in_pieces([99], narrow, smaller=halves, requests=list)
    assert isinstance(lost, Exhausted)
    assert (lost.request, engine.retries) == (99, 1)
    assert list(engine.in_pieces([1, 2, 3, 4], narrow, smaller=halves, requests=list)) == [1, 2, 3, 4]
    assert (engine.retries, engine.batches) == (1, 1)


def test_other_errors_are_not_taken_for_a_full_memory() -> None:
    def broken(piece: Sequence[int]) -> list[int]:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        list(Halving().in_pieces([1, 2], broken, smaller=halves, requests=list))

"""The order test: exact where nothing was read, sure where the file was, and refusals."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

from benchbench.core.errors import ArgumentError, BackendError
from benchbench.core.types import Failure, Loglikelihood
from benchbench.extensions.leaks.order import OrderOptions, order_test, permutation_p, texts_of
from benchbench.extensions.leaks.search import text_of
from tests.cli.command import World, benchbench
from tests.extensions.leaks.test_search import DOCS


class Reader:
    """A model that likes some text more after other text: by how much is drawn for each pair of neighbours."""

    def __init__(self, seed, likes=0.0):
        self.rng = np.random.default_rng(seed)
        self.likes = likes
        self.known = {}
        self.after = {text_of(a): text_of(b) for a, b in pairwise(DOCS)}

    def loglikelihood_rolling(self, requests):
        for request in requests:
            parts = request.text.split("\n\n")
            total = 0.0
            for pair in pairwise(parts):
                if pair not in self.known:
                    self.known[pair] = self.rng.normal() + self.likes * (self.after.get(pair[0]) == pair[1])
                total += self.known[pair]
            yield Loglikelihood(request, total, False, 1)


def test_a_model_that_read_the_file_is_found():
    found = order_test("t", DOCS, Reader(1, likes=3.0), OrderOptions(orders=199))
    assert found.p < 0.01
    assert found.published > found.shuffled
    assert (found.docs, found.shards) == (20, 2)


def test_a_model_that_did_not_has_a_uniform_p():
    """1,000 models; 19 orders give 20 possible values of p, each in a twentieth of cases."""
    p = np.array([order_test("t", DOCS[:8], Reader(seed), OrderOptions(19, 4)).p for seed in range(1000)])
    counts = np.bincount((p * 20).round().astype(int), minlength=21)[1:]
    assert counts.sum() == 1000
    assert ((counts - 50) ** 2 / 50).sum() < 43.8, "chi-squared with 19 degrees of freedom, p = .001"


def test_p_is_the_rank_and_ties_count_against_the_claim():
    assert permutation_p(np.array([3.0, 1, 2, 0])) == 0.25
    assert permutation_p(np.array([0.0, 1, 2, 3])) == 1.0
    assert permutation_p(np.array([3.0, 3, 3, 3])) == 1.0


def test_the_first_text_is_the_published_order_and_a_rest_of_two_docs_is_left_out():
    texts = texts_of([f"d{n}" for n in range(12)], OrderOptions(19, 5))
    assert len(texts) == 2
    assert texts[0][0] == "d0\n\nd1\n\nd2\n\nd3\n\nd4"
    assert all(sorted(text.split("\n\n")) == sorted(texts[0][0].split("\n\n")) for text in texts[0])


def test_bad_input_gets_a_sentence():
    with pytest.raises(ArgumentError, match="19 at least"):
        OrderOptions(orders=5)
    with pytest.raises(ArgumentError, match="3 docs at least"):
        OrderOptions(shard=2)
    with pytest.raises(ArgumentError, match="takes 8 at least"):
        order_test("t", DOCS[:4], Reader(1), OrderOptions())

    class Broken:
        def loglikelihood_rolling(self, requests):
            yield Failure(requests[0], "out_of_memory", "no room")

    with pytest.raises(BackendError, match="out_of_memory: no room"):
        order_test("t", DOCS, Broken(), OrderOptions())


@pytest.mark.slow
def test_the_command(tmp_path):
    world = World(tmp_path)
    words = ["--model", "scripted:hash", "--tasks", "toy_quiz", "--orders", 19, "--shard", 4]
    words += ["--include-path", world.path / "tasks", "--data-root", world.path / "hub", "--output", world.results]
    done = benchbench("leaks", "order", *words, "--json")
    assert done.returncode == 0, done.stderr
    (facts,) = json.loads(done.stdout)
    assert facts["task"] == "toy_quiz"
    assert 0.05 <= facts["p"] <= 1
    assert "published" in benchbench("leaks", "order", *words, columns=100).stdout

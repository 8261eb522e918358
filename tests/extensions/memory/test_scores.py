"""Scores of membership against their definitions, exposure, and files that say too little."""

from __future__ import annotations

import json
import math
import zlib

import numpy as np
import pytest

from benchbench.core.errors import ArgumentError
from benchbench.extensions.memory.measure import MemoryOptions
from benchbench.extensions.memory.scores import TokenScores, areas, exposure, lowest, methods
from benchbench.extensions.memory.texts import read_texts


def test_scores_are_what_their_papers_say():
    tokens = TokenScores(np.array([-1.0, -5, -2, -4, -3, -1, -1, -1, -1, -1]), np.arange(10.0))
    other = TokenScores(np.full(10, -3.0), np.zeros(10))
    found = methods(tokens, "abc" * 20, other)
    assert found["loss"] == -2.0
    assert found["min_k"] == -4.5
    assert found["min_k++"] == 0.5
    assert found["zlib"] == pytest.approx(-20 / len(zlib.compress(b"abc" * 20)))
    assert found["reference"] == 1.0
    assert "reference" not in methods(tokens, "abc")
    assert lowest(np.array([7.0])) == 7.0


def test_areas_have_delongs_error_and_an_interval_that_holds():
    rng = np.random.default_rng(1)
    held = []
    for _ in range(200):
        values = np.concatenate([rng.normal(1, 1, 40), rng.normal(0, 1, 60)])
        (area,) = areas([True] * 40 + [False] * 60, {"loss": values.tolist()})
        held.append(area.interval.low <= 0.7602 <= area.interval.high)
    assert 0.91 <= np.mean(held) <= 0.99
    assert 0.03 < area.stderr < 0.07


def test_exposure_is_the_rank_in_bits_and_ties_count_against_it():
    found = exposure("pin", [5.0, 0.5], [0.0] * 31)
    assert (found.mean, found.most, found.first) == (5.0, 5.0, 2)
    assert exposure("pin", [0.0], [0.0] * 31).mean == 0.0
    assert exposure("pin", [1.0], [2.0, 0, 0]).mean == pytest.approx(2 - math.log2(2))


def test_exposure_of_what_was_not_learned_is_as_the_table_says():
    rng = np.random.default_rng(1)
    bits = [exposure("pin", [rng.random()], rng.random(255).tolist()).mean for _ in range(3000)]
    assert np.mean(bits) == pytest.approx(1.44, abs=0.1)


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ([{"text": "a", "member": True}] * 5, "5 members and 0 other texts; 3 of each"),
        (["{"], "line 1 is no JSON"),
        ([{"text": "a"}], "line 1: expected"),
        ([{"text": "a", "member": 1}], "line 1: expected"),
        ([{"text": " ", "member": True}], "the text is empty"),
        ([{"text": "a", "member": True, "canary": 3}], "canary is the name of a kind"),
    ],
)
def test_files_that_say_too_little_get_a_sentence(tmp_path, rows, what):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    with pytest.raises(ArgumentError, match=what):
        read_texts(path)


def test_a_missing_file_and_prefixes_of_nothing_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match="cannot be read"):
        read_texts(tmp_path / "none.jsonl")
    with pytest.raises(ArgumentError, match="--prefix is 0"):
        MemoryOptions(prefix=0)

import math

import numpy as np
import pytest

from benchbench.core.errors import StoreError
from benchbench.store.folder import RunFolder, RunWriter
from benchbench.store.scores import pair, read_scores
from tests.store.make import finished_run, item, plan


def run_with(path, items):
    with RunWriter(path, plan()) as writer:
        writer.open_task("toy").close()
        writer.seal("toy", items)
    return RunFolder(path)


def test_a_column_comes_in_the_order_of_docs_with_failures_as_nan(tmp_path):
    failed = item(1, outcome="failed", scores={"acc": None}, failure="nan")
    run = run_with(tmp_path / "a", [item(2, cluster="p"), failed, item(0)])
    found = read_scores(run, "toy", "acc")
    assert found.keys == ((0, "default"), (1, "default"), (2, "default"))
    assert found.clusters == (None, None, "p")
    assert np.isnan(found.values).tolist() == [False, True, False]


def test_a_metric_named_like_a_fixed_column_is_found(tmp_path):
    run = run_with(tmp_path / "a", [item(0, scores={"gold": 0.25})])
    assert read_scores(run, "toy", "gold").values.tolist() == [0.25]


def test_what_is_not_there_is_a_sentence(tmp_path):
    run = RunFolder(finished_run(tmp_path / "a"))
    with pytest.raises(StoreError, match="no finished items of tos"):
        read_scores(run, "tos", "acc")
    with pytest.raises(StoreError, match="no score 'bleu'; they have acc, bpb_gold"):
        read_scores(run, "toy", "bleu")


def test_pairs_are_the_docs_that_all_have_a_score_for(tmp_path):
    one = run_with(tmp_path / "a", [item(i, scores={"acc": float(i)}) for i in range(4)])
    two = run_with(
        tmp_path / "b", [item(i, scores={"acc": None if i == 2 else -float(i)}, cluster=f"p{i}") for i in (1, 2, 3, 9)]
    )
    found = pair([read_scores(run, "toy", "acc") for run in (one, two)])
    assert found.keys == ((1, "default"), (3, "default"))
    assert found.values.tolist() == [[1, 3], [-1, -3]]
    assert found.dropped == 3  # doc 0 and 9 are in one run only, doc 2 has no score
    assert not math.isnan(found.values.sum())


def test_one_doc_id_for_two_docs_is_refused(tmp_path):
    one = run_with(tmp_path / "a", [item(0)])
    two = run_with(tmp_path / "b", [item(0, doc_hash="other")])
    with pytest.raises(StoreError, match="different docs"):
        pair([read_scores(run, "toy", "acc") for run in (one, two)])

"""Tiny random models, the whole public path: log-likelihoods, generated texts and metrics are lm_eval 0.4.13's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval", reason="lm_eval is the reference; install the extra [lm-eval]")

from benchbench.scoring.score import score_doc
from tests import models
from tests.parity import ours, upstream
from tests.parity.compare import LOGLIKELIHOOD_TOLERANCE, Model, Row, compare, compare_metrics

FIXTURES = Path(__file__).parent / "fixtures"
MAKERS = {"tiny Llama": models.tiny_llama, "tiny MPT": models.tiny_mpt, "custom code": models.custom_code}
METRICS = {
    "hellaswag": {"acc", "acc_norm"},
    "boolq": {"acc"},
    "belebele_ces_Latn": {"acc", "acc_norm"},
    "mmlu_anatomy": {"acc"},
    "lambada_openai": {"perplexity", "acc"},
    "wikitext": {"word_perplexity", "byte_perplexity", "bits_per_byte"},
    "triviaqa": {"exact_match"},
    "nq_open": {"exact_match"},
    "gsm8k": {"exact_match,strict-match", "exact_match,flexible-extract"},
    "wmt14-en-fr": {"bleu", "ter", "chrf"},
}

SHOTS = {"wikitext": (0,), "triviaqa": (0,), "nq_open": (2,), "gsm8k": (2,), "wmt14-en-fr": (2,)}


@pytest.fixture(scope="module", params=MAKERS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = MAKERS[request.param](tmp_path_factory.mktemp("model"), max_length=2048)
    return Model(str(folder), batch_size=4, trust_remote_code=request.param == "custom code")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads only wait for each other on models this small."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


CASES = [(name, shots) for name in METRICS for shots in SHOTS.get(name, (0, 2))]


@pytest.mark.parametrize(("name", "num_fewshot"), CASES)
def test_scores_are_lm_evals(name: str, num_fewshot: int, model: Model) -> None:
    row = compare(name, num_fewshot, data_root=FIXTURES, limit=None, model=model)
    assert row.problems == []
    assert set(row.metrics) == METRICS[name]
    assert row.loglikelihoods + row.generations == row.prompts > 0
    assert row.largest_difference is None or row.largest_difference <= LOGLIKELIHOOD_TOLERANCE


def shift_upstream(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any]) -> None:
    """Change lm-eval's first response, as if its backend had said so."""
    original = upstream.answer

    def answer(path: str, docs: list[list[Any]], batch_size: int, trust_remote_code: bool) -> None:
        original(path, docs, batch_size, trust_remote_code)
        docs[0][0].resps[0] = change(docs[0][0].resps[0])

    monkeypatch.setattr(upstream, "answer", answer)


def test_a_wrong_log_likelihood_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(str(models.tiny_llama(tmp_path, max_length=2048)), batch_size=4)
    shift_upstream(monkeypatch, lambda said: (said[0] - 0.01, said[1]))
    row = compare("piqa", 0, data_root=FIXTURES, limit=None, model=model)
    assert any("log-likelihoods differ" in problem for problem in row.problems)


@pytest.mark.parametrize(("shift", "excused"), [(0.0012, True), (0.1, False), (float("nan"), False)])
def test_only_a_gap_as_small_as_rounding_is_excused(
    shift: float, excused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model(str(models.tiny_llama(tmp_path, max_length=2048)), batch_size=4)
    shift_upstream(monkeypatch, lambda said: said + shift)
    row = compare("wikitext", 0, data_root=FIXTURES, limit=None, model=model)
    assert any("log-likelihoods differ" in problem for problem in row.problems) is not excused
    assert ("softmax_dtype=float64" in (row.note or "")) is excused


def written(target: str, position: int) -> str:
    """What a model that is partly right might write."""
    number = target.rpartition("#### ")[2]
    texts = (
        f" {target}",
        f" the {target.upper()}!",
        "",
        f" {target.swapcase()}s",
        f" {' '.join(target.split()[:2])}",
        f" I think it is ${number}. No, 3,5",
        f" {target.replace('#### ', '#### $')}",
        f" An {target}",
        f" Les {target.lower()}, le {target}",
    )
    return texts[position % len(texts)]


WRITTEN = (
    "triviaqa",
    "nq_open",
    "gsm8k",
    "wmt14-en-fr",
    "wmt14-fr-en",
    "flores_spa-eng",
    "mmlu_prox_cs_law",
    "french_bench_trivia",
    "french_bench_fquadv2",
    "french_bench_fquadv2_hasAns",
    "french_bench_fquadv2_genq",
    "french_bench_multifquad",
)


@pytest.mark.parametrize("turn", range(3))
@pytest.mark.parametrize("name", WRITTEN)
def test_metrics_of_texts_that_are_partly_right_are_lm_evals(name: str, turn: int) -> None:
    source = upstream.Source(FIXTURES)
    task = upstream.load(name, source, 0)
    before = "Odpověď je " if name == "mmlu_prox_cs_law" else ""
    theirs, prepared = upstream.build(task, None), ours.load(name, source, 0, None)
    for doc, instances in zip(prepared.docs, theirs, strict=True):
        instances[0].resps.append(written(before + doc.targets[-1], doc.doc.id + turn))
    responses = [
        [ours.response(doc.requests[0], said[0].resps[0])] for doc, said in zip(prepared.docs, theirs, strict=True)
    ]
    row = Row(name, 0, len(theirs))
    compare_metrics(row, prepared, task, theirs, responses)
    assert row.problems == []
    assert any((value["lm_eval"] or 0) > 0 for value in row.metrics.values()), "nothing was right: the test says little"


@pytest.mark.parametrize("name", ["hellaswag", "boolq", "belebele_ces_Latn", "mmlu_anatomy"])
def test_ties_go_to_the_first_choice_as_in_lm_eval(name: str) -> None:
    source = upstream.Source(FIXTURES)
    task = upstream.load(name, source, 0)
    theirs, prepared = upstream.build(task, None), ours.load(name, source, 0, None)
    for doc in theirs:
        for instance in doc:
            instance.resps.append((-1.0, False))
    responses = [[ours.response(request, (-1.0, False)) for request in doc.requests] for doc in prepared.docs]
    row = Row(name, 0, len(theirs))
    compare_metrics(row, prepared, task, theirs, responses)
    assert row.problems == []
    drawn = [
        score_doc(prepared.task.scoring, *pair).scores["acc"] for pair in zip(prepared.docs, responses, strict=True)
    ]
    first = [
        score_doc(ours.scoring(prepared), *pair).scores["acc"] for pair in zip(prepared.docs, responses, strict=True)
    ]
    assert drawn != first, "nothing was drawn: the test says little"

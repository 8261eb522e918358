"""The same log-likelihoods and texts through lm-eval's own task class give the same numbers."""

from __future__ import annotations

import random
from typing import Any

import pytest

from benchbench.core.types import FilterSpec, Loglikelihood, MetricResult
from benchbench.scoring.aggregation import aggregate
from tests.scoring.make import choice_doc, items_of, lm_eval_task, rolling_doc, spec_of, target_doc, text_doc

pytest.importorskip("lm_eval")

WORDS = ["kočka", "pes", "le chat", "the dog", "ano", "ne", "über", "a", "12", "1,200"]


def their_values(task: Any, rows: list[dict[str, Any]], results: list[list[Any]]) -> dict[str, tuple[float, Any]]:
    """lm-eval's aggregate and, for means, its stderr for every metric of a task."""
    from lm_eval.api.metrics import stderr_for_metric

    scored = [task.process_results(row, result) for row, result in zip(rows, results, strict=True)]
    found = {}
    for name, aggregation in task.aggregation().items():
        values = [score[name] for score in scored]
        closed_form = aggregation.__name__ == "mean"
        stderr = stderr_for_metric(aggregation, 2) if closed_form else None
        found[name] = (float(aggregation(values)), None if stderr is None else float(stderr(values)))
    return found


def check(ours: list[MetricResult], theirs: dict[str, tuple[float, Any]]) -> None:
    assert {row.metric for row in ours} >= set(theirs)
    for row in ours:
        if row.metric in theirs:
            value, stderr = theirs[row.metric]
            assert row.value == pytest.approx(value, abs=1e-9), row.metric
            if stderr is not None:
                assert row.stderr == pytest.approx(stderr, abs=1e-9), row.metric


@pytest.mark.parametrize("seed", range(5))
def test_multiple_choice_metrics_are_equal(seed: int) -> None:
    rng = random.Random(seed)
    names = ["acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match", "brier_score", "f1", "mcc"]
    rows, docs, results = [], [], []
    for i in range(40):
        choices = rng.sample(WORDS, 2)
        gold = rng.randrange(2)
        lls = [-rng.choice([1.0, 2.0, rng.uniform(0.1, 9)]) for _ in choices]
        alone = [-rng.uniform(0.1, 9) for _ in choices]
        greedy = [rng.random() < 0.5 for _ in choices]
        rows.append({"q": "Q", "options": choices, "label": gold})
        docs.append(choice_doc(choices, [gold], lls, doc_id=i, greedy=greedy, alone=alone))
        results.append(list(zip([*lls, *alone], greedy * 2, strict=True)))
    task = lm_eval_task(
        rows,
        output_type="multiple_choice",
        doc_to_choice="options",
        doc_to_target="label",
        metric_list=[{"metric": name} for name in names],
    )
    first = {name: {"ties": "first"} if name.startswith("acc") else {} for name in names}
    spec = spec_of("multiple_choice", *first.items())
    check(aggregate(spec, items_of(spec, docs)), their_values(task, rows, results))


def test_several_right_choices_are_equal() -> None:
    rng = random.Random(9)
    rows, docs, results = [], [], []
    for i in range(30):
        choices, gold = rng.sample(WORDS, 4), sorted(rng.sample(range(4), 2))
        lls, greedy = [-rng.uniform(0.1, 9) for _ in choices], [rng.random() < 0.3 for _ in choices]
        rows.append({"q": "Q", "options": choices, "label": gold})
        docs.append(choice_doc(choices, gold, lls, doc_id=i, greedy=greedy))
        results.append(list(zip(lls, greedy, strict=True)))
    names = ["acc", "acc_norm", "acc_bytes", "exact_match"]
    task = lm_eval_task(
        rows,
        output_type="multiple_choice",
        doc_to_choice="options",
        doc_to_target="label",
        metric_list=[{"metric": name} for name in names],
    )
    spec = spec_of("multiple_choice", *names)
    check(aggregate(spec, items_of(spec, docs)), their_values(task, rows, results))


def test_loglikelihood_metrics_are_equal() -> None:
    rng = random.Random(1)
    docs = [target_doc(-rng.uniform(0, 9), greedy=rng.random() < 0.5) for _ in range(30)]
    rows = [{"q": "Q", "t": "word"}] * 30
    metric_list = [{"metric": "perplexity"}, {"metric": "acc"}]
    task = lm_eval_task(rows, output_type="loglikelihood", doc_to_target="t", metric_list=metric_list)
    results = [[(r.total, r.is_greedy)] for _, (r,) in docs if isinstance(r, Loglikelihood)]
    spec = spec_of("loglikelihood", "perplexity", "acc")
    check(aggregate(spec, items_of(spec, docs)), their_values(task, rows, results))


def test_rolling_metrics_are_equal() -> None:
    rng = random.Random(2)
    texts = [" ".join(rng.choices(WORDS, k=rng.randrange(1, 40))) + rng.choice(["", "\n", "  "]) for _ in range(12)]
    names = ["word_perplexity", "byte_perplexity", "bits_per_byte"]
    totals = [-rng.uniform(1, 200) for _ in texts]
    rows = [{"q": "", "t": text} for text in texts]
    task = lm_eval_task(
        rows, output_type="loglikelihood_rolling", doc_to_target="t", metric_list=[{"metric": n} for n in names]
    )
    spec = spec_of("loglikelihood_rolling", *names)
    docs = [rolling_doc(text, total) for text, total in zip(texts, totals, strict=True)]
    check(aggregate(spec, items_of(spec, docs)), their_values(task, rows, [[total] for total in totals]))


def test_generation_metrics_are_equal() -> None:
    rng = random.Random(3)
    texts = [" ".join(rng.choices(WORDS, k=6)) for _ in range(30)]
    targets = [" ".join(word if rng.random() < 0.9 else "x" for word in text.split()) for text in texts]
    options = {"ignore_case": True, "ignore_punctuation": True, "regexes_to_ignore": [",", "\\bthe "]}
    corpus = ["bleu", "chrf", "chrf++", "ter"]
    rows = [{"q": "Q", "t": target} for target in targets]
    task = lm_eval_task(
        rows,
        output_type="generate_until",
        doc_to_target="t",
        metric_list=[{"metric": "exact_match", **options}, *({"metric": name} for name in corpus)],
    )
    spec = spec_of("generate_until", ("exact_match", options), *corpus)
    docs = [text_doc([text], [target]) for text, target in zip(texts, targets, strict=True)]
    check(aggregate(spec, items_of(spec, docs)), their_values(task, rows, [[text] for text in texts]))


def test_exact_match_with_several_targets_is_equal() -> None:
    rng = random.Random(4)
    rows = [{"q": "Q", "t": rng.sample(WORDS, 3)} for _ in range(30)]
    texts = [rng.choice([*WORDS, "Kočka", "PES"]) for _ in rows]
    options = {"ignore_case": True}
    task = lm_eval_task(
        rows,
        output_type="generate_until",
        doc_to_target="t",
        metric_list=[{"metric": "exact_match", **options}],
    )
    spec = spec_of("generate_until", ("exact_match", options))
    docs = [text_doc([text], list(row["t"])) for text, row in zip(texts, rows, strict=True)]
    check(aggregate(spec, items_of(spec, docs)), their_values(task, rows, [[text] for text in texts]))


def test_gsm8k_s_two_filters_are_equal() -> None:
    rng = random.Random(5)
    texts = [rng.choice(["#### {}", "so {} it is", "{}.", "none"]).format(rng.randrange(3000)) for _ in range(40)]
    rows = [{"q": "Q", "t": f"steps\n#### {rng.choice(text.split()).strip('.')}"} for text in texts]
    options = {"ignore_case": True, "regexes_to_ignore": [",", "\\$", "(?s).*#### ", "\\.$"]}
    pipelines: dict[str, list[dict[str, Any]]] = {
        "strict-match": [{"function": "regex", "regex_pattern": "#### (\\-?[0-9\\.\\,]+)"}],
        "flexible-extract": [{"function": "regex", "group_select": -1, "regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)"}],
    }
    task = lm_eval_task(
        rows, output_type="generate_until", doc_to_target="t", metric_list=[{"metric": "exact_match", **options}]
    )
    filters = []
    theirs = {}
    for name, steps in pipelines.items():
        step = {key: value for key, value in steps[0].items() if key != "function"}
        filters.append(FilterSpec(name, (("regex", step), ("take_first", {}))))
        from lm_eval.filters.extraction import RegexFilter

        (found,) = RegexFilter(**step).apply([texts], [])
        theirs[f"exact_match,{name}"] = their_values(task, rows, [[text] for text in found])["exact_match"]
    spec = spec_of("generate_until", ("exact_match", options), filters=filters)
    docs = [text_doc([text], [str(row["t"])]) for text, row in zip(texts, rows, strict=True)]
    check(aggregate(spec, items_of(spec, docs)), theirs)


def test_frenchbench_s_f1_and_exact_are_equal() -> None:
    pytest.importorskip("evaluate")
    from lm_eval.tasks.french_bench import utils

    from benchbench.scoring.generation import exact_match, f1

    rng = random.Random(6)
    words = ["Le", "la", "l'eau", "petit,", "chat", "des", "Été", "un", "42", "les.", ""]
    for _ in range(300):
        a, b = (" ".join(rng.choices(words, k=rng.randrange(0, 4))) for _ in range(2))
        if b.strip() and not utils.normalize_answer(b):
            continue  # theirs calls every answer right of which nothing is left either
        assert f1(a, [b], normalization="french") == pytest.approx(utils.f1([a], [b]), abs=1e-12)
        assert exact_match(a, [b], normalization="french") == utils.exact([a], [b])

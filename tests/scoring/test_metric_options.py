"""What an option of a metric may be is told when the task is read."""

from __future__ import annotations

from typing import Any

import pytest

from benchbench.core.errors import TaskError
from benchbench.core.metric_options import FILTER_OPTIONS, OPTIONS, SACREBLEU_TOKENIZERS
from benchbench.core.registry import FILTERS, METRICS, metric_spec


def test_sacrebleu_has_the_tokenizers_that_we_name() -> None:
    from sacrebleu.metrics.bleu import BLEU

    assert set(SACREBLEU_TOKENIZERS) == set(BLEU.TOKENIZERS)


def test_every_option_of_a_metric_is_explained() -> None:
    assert {option for info in METRICS.values() for option in info.kwargs} == set(OPTIONS)
    assert {option for info in FILTERS.values() for option in info.kwargs} == set(FILTER_OPTIONS)


@pytest.mark.parametrize(
    ("metric", "options", "message"),
    [
        ("bleu", {"tokenize": "nonsense"}, "`tokenize` is 'nonsense'; it is one of 13a, intl, zh"),
        ("bleu", {"tokenize": "flores2000"}, "Did you mean flores200"),
        ("bleu", {"lowercase": "yes"}, "`lowercase` is 'yes'; it is true or false"),
        ("exact_match", {"ignore_case": 1}, "`ignore_case` is 1; it is true or false"),
        ("f1", {"normalization": "frnch"}, "Did you mean french"),
        ("exact_match", {"numbers": "cs"}, "`numbers` is 'cs'; it is one of comma, point"),
        ("rouge1", {"tokenizer": ["default"]}, "it is one of default, unicode"),
        ("rougeL", {"tokenizer": "unicode", "use_stemmer": True}, "the stemmer is English"),
        ("ter", {"asian_support": "zh"}, "true or false"),
        ("exact_match", {"regexes_to_ignore": ["("]}, "no regular expression"),
    ],
)
def test_a_wrong_value_is_refused(metric: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        metric_spec(metric, "generate_until", kwargs=options)


def test_ties_go_by_draw_or_to_the_first() -> None:
    assert metric_spec("acc", "multiple_choice", kwargs={"ties": "first"}).kwargs == {"ties": "first"}
    with pytest.raises(TaskError, match="`ties` is 'last'; it is one of draw, first"):
        metric_spec("acc_norm", "multiple_choice", kwargs={"ties": "last"})
    assert metric_spec("f1", "multiple_choice", kwargs={"ties": "first"}).kwargs == {"ties": "first"}
    for name, output_type in (("f1", "generate_until"), ("acc", "loglikelihood")):  # there is nothing to choose from
        with pytest.raises(TaskError, match="has no option 'ties'"):
            metric_spec(name, output_type, kwargs={"ties": "first"})  # type: ignore[arg-type]


def test_null_is_the_default() -> None:
    assert metric_spec("bleu", "generate_until", kwargs={"tokenize": None}).kwargs == {"tokenize": None}

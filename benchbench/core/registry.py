"""Names of metrics, aggregations and filters: what each is, in a sentence, and what it takes.

Tasks check names here and never import the code behind them. Other packages add names through
the entry point groups `benchbench.metrics` and `benchbench.filters`; the protocols are
`benchbench.scoring.filters.TextMetric` and `benchbench.scoring.filters.Filter`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from benchbench.core.errors import TaskError, did_you_mean
from benchbench.core.metric_options import check_options, check_patterns
from benchbench.core.plugins import entry_point_names, load_entry_point
from benchbench.core.types import Json, MetricSpec, OutputType

METRIC_GROUP = "benchbench.metrics"
FILTER_GROUP = "benchbench.filters"

Family = Literal["choice", "likelihood", "rolling", "text"]
FAMILIES: Mapping[OutputType, Family] = {
    "multiple_choice": "choice",
    "loglikelihood": "likelihood",
    "loglikelihood_rolling": "rolling",
    "generate_until": "text",
}
USUAL_SHARE = "wilson"


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """What there is to know of a built-in metric without running it."""

    explanation: str
    families: tuple[Family, ...]
    aggregation: str = "mean"
    higher_is_better: bool = True
    bounds: tuple[float, float] | None = (0.0, 1.0)
    """Smallest and largest possible value; intervals end there. None: unbounded."""
    kwargs: tuple[str, ...] = ()
    """Names of the options that a `metric_list` entry may give."""
    share_interval: str = USUAL_SHARE
    """The interval in `stats.intervals.SHARES` that its mean has where every doc is worth 0 or 1."""

    def options(self, output_type: OutputType) -> tuple[str, ...]:
        """Names of the options that it takes in a task of this output type: ties are between choices."""
        is_choice = FAMILIES[output_type] == "choice"
        return tuple(name for name in self.kwargs if is_choice or name not in _TIES)


_LOOKS = ("ignore_typography", "numbers")
_NORMALIZING = (
    "regexes_to_ignore",
    "ignore_case",
    "ignore_punctuation",
    "ignore_numbers",
    "normalization",
    *_LOOKS,
)
_TIES = ("ties",)
_ROUGE = ("use_stemmer", "tokenizer")
_INF = float("inf")


def _cost(explanation: str, family: Family, aggregation: str = "mean", kwargs: tuple[str, ...] = ()) -> MetricInfo:
    """A metric of which less is better: 0 at best, without a largest value."""
    return MetricInfo(explanation, (family,), aggregation, higher_is_better=False, bounds=(0.0, _INF), kwargs=kwargs)


METRICS: Mapping[str, MetricInfo] = {
    "acc": MetricInfo(
        "Share of docs whose right choice has the highest log-likelihood; for loglikelihood tasks, share of docs "
        "whose every target token was the model's first choice.",
        ("choice", "likelihood"),
        kwargs=_TIES,
    ),
    "acc_norm": MetricInfo(
        "Accuracy by log-likelihood per character of the choice, as in lm-eval.", ("choice",), kwargs=_TIES
    ),
    "acc_bytes": MetricInfo("Accuracy by log-likelihood per UTF-8 byte of the choice.", ("choice",), kwargs=_TIES),
    "acc_token": MetricInfo(
        "Accuracy by mean token log-probability of the choice, as in BenCzechMark.", ("choice",), kwargs=_TIES
    ),
    "acc_mutual_info": MetricInfo(
        "Accuracy by how much the prompt raises the log-likelihood of a choice over the choice alone.",
        ("choice",),
        kwargs=_TIES,
    ),
    "bpb_gold": _cost(
        "Mean over docs of the bits per UTF-8 byte that the right choice costs: the smooth signal early in training.",
        "choice",
    ),
    "brier_score": MetricInfo(
        "Mean squared distance between the choices' softmax probabilities and the right choice.",
        ("choice",),
        aggregation="brier_score",
        higher_is_better=False,
        bounds=(0.0, 2.0),
    ),
    "likelihood": MetricInfo("Mean softmax probability of the right choice among the choices.", ("choice",)),
    "mcc": MetricInfo(
        "Matthews correlation of predicted and right choices.",
        ("choice",),
        aggregation="matthews_corrcoef",
        bounds=(-1.0, 1.0),
        kwargs=_TIES,
    ),
    "macro_f1": MetricInfo(
        "Mean over the choices of the F1 of each against the rest, over all docs.",
        ("choice",),
        aggregation="macro_f1",
        kwargs=_TIES,
    ),
    "auroc": MetricInfo(
        "Mean over the choices of the area under the ROC curve of each against the rest, by the softmax of mean token "
        "log-probabilities, as in BenCzechMark; DeLong's standard error.",
        ("choice",),
        aggregation="macro_auroc",
    ),
    "f1": MetricInfo(
        "Multiple choice: F1 of choice 1 over all docs. Generation: mean F1 of shared words, as in SQuAD.",
        ("choice", "text"),
        kwargs=("normalization", *_LOOKS, *_TIES),
    ),
    "exact_match": MetricInfo(
        "Generation: share of answers equal to a target after the stated normalisation. Multiple choice: share of "
        "docs whose right choice is what greedy decoding would write.",
        ("choice", "text"),
        kwargs=_NORMALIZING,
    ),
    "is_included": MetricInfo("Share of answers that contain a target.", ("text",), kwargs=_NORMALIZING),
    "rouge1": MetricInfo("Mean F-measure of shared words (rouge-score).", ("text",), kwargs=_ROUGE),
    "rouge2": MetricInfo("Mean F-measure of shared word pairs (rouge-score).", ("text",), kwargs=_ROUGE),
    "rougeL": MetricInfo("Mean F-measure of the longest common word sequence (rouge-score).", ("text",), kwargs=_ROUGE),
    "rougeLsum": MetricInfo(
        "Mean F-measure of the longest common word sequence, line by line (rouge-score).", ("text",), kwargs=_ROUGE
    ),
    "bleu": MetricInfo(
        "Corpus BLEU, 0 to 100, by sacrebleu.",
        ("text",),
        aggregation="bleu",
        bounds=(0.0, 100.0),
        kwargs=("tokenize", "lowercase"),
    ),
    "chrf": MetricInfo(
        "Corpus chrF (character n-grams), 0 to 100, by sacrebleu.",
        ("text",),
        aggregation="chrf",
        bounds=(0.0, 100.0),
        kwargs=("lowercase",),
    ),
    "chrf++": MetricInfo(
        "Corpus chrF++ (character n-grams and word pairs), 0 to 100, by sacrebleu.",
        ("text",),
        aggregation="chrf++",
        bounds=(0.0, 100.0),
        kwargs=("lowercase",),
    ),
    "ter": _cost(
        "Corpus translation edit rate, edits per 100 target words, by sacrebleu.",
        "text",
        aggregation="ter",
        kwargs=("normalized", "no_punct", "asian_support", "case_sensitive"),
    ),
    "perplexity": _cost(
        "Perplexity per target: exp of minus the mean log-likelihood of the targets. The item score is the "
        "log-likelihood in nats.",
        "likelihood",
        aggregation="perplexity",
    ),
    "word_perplexity": _cost(
        "Perplexity per whitespace-separated word, over all texts together.",
        "rolling",
        aggregation="weighted_perplexity",
    ),
    "byte_perplexity": _cost(
        "Perplexity per UTF-8 byte, over all texts together: comparable across tokenizers.",
        "rolling",
        aggregation="weighted_perplexity",
    ),
    "bits_per_byte": _cost(
        "Bits that a UTF-8 byte costs, over all texts together: comparable across tokenizers.",
        "rolling",
        aggregation="bits_per_byte",
    ),
}

AGGREGATIONS: Mapping[str, str] = {
    "mean": "Mean of the item scores.",
    "nanmean": "Mean of the item scores that have a value.",
    "median": "Upper median of the item scores.",
    "brier_score": "Mean of the item scores.",
    "perplexity": "exp of minus the mean of the item scores.",
    "weighted_perplexity": "exp of minus the total log-likelihood over the total count of words or bytes.",
    "bits_per_byte": "Minus the total log-likelihood in bits over the total count of bytes.",
    "f1": "F1 of choice 1 over all docs.",
    "matthews_corrcoef": "Matthews correlation over all docs.",
    "mcc": "The same as matthews_corrcoef.",
    "macro_f1": "Mean over the choices of their F1, over all docs.",
    "macro_auroc": "Mean over the choices of their area under the ROC curve, each against the rest.",
    "bleu": "Corpus BLEU.",
    "chrf": "Corpus chrF.",
    "chrf++": "Corpus chrF++.",
    "ter": "Corpus TER.",
}

_CORPUS: Mapping[str, Family] = {
    **dict.fromkeys(("f1", "matthews_corrcoef", "mcc", "macro_f1", "macro_auroc"), "choice"),
    **dict.fromkeys(("weighted_perplexity", "bits_per_byte"), "rolling"),
    **dict.fromkeys(("bleu", "chrf", "chrf++", "ter"), "text"),
}
"""Aggregations that read more of the items than their scores, and so belong to one family."""

_LOWER_IS_BETTER = ("ppl", "likelihood_difference", "likelihood_diff", "pct_stereotype", "loss")
"""Metrics of other harnesses of which less is better."""

ITEM_MEANS = ("mean", "nanmean", "brier_score")
"""Aggregations that are means of the item scores."""


def metric_bounds(column: str) -> tuple[float, float] | None:
    """Smallest and largest possible score of a column (`metric` or `metric,filter`), which may be infinite; None if
    nothing is known of them.
    """
    info = METRICS.get(column.split(",", maxsplit=1)[0])
    return None if info is None else info.bounds


def metric_range(column: str) -> tuple[float, float] | None:
    """Smallest and largest possible score of a column (`metric` or `metric,filter`); None if there is no largest."""
    return finite_range(metric_bounds(column))


def finite_range(bounds: tuple[float, float] | None) -> tuple[float, float] | None:
    """The bounds, unless there is no largest score."""
    return None if bounds is None or bounds[1] == _INF else bounds


def bounds_of(metric: MetricSpec) -> tuple[float, float] | None:
    """Smallest and largest possible score of a task's metric: as it states, else as `metric_bounds` has it."""
    return metric.bounds if metric.bounds is not None else metric_bounds(metric.name)


def share_interval(name: str) -> str:
    """The interval of a metric's mean where every doc is worth 0 or 1, as named in `stats.intervals.SHARES`."""
    info = METRICS.get(name)
    return USUAL_SHARE if info is None else info.share_interval


def has_ties(name: str) -> bool:
    """Whether a metric depends on which of equally likely choices is taken."""
    info = METRICS.get(name)
    return info is not None and set(_TIES) <= {*info.kwargs}


def higher_is_better(name: str) -> bool:
    """Whether more of a metric is better, by its name alone; of metrics that are not ours, where it is known."""
    info = METRICS.get(name)
    return name not in _LOWER_IS_BETTER if info is None else info.higher_is_better


def influence_column(column: str) -> str:
    """Name of the score column that holds an item's influence on a corpus metric."""
    return f"{column}_influence"


@dataclass(frozen=True, slots=True)
class FilterInfo:
    """What a built-in filter does to the texts of a doc, and the options it takes."""

    explanation: str
    kwargs: tuple[str, ...] = ()
    required: tuple[str, ...] = ()


_MAP_KWARGS = ("mapping_dict", "default_value")
_REGEX_KWARGS = ("regex_pattern", "group_select", "fallback")

FILTERS: Mapping[str, FilterInfo] = {
    "take_first": FilterInfo("Keeps the first text."),
    "take_first_k": FilterInfo("Keeps the first k texts.", ("k",), ("k",)),
    "majority_vote": FilterInfo("Keeps the most frequent text; of equally frequent ones the earliest."),
    "regex": FilterInfo("Extracts a match of `regex_pattern`, or `fallback` where there is none.", _REGEX_KWARGS),
    "multi_choice_regex": FilterInfo(
        "Extracts a choice letter such as (A): by the pattern, by a choice's text, or by a letter after a colon.",
        (*_REGEX_KWARGS, "ignore_case", "ignore_punctuation", "regexes_to_ignore"),
    ),
    "remove_whitespace": FilterInfo("Cuts white space at both ends."),
    "strip": FilterInfo("Cuts `chars` (white space if not given) at both ends.", ("chars",)),
    "lowercase": FilterInfo("Lowers every letter."),
    "uppercase": FilterInfo("Raises every letter."),
    "without_reasoning": FilterInfo("Drops thoughts: what stands before the last `end`.", ("start", "end")),
    "minerva_math": FilterInfo("Takes the answer from Minerva's closing sentence, normalised as there."),
    "map": FilterInfo("Replaces a text by its entry in `mapping_dict`, or by `default_value`.", _MAP_KWARGS),
}


AFTERWARDS = " It judges the texts of a run: `benchbench score RUN --metric comet`; `doc_to_source` names the source."
SEE_LIST = " See `benchbench tasks metrics`."


def metric_names(output_type: OutputType) -> frozenset[str]:
    """Every metric that a task of this output type may name. Metrics of other packages score text."""
    family = FAMILIES[output_type]
    built_in = {name for name, info in METRICS.items() if family in info.families}
    return frozenset(built_in | entry_point_names(METRIC_GROUP) if family == "text" else built_in)


def filter_names() -> frozenset[str]:
    """Every filter that a `filter_list` may name."""
    return frozenset(FILTERS) | entry_point_names(FILTER_GROUP)


def metric_spec(
    name: str,
    output_type: OutputType,
    *,
    aggregation: str | None = None,
    higher_is_better: bool | None = None,
    kwargs: Mapping[str, Json] | None = None,
) -> MetricSpec:
    """A `metric_list` entry with the metric's own defaults filled in.

    Raises:
        TaskError: unknown metric, aggregation or option, or a metric of another output type.
    """
    known = metric_names(output_type)
    if name not in known:
        hint = AFTERWARDS if name.lower() == "comet" else f"{did_you_mean(name, known)}{SEE_LIST}"
        raise TaskError(f"No metric {name!r} for output_type {output_type}.{hint}")
    info = METRICS.get(name)
    options = dict(kwargs or {})
    if info is not None and (unknown := sorted(set(options) - set(info.options(output_type)))):
        allowed = ", ".join(info.options(output_type)) or "none"
        near = did_you_mean(unknown[0], info.kwargs)
        raise TaskError(f"Metric {name!r} has no option {unknown[0]!r}; its options: {allowed}.{near}")
    check_patterns(f"Metric {name!r}", options)
    if info is not None:
        check_options(name, options)
    family = FAMILIES[output_type]
    possible = [known for known in AGGREGATIONS if _CORPUS.get(known, family) == family]
    default = "mean" if info is None else info.aggregation
    chosen = aggregation or ("f1" if (name, family) == ("f1", "choice") else default)
    if chosen not in possible:
        raise TaskError(f"No aggregation {chosen!r} for output_type {output_type}.{did_you_mean(chosen, possible)}")
    if info is not None:
        return MetricSpec(
            name, chosen, info.higher_is_better if higher_is_better is None else higher_is_better, options
        )
    better, bounds = _stated_by_plugin(name)
    return MetricSpec(name, chosen, better if higher_is_better is None else higher_is_better, options, bounds)


def _stated_by_plugin(name: str) -> tuple[bool, tuple[float, float] | None]:
    """Direction and bounds of another package's metric: attributes of its function. TaskError for wrong bounds."""
    metric = load_entry_point(METRIC_GROUP, name)
    bounds = getattr(metric, "bounds", None)
    if bounds is None:
        return bool(getattr(metric, "higher_is_better", True)), None
    try:
        low, high = map(float, bounds)
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if not -_INF < low < high < _INF:
        raise TaskError(
            f"Metric {name!r} states the bounds {bounds!r}; they are its smallest and largest possible score."
        )
    return bool(getattr(metric, "higher_is_better", True)), (low, high)


def check_filter(name: str, kwargs: Mapping[str, Json]) -> None:
    """Refuse an unknown filter or option.

    Raises:
        TaskError: with the nearest known name.
    """
    known = filter_names()
    if name not in known:
        raise TaskError(f"No filter named {name!r}.{did_you_mean(name, known)}{SEE_LIST}")
    info = FILTERS.get(name)
    if info is None:
        return
    if unknown := sorted(set(kwargs) - set(info.kwargs)):
        raise TaskError(
            f"Filter {name!r} has no option {unknown[0]!r}; its options: {', '.join(info.kwargs) or 'none'}."
        )
    if missing := [option for option in info.required if option not in kwargs]:
        raise TaskError(f"Filter {name!r} needs the option {missing[0]!r}.")
    check_patterns(f"Filter {name!r}", kwargs)
    for option, least in (("k", 1), ("group_select", -MAX_COUNT)):
        value = kwargs.get(option, least)
        if type(value) is not int or not least <= value <= MAX_COUNT:
            raise TaskError(
                f"Filter {name!r}: `{option}` is {value!r}; it is a whole number, {least:,} to {MAX_COUNT:,}."
            )


MAX_COUNT = 1_000_000

"""Names of the metrics that are computed after a run by a model or a program of their own, and where tasks list them.

The classes behind the names fit `extensions.rescore.post_metric.PostMetric` and are imported only where they are used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from benchbench.core.plugins import entry_point_names, load
from benchbench.core.registry import METRICS
from benchbench.core.types import Json

POST_METRIC_GROUP = "benchbench.post_metrics"
POST_METRICS: Mapping[str, str] = {
    "comet": "benchbench.extensions.rescore.comet_metric:CometMetric",
    "math_verify": "benchbench.extensions.rescore.math_metric:MathVerify",
    "pass_at_k": "benchbench.extensions.rescore.program_metric:PassAtK",
    "judge": "benchbench.extensions.judge.metric:JudgeMetric",
}
"""Name → the metric's class, as `module:name`."""
EXPLANATIONS: Mapping[str, str] = {
    "comet": "COMET: a model's score of a translation; `doc_to_source` names what was to be translated.",
    "math_verify": "Share of answers equal to the right one as mathematics, by math-verify (extra `math`). Options: "
    "gold (the field with the right answer), think_start, think_end (tags of a thought that is left out).",
    "pass_at_k": "How likely one of k answers passes: programs that `doc_to_program` makes of them are run with "
    "`--allow-code-execution`. Options: k, language, seconds, memory_mb.",
    "judge": "Grades of a language model, by turn and category. Options: model, args, scale, by, references_in, "
    "prompts, references, labels, repeats, temperature, max_gen_toks, budget.",
}
"""What each is, in a sentence or two."""
TASK_KEYS = ("metric", "aggregation", "higher_is_better", "hf_evaluate")
"""What a `metric_list` entry says itself; its other keys are options of the metric."""


def post_metric_names() -> frozenset[str]:
    """Names of all that there are, without importing any."""
    return frozenset(POST_METRICS) | entry_point_names(POST_METRIC_GROUP)


def is_post_metric(name: str) -> bool:
    """Whether a `metric_list` entry of this name is computed after the run; what is built into scoring comes first."""
    return name not in METRICS and name in post_metric_names()


@dataclass(frozen=True, slots=True)
class ListedMetric:
    """A post-metric as a task lists it."""

    name: str
    options: Mapping[str, str]
    """As `--option name=value` would give them."""


def listed_metrics(resolved: Mapping[str, Json]) -> tuple[ListedMetric, ...]:
    """The post-metrics in `metric_list` of a task as run records hold it, in their order."""
    entries = resolved.get("metric_list")
    found = []
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and is_post_metric(name := str(entry.get("metric"))):
            options = {key: value for key, value in entry.items() if key not in TASK_KEYS}
            written = {key: one if isinstance(one, str) else json.dumps(one) for key, one in options.items()}
            found.append(ListedMetric(name, written))
    return tuple(found)


def names_of(metric: str) -> frozenset[str]:
    """Options of a post-metric that name a model, an address or a file: its class lists them as `names`. Imports it."""
    return frozenset(getattr(load(metric, POST_METRICS, POST_METRIC_GROUP), "names", ()))


def without_listed(resolved: Mapping[str, Json]) -> dict[str, Json]:
    """The task without its post-metrics: what it asks and scores in the run itself."""
    entries = resolved.get("metric_list")
    if not isinstance(entries, list):
        return dict(resolved)
    own = [one for one in entries if not (isinstance(one, dict) and is_post_metric(str(one.get("metric"))))]
    return {**resolved, "metric_list": own}

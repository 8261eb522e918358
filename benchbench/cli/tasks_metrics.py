"""What `benchbench tasks metrics` lists: metrics, their options, aggregations and filters that a task file may name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from benchbench.core.errors import ArgumentError, did_you_mean
from benchbench.core.metric_options import FILTER_OPTIONS, OPTIONS
from benchbench.core.plugins import entry_point_names
from benchbench.core.post_metrics import EXPLANATIONS, post_metric_names
from benchbench.core.registry import AGGREGATIONS, FAMILIES, FILTER_GROUP, FILTERS, METRIC_GROUP, METRICS
from benchbench.core.types import Json

INSTALLED = "Of another package that is installed here."
HEADINGS = {
    "metric": "Metrics (metric_list)",
    "later metric": "Metrics that are computed after the run (metric_list, or `benchbench score RUN --metric NAME`)",
    "option": "Options of metrics (in metric_list, beside `metric`)",
    "aggregation": "Aggregations (in metric_list, `aggregation`); every metric has one of its own",
    "filter": "Filters (filter_list)",
    "filter option": "Options of filters (in filter_list, beside `function`)",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that a task file may name."""

    name: str
    kind: str
    """One of `HEADINGS`."""
    explanation: str
    of: tuple[str, ...] = ()
    """Output types of the tasks that a metric is for; empty for all else."""
    options: tuple[str, ...] = ()
    """Names of what it takes."""
    values: tuple[str, ...] = ()
    """What an option may be, where it is one of few."""

    def as_json(self) -> dict[str, Json]:
        """Every field."""
        return asdict(self)


def entries(wanted: str | None = None) -> list[Entry]:
    """All there is to name; with `wanted`, what has that name, and its options. ArgumentError if nothing has it."""
    found = [*_metrics(), *_later(), *_options(), *_aggregations(), *_filters()]
    if wanted is None:
        return found
    named = [entry for entry in found if entry.name == wanted and entry.kind in ("metric", "later metric", "filter")]
    named = named or [entry for entry in found if entry.name == wanted]
    if not named:
        near = did_you_mean(wanted, [entry.name for entry in found])
        raise ArgumentError(
            f"no metric, option, aggregation or filter {wanted!r}.{near} See `benchbench tasks metrics`."
        )
    kinds = {"metric": "option", "filter": "filter option"}
    its = {(kinds[entry.kind], option) for entry in named if entry.kind in kinds for option in entry.options}
    return named + [entry for entry in found if (entry.kind, entry.name) in its]


def _metrics() -> Iterator[Entry]:
    for name, info in METRICS.items():
        of = tuple(output_type for output_type, family in FAMILIES.items() if family in info.families)
        yield Entry(name, "metric", info.explanation, of, info.kwargs)
    for name in sorted(entry_point_names(METRIC_GROUP) - METRICS.keys()):
        yield Entry(name, "metric", INSTALLED, ("generate_until",))


def _later() -> Iterator[Entry]:
    for name in sorted(post_metric_names()):
        yield Entry(name, "later metric", EXPLANATIONS.get(name, INSTALLED))


def _options() -> Iterator[Entry]:
    for name, info in OPTIONS.items():
        values = info.values or (() if info.is_list else ("true", "false"))
        yield Entry(name, "option", info.explanation, values=values)


def _aggregations() -> Iterator[Entry]:
    yield from (Entry(name, "aggregation", explanation) for name, explanation in AGGREGATIONS.items())


def _filters() -> Iterator[Entry]:
    yield from (Entry(name, "filter", info.explanation, options=info.kwargs) for name, info in FILTERS.items())
    for name in sorted(entry_point_names(FILTER_GROUP) - FILTERS.keys()):
        yield Entry(name, "filter", INSTALLED)
    yield from (Entry(name, "filter option", explanation) for name, explanation in FILTER_OPTIONS.items())


def lines(found: Sequence[Entry]) -> Iterator[str]:
    """The list for people: one line a name, and one for its options or values, under a heading for each kind."""
    heading = ""
    for entry in found:
        if entry.kind != heading:
            yield from ("", HEADINGS[entry.kind]) if heading else (HEADINGS[entry.kind],)
            heading = entry.kind
        yield f"  {entry.name}: {entry.explanation}"
        details = {"in tasks of": entry.of, "options": entry.options, "one of": entry.values}
        told = [f"{label} {', '.join(names)}" for label, names in details.items() if names]
        if told:
            yield f"      {'; '.join(told)}"

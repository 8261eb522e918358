"""`benchbench tasks metrics`: what a task file may name."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from benchbench.cli.tasks import app
from benchbench.core.metric_options import FILTER_OPTIONS, OPTIONS
from benchbench.core.registry import AGGREGATIONS, FILTERS, METRICS


def test_everything_that_a_task_may_name_is_listed_with_its_options() -> None:
    listed = [json.loads(line) for line in CliRunner().invoke(app, ["metrics", "--json"]).stdout.splitlines()]
    by_kind = {
        kind: {one["name"]: one for one in listed if one["kind"] == kind} for kind in {o["kind"] for o in listed}
    }
    assert by_kind["metric"].keys() >= METRICS.keys()
    assert by_kind["filter"].keys() >= FILTERS.keys()
    assert [*by_kind["option"]] == [*OPTIONS]
    assert [*by_kind["filter option"]] == [*FILTER_OPTIONS]
    assert [*by_kind["aggregation"]] == [*AGGREGATIONS]
    assert by_kind["metric"]["acc"]["of"] == ["multiple_choice", "loglikelihood"]
    assert by_kind["option"]["numbers"]["values"] == ["comma", "point"]


def test_one_name_is_told_with_its_options_alone() -> None:
    told = CliRunner().invoke(app, ["metrics", "chrf"]).stdout.splitlines()
    assert [line.strip().partition(":")[0] for line in told if line.startswith("  ") and line[2] != " "] == [
        "chrf", "lowercase",
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "near"), [("rogue1", "rouge1"), ("exact-match", "exact_match"), ("regexp", "regex")])
def test_an_unknown_name_gets_the_nearest(name: str, near: str) -> None:
    error = CliRunner().invoke(app, ["metrics", name]).exception
    assert near in str(error)

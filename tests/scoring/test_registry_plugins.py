"""Names, defaults, and a stranger's metric and filter."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any

import pytest

from benchbench.core import plugins
from benchbench.core.errors import TaskError
from benchbench.core.record import ScoringRecord
from benchbench.core.registry import check_filter, metric_names, metric_spec
from benchbench.core.types import FilterSpec, ScoringSpec
from benchbench.leaderboard.metrics import Metric, metric_of
from benchbench.scoring.aggregation import aggregate
from benchbench.scoring.filters import FilterContext
from benchbench.scoring.score import score_doc
from tests.scoring.make import items_of, spec_of, text_doc


def shouting(prediction: str, targets: Sequence[str], *, weight: float = 1.0) -> float | None:
    """A stranger's metric."""
    return weight * prediction.isupper() if prediction else None


def backwards(texts: Sequence[str], context: FilterContext) -> list[str]:
    """A stranger's filter."""
    return [text[::-1] for text in texts]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """As if a package declared `shouting` and `backwards`."""
    points = {
        "benchbench.metrics": [EntryPoint("shouting", f"{__name__}:shouting", "benchbench.metrics")],
        "benchbench.filters": [EntryPoint("backwards", f"{__name__}:backwards", "benchbench.filters")],
    }

    def fake(*, group: str, name: str | None = None) -> list[EntryPoint]:
        return [point for point in points.get(group, []) if name in (None, point.name)]

    monkeypatch.setattr("importlib.metadata.entry_points", fake)
    plugins.entry_points.cache_clear()
    plugins.load_entry_point.cache_clear()
    yield
    plugins.entry_points.cache_clear()
    plugins.load_entry_point.cache_clear()


def test_defaults_are_the_metric_s_own() -> None:
    spec = metric_spec("word_perplexity", "loglikelihood_rolling")
    assert (spec.aggregation, spec.higher_is_better) == ("weighted_perplexity", False)
    assert metric_spec("bleu", "generate_until", aggregation="mean").aggregation == "mean"
    assert metric_spec("acc", "multiple_choice", higher_is_better=False).higher_is_better is False


@pytest.mark.parametrize(
    ("name", "output_type", "options", "words"),
    [
        ("exact_mach", "generate_until", {}, "Did you mean exact_match"),
        ("bleu", "multiple_choice", {}, "No metric 'bleu' for output_type multiple_choice"),
        ("exact_match", "generate_until", {"kwargs": {"ignore_cas": True}}, "no option 'ignore_cas'"),
        ("acc", "multiple_choice", {"aggregation": "meen"}, "Did you mean mean"),
    ],
)
def test_a_wrong_metric_entry_is_a_sentence(name: str, output_type: Any, options: Any, words: str) -> None:
    with pytest.raises(TaskError, match=words):
        metric_spec(name, output_type, **options)


@pytest.mark.parametrize(
    ("name", "kwargs", "words"),
    [
        ("regx", {}, "Did you mean regex"),
        ("regex", {"pattern": "x"}, "no option 'pattern'"),
        ("take_first_k", {}, "needs the option 'k'"),
    ],
)
def test_a_wrong_filter_entry_is_a_sentence(name: str, kwargs: Any, words: str) -> None:
    with pytest.raises(TaskError, match=words):
        check_filter(name, kwargs)


def test_a_stranger_s_metric_and_filter_work_by_name(installed: None) -> None:
    assert "shouting" in metric_names("generate_until")
    assert "shouting" not in metric_names("multiple_choice")
    check_filter("backwards", {})
    spec = spec_of("generate_until", ("shouting", {"weight": 0.5}), filters=[FilterSpec("f", (("backwards", {}),))])
    items = items_of(spec, [text_doc([text], ["x"]) for text in ("ANO", "ne", "")])
    assert [item.scores["shouting"] for item in items] == [0.5, 0.0, None]
    assert items[0].prediction == "ONA"
    row = aggregate(spec, items)[0]
    assert (row.value, row.n) == (0.25, 2)


def test_a_metric_that_raises_fails_the_item_not_the_run(installed: None) -> None:
    spec = spec_of("generate_until", ("shouting", {"wait": 1}))
    found = score_doc(spec, *text_doc(["a"], ["a"]))
    assert found.outcome == "failed"
    assert found.explanation is not None
    assert found.explanation.startswith("scoring raised TypeError")


def test_looking_up_names_imports_nothing_heavy() -> None:
    code = (
        "import sys, benchbench.scoring, benchbench.core.registry as r; r.metric_names('generate_until'); "
        "print([m for m in ('numpy', 'scipy', 'sacrebleu', 'rouge_score', 'pydantic') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_scoring_choices_needs_no_numpy() -> None:
    code = "import sys, benchbench.scoring.choice; print('numpy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_a_stranger_s_metric_states_its_direction_and_its_bounds(
    installed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert metric_spec("shouting", "generate_until").bounds is None
    monkeypatch.setattr(shouting, "bounds", (0, 1), raising=False)
    monkeypatch.setattr(shouting, "higher_is_better", False, raising=False)
    spec = metric_spec("shouting", "generate_until")
    assert (spec.bounds, spec.higher_is_better) == ((0.0, 1.0), False)
    assert metric_spec("shouting", "generate_until", higher_is_better=True).higher_is_better is True
    monkeypatch.setattr(shouting, "bounds", (1, 0))
    with pytest.raises(TaskError, match=r"states the bounds \(1, 0\)"):
        metric_spec("shouting", "generate_until")


def test_stated_bounds_travel_with_the_record_and_put_the_metric_into_means_of_boards(
    installed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def metric(spec: ScoringSpec) -> Metric:
        scoring = ScoringRecord.from_json(json.loads(json.dumps(spec.as_json())), "toy")
        assert scoring.spec("toy") == spec
        record: Any = SimpleNamespace(tasks={"toy": SimpleNamespace(scoring=scoring)})
        return metric_of(record, "toy", "shouting")

    unbounded = ScoringSpec("toy", "generate_until", (metric_spec("shouting", "generate_until"),))
    assert "bounds" not in unbounded.as_json()["metrics"][0]
    assert (metric(unbounded).floor, metric(unbounded).ceiling, metric(unbounded).scale) == (None, None, None)
    monkeypatch.setattr(shouting, "bounds", (0, 4), raising=False)
    bounded = ScoringSpec("toy", "generate_until", (metric_spec("shouting", "generate_until"),))
    assert (metric(bounded).floor, metric(bounded).ceiling, metric(bounded).scale) == (0.0, 4.0, 4.0)


def test_an_interval_ends_where_stated_bounds_end(installed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interval() -> tuple[float | None, float | None]:
        spec = spec_of("generate_until", ("shouting", {"weight": 0.5}))
        docs = [text_doc([text], ["x"]) for text in ("ANO", "NE", "DNES", "ZDE", "ne")]
        (row,) = [row for row in aggregate(spec, items_of(spec, docs)) if row.metric == "shouting"]
        return row.ci_low, row.ci_high

    low, high = interval()
    assert high is not None
    assert high > 0.5
    monkeypatch.setattr(shouting, "bounds", (0.0, 0.5), raising=False)
    low, high = interval()
    assert low is not None
    assert 0.0 <= low < (high or 0.0) <= 0.5

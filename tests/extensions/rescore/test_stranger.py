"""A post-metric that another package installs, named in a task file, is a metric like any other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from benchbench.cli.main import app
from benchbench.core import plugins
from tests.runner.sweep.series import scripted_list
from tests.runner.toy import WRITE, make_world

CODE = '''
from dataclasses import replace

from benchbench.core.types import MetricSpec
from benchbench.extensions.rescore.post_metric import PostMetricInfo, score_in_blocks


class Digits:
    """Share of an answer's characters that are digits, from 0 to `most`."""

    def __init__(self, settings, on_event):
        self.most, self.on_event = float(settings.options.get("most", "1")), on_event

    def fits(self, output_type):
        return output_type == "generate_until"

    def missing(self, task):
        return None if self.most > 0 else "has no room for a score; give --option most=1"

    def info(self, task):
        spec = MetricSpec("digits", "mean", True, {"most": self.most}, (0.0, self.most))
        return PostMetricInfo(spec, f"digits:{self.most:g}", {"most": self.most}, parts=("even",))

    def items(self, spec, task, live):
        asked = {item.doc_hash: item.texts[0] for item in task.items}
        share = lambda texts: [self.most * sum(map(str.isdigit, text)) / max(1, len(text)) for text in texts]
        known = score_in_blocks(asked, share, spec=spec, live=live, size=2, on_event=self.on_event)
        return [replace(item, scores={**item.scores, "digits": known[item.doc_hash],
                "digits,even": None if item.doc_id % 2 else known[item.doc_hash]}) for item in task.items]

    def close(self):
        pass
'''


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package beside the others, as an installer leaves it, and tasks that list its metric first and alone."""
    site = tmp_path / "site-packages"
    info = site / "digits_metric-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "digits_metric.py").write_text(CODE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: digits-metric\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[benchbench.post_metrics]\ndigits = digits_metric:Digits\n")
    monkeypatch.syspath_prepend(site)
    _forget()
    make_world(tmp_path, write=40)
    _task(tmp_path, "toy_first", [{"metric": "digits", "most": 2}, {"metric": "exact_match"}])
    _task(tmp_path, "toy_alone", [{"metric": "digits"}])
    yield tmp_path
    _forget()


def _forget() -> None:
    plugins.entry_points.cache_clear()
    plugins.load_entry_point.cache_clear()


def _task(folder: Path, name: str, metrics: list[dict[str, object]]) -> None:
    task = {**WRITE, "task": name, "group": "digital", "metric_list": metrics}
    (folder / "tasks" / f"{name}.yaml").write_text(yaml.safe_dump(task, allow_unicode=True), encoding="utf-8")


def go(folder: Path, *words: object) -> Result:
    """The command, in this process."""
    result = CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "160", "BENCHBENCH_DATA": str(folder / "hub")})
    assert result.exit_code == 0, result.output
    return result


def run(folder: Path, model: str) -> Result:
    place = ["--include-path", folder / "tasks", "--output", folder / "results"]
    return go(folder, "run", "--model", f"scripted:{model}", "--tasks", "toy_first,toy_alone", *place)


def test_it_is_in_the_run_table_on_the_board_and_in_duels(installed: Path) -> None:
    lines = run(installed, "hash").stdout.splitlines()
    rows = [line.split() for line in lines[2:7]]
    names = [words[1] if words[0].startswith("toy_") else words[0] for words in rows]
    assert names == ["digits", "digits,even", "exact_match", "digits", "digits,even"]
    assert [words[0] for words in rows if words[0].startswith("toy_")] == ["toy_first", "toy_alone"]
    assert 0 < float(rows[0][2]) == pytest.approx(2 * float(rows[3][2]), abs=2e-4)
    run(installed, "hash,salt=2")
    results = installed / "results"
    duel = json.loads(go(installed, "compare", "hash", "hash,salt=2", "--results", results, "--json").stdout)
    rows = {row["task"]: row for row in duel["rows"] if not row["is_group"]}
    assert {(row["metric"], row["n"]) for row in rows.values()} == {("digits", 40)}
    assert rows["toy_first"]["difference"] == pytest.approx(2 * rows["toy_alone"]["difference"], abs=1e-9)
    site = installed / "site"
    go(installed, "leaderboard", "--results", results, "--to", site)
    page = (site / "index.html").read_text(encoding="utf-8")
    assert "toy_alone" in page
    assert "digits" in (site / "tasks" / "toy_alone.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_it_has_a_curve_and_a_verdict_in_a_sweep(installed: Path) -> None:
    listed = scripted_list(installed, 3)
    place = ["--include-path", installed / "tasks", "--output", installed / "results"]
    swept = go(
        installed, "sweep", "--checkpoints", listed, "--backend", "scripted", "--tasks", "toy_first,toy_alone", *place
    )
    assert "toy_alone digits (n=40): " in " ".join(swept.stdout.split())
    shown = json.loads(go(installed, "sweep", "show", "--json", "--output", installed / "results").stdout)
    verdicts = {(one["task"], one["metric"]) for one in shown["verdicts"]}
    assert {("toy_first", "digits"), ("toy_alone", "digits")} <= verdicts


def test_what_cannot_be_computed_at_once_is_told_and_computed_later(installed: Path) -> None:
    _task(installed, "toy_first", [{"metric": "digits", "most": 0}])
    told = run(installed, "hash")
    assert "1 of 2 tasks passed over: toy_first has no room for a score; give --option most=1." in told.stderr
    table = [line.split() for line in told.stdout.splitlines() if "digits" in line]
    assert table[0][:3] == ["toy_first", "digits", "-"]
    place = ["--output", installed / "results", "--include-path", installed / "tasks"]
    scored = go(
        installed, "score", "latest", "--metric", "digits", "--tasks", "toy_first", "--option", "most=1", *place
    )
    assert "toy_first digits: added." in scored.stdout
    again = [line.split() for line in run(installed, "hash").stdout.splitlines() if line.startswith("toy_first")]
    assert again[0][1] == "digits"
    assert float(again[0][2]) > 0


@pytest.mark.slow
def test_other_options_are_no_other_run(installed: Path) -> None:
    run(installed, "hash")
    _task(installed, "toy_first", [{"metric": "digits", "most": 3}, {"metric": "exact_match"}])
    assert "already complete" in run(installed, "hash").stderr


def test_a_task_file_does_not_say_how_it_is_aggregated(installed: Path) -> None:
    _task(installed, "toy_first", [{"metric": "digits", "higher_is_better": False}])
    words = ["run", "--model", "scripted:hash", "--tasks", "toy_first", "--include-path", str(installed / "tasks")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code != 0
    assert "leave `aggregation` and `higher_is_better` out" in f"{result.output} {result.exception}"

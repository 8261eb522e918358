"""COMET scores for a finished run, by a stand-in for COMET's process."""

import json
import shutil
from dataclasses import replace

import pytest

import benchbench
from benchbench.core.errors import ArgumentError, BackendError, DataError, RunInUse, StoreError, TaskError
from benchbench.extensions.rescore import comet_metric as blocks
from benchbench.extensions.rescore.score import score
from benchbench.leaderboard.site.build import build_site
from benchbench.stats.influence import mean
from benchbench.stats.intervals import uncertainty
from benchbench.store.folder import RunFolder, RunWriter
from benchbench.store.lock import RunLock
from tests.extensions.comet_process.fake import FACTS, GOOD, expected, fake_python, good_python
from tests.extensions.rescore.world import PAIRS, comet, finished, own_bytes, run_settings, world

MT = "toy_cs-fr"


@pytest.fixture
def place(tmp_path):
    return world(tmp_path)


@pytest.fixture
def run(place):
    return finished(place)


def judged(folder) -> int:
    path = folder / "judged"
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0


def row(record, task, metric):
    (found,) = (one for one in record.rows if (one.task, one.metric) == (task, metric))
    return found


def test_scores_are_those_of_the_process_with_a_clustered_interval(place, run):
    before = own_bytes(run)
    result = score(run, comet(place, good_python(place)))
    assert [(one.task, one.metric, one.state) for one in result.scored] == [
        (MT, "comet:tiny", "added"),
        ("toy_fr-cs", "comet:tiny", "added"),
    ]
    assert own_bytes(run) == before
    items = run.items(MT)
    values = [expected(cs, item.prediction, fr) for item, (cs, fr) in zip(items, PAIRS, strict=True)]
    assert [item.scores["comet:tiny"] for item in items] == values
    known = uncertainty(mean(values), [item.cluster for item in items])
    found = row(run.record(), MT, "comet:tiny")
    assert found.value == pytest.approx(sum(values) / len(values), abs=1e-12)
    assert (found.stderr, found.ci_low) == pytest.approx((known.stderr, known.interval.low), abs=1e-12)
    assert (found.n, found.n_clusters, found.se_method) == (6, 3, "cluster")
    assert f"|n:6|dtype:float32|comet:2.2.7|model:tiny|sha256:{'ab' * 6}|" in found.signature
    assert "sha256:abab" in found.note


def test_the_process_gets_sources_from_the_documents_and_no_reference_where_it_reads_none(place, run):
    score(run, comet(place, good_python(place, reads_reference=False), tasks=MT))
    rows = [json.loads(line) for line in (place / "judged").read_text().splitlines()]
    asked = [{"src": cs, "mt": item.prediction} for item, (cs, _) in zip(run.items(MT), PAIRS, strict=True)]
    assert rows == sorted(asked, key=lambda row: len(row["src"]))


def test_every_reader_sees_the_metric(place, run):
    other = finished(place, "hash,salt=2")
    python = good_python(place)
    for one in (run, other):
        score(one, comet(place, python))
    frame = benchbench.load_runs(place / "results")
    chosen = frame[frame.metric == "comet:tiny"]
    assert sorted(chosen.task) == sorted(2 * [MT, "toy_fr-cs", "toy_mt"])
    assert set(chosen[chosen.is_group].task) == {"toy_mt"}
    items = benchbench.load_items(run.path, MT)
    assert items["comet:tiny"].mean() == pytest.approx(row(run.record(), MT, "comet:tiny").value)
    assert items["bleu"].notna().all()
    found = benchbench.compare(str(run.path), str(other.path), metric="comet", results=place / "results")
    assert set(found.task) == {MT, "toy_fr-cs", "toy_mt"}
    assert set(found.metric) == {"comet:tiny"}
    build_site([place / "results"], place / "site")
    page = (place / "site" / "tasks" / f"{MT}.html").read_text(encoding="utf-8")
    assert "comet:tiny" in page


def test_the_metric_that_a_task_is_known_by_stays_the_first(place, run):
    score(run, comet(place, good_python(place)))
    rows = [one.metric for one in run.record().rows if one.task == MT]
    assert rows == ["bleu", "chrf", "comet:tiny"]
    assert run.own_record().rows != run.record().rows


def test_scored_again_by_the_same_model_nothing_is_computed(place, run):
    python = good_python(place)
    score(run, comet(place, python))
    asked, files = judged(place), sorted((run.path / "scores").rglob("*"))
    again = score(run, comet(place, python))
    assert {one.state for one in again.scored} == {"kept"}
    assert (judged(place), sorted((run.path / "scores").rglob("*"))) == (asked, files)
    fresh = score(run, comet(place, python, fresh=True))
    assert {one.state for one in fresh.scored} == {"replaced"}
    assert judged(place) == 2 * asked
    assert len(fresh.record.rows) == len(again.record.rows)


def test_another_checkpoint_of_the_same_name_replaces_another_model_stands_beside(place, run):
    score(run, comet(place, good_python(place), tasks=MT))
    other = good_python(place, sha256="cd" * 32)
    assert [one.state for one in score(run, comet(place, other, tasks=MT)).scored] == ["replaced"]
    assert "sha256:cdcd" in row(run.record(), MT, "comet:tiny").signature
    assert len(list((run.path / "scores" / MT).glob("[!.]*"))) == 2
    score(run, comet(place, other, tasks=MT, model="org/kiwi"))
    assert [one.metric for one in run.record().rows if one.task == MT][2:] == ["comet:kiwi", "comet:tiny"]


def test_models_by_another_checkpoint_are_not_compared(place, run):
    other = finished(place, "hash,salt=2")
    score(run, comet(place, good_python(place), tasks=MT))
    score(other, comet(place, good_python(place, sha256="cd" * 32), tasks=MT))
    with pytest.raises(StoreError, match="comet:tiny is computed differently"):
        benchbench.compare(str(run.path), str(other.path), metric="comet", results=place / "results")


def test_a_process_that_dies_loses_only_its_block(place, run, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 2)
    good = GOOD.format(log=str(place / "judged"), facts=FACTS)
    log = str(place / "judged")
    dying = good.replace("    else:", f"    elif open({log!r}).read():\n        sys.exit(9)\n    else:")
    with pytest.raises(BackendError, match="ended with exit code 9 when it should score 2 segments"):
        score(run, comet(place, fake_python(place, dying), tasks=MT))
    assert run.record() == run.own_record()
    assert judged(place) == 2
    score(run, comet(place, good_python(place), tasks=MT))
    assert judged(place) == 6
    values = [expected(cs, item.prediction, fr) for item, (cs, fr) in zip(run.items(MT), PAIRS, strict=True)]
    assert [item.scores["comet:tiny"] for item in run.items(MT)] == values
    assert not list((run.path / "scores").rglob("*.live.jsonl"))


def test_a_score_that_is_not_a_number_is_missing_and_counted(place, run):
    nan = GOOD.replace("def score(row):", "def score(row):\n    if row['src'] == 'Prší.': return float('nan')")
    python = fake_python(place, nan.format(log=str(place / "judged"), facts=FACTS))
    found = score(run, comet(place, python, tasks=MT)).scored[0].rows[0]
    assert (found.n, found.note.split(";")[0]) == (5, "1 of 6 items have no value")


def test_failed_docs_have_no_score(place):
    run = finished(place, tasks="toy_mt")
    items, record = run.items(MT), run.own_record()
    failed = replace(items[0], outcome="failed", texts=(), num_tokens=(), finish_reasons=(), prediction=None)
    with RunWriter(run.path, run.plan()) as writer:
        writer.seal(MT, [failed, *items[1:]])
        writer.finish(record)
    run.forget()
    found = score(run, comet(place, good_python(place), tasks=MT)).scored[0].rows[0]
    assert found.n == 5
    assert run.items(MT)[0].scores["comet:tiny"] is None


def test_tasks_without_a_source_are_passed_over_and_named(place, run):
    said = []
    score(run, comet(place, good_python(place)), on_event=lambda event: said.append(getattr(event, "text", "")))
    assert any("1 of 3 tasks passed over: toy_write has no `doc_to_source`" in text for text in said)
    with pytest.raises(ArgumentError, match=r"comet cannot be computed: toy_write has no `doc_to_source`.*--source"):
        score(run, comet(place, good_python(place), tasks="toy_write"))
    with pytest.raises(ArgumentError, match="comet fits no task of the run: toy_quiz is multiple_choice"):
        score(run, comet(place, good_python(place), tasks="toy_quiz"))
    found = score(run, comet(place, good_python(place), tasks="toy_write", source="{{ question }}"))
    assert [one.state for one in found.scored] == ["added"]
    with pytest.raises(TaskError, match="--source: the template fails on document 0: 'questoin' is undefined"):
        score(run, comet(place, good_python(place), tasks="toy_write", source="{{ questoin }}"))


def test_a_run_made_before_its_task_named_the_source_takes_it_from_the_task_of_today(tmp_path):
    run = finished(world(tmp_path, doc_to_source=None))
    assert "doc_to_source" not in run.record().tasks[MT].resolved
    world(tmp_path)
    assert score(run, comet(tmp_path, good_python(tmp_path), tasks=MT)).scored[0].state == "added"


def test_naming_the_source_makes_no_new_run(tmp_path):
    before = finished(world(tmp_path, doc_to_source=None))
    assert finished(world(tmp_path)).path == before.path


def test_other_data_than_the_run_asked_are_refused(place, run):
    path = place / "hub/toy/mt/default/test.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("Prší.", "Sněží."), encoding="utf-8")
    with pytest.raises(DataError, match=r"document 2 of .*hub/toy/mt/default is not the one .*--data-root"):
        score(run, comet(place, good_python(place), tasks=MT))


def test_data_that_moved_are_found_by_the_data_root(place, run, monkeypatch):
    shutil.move(place / "hub", place / "elsewhere")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError):
        score(run, comet(place, good_python(place), tasks=MT))
    found = score(run, comet(place, good_python(place), tasks=MT, data_root=place / "elsewhere"))
    assert [one.state for one in found.scored] == ["added"]


def test_a_run_in_use_or_not_finished_is_left_alone(place, run):
    with RunLock(run.path), pytest.raises(RunInUse, match="is being written by process"):
        score(run, comet(place, good_python(place)))
    (run.path / "run.json").unlink()
    with pytest.raises(StoreError, match="is not finished"):
        score(run, comet(place, good_python(place)))


def test_scores_of_other_items_are_refused_by_readers(place, run):
    score(run, comet(place, good_python(place), tasks=MT))
    other = finished(place, limit=3)
    shutil.copytree(run.path / "scores", other.path / "scores")
    with pytest.raises(StoreError, match="scores of other items than the run has"):
        other.items(MT)


def test_a_damaged_file_is_named(place, run):
    score(run, comet(place, good_python(place), tasks=MT))
    (path,) = (run.path / "scores" / MT).glob("*.json")
    path.write_text("{}")
    with pytest.raises(StoreError, match=r"comet:tiny.json lacks task, spec, rows; .*Remove it, and score again"):
        RunFolder(run.path).record()


def test_a_run_that_is_given_again_shows_what_was_added(place, run):
    from benchbench.runner.run import run as run_again

    score(run, comet(place, good_python(place), tasks=MT))
    again = run_again(run_settings(place))
    assert again.already_complete
    assert row(again.record, MT, "comet:tiny").n == 6

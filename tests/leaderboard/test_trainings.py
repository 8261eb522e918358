import json
from dataclasses import replace

import pytest

from benchbench.core.errors import ArgumentError
from benchbench.leaderboard.chart import picture
from benchbench.leaderboard.paired import ItemScores
from benchbench.leaderboard.records import records_of
from benchbench.leaderboard.training import VerdictOptions, about, chosen_curves, panels
from benchbench.leaderboard.trainings import figures, make_training
from benchbench.runner.sweep import sweep
from benchbench.store.find import find_sweep
from tests.runner.sweep.series import impatient, on_list
from tests.runner.toy import make_world

DOCS, STEPS = 60, (100, 200, 300, 400, 500)
SURE = {100: 12, 200: 30, 300: 48, 400: 48, 500: 49}
"""Step → how many of the docs the model gets right, always the first ones."""


def table(folder, step):
    """A scripted model that knows the right answer to the first `SURE[step]` sums and to as many words."""
    lines = []
    for n in range(1, DOCS + 1):
        question = f"Otázka: kolik je {n} + {n}?" + " prosím" * (n % 5) + "\nOdpověď:"
        for choice in (n, 2 * n, 3 * n):
            right = (choice == 2 * n) == (n <= SURE[step])
            lines.append({"prompt": question, "continuation": f" {choice}", "loglikelihood": -1 if right else -5})
    for n in range(DOCS):
        word = f"slovo {n}"
        lines.append({"prompt": f"Napiš: {word}{' ano' * (n % 3)}\n", "text": word if n < SURE[step] else "nic"})
    path = folder / f"step{step}.jsonl"
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("curves")
    world = make_world(place / "world", quiz=DOCS, write=DOCS)
    with (world / "tasks" / "toy_quiz.yaml").open("a") as file:
        file.write("chance: 0.25\n")
    listed = place / "list.jsonl"
    entries = [{"step": step, "path": str(table(place, step)), "tokens": 10 * step} for step in STEPS]
    listed.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return sweep(on_list(world, listed, place / "results"), readiness=impatient()).folder


def training(folder, **options):
    ((name, entries),) = records_of(folder.runs()).trainings().items()
    return make_training(name, entries, ItemScores(), VerdictOptions(**options))


def test_a_curve_has_a_point_per_step_with_interval_and_tokens(folder):
    found = training(folder)
    (acc,) = [curve for curve in found.curves if (curve.task, curve.metric) == ("toy_quiz", "acc")]
    assert [(p.step, p.entry.tokens_seen, p.value) for p in acc.points] == [
        (step, 10 * step, SURE[step] / DOCS) for step in STEPS
    ]
    assert all(p.low < p.value < p.high for p in acc.points)
    assert (acc.n, acc.is_main, acc.higher_is_better, acc.chance) == (DOCS, True, True, 0.25)
    assert [curve.task for curve in found.main_curves] == ["toy_quiz", "toy_write"]
    assert {"acc_norm", "acc_bytes", "bpb_gold"} < {curve.metric for curve in found.curves if curve.task == "toy_quiz"}


def test_the_verdict_says_what_the_last_fifth_bought_and_since_when_nothing_is_detectable(folder):
    for curve in training(folder, looks=1).main_curves:
        assert curve.verdict.outcome == "no detectable improvement"
        assert (curve.verdict.since, curve.verdict.short) == (300, "rose until 300, nothing detectable since")
        assert f"{curve.task} {curve.metric} (n=60): the last 100 steps (400→500) bought +1.67 pp, " in curve.sentence
        assert "Every checkpoint before 300 is significantly worse than the last (500)" in curve.sentence
        assert curve.sentence.endswith("Adjusted for one look at 2 tasks.")
    assert {curve.verdict.outcome for curve in training(folder, delta=0.2, looks=1).main_curves} == {"plateau"}
    (since, _) = training(folder, since=250).main_curves
    assert "the last 300 steps (200→500) bought +31.67 pp" in since.sentence


def test_all_tasks_together_have_a_verdict_from_chance_to_the_best_score(folder):
    found = training(folder)
    suite = found.overall
    expected = [((SURE[s] / DOCS - 0.25) / 0.75 + SURE[s] / DOCS) / 2 for s in STEPS]
    assert [point.value for point in suite.points] == pytest.approx(expected)
    assert suite.sentence.startswith(f"2 tasks normalised (n={2 * DOCS}): the last 100 steps (400→500) bought +1.94 pp")
    assert about(found) == [
        "In the mean of all tasks benchmarks count alike, and the tasks of one share its weight; each task goes from"
        " chance (0) to the best score (1)."
    ]


def test_the_chance_of_a_false_claim_is_shared_by_the_mean_its_tasks_and_their_smooth_signal(folder):
    found = training(folder)
    judged = [curve for curve in (*found.curves, found.overall) if curve.verdict is not None]
    shares = {(curve.task, curve.metric): curve.verdict.family.share for curve in judged}
    assert shares == {
        ("2 tasks", "normalised"): 0.5,
        ("toy_quiz", "acc"): 0.125,
        ("toy_quiz", "bpb_gold"): 0.125,
        ("toy_write", "exact_match"): 0.25,
    }


def test_the_smooth_signal_speaks_where_accuracy_is_mute(folder, monkeypatch):
    found = training(folder)
    acc = next(curve for curve in found.main_curves if curve.task == "toy_quiz")
    smooth = found.smooth["toy_quiz"]
    if smooth.verdict.outcome in ("improving", "regressed"):
        assert "another quantity" in found.beside(acc)
    else:
        assert found.beside(acc) is None
    assert found.beside(smooth) is None


def test_figures_are_those_of_the_sentence(folder):
    curve = training(folder, looks=1).main_curves[0]
    found = figures(curve)
    newest = found["newest"]
    assert (newest["from"], round(newest["value"], 4)) == (400, 0.0167)
    low, high = f"{100 * newest['ci_low']:+.2f}".replace("-", "−"), f"{100 * newest['ci_high']:+.2f}"
    assert f"bought +1.67 pp, 95 % CI {low}…{high}." in curve.sentence
    assert found["adjusted_for"] == {"looks": 1, "tasks": 2, "share": 0.125}
    smooth = training(folder).smooth["toy_quiz"]
    assert figures(smooth)["newest"]["value"] == pytest.approx(smooth.points[-1].value - smooth.points[-2].value)


def test_curves_become_panels_with_the_verdict_as_their_description(folder):
    drawn = panels(training(folder, looks=1).main_curves)
    assert [panel.title for panel in drawn] == ["toy_quiz acc", "toy_write exact_match"]
    assert drawn[0].reference == 0.25
    assert drawn[1].reference is None
    text = picture(drawn, ".svg").decode()
    assert "very checkpoint before 300" in text
    with pytest.raises(ArgumentError, match=r"pictures are .svg or .png"):
        picture(drawn, ".pdf")


def test_steps_that_span_more_than_a_decade_or_two_stand_on_a_logarithmic_axis(folder):
    curve = training(folder).main_curves[0]
    assert (curve.panel.x_label, curve.panel.log_x) == ("step", False)
    far = replace(curve, points=tuple(replace(p, step=p.step * 10**i) for i, p in enumerate(curve.points)))
    assert (far.panel.x_label, far.panel.log_x) == ("step (log)", True)


def test_png_needs_matplotlib(folder):
    drawn = panels(training(folder).main_curves)
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        with pytest.raises(ArgumentError, match="PNG needs matplotlib"):
            picture(drawn, ".png")
    else:
        assert picture(drawn, ".png").startswith(b"\x89PNG")


def test_one_asks_for_a_task_or_metric_by_name(folder):
    found = training(folder)
    assert [c.metric for c in chosen_curves(found, tasks=["toy_quiz"], metric="acc_norm")] == ["acc_norm"]
    with pytest.raises(ArgumentError, match=r"has no task 'toy_quizz'.*Did you mean toy_quiz"):
        chosen_curves(found, tasks=["toy_quizz"], metric=None)
    with pytest.raises(ArgumentError, match="no task here has a metric 'f2'"):
        chosen_curves(found, tasks=None, metric="f2")


def test_a_done_unit_without_its_run_is_not_done(folder, tmp_path):
    import shutil

    results = shutil.copytree(folder.output, tmp_path / "results")
    copy = find_sweep("latest", results)
    (results / copy.all_done()[0].run / "run.json").unlink()
    assert [done.step for done in copy.all_done()] == list(STEPS[1:])
    next(copy.path.glob("units/*500/done.json")).write_text("{")
    assert [done.step for done in copy.all_done()] == list(STEPS[1:-1])

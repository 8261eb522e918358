import json

import pytest

from benchbench.core.errors import ArgumentError
from benchbench.leaderboard.charts import panels, picture
from benchbench.leaderboard.curves import chosen_curves, curves, main_curves
from benchbench.leaderboard.verdicts import suite_verdicts, verdicts
from benchbench.runner.sweep.sweep import sweep
from benchbench.store.sweeps import find_sweep
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


def test_a_curve_has_a_point_per_step_with_interval_and_tokens(folder):
    found = curves(folder)
    (acc,) = [curve for curve in found if (curve.task, curve.metric) == ("toy_quiz", "acc")]
    assert [(p.step, p.tokens_seen, p.value) for p in acc.points] == [
        (step, 10 * step, SURE[step] / DOCS) for step in STEPS
    ]
    assert all(p.low < p.value < p.high for p in acc.points)
    assert (acc.n, acc.is_main, acc.higher_is_better, acc.chance) == (DOCS, True, True, 0.25)
    assert [curve.task for curve in main_curves(found)] == ["toy_quiz", "toy_write"]


def test_the_verdict_names_the_step_from_which_nothing_more_is_gained(folder):
    found = curves(folder)
    for one in verdicts(main_curves(found), among=found):
        assert one.verdict.outcome == "no detectable improvement"
        assert one.verdict.since == 300
        assert f"{one.curve.task} " in one.sentence
        assert "every checkpoint before 300 is significantly worse than the last (500)" in one.sentence
        assert "+1.67 pp" in one.sentence
    wide = verdicts(main_curves(found), among=found, delta=0.2)
    assert {one.verdict.outcome for one in wide} == {"plateau"}


def test_all_tasks_together_have_a_verdict_from_chance_to_the_best_score(folder):
    (suite,) = suite_verdicts(main_curves(curves(folder)))
    expected = [((SURE[s] / DOCS - 0.25) / 0.75 + SURE[s] / DOCS) / 2 for s in STEPS]
    assert list(suite.verdict.values) == pytest.approx(expected)
    assert suite.sentence.startswith(f"2 tasks normalised (n={2 * DOCS}): every checkpoint before 300 is")


def test_curves_become_panels_with_the_verdict_as_their_description(folder):
    found = curves(folder)
    drawn = panels(verdicts(main_curves(found), among=found))
    assert [panel.title for panel in drawn] == ["toy_quiz acc", "toy_write exact_match"]
    assert drawn[0].reference == 0.25
    assert drawn[1].reference is None
    text = picture(drawn, ".svg").decode()
    assert "every checkpoint before 300" in text
    with pytest.raises(ArgumentError, match=r"pictures are .svg or .png"):
        picture(drawn, ".pdf")


def test_png_needs_matplotlib(folder):
    drawn = panels(verdicts(main_curves(curves(folder))))
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        with pytest.raises(ArgumentError, match="PNG needs matplotlib"):
            picture(drawn, ".png")
    else:
        assert picture(drawn, ".png").startswith(b"\x89PNG")


def test_one_asks_for_a_task_or_metric_by_name(folder):
    found = curves(folder)
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

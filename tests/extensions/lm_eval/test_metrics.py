"""Metrics of lm-eval's tasks, run by us, against those that lm-eval gives for the same answers."""

from __future__ import annotations

import pytest

from benchbench.backends.engines import ModelOptions
from benchbench.core.settings import changed
from benchbench.core.types import GenerateRequest
from benchbench.runner.events import ignore
from benchbench.runner.plan import Plan, make_plan
from benchbench.runner.run import run_plan
from benchbench.runner.settings import RunSettings
from tests.extensions.lm_eval.conftest import World, our_figures, their_figures
from tests.extensions.lm_eval.engines import Answers, Ours, theirs

CHOICE = [
    "piqa", "hellaswag", "arc_easy", "arc_challenge", "sciq", "openbookqa", "winogrande", "belebele_ces_Latn",
    "french_bench_boolqa", "french_bench_grammar", "multiblimp_ces", "global_mmlu_full_cs_anatomy", "cola", "cb",
    "truthfulqa_mc1", "truthfulqa_mc2", "webqs", "mc_taco",
]  # fmt: skip
LIKELIHOOD = ["lambada_openai", "wikitext", "french_bench_opus_perplexity"]
TEXT = [
    "gsm8k", "gsm8k_cot_self_consistency", "triviaqa", "nq_open", "wmt14-en-fr", "drop", "squad_completion",
    "anagrams1", "mmlu_prox_cs_law",
]  # fmt: skip
OWN = ["own_median", "own_outer"]
GROUPS = ["haerae"]
SHOTS = ["piqa", "winogrande", "arc_easy", "gsm8k", "triviaqa", "mrpc", "belebele_ces_Latn"]


def settings(world: World, names: list[str], output, **kwargs) -> RunSettings:
    tasks = ",".join(f"lm_eval:{world.file(n) if n.startswith('own_') else n}" for n in names)
    asked = {
        "model": ModelOptions("hash", backend="scripted"),
        "tasks": tasks,
        "data_root": world.data_root,
        "output": output,
        "trust_task_code": True,
    }
    return changed(RunSettings(ModelOptions("")), **{**asked, **kwargs})


def told(plan: Plan) -> Answers:
    """A model that knows the right answers of these tasks."""
    answers = Answers()
    for prepared in plan.tasks:
        for doc in prepared.docs:
            for request in doc.requests:
                if isinstance(request, GenerateRequest) and doc.targets:
                    answers.right[request.prompt.text] = doc.targets[0].rpartition("#### ")[2]
    return answers


@pytest.mark.parametrize(
    ("names", "shots"),
    [
        (CHOICE + LIKELIHOOD + GROUPS + OWN, None),
        (TEXT, None),
        pytest.param(SHOTS, 2, marks=pytest.mark.slow),
    ],
    ids=["choices and likelihoods", "texts", "with shots"],
)
def test_every_metric_is_the_one_that_lm_eval_gives(world, tmp_path, names, shots):
    asked = settings(world, names, tmp_path, num_fewshot=shots)
    plan = make_plan(asked, ignore)
    answers = told(plan)
    expected = their_figures(world, names, theirs(answers), shots)
    rows = run_plan(plan, asked, Ours(answers)).rows
    found = our_figures(rows, expected)
    assert {key: found[key] for key in expected} == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert {name for name, _ in expected} >= set(names)
    assert {row.task.removeprefix("lm_eval:") for row in rows} == {name for name, _ in expected}


class Undecided(Answers):
    """Cannot tell texts apart."""

    def loglikelihood(self, context: str, continuation: str) -> tuple[float, bool]:
        """One and the same."""
        return -1.0, False


def test_a_tie_goes_to_the_first_choice_as_lm_eval_has_it(world, tmp_path):
    asked = settings(world, ["arc_easy", "sciq", "belebele_ces_Latn"], tmp_path)
    expected = their_figures(world, ["arc_easy", "sciq", "belebele_ces_Latn"], theirs(Undecided()), None)
    result = run_plan(make_plan(asked, ignore), asked, Ours(Undecided()))
    found = our_figures(result.rows, expected)
    acc = {key: value for key, value in expected.items() if key[1].startswith("acc,")}
    assert {key: found[key] for key in acc} == acc
    assert len(acc) == 3
    for name, task in result.record.tasks.items():
        assert task.counts.ties == task.counts.n, name
    assert not any("ties:" in row.signature for row in result.rows)

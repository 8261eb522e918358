"""Every shipped task asks a model for exactly what lm_eval 0.4.13 asks, on small original rows in upstream's layout."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("lm_eval", reason="lm_eval is the reference; install the extra [lm-eval]")

from tests.parity import ours, upstream
from tests.parity.compare import compare

FIXTURES = Path(__file__).parent / "fixtures"
TASKS = (
    "hellaswag",
    "arc_easy",
    "arc_challenge",
    "piqa",
    "sciq",
    "boolq",
    "mmlu_anatomy",
    "mmlu_high_school_us_history",
    "mmlu_professional_law",
    "belebele_eng_Latn",
    "belebele_ces_Latn",
    "lambada_openai",
    "triviaqa",
    "nq_open",
    "gsm8k",
    "wmt14-en-fr",
    "wmt14-fr-en",
    "cs_hellaswag",
)


def test_the_reference_is_the_version_we_promise() -> None:
    from importlib.metadata import version

    assert version("lm_eval") == upstream.VERSION


@pytest.mark.parametrize("num_fewshot", [0, 3])
@pytest.mark.parametrize("name", TASKS)
def test_prompts_are_byte_identical_to_lm_evals(name: str, num_fewshot: int) -> None:
    row = compare(name, num_fewshot, data_root=FIXTURES, limit=None)
    assert row.docs >= 8
    assert (row.prompts_equal, row.first_difference, row.problems) == (row.prompts, None, [])


def test_wikitext_is_detokenised_as_lm_eval_does_it() -> None:
    source = upstream.Source(FIXTURES)
    row = compare("wikitext", 0, data_root=FIXTURES, limit=None)
    assert row.prompts_equal == row.prompts == 8, row.first_difference
    lengths = [doc.targets[-1] for doc in ours.load("wikitext", source, 0, None).docs]
    pages = [row["page"] for row in upstream.rows_of(next((FIXTURES / "EleutherAI").rglob("wikitext-2*/test.jsonl")))]
    assert lengths == pages, "words and bytes are counted in the page as stored"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("doc_to_text", "Question: {{question}}\nAnswer: "),
        ("target_delimiter", "  "),
        ("fewshot_delimiter", "\n"),
        ("description", "Physics."),
        ("test_split", "train"),
    ],
)
def test_a_changed_task_file_is_noticed(key: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = upstream.config_of
    monkeypatch.setattr(upstream, "config_of", lambda name: original(name) | {key: value})
    row = compare("arc_easy", 3, data_root=FIXTURES, limit=None)
    assert not row.ok


def test_the_gold_of_every_choice_task_is_lm_evals() -> None:
    source = upstream.Source(FIXTURES)
    for name in TASKS:
        task = upstream.load(name, source, 0)
        if task.OUTPUT_TYPE == "multiple_choice":
            theirs = [task.doc_to_target(doc) for doc in task.eval_docs]
            assert [doc.gold for doc in ours.load(name, source, 0, None).docs] == [(gold,) for gold in theirs], name


def test_the_right_texts_of_every_generation_task_are_lm_evals() -> None:
    source = upstream.Source(FIXTURES)
    for name in ("triviaqa", "nq_open", "gsm8k", "wmt14-en-fr", "wmt14-fr-en"):
        task = upstream.load(name, source, 0)
        theirs = [task.doc_to_target(doc) for doc in task.eval_docs]
        expected = [tuple(target) if isinstance(target, list) else (target,) for target in theirs]
        assert [doc.targets for doc in ours.load(name, source, 0, None).docs] == expected, name


def test_mmlu_and_belebele_have_all_of_lm_evals_members() -> None:
    folder = upstream.file_of("hellaswag").parent.parent
    for group, pattern in (("mmlu", "mmlu/default/mmlu_*.yaml"), ("belebele", "belebele/belebele_*.yaml")):
        theirs = {path.stem for path in folder.glob(pattern)}
        group_tasks = ours.packaged().groups[group]
        assert set(group_tasks.tasks) == theirs
        assert group_tasks.weight_by_size


def test_mmlu_descriptions_and_areas_are_lm_evals() -> None:
    for name in ours.packaged().groups["mmlu"].tasks:
        theirs, config = upstream.config_of(name), ours.packaged().task(name).config
        assert config.dataset_name == theirs["dataset_name"]
        assert config.tag in (theirs["tag"], [theirs["tag"]], (theirs["tag"],))
        subject = str(config.dataset_name).replace("_", " ")
        assert (
            theirs["description"] == f"The following are multiple choice questions (with answers) about {subject}.\n\n"
        )


def test_items_of_a_belebele_passage_share_a_cluster() -> None:
    docs = ours.load("belebele_eng_Latn", upstream.Source(FIXTURES), 0, None).docs
    passages = {doc.doc.fields["flores_passage"]: doc.doc.cluster for doc in docs}
    assert len({*passages.values()}) == len(passages) == 5
    assert all(doc.doc.cluster == passages[doc.doc.fields["flores_passage"]] for doc in docs)


def test_every_shipped_task_is_compared_or_has_a_group_that_is() -> None:
    index = ours.packaged()
    compared = {*TASKS, "wikitext", *index.groups["mmlu"].tasks, *index.groups["belebele"].tasks}
    assert {name for name in index.variants if not name.startswith("demo_")} == compared

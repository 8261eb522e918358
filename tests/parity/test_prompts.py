"""Every shipped task asks a model for exactly what lm_eval 0.4.13 asks, on small original rows in upstream's layout."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

pytest.importorskip("lm_eval", reason="lm_eval is the reference; install the extra [lm-eval]")

from benchbench.tasks.template import Field
from tests.parity import ours, upstream
from tests.parity.compare import compare
from tests.parity.tasks import MANY, cases

FIXTURES = Path(__file__).parent / "fixtures"
ROLLING = frozenset(
    name
    for name in (case.name for case in cases())
    if ours.packaged().task(name).output_type == "loglikelihood_rolling"
)
PROMPTED = [case.name for case in cases() if case.name not in ROLLING]


def test_the_reference_is_the_version_we_promise() -> None:
    from importlib.metadata import version

    assert version("lm_eval") == upstream.VERSION


@pytest.mark.parametrize("num_fewshot", [0, 3])
@pytest.mark.parametrize("name", PROMPTED)
def test_prompts_are_byte_identical_to_lm_evals(name: str, num_fewshot: int) -> None:
    row = compare(name, num_fewshot, data_root=FIXTURES, limit=None)
    assert row.docs >= 8
    assert (row.prompts_equal, row.first_difference, row.problems) == (row.prompts, None, [])


@pytest.mark.parametrize("name", sorted(ROLLING))
def test_texts_that_are_scored_whole_are_lm_evals(name: str) -> None:
    row = compare(name, 0, data_root=FIXTURES, limit=None)
    assert row.prompts_equal == row.prompts >= 8, row.first_difference


@pytest.mark.parametrize(("name", "column"), [("wikitext", "page"), ("french_bench_wikitext_fr", "paragraph")])
def test_words_and_bytes_are_counted_in_the_text_as_stored(name: str, column: str) -> None:
    docs = ours.load(name, upstream.Source(FIXTURES), 0, None).docs
    assert [doc.targets[-1] for doc in docs] == [doc.doc.fields[column] for doc in docs]
    assert any(doc.requests[0].text != doc.targets[-1] for doc in docs)


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


@pytest.mark.parametrize("name", [case.name for case in cases() if case.definition != "ours"])
def test_the_right_answer_is_lm_evals(name: str) -> None:
    source = upstream.Source(FIXTURES)
    task = upstream.load(name, source, 0)
    docs = ours.load(name, source, 0, None).docs
    theirs = [task.doc_to_target(doc) for doc in task.eval_docs]
    if name == "winogrande":  # the right context's number is what lm-eval's doc_to_text gives
        assert [doc.gold for doc in docs] == [(task.doc_to_text(doc),) for doc in task.eval_docs]
    elif task.OUTPUT_TYPE == "multiple_choice":
        indices = [doc.choices.index(x) if isinstance(x, str) else x for doc, x in zip(docs, theirs, strict=True)]
        assert [doc.gold for doc in docs] == [(index,) for index in indices]
    elif task.OUTPUT_TYPE == "loglikelihood_rolling":
        assert [doc.requests[0].text for doc in docs] == theirs
    else:
        expected = [tuple(target) if isinstance(target, list) else (target,) for target in theirs]
        assert [doc.targets for doc in docs] == expected


FOLDERS = {
    "mmlu": "mmlu/default/mmlu_*.yaml",
    "belebele": "belebele/belebele_*.yaml",
    "multiblimp": "multiblimp/multiblimp_*.yaml",
    "global_mmlu_full_cs": "global_mmlu/full/cs/global_mmlu_full_cs_*.yaml",
    "mmlu_prox_cs": "mmlu_prox/cs/mmlu_prox_cs_*.yaml",
    "mmlu_prox_lite_en": "mmlu_prox/en/mmlu_prox_lite_en_*.yaml",
}


@pytest.mark.parametrize("group", FOLDERS)
def test_a_group_has_all_of_lm_evals_members(group: str) -> None:
    folder = lm_evals_folder()
    members = ours.packaged().groups[group]
    assert set(members.tasks) == {path.stem for path in folder.glob(FOLDERS[group])}
    assert members.weight_by_size


def lm_evals_folder() -> Path:
    import lm_eval.tasks

    return Path(lm_eval.tasks.__file__).parent


@pytest.mark.parametrize("pattern", ["global_mmlu_full_*", "mmlu_prox_*", "global_piqa_*", "french_bench_*"])
def test_every_task_of_a_large_matrix_has_lm_evals_data_and_description(pattern: str) -> None:
    names = [name for name in ours.packaged().variants if fnmatchcase(name, pattern)]
    for name in names:
        theirs, config = upstream.config_of(name), ours.packaged().task(name).config
        path = "EdinburghNLP/orange_sum" if theirs["dataset_path"] == "orange_sum" else theirs["dataset_path"]
        assert (config.dataset_path, config.dataset_name) == (path, theirs.get("dataset_name")), name
        if config.description is not None and "mmlu_prox" in name:
            variables = dict(ours.packaged().variants[name].variables)
            assert Field(config.description, name, ()).text(variables, "none") == theirs["description"], name
        tags = theirs.get("tag") or []
        assert {tags} <= set(config.tag) if isinstance(tags, str) else set(tags) <= set(config.tag), name
    assert len(names) >= 18


def test_mmlu_descriptions_and_areas_are_lm_evals() -> None:
    names = ours.packaged().groups["mmlu"].tasks
    assert len(names) == 57
    for name in names:
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


def test_every_folder_of_tasks_is_compared() -> None:
    index = ours.packaged()
    compared = {index.variants[case.name].path for case in cases()}
    shipped = {
        variant.path
        for variant in index.variants.values()
        if variant.path.parent.name != "demo" and "turns" not in variant.raw  # lm-eval has no conversations
    }
    assert shipped == compared


def test_representatives_of_a_matrix_differ_from_the_others_in_their_variables_only() -> None:
    index = ours.packaged()
    assert len(MANY) > 5
    assert min(map(len, MANY.values())) > 1
    for folder, names in MANY.items():
        files = {variant.path for variant in index.variants.values() if variant.path.parent.name == folder}
        assert files == {index.variants[name].path for name in names}, folder

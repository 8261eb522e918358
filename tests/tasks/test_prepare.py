"""Task and settings in; requests, fingerprints and sentences out."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchbench.core.errors import ArgumentError, DataError, TaskError
from benchbench.core.types import GenerateRequest, GenerationParams, LoglikelihoodRequest, Prompt, RollingRequest
from benchbench.tasks.index import TaskIndex
from benchbench.tasks.prepare import prepare
from benchbench.tasks.settings import RenderSettings
from benchbench.tasks.task import PreparedTask
from tests.tasks.conftest import CHOICE, QUESTIONS, MakeTask

GENERATE = """
    task: g
    dataset_path: json
    dataset_kwargs: {data_files: {test: test.jsonl}}
    test_split: test
    doc_to_text: "{{q}}"
    doc_to_target: "{{options}}"
"""
ROWS = {"test": QUESTIONS}


def without(text: str, key: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.strip().startswith(key + ":")) + "\n"


def prompts(prepared: PreparedTask) -> list[Prompt]:
    found = [doc.requests[0] for doc in prepared.docs]
    return [request.prompt for request in found if isinstance(request, (LoglikelihoodRequest, GenerateRequest))]


def test_choices_become_requests_in_their_order(make_task: MakeTask) -> None:
    prepared = prepare(make_task(CHOICE, ROWS), RenderSettings())
    doc = prepared.docs[4]
    assert [(r.doc_id, r.index, r.continuation) for r in doc.requests if isinstance(r, LoglikelihoodRequest)] == [
        (4, 0, " 8"), (4, 1, " 9"), (4, 2, " not 4")
    ]  # fmt: skip
    assert (doc.choices, doc.gold, doc.doc.id) == (("8", "9", "not 4"), (1,), 4)
    assert prepared.num_fewshot == 0


def test_fixed_shots_are_one_tuple_object_and_keep_the_parts_of_the_prompt(make_task: MakeTask) -> None:
    task = make_task(CHOICE + '    description: "Add.\\n"\n    fewshot_config: {sampler: first_n}\n', ROWS)
    found = prompts(prepare(task, RenderSettings(num_fewshot=2)))
    assert found[5].description == "Add.\n"
    assert found[5].shots == ("Q: What is 0 plus 0?\nA: 0\n\n", "Q: What is 1 plus 1?\nA: 3\n\n")
    assert found[5].question == "Q: What is 5 plus 5?\nA:"
    assert found[5].overflow == "drop_shots"
    assert all(prompt.shots is found[5].shots for prompt in found[2:])
    assert "What is 0 plus" not in "".join(found[0].shots)
    shorter = found[5].shorter()
    assert shorter is not None
    assert shorter.text == "Add.\n" + found[5].shots[1] + found[5].question


def test_lm_eval_mode_cuts_on_the_left_only(make_task: MakeTask) -> None:
    found = prompts(prepare(make_task(CHOICE, ROWS), RenderSettings(num_fewshot=2, fewshot_mode="lm_eval")))
    assert {prompt.overflow for prompt in found} == {"truncate_left"}
    assert found[0].shorter() is None


def test_no_mode_shows_a_document_its_own_answer(make_task: MakeTask) -> None:
    doubled = {"test": [*QUESTIONS, *QUESTIONS]}
    for mode in ("fixed", "per_doc"):
        settings = RenderSettings(num_fewshot=4, fewshot_mode=mode)  # type: ignore[arg-type]
        asked = prompts(prepare(make_task(CHOICE, doubled), settings))
        assert len(asked) == 2 * len(QUESTIONS)
        for prompt in asked:
            assert prompt.question.split("\n")[0] not in "".join(prompt.shots)


def test_a_note_says_how_many_documents_are_shots_themselves(make_task: MakeTask) -> None:
    (note,) = prepare(make_task(CHOICE, ROWS), RenderSettings(num_fewshot=3)).notes
    assert note.startswith("3 of 12 documents are among the shots")


def test_the_task_says_how_many_shots_unless_the_settings_do(make_task: MakeTask) -> None:
    task = make_task(CHOICE + "    num_fewshot: 2\n", ROWS)
    assert prepare(task, RenderSettings()).num_fewshot == 2
    assert prepare(task, RenderSettings(num_fewshot=0)).num_fewshot == 0
    zero = make_task(CHOICE + "    num_fewshot: 0\n", ROWS)
    assert prepare(zero, RenderSettings(num_fewshot=3)).num_fewshot == 3


def test_derived_fields_see_earlier_ones_and_keep_the_row(make_task: MakeTask) -> None:
    more = "    doc: {a: '{{ q | upper }}', b: '{{ a }}!', c: '{{ options | map(\"upper\") | list }}', q: '{{ id }}'}\n"
    doc = prepare(make_task(CHOICE + more, ROWS), RenderSettings()).docs[3].doc
    assert (doc.fields["b"], doc.fields["c"], doc.fields["q"]) == ("WHAT IS 3 PLUS 3?!", ["6", "7", "NOT 3"], 3)
    plain = prepare(make_task(CHOICE, ROWS), RenderSettings()).docs[3].doc
    assert plain.hash == doc.hash


def test_documents_with_one_passage_share_a_cluster(make_task: MakeTask) -> None:
    rows = {"test": [{**row, "passage": f"p{row['id'] // 3}"} for row in QUESTIONS]}
    docs = prepare(make_task(CHOICE + "    cluster: passage\n", rows), RenderSettings()).docs
    assert [doc.doc.cluster for doc in docs] == [f"p{i // 3}" for i in range(12)]


def test_a_prompt_variant_overrides_only_what_it_gives(make_task: MakeTask) -> None:
    task = make_task(CHOICE + "    prompts: {bare: {doc_to_text: '{{q}}', target_delimiter: ''}}\n", ROWS)
    doc = prepare(task, RenderSettings(prompt="bare")).docs[0]
    request = doc.requests[0]
    assert isinstance(request, LoglikelihoodRequest)
    assert (request.prompt.text, request.continuation, doc.prompt_name) == ("What is 0 plus 0?", "0", "bare")
    with pytest.raises(TaskError, match=r"no prompt named 'bear'; it has default, bare\. Did you mean bare"):
        prepare(task, RenderSettings(prompt="bear"))


def test_generation_settings_take_their_defaults_and_aliases(make_task: MakeTask) -> None:
    def params(more: str) -> GenerationParams:
        request = prepare(make_task(GENERATE + more, ROWS), RenderSettings(seed=3)).docs[0].requests[0]
        assert isinstance(request, GenerateRequest)
        return request.params

    assert params("") == GenerationParams(until=("\n\n",), max_gen_toks=256)
    assert params("    generation_kwargs: {until: x, max_new_tokens: 5}\n") == GenerationParams(("x",), 5)
    greedy = params("    generation_kwargs: {temperature: 0.7, until: []}\n")
    assert greedy == GenerationParams(until=())
    sampled = params("    generation_kwargs: {temperature: 0.7, do_sample: true, top_k: 4}\n")
    assert sampled == GenerationParams(("\n\n",), do_sample=True, temperature=0.7, top_k=4, seed=3)


def test_repeats_become_several_requests(make_task: MakeTask) -> None:
    doc = prepare(make_task(GENERATE + "    repeats: 3\n", ROWS), RenderSettings()).docs[0]
    assert [request.index for request in doc.requests] == [0, 1, 2]
    assert doc.targets == ("0", "1", "not 0")


def test_a_rolling_text_has_a_length_of_its_own_and_no_shots(make_task: MakeTask) -> None:
    text = (
        GENERATE.replace('"{{options}}"', "'{{q}}'")
        + "    output_type: loglikelihood_rolling\n    doc_to_length: '{{q}}!'\n"
    )
    prepared = prepare(make_task(text, ROWS), RenderSettings(num_fewshot=5))
    request = prepared.docs[1].requests[0]
    assert isinstance(request, RollingRequest)
    assert (request.text, prepared.docs[1].targets) == ("What is 1 plus 1?", ("What is 1 plus 1?!",))
    assert prepared.num_fewshot == 0
    assert "shots do not apply" in prepared.notes[0]


def test_a_text_that_looks_like_a_list_or_a_number_stays_text(make_task: MakeTask) -> None:
    rows = {"test": [{"q": "[1, 2]", "options": "['a', 'b']", "n": "7"}]}
    text = GENERATE.replace('"{{options}}"', "options")
    doc = prepare(make_task(text, rows), RenderSettings()).docs[0]
    assert doc.targets == ("['a', 'b']",)
    assert prompts(prepare(make_task(text, rows), RenderSettings()))[0].text == "[1, 2]"


@pytest.mark.parametrize(
    ("key", "value", "row", "message"),
    [
        (
            "doc_to_text",
            "'{{qq}}'",
            {},
            "`doc_to_text`: the template fails on document 2: 'qq' is undefined.*Did you mean q",
        ),
        ("doc_to_text", "q", {"q": 3.5}, "document 2 gives a float, not text"),
        ("doc_to_choice", "'[\"{{q}}\"]'", {}, "text is never read as a list"),
        ("doc_to_choice", "options", {"options": []}, "not a list of choices|none of its 0"),
        ("doc_to_choice", "options", {"options": "ab"}, "document 2 gives a str, not a list"),
        (
            "doc_to_choice",
            "options",
            {"options": ["a", 2]},
            "document 2 has a choice that is an int, not text. Numbers become text",
        ),
        ("doc_to_target", "right", {"right": 3}, "document 2 has the target 3, which is none of its 3 choices"),
        ("doc_to_target", "right", {"right": -1}, "the target -1"),
        ("doc_to_target", "right", {"right": "1"}, r"the target '1'.*\{\{…\|int\}\}"),
        ("doc_to_target", "'{{right}}'", {"right": "9"}, "the target 9"),
        ("doc_to_target", "right", {"right": None}, "document 2 has no target"),
        ("doc_to_target", "'{{ [] }}'", {}, "empty list of targets"),
        ("cluster", "'{{ passage }}'", {}, "`cluster`: the template fails on document 0: 'passage' is undefined"),
    ],
)
def test_a_document_that_does_not_fit_is_a_sentence(
    make_task: MakeTask, key: str, value: str, row: dict[str, Any], message: str
) -> None:
    rows = [dict(question) for question in QUESTIONS]
    rows[2] |= row
    task = make_task(without(CHOICE, key) + f"    {key}: {value}\n", {"test": rows})
    if "document 2" in message:
        message = message.replace("document 2", "document [02]") if not row else message
    with pytest.raises(TaskError, match=message) as caught:
        prepare(task, RenderSettings())
    assert "t.yaml:" in str(caught.value)


def test_a_field_that_one_document_lacks_is_told_with_that_document(make_task: MakeTask) -> None:
    rows = [dict(question) for question in QUESTIONS]
    del rows[7]["right"]
    with pytest.raises(TaskError, match="document 7 has no field 'right', although the first one has"):
        prepare(make_task(CHOICE, {"test": rows}), RenderSettings())


@pytest.mark.parametrize("mode", ["fixed", "per_doc", "lm_eval"])
def test_more_shots_than_the_pool_holds_is_a_sentence(make_task: MakeTask, mode: Any) -> None:
    with pytest.raises(
        DataError, match=r"12 shots were asked for, .*\(split 'test'\) has only 11 documents.*--num-fewshot"
    ):
        prepare(
            make_task(CHOICE + "    fewshot_split: test\n", ROWS), RenderSettings(num_fewshot=12, fewshot_mode=mode)
        )


def test_a_missing_shot_split_matters_only_when_shots_are_asked_for(make_task: MakeTask) -> None:
    task = make_task(CHOICE + "    fewshot_split: train\n", ROWS)
    assert len(prepare(task, RenderSettings()).docs) == 12
    with pytest.raises(DataError, match=r"no split 'train'.*Shots of sums come from there.*--num-fewshot 0"):
        prepare(task, RenderSettings(num_fewshot=1))


@pytest.mark.parametrize("given", [{"limit": 0}, {"limit": -1}, {"num_fewshot": -1}])
def test_settings_without_sense_are_a_sentence(given: dict[str, int]) -> None:
    with pytest.raises(ArgumentError, match=r"^--(limit|num-fewshot) is -?\d; it must be \d or more"):
        RenderSettings(**given)


def test_a_limit_changes_no_prompt(make_task: MakeTask) -> None:
    task = make_task(CHOICE, ROWS)
    for mode in ("fixed", "per_doc", "lm_eval"):
        settings = RenderSettings(num_fewshot=3, fewshot_mode=mode)  # type: ignore[arg-type]
        whole = prepare(task, settings)
        assert prepare(task, replace(settings, limit=5)).docs == whole.docs[:5]


def test_fingerprints_move_with_what_they_name_and_with_nothing_else(make_task: MakeTask) -> None:
    base = prepare(make_task(CHOICE, ROWS), RenderSettings())
    again = prepare(make_task(CHOICE + "    licence: MIT\n    chance: 0.3\n", ROWS), RenderSettings(seed=9))
    assert (base.prompt_hash, base.data_hash) == (again.prompt_hash, again.data_hash)
    assert (len(base.prompt_hash), len(base.data_hash)) == (8, 16)
    other_text = prepare(make_task(CHOICE.replace("Q: ", "Question: "), ROWS), RenderSettings())
    assert other_text.prompt_hash != base.prompt_hash
    assert other_text.data_hash == base.data_hash
    other_rows = prepare(make_task(CHOICE, {"test": QUESTIONS[:-1]}), RenderSettings())
    assert other_rows.prompt_hash == base.prompt_hash
    assert other_rows.data_hash != base.data_hash
    shots = {prepare(make_task(CHOICE, ROWS), RenderSettings(num_fewshot=2, seed=seed)).prompt_hash for seed in (1, 2)}
    assert len({*shots, base.prompt_hash}) == 3


def test_fingerprints_are_the_same_on_every_machine(make_task: MakeTask) -> None:
    prepared = prepare(make_task(CHOICE, ROWS), RenderSettings(num_fewshot=2))
    assert (prepared.prompt_hash, prepared.data_hash) == ("907b2a2d", "4a03c20eb88cf697")
    assert prepared.docs[11].requests[0].prompt.shots == (
        "Q: What is 2 plus 2?\nA: not 2\n\n",
        "Q: What is 6 plus 6?\nA: 12\n\n",
    )  # type: ignore[union-attr]


def test_ten_thousand_documents_are_prepared_in_seconds(make_task: MakeTask) -> None:
    text = CHOICE.replace("doc_to_text", "fewshot_config: {sampler: first_n}\n    doc_to_text") + (
        "    doc: {query: \"{{ (q ~ ' ' ~ q.capitalize()).strip() | regex_replace('[0-9].*?x', '') }}\"}\n"
    )
    rows = {"test": [{**QUESTIONS[i % 12], "n": i} for i in range(10_000)]}
    task = make_task(text, rows)
    started = time.process_time()
    assert len(prepare(task, RenderSettings(num_fewshot=5)).docs) == 10_000
    assert time.process_time() - started < 60


def test_another_split_is_evaluated_when_asked_and_named_in_every_fingerprint(tmp_path: Path) -> None:
    folder = tmp_path / "org" / "name" / "default"
    folder.mkdir(parents=True)
    for split, count in (("test", 3), ("validation", 5)):
        lines = (f'{{"q": "{split} {i}", "a": "{i}"}}' for i in range(count))
        (folder / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    file = tmp_path / "toy.yaml"
    file.write_text(
        "task: toy\ndataset_path: org/name\ntest_split: test\noutput_type: generate_until\n"
        "doc_to_text: '{{q}}'\ndoc_to_target: '{{a}}'\nmetric_list: [{metric: exact_match}]\nversion: 1\n",
        encoding="utf-8",
    )
    task = TaskIndex([file]).task("toy")
    plain = prepare(task, RenderSettings(data_root=tmp_path))
    other = prepare(task, RenderSettings(data_root=tmp_path, split="validation", num_fewshot=2, fewshot_split="test"))
    assert (len(plain.docs), len(other.docs)) == (3, 5)
    assert other.docs[0].requests[0].prompt.text.count("test ") == 2
    assert "instead of 'test'" in other.notes[0]
    assert other.task.resolved() != plain.task.resolved()
    assert other.data_hash != plain.data_hash

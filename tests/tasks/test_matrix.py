"""One file, many tasks."""

from __future__ import annotations

import pytest

from benchbench.core.errors import TaskError
from benchbench.tasks.index import TaskIndex
from benchbench.tasks.prepare import prepare
from benchbench.tasks.settings import RenderSettings
from tests.tasks.conftest import CHOICE, QUESTIONS, MakeIndex, MakeTask

LANGUAGES = CHOICE.replace(
    "task: sums", "task: sums_{{language}}\n    task_alias: 'sums in {{ language }}'\n    group: sums"
)


def test_languages_make_one_task_each_in_their_order(make_index: MakeIndex) -> None:
    found = make_index({"t.yaml": LANGUAGES + "    languages: [ces_Latn, fra_Latn]\n"})
    assert list(found.variants) == ["sums_ces_Latn", "sums_fra_Latn"]
    assert found.task("sums_fra_Latn").config.task_alias == "sums in fra_Latn"
    assert found.groups["sums"].tasks == ("sums_ces_Latn", "sums_fra_Latn")


def test_an_axis_value_may_carry_more_variables(make_index: MakeIndex) -> None:
    text = CHOICE.replace(
        "task: sums", "task: m_{{subject}}\n    tag: ['{{subject_area}}_tasks']\n    num_fewshot: '{{subject_shots}}'"
    )
    found = make_index(
        {"t.yaml": text + "    matrix: {subject: {law: {area: arts, shots: 2}, maths: {area: stem, shots: 5}}}\n"}
    )
    assert found.tags == {"arts_tasks": ("m_law",), "stem_tasks": ("m_maths",)}
    assert found.task("m_maths").config.num_fewshot == 5


def test_rows_and_run_time_templates_see_the_variables(make_task: MakeTask) -> None:
    rows = {"test": [{"pair": {"cs": "ahoj", "fr": "salut"}}]}
    text = """
        task: mt-{{src}}-{{tgt}}
        dataset_path: json
        dataset_kwargs: {data_files: {test: test.jsonl}}
        test_split: test
        doc_to_text: "{{src_name}}: {{pair[src]}}\\n{{tgt_name}}:"
        doc_to_target: "{{pair[tgt]}}"
        matrix:
          - {src: cs, tgt: fr, src_name: Czech, tgt_name: French}
          - {src: fr, tgt: cs, src_name: French, tgt_name: Czech}
    """
    rendered = prepare(make_task(text, rows, "mt-fr-cs"), RenderSettings()).docs[0]
    assert rendered.requests[0].prompt.text == "French: salut\nCzech:"  # type: ignore[union-attr]
    assert rendered.targets == ("ahoj",)


def test_axes_are_combined_and_matrix_skip_leaves_some_out(make_index: MakeIndex) -> None:
    text = CHOICE.replace("task: sums", "task: f_{{a}}_{{b}}")
    more = "    matrix: {a: [x, y, z], b: [x, y, z]}\n    matrix_skip: '{{a == b}}'\n"
    assert list(make_index({"t.yaml": text + more}).variants) == ["f_x_y", "f_x_z", "f_y_x", "f_y_z", "f_z_x", "f_z_y"]


def test_a_matrix_variable_hides_a_column_of_its_name(make_task: MakeTask) -> None:
    text = LANGUAGES.replace("Q: {{q}}", "{{language}}: {{q}}") + "    languages: [ces]\n"
    rows = {"test": [{**question, "language": "from the data"} for question in QUESTIONS]}
    rendered = prepare(make_task(text, rows), RenderSettings()).docs[0]
    assert rendered.requests[0].prompt.text.startswith("ces: What")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("matrix: 3", r"t\.yaml:\d+: `matrix` is a mapping of axes"),
        ("matrix: {language: 3}", "axis `language` is a list"),
        ("languages: [a]\n    matrix: {b: [c]}", "not both"),
        ("languages: [a, a]", r"has a task 'sums_a' too"),
        ("matrix: {other: [a]}", "'language' is undefined"),
        ("matrix: {language: [a/b]}", "`task` must be a name"),
    ],
)
def test_a_wrong_matrix_is_a_sentence(make_task: MakeTask, more: str, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        make_task(LANGUAGES + f"    {more}\n")


def test_a_matrix_that_explodes_is_refused_before_it_is_built(make_task: MakeTask) -> None:
    axes = ", ".join(f"a{i}: [{', '.join(str(j) for j in range(50))}]" for i in range(8))
    with pytest.raises(TaskError, match="the matrix makes 39,062,500,000,000 tasks"):
        make_task(CHOICE + f"    matrix: {{{axes}}}\n")


def test_every_packaged_variant_is_a_valid_task() -> None:
    found = TaskIndex()
    assert {"hellaswag", "belebele_ces_Latn", "mmlu_anatomy", "wmt14-fr-en"} <= set(found.variants)
    assert len(found.groups["mmlu"].tasks) == 57
    for name in found.variants:
        assert found.task(name).name == name

"""What a task file may say, and the sentence that answers everything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchbench.core.errors import TaskError
from benchbench.tasks import dialect as yamlfile
from benchbench.tasks.index import TaskIndex
from tests.tasks.conftest import CHOICE, MakeIndex, MakeTask


def test_an_unknown_key_is_named_with_file_line_and_nearest_key(make_task: MakeTask) -> None:
    with pytest.raises(TaskError, match=r"t\.yaml:10: unknown key 'doc_to_txt'\. Did you mean doc_to_text"):
        make_task(CHOICE + "    doc_to_txt: x\n")


def test_an_unknown_nested_key_is_named_with_its_own_line(make_task: MakeTask) -> None:
    more = "    fewshot_config:\n      sampler: first_n\n      sample: []\n"
    with pytest.raises(TaskError, match=r"t\.yaml:12: unknown key 'fewshot_config\.sample'\. Did you mean .*samples"):
        make_task(CHOICE + more)


def test_every_wrong_key_of_a_file_is_named_at_once(make_task: MakeTask) -> None:
    with pytest.raises(TaskError) as caught:
        make_task(CHOICE + "    num_shots: 3\n    repeats: many\n")
    assert [line.split(": ")[0].rsplit(":", 1)[1] for line in str(caught.value).splitlines()] == ["11", "10"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("num_fewshot: '5'", "wrong value for 'num_fewshot'"),
        ("num_fewshot: true", "wrong value for 'num_fewshot'"),
        ("num_fewshot: -1", "greater than or equal to 0"),
        ("target_delimiter: 3", "wrong value for 'target_delimiter'"),
        ("doc_to_choice: [yes, no]", "Quote it"),
        ("metric_list: [{metric: accuracy_norm}]", "No metric 'accuracy_norm'.*Did you mean acc_norm"),
        ("metric_list: [{aggregation: mean}]", "'metric_list.0.metric' is missing"),
        ("filter_list: [{name: x, filter: [{function: remove_white}]}]", "No filter named 'remove_white'.*whitespace"),
        ("generation_kwargs: {max_toks: 3}", "unknown key 'generation_kwargs.max_toks'.*max_"),
        ("generation_kwargs: {max_gen_toks: 3}", "only generate_until"),
        ("repeats: 2", "only generate_until"),
        ("prompts: {default: {doc_to_text: x}}", "name of the task's own prompt"),
    ],
)
def test_a_wrong_value_is_a_sentence(make_task: MakeTask, line: str, message: str) -> None:
    key = line.split(":", maxsplit=1)[0]
    text = "\n".join(old for old in CHOICE.splitlines() if not old.strip().startswith(key + ":"))
    with pytest.raises(TaskError, match=message) as caught:
        make_task(text + f"\n    {line}\n")
    assert "t.yaml:" in str(caught.value)


@pytest.mark.parametrize("missing", ["test_split", "doc_to_choice", "dataset_path"])
def test_a_missing_key_is_a_sentence(make_task: MakeTask, missing: str) -> None:
    text = "\n".join(line for line in CHOICE.splitlines() if not line.strip().startswith(missing))
    with pytest.raises(TaskError, match=missing):
        make_task(text)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("metadata: !!python/object:os.system {}", r"the tag !!python/object:os\.system is not allowed"),
        ("metadata: !!python/object/apply:os.system ['true']", "never Python"),
        ("process_docs: !function utils.process_docs", r"!function is not allowed.*`doc`"),
        ("metadata: !secret x", "the tag !secret is not allowed"),
        ("task: twice", "key 'task' is given twice"),
        ("description: 'unfinished", "t.yaml"),
        ("metadata: {a: [1, 2}", "t.yaml"),
    ],
)
def test_yaml_that_is_not_plain_data_is_refused_with_its_line(make_task: MakeTask, line: str, message: str) -> None:
    with pytest.raises(TaskError, match=message) as caught:
        make_task(CHOICE + f"    {line}\n")
    assert "t.yaml:1" in str(caught.value)


def test_an_alias_bomb_is_refused_at_once(make_task: MakeTask) -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 10):
        bomb += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    with pytest.raises(TaskError, match="aliases are written out"):
        make_task(bomb)


def test_an_alias_to_itself_is_refused(make_task: MakeTask) -> None:
    with pytest.raises(TaskError, match=r"nested deeper|aliases"):
        make_task("task: x\nmetadata: &a {again: *a}\n")


def test_a_deeply_nested_file_is_refused(make_task: MakeTask) -> None:
    for text in ("task: " + "[" * 900_000, "task: " + "{a: " * 9_000, "- " * 90_000):
        with pytest.raises(TaskError, match=r"t\.yaml"):
            make_task(text)


def test_a_huge_file_is_refused_before_it_is_read(make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yamlfile, "MAX_FILE_BYTES", 100)
    with pytest.raises(TaskError, match="larger than 100 bytes"):
        make_task(CHOICE)


def test_a_file_that_is_no_mapping_is_a_sentence(make_task: MakeTask) -> None:
    with pytest.raises(TaskError, match="expected a mapping"):
        make_task("- a\n- b\n")


def test_include_gives_what_the_file_does_not_say(make_index: MakeIndex) -> None:
    files = {
        "sub/_base.yaml": CHOICE + "    num_fewshot: 2\n    version: 3\n",
        "t.yaml": "include: sub/_base.yaml\ntask: mine\nversion: 4\n",
    }
    task = make_index(files).task("mine")
    assert (task.config.num_fewshot, task.version) == (2, "4")


def test_an_error_in_an_included_file_names_that_file(make_index: MakeIndex) -> None:
    files = {"_base.yaml": CHOICE + "    wrong_key: 2\n", "t.yaml": "include: _base.yaml\ntask: mine\n"}
    with pytest.raises(TaskError, match=r"_base\.yaml:10: unknown key 'wrong_key'"):
        make_index(files).task("mine")


@pytest.mark.parametrize("value", ["5", "{a: b}", "[[x]]"])
def test_an_include_that_is_no_file_name_is_a_sentence(make_index: MakeIndex, value: str) -> None:
    with pytest.raises(TaskError, match=r"t\.yaml:2: `include` takes file names, not "):
        make_index({"t.yaml": f"task: mine\ninclude: {value}\n"})


@pytest.mark.parametrize("value", ["5", "{a: b}"])
def test_a_tag_that_is_no_name_is_a_sentence_about_its_task_alone(make_index: MakeIndex, value: str) -> None:
    sound = CHOICE + "    tag: mine\n"
    broken = sound.replace("task: sums", "task: broken").replace("tag: mine", f"tag: {value}")
    index = make_index({"t.yaml": sound, "broken.yaml": broken})
    assert index.tags["mine"] == ("sums",)
    with pytest.raises(TaskError, match=r"broken\.yaml:\d+: .*'tag"):
        index.task("broken")


def test_files_that_include_each_other_are_a_sentence(make_index: MakeIndex) -> None:
    with pytest.raises(TaskError, match="includes itself"):
        make_index({"a.yaml": "include: b.yaml\ntask: a\n", "b.yaml": "include: a.yaml\ntask: b\n"})


def test_the_resolved_task_is_json_and_holds_every_key_that_was_set(make_task: MakeTask) -> None:
    import json

    resolved = make_task(CHOICE + "    metadata: {version: 2.5}\n").resolved()
    assert json.loads(json.dumps(resolved)) == resolved
    assert resolved["version"] == "2.5"
    assert resolved["doc_to_text"] == "Q: {{q}}\nA:"
    assert "num_fewshot" not in resolved


def test_scoring_gets_defaults_by_output_type_and_chance_from_the_choices(make_task: MakeTask) -> None:
    text = CHOICE.replace("doc_to_choice: options", "doc_to_choice: [A, B, C, D]")
    spec = make_task(text).scoring
    assert [metric.name for metric in spec.metrics] == ["acc", "acc_norm"]
    assert spec.chance == 0.25


def test_lm_evals_own_files_without_python_load_unchanged(make_task: MakeTask) -> None:
    lm_eval = pytest.importorskip("lm_eval")
    folder = Path(lm_eval.__file__).parent / "tasks"
    for name in (
        "piqa/piqa.yaml",
        "sciq/sciq.yaml",
        "arc/arc_challenge.yaml",
        "gsm8k/gsm8k.yaml",
        "nq_open/nq_open.yaml",
    ):
        from benchbench.tasks.index import TaskIndex

        found = TaskIndex([folder / name])
        assert [found.task(task).name for task in found.variants]


def test_neither_a_link_nor_an_include_leads_out_of_the_folder(tmp_path: Path) -> None:
    outside, root = tmp_path / "_outside.yaml", tmp_path / "tasks"
    outside.write_text(CHOICE, encoding="utf-8")
    (root / "pack").mkdir(parents=True)
    task = root / "pack" / "t.yaml"
    for name in ("../../_outside.yaml", str(outside)):
        task.write_text(f"task: mine\ninclude: {name}\n", encoding="utf-8")
        with pytest.raises(TaskError, match=r"t\.yaml:2: .*_outside\.yaml lies outside .*tasks and is not read"):
            TaskIndex([root])
        assert "mine" in TaskIndex([tmp_path]).variants
    for name in ("t.yaml", "suites.yaml"):
        (root / "pack" / name).unlink(missing_ok=True)
        (root / "pack" / name).symlink_to(outside)
        with pytest.raises(TaskError, match=f"{name} lies outside"):
            TaskIndex([root])
        (root / "pack" / name).unlink()
    (root / "_base.yaml").write_text(CHOICE, encoding="utf-8")
    (root / "pack" / "_linked.yaml").symlink_to(root / "_base.yaml")
    task.write_text("task: mine\ninclude: [../_base.yaml, _linked.yaml]\n", encoding="utf-8")
    assert "mine" in TaskIndex([root]).variants

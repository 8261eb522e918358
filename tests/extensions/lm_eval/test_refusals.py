"""What a task of lm-eval's may not do, and what is said when something is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchbench.core.errors import ArgumentError, BenchbenchError, DataError, TaskError
from benchbench.extensions.lm_eval import library, names
from benchbench.extensions.lm_eval.source import params_of
from benchbench.runner.events import ignore
from benchbench.runner.plan import make_plan
from benchbench.tasks.index import TaskIndex
from tests.extensions.lm_eval.conftest import World
from tests.extensions.lm_eval.rows import CHOICES, WRITING
from tests.extensions.lm_eval.test_metrics import settings

TRAP = "from pathlib import Path\nPath(__file__).with_name('ran').touch()\ndef f(*args):\n    return args[0]\n"


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Writes a task file beside a Python file that leaves a trace when imported; returns its entry for --tasks."""
    (tmp_path / "utils.py").write_text(TRAP)

    def make(text: str = "", **keys: Any) -> str:
        (tmp_path / "task.yaml").write_text(yaml.safe_dump(keys, sort_keys=False) + text)
        return f"lm_eval:{tmp_path / 'task.yaml'}"

    return make


def refused(world: World, entry: str, tmp_path: Path, error: type[BenchbenchError] = TaskError, **kwargs: Any) -> str:
    kwargs = {"trust_task_code": False, **kwargs}
    with pytest.raises(error) as caught:
        make_plan(settings(world, [], tmp_path, tasks=entry, **kwargs), ignore)
    return str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "process_docs: !function utils.f",
        "process_results: !function utils.f",
        "class: !function utils.f",
        "metric_list:\n- metric: !function utils.f",
        "metric_list:\n- metric: acc\n  aggregation: !function utils.f",
        "fewshot_config:\n  samples: !function utils.f",
        "filter_list:\n- name: x\n  filter:\n  - function: custom\n    filter_fn: !function utils.f",
        "custom_dataset: !function utils.f",
    ],
)
def test_python_beside_a_task_is_not_even_imported_without_leave(world, write, tmp_path, line):
    said = refused(world, write(line, task="trap", **CHOICES), tmp_path)
    assert "--trust-task-code" in said
    assert f"f in {tmp_path / 'utils.py'}" in said
    assert not (tmp_path / "ran").exists()


def test_any_importable_function_counts_as_python(world, write, tmp_path):
    said = refused(world, write("doc_to_text: !function os.getcwd", task="trap"), tmp_path)
    assert "getcwd in os" in said


def test_a_metric_that_would_be_fetched_as_code_counts_as_python(world, write, tmp_path):
    entry = write(task="trap", **WRITING, metric_list=[{"metric": "google_bleu"}])
    assert "'google_bleu' is code that `evaluate` fetches" in refused(world, entry, tmp_path)
    entry = write(task="trap", **WRITING, metric_list=[{"metric": "exact_match", "hf_evaluate": True}])
    assert "'exact_match' is code" in refused(world, entry, tmp_path)


def test_with_leave_the_python_runs(world, write, tmp_path):
    keys = {key: value for key, value in CHOICES.items() if key != "doc_to_text"}
    entry = write("process_docs: !function utils.f", task="fine", **keys, doc_to_text="{{sentence1}}")
    plan = make_plan(settings(world, [], tmp_path, tasks=entry), ignore)
    assert (tmp_path / "ran").exists()
    assert plan.docs == 7


def test_a_template_cannot_leave_its_sandbox(world, write, tmp_path):
    entry = write(task="trap", **{**CHOICES, "doc_to_text": "{{ ''.__class__.__mro__[1].__subclasses__() }}"})
    assert "SecurityError" in refused(world, entry, tmp_path)


def test_a_yaml_tag_that_makes_objects_is_refused(world, write, tmp_path):
    said = refused(world, write("doc_to_text: !!python/object/apply:os.system ['touch ran']", task="trap"), tmp_path)
    assert "python/object/apply" in said
    assert not Path("ran").exists()


def test_programs_that_a_model_wrote_never_run(world, write, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ALLOW_CODE_EVAL", "1")
    entry = write(task="trap", **WRITING, unsafe_code=True)
    for trusted in (True, False):
        assert "runs the programs that a model writes" in refused(world, entry, tmp_path, trust_task_code=trusted)
    for name in ("humaneval", "mbpp"):
        assert "has no sandbox" in refused(world, f"lm_eval:{name}", tmp_path, trust_task_code=True)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"doc_to_image": "image"}, "images or sound"),
        ({"output_type": "telepathy"}, "'telepathy' is none of multiple_choice"),
        ({"doc_to_text": "{{no_such_column}}"}, "'no_such_column' is undefined"),
        ({"no_such_key": 1}, "no_such_key"),
    ],
)
def test_a_broken_task_is_named_with_its_file(world, write, tmp_path, keys, said):
    entry = write(task="broken", **{**CHOICES, **keys})
    message = refused(world, entry, tmp_path)
    assert said in message
    assert "lm_eval:broken" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("task: a\ninclude: task.yaml\n", "its includes go round in a circle"),
        ("task: a\ninclude: 5\n", "5 stands where a name or a list of names is expected"),
        ("task: a\ntag: {b: c}\n", "{'b': 'c'} stands where a name or a list of names is expected"),
        ("task: a\noutput_type: multiple_choice\nmetric_list: 3\n", "`metric_list` is of type int"),
    ],
)
def test_a_file_that_is_not_what_a_task_file_is_gets_a_sentence(world, tmp_path, text, said):
    (tmp_path / "task.yaml").write_text(text)
    message = refused(world, f"lm_eval:{tmp_path / 'task.yaml'}", tmp_path)
    assert said in message
    assert "task.yaml" in message


def test_a_broken_file_beside_a_task_does_not_stop_it(world, write, tmp_path):
    (tmp_path / "broken.yaml").write_text("task: b\ninclude: 5\n")
    message = refused(world, write(task="a", dataset_path="no/such", test_split="test"), tmp_path, DataError)
    assert "no/such" in message


def test_a_missing_split_or_data_set_says_what_is_there(world, write, tmp_path):
    said = refused(world, write(task="t", **{**CHOICES, "validation_split": "exam"}), tmp_path, DataError)
    assert "no split 'exam'" in said
    assert "train" in said
    said = refused(world, write(task="t", **{**CHOICES, "dataset_name": "nothing"}), tmp_path, DataError)
    assert "Configurations there: cola, mrpc" in said
    assert "benchbench data pull" in said
    said = refused(world, write(task="t", **{**CHOICES, "dataset_path": "../secret"}), tmp_path, DataError)
    assert "is not `organisation/name`" in said


def test_shots_that_nobody_draws_need_no_data(world, write, tmp_path):
    entry = write(task="t", **CHOICES, training_split="nowhere")
    assert make_plan(settings(world, [], tmp_path, tasks=entry), ignore).docs == 7
    assert "no split 'nowhere'" in refused(world, entry, tmp_path, DataError, num_fewshot=1)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"split": "test"},
        {"prompt": "short"},
        {"fewshot_mode": "per_doc"},
        {"fewshot_split": "train"},
    ],
)
def test_what_lm_eval_decides_itself_cannot_be_asked_for(world, tmp_path, kwargs):
    assert "leave --" in refused(world, "lm_eval:piqa", tmp_path, ArgumentError, **kwargs)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("lm_eval:helaswag", "Did you mean hellaswag"),
        ("lm_eval:no_such_*", "no task, group or tag named 'no_such_*'"),
        ("lm_eval:/nowhere/x.yaml", "no such file"),
    ],
)
def test_an_unknown_name_gets_the_nearest(world, entry, said):
    with pytest.raises(TaskError, match=said.replace("*", r"\*")):
        TaskIndex().select(entry)


def test_without_lm_eval_the_command_to_install_it_is_given(monkeypatch):
    names.names.cache_clear()
    monkeypatch.setattr(names.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TaskError, match=r"pip install 'benchbench-eval\[lm-eval\]'"):
        TaskIndex().select("lm_eval:piqa")


def test_another_version_of_lm_eval_is_refused(world, monkeypatch):
    library.check_version.cache_clear()
    monkeypatch.setattr(library.metadata, "version", lambda name: "0.5.0")
    with pytest.raises(TaskError, match=r"0\.4\.13; 0\.5\.0 is installed"):
        TaskIndex().select("lm_eval:piqa")
    library.check_version.cache_clear()


def test_tasks_of_ours_never_import_lm_eval():
    code = "import sys; from benchbench.tasks.index import TaskIndex; TaskIndex().select('piqa');"
    done = subprocess.run(
        [sys.executable, "-c", code + "assert 'lm_eval' not in sys.modules"], check=False, env=os.environ
    )
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [
        ({"until": "\n", "max_new_tokens": 5}, (("\n",), 5, False, 1.0)),
        ({"until": ["a"], "max_gen_toks": "7", "max_tokens": 9, "temperature": 0.5}, (("a",), 7, True, 0.5)),
        ({"do_sample": False, "temperature": 0.9}, ((), 256, False, 1.0)),
        ({"do_sample": True, "temperature": 0.0}, ((), 256, False, 1.0)),
    ],
)
def test_generation_settings_follow_lm_evals_rules(kwargs, expected):
    params = params_of(kwargs, "here", 7)
    assert (params.until, params.max_gen_toks, params.do_sample, params.temperature) == expected
    assert params.seed == (7 if params.do_sample else 0)


@pytest.mark.parametrize(("kwargs", "said"), [({"typical_p": 0.2}, "'typical_p'"), ({"max_gen_toks": "x"}, "here:")])
def test_generation_settings_that_no_backend_has_are_refused(kwargs, said):
    with pytest.raises(TaskError, match=said):
        params_of(kwargs, "here", 7)


PLAIN = {
    "task": "t",
    "dataset_path": "x/y",
    "output_type": "generate_until",
    "test_split": "test",
    "doc_to_text": "{{q}}",
    "doc_to_target": "{{a}}",
}


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"include": "pipe"}, "a pipe, not a file"),
        ({"include": "/dev/zero"}, "a device, not a file"),
        ({"repeats": 10**9}, "up to 10,000"),
        ({"num_fewshot": 10**9}, "up to 10,000"),
        ({"generation_kwargs": {"until": ["x"], "max_gen_toks": 10**9}}, "up to 1,000,000"),
        ({"filter_list": [{"name": "f", "filter": [{"function": "regex", "regex_pattern": "("}]}]}, "no regular expr"),
        ({"metric_list": [{"metric": "exact_match", "regexes_to_ignore": ["("]}]}, "no regular expression"),
        ({"dataset_path": "conll"}, "reader inside the library"),
        (
            {"dataset_path": "text", "dataset_kwargs": {"data_files": {"test": "/etc/passwd"}}},
            "outside the task's folder",
        ),
        ({"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": "http://a/b"}}}, "is an address"),
        ({"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": "hf://datasets/a/b/c"}}}, "is an address"),
        ({"dataset_path": "a/b", "dataset_kwargs": {"cache_dir": "x"}}, "may not give"),
        ({"dataset_path": "a/b", "dataset_kwargs": {"data_files": "http://a/b"}}, "inside the data set"),
    ],
    ids=str,
)
def test_a_stranger_s_file_has_the_bounds_of_tasks_of_ours(world, write, tmp_path, keys, reason):
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "beside.yaml")
    entry = write(**{**PLAIN, **keys})
    assert reason in refused(world, entry, tmp_path, BenchbenchError, data_root=None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ 'a' * 10**9 }}", "characters"),
        ("{{ '%999999999d' % 1 }}", "thousand characters"),
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "steps|seconds"),
    ],
)
def test_templates_have_the_bounds_of_ours(world, write, tmp_path, text, reason):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"q": "w", "a": "b"}\n')
    own = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": "rows.jsonl"}}, "doc_to_text": text}
    said = refused(world, write(**{**PLAIN, **own}), tmp_path, BenchbenchError)
    assert any(word in said for word in reason.split("|"))


def test_deep_and_endless_yaml_is_a_sentence(world, write, tmp_path):
    for text, reason in {
        "metadata: " + "[" * 100_000: "nested deeper",
        "metadata: {version: !!int " + ":".join(["59"] * 99_999) + "}": "no number that a task can use",
        "? include\n: pipe\n": "a pipe, not a file",
    }.items():
        (tmp_path / "pipe").exists() or os.mkfifo(tmp_path / "pipe")
        assert reason in refused(world, write(text, **PLAIN), tmp_path)


def test_filters_and_metrics_have_a_clock(monkeypatch):
    from benchbench.core import patterns
    from benchbench.extensions.lm_eval.library import inside

    monkeypatch.setattr(patterns, "MAX_SECONDS", 0.1)
    from lm_eval.api.metrics import exact_match_hf_evaluate
    from lm_eval.filters.extraction import MultiChoiceRegexFilter, RegexFilter

    def letters():
        return MultiChoiceRegexFilter(regexes_to_ignore=["(b+)+$"])

    answers, docs = [["x yes bb", ": B", "(A) no"]], [{"choices": ["yes bb", "no"]}]
    plain = RegexFilter("(a+)+$").apply([["b", "aaa"]], [{}]), letters().apply(answers, docs)
    with inside():
        slow, slow_letters = RegexFilter("(a+)+$"), letters()
        assert (slow.apply([["b", "aaa"]], [{}]), slow_letters.apply(answers, docs)) == plain
    for work in (
        lambda: slow.apply([["a" * 40 + "!"]], [{}]),
        lambda: slow_letters.apply([["b" * 40 + "!"]], [{"choices": ["yes", "no"]}]),
    ):
        with inside(), pytest.raises(patterns.TooMuchWorkError):
            work()
    with inside(), pytest.raises(patterns.TooMuchWorkError):
        exact_match_hf_evaluate(["a" * 40 + "!"], ["a"], regexes_to_ignore=["(a+)+$"])

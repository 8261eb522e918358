"""What `results export --format lm-eval` writes is read here by lm-eval's own code, and by our importer."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import yaml

import benchbench
from benchbench.extensions.interchange import find_imports
from benchbench.extensions.interchange.export import write_lm_eval
from benchbench.extensions.interchange.record import write_imported
from benchbench.extensions.interchange.table import Mapped
from benchbench.runner.run import run
from benchbench.store.find import all_runs
from tests.runner.toy import QUIZ, WRITE, make_world, settings, write_rows

FILTERED = {
    **WRITE,
    "task": "toy_filtered",
    "filter_list": [
        {"name": "whole", "filter": [{"function": "take_first"}]},
        {"name": "digits", "filter": [{"function": "regex", "regex_pattern": "([0-9]+)"}, {"function": "take_first"}]},
    ],
}
TEXT = {
    "task": "toy_text",
    "version": 1,
    "group": "toy",
    "dataset_path": "toy/text",
    "test_split": "test",
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_target": "{{ text }}",
}
LAST = {
    "task": "toy_last",
    "version": 1,
    "group": "toy",
    "dataset_path": "toy/text",
    "test_split": "test",
    "output_type": "loglikelihood",
    "doc_to_text": "{{ text }}",
    "doc_to_target": "{{ last }}",
    "cluster": "{{ page }}",
}
PAIR = [{**QUIZ, "task": f"toy_{name}", "group": "pair", "num_fewshot": shots} for name, shots in (("a", 1), ("b", 2))]
NAMES = {"toy_quiz", "toy_write", "toy_filtered", "toy_text", "toy_last", "toy_a", "toy_b"}
KEPT = ["model", "task", "is_group", "metric", "value", "stderr", "n", "num_fewshot", "higher_is_better"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two models on a task of every output type; one of them fails on some docs."""
    world = make_world(tmp_path_factory.mktemp("world"))
    for task in (FILTERED, TEXT, LAST, *PAIR):
        path = world / "tasks" / f"{task['task']}.yaml"
        path.write_text(yaml.safe_dump(task, allow_unicode=True), encoding="utf-8")
    rows = [{"text": "slovo " * n, "last": f"konec {n}", "page": f"p{n % 3}"} for n in range(1, 10)]
    write_rows(world / "hub/toy/text/default/test.jsonl", rows)
    for model in ("hash", "hash,salt=2,fail=0.1"):
        run(settings(world, model, tasks="toy,pair"))
    return world / "results"


@pytest.fixture(scope="module")
def exported(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm_eval")
    for found in all_runs(results):
        write_lm_eval(found, folder)
    return folder


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_an_import_gives_the_same_values_standard_errors_and_items(results, exported, tmp_path):
    for found in find_imports(exported, Mapped(), lambda task: None).runs:
        write_imported(found, tmp_path)
    ours, back = (benchbench.load_runs(path)[KEPT].sort_values(KEPT[:4]) for path in (results, tmp_path))
    assert set(ours.task) == NAMES | {"pair"}
    assert ours.to_dict("records") == back.to_dict("records")
    keys = ["model", "task", "doc_id"]
    for task in NAMES:
        items, theirs = (benchbench.load_items(path, task) for path in (results, tmp_path))
        answered = items[items.outcome != "failed"].drop(columns=["run", "run_id"]).sort_values(keys)
        there = theirs.drop(columns=["run", "run_id"])[list(answered.columns)].sort_values(keys)
        assert len(answered) > 10
        assert answered.to_json(orient="records") == there.to_json(orient="records"), task


def test_the_same_run_gives_the_same_files_and_two_models_never_share_one(results, exported, tmp_path):
    for found in [*all_runs(results), *all_runs(results)]:
        write_lm_eval(found, tmp_path)
    files = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {path.relative_to(exported): path.read_bytes() for path in exported.rglob("*") if path.is_file()}
    assert len(files) == 2 * (1 + len(NAMES))


def test_lm_evals_tables_show_our_numbers(results, exported):
    from lm_eval.utils import make_table

    content = read(next((exported / "hash").glob("results_*.json")))
    runs = benchbench.load_runs(results)
    expected = runs[(runs.model == "hash") & ~runs.is_group]
    cells = [[cell.strip() for cell in line.split("|")] for line in make_table(content).splitlines()]
    values = [row[7] for row in cells[2:]]
    assert len(values) == len(runs[runs.model == "hash"])
    assert {f"{value:.4f}" for value in expected.value.dropna()} <= set(values)
    assert "|pair" in make_table(content, "groups")


def test_lm_evals_mean_and_standard_error_of_the_samples_are_those_of_the_results(exported):
    from lm_eval.api.metrics import mean, mean_stderr

    content = read(next((exported / "hash").glob("results_*.json")))
    for task in ("toy_quiz", "toy_write"):
        metric = content["configs"][task]["metric_list"][0]["metric"]
        scores = [line[metric] for line in lines(next((exported / "hash").glob(f"samples_{task}_*.jsonl")))]
        assert mean(scores) == pytest.approx(content["results"][task][f"{metric},none"])
        assert mean_stderr(scores) == pytest.approx(content["results"][task][f"{metric}_stderr,none"])


def test_lm_evals_tracker_finds_newest_results_and_samples_and_loads_them(exported, monkeypatch):
    """The Hub is a folder here. The card names each task's newest samples and holds the newest results."""
    import huggingface_hub
    from lm_eval.loggers import EvaluationTracker

    cards = []
    files = [path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()]
    monkeypatch.setattr(huggingface_hub, "hf_hub_url", lambda repo_id, filename, repo_type: str(exported / filename))
    monkeypatch.setattr(huggingface_hub.DatasetCard, "push_to_hub", lambda card, *_, **__: cards.append(str(card)))
    tracker = EvaluationTracker()
    tracker.api = SimpleNamespace(list_repo_files=lambda repo_id, repo_type: files)
    tracker.recreate_metadata_card()
    card = cards[0]
    samples = [file.rpartition("/")[2] for file in files if "/samples_" in file]
    assert len(samples) == 2 * len(NAMES)
    assert [name for name in samples if name not in card] == []
    assert "config_name: hash__toy_quiz" in card
    assert '"acc,none":' in card


def test_samples_load_as_a_data_set_and_as_lm_evals_logger_tabulates_them(exported, tmp_path):
    from datasets import load_dataset
    from lm_eval.loggers.wandb_logger import WandbLogger

    content = read(next((exported / "hash").glob("results_*.json")))
    logger = WandbLogger.__new__(WandbLogger)  # its table maker alone: the service cannot be reached from here
    logger.post_init(content)
    _, flat = logger._sanitize_results_dict()
    assert flat["toy_quiz/acc"] == content["results"]["toy_quiz"]["acc,none"]
    for task, config in content["configs"].items():
        path = next((exported / "hash").glob(f"samples_{task}_*.jsonl"))
        loaded = load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path))
        samples = lines(path)
        assert len(loaded) == len(samples)
        assert loaded["doc_id"][:] == [sample["doc_id"] for sample in samples]
        table = logger._generate_dataset([as_logged(sample) for sample in samples], config)
        assert list(table["id"]) == [sample["doc_id"] for sample in samples]
        for metric in config["metric_list"]:
            name = metric["metric"]
            if name in table:
                assert list(table[name]) == [sample[name] for sample in samples]
            else:
                assert [*zip(*(table[column] for column in table if column.startswith(f"{name}_")), strict=True)] == [
                    tuple(sample[name]) for sample in samples
                ]


def as_logged(sample):
    """A sample as lm-eval holds it before it is written: lists of arguments, numbers where the file has texts."""
    arguments = [list(pair.values()) for pair in sample["arguments"].values()]
    return {**sample, "arguments": arguments, "resps": parsed(sample["resps"])}


def parsed(value):
    return (
        [parsed(part) for part in value]
        if isinstance(value, list)
        else {"True": True, "False": False}.get(value, value)
    )


def test_prompts_are_given_where_the_record_knows_them_and_failed_docs_are_left_out(results, exported):
    (folder,) = (path for path in exported.iterdir() if path.name != "hash")
    content = read(next(folder.glob("results_*.json")))
    samples = lines(next(folder.glob("samples_toy_quiz_*.jsonl")))
    counts = content["n-samples"]["toy_quiz"]
    assert len(samples) == counts["effective"] < counts["original"] == 12
    known = [sample["arguments"]["gen_args_0"]["arg_0"] for sample in lines(next((exported / "hash").glob("*_quiz_*")))]
    assert known[0].startswith("Otázka: kolik je 1 + 1?")
    assert set(known[1:]) == {""}
    assert content["benchbench"]["signatures"]["toy_quiz"].startswith("toy_quiz.v1|shots:0|")

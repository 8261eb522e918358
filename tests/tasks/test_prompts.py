"""Prompts and requests, byte for byte as lm-eval 0.4.13 makes them from the same file and rows."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from benchbench.core.types import GenerateRequest, LoglikelihoodRequest, RollingRequest
from benchbench.tasks.prepare import prepare
from benchbench.tasks.settings import RenderSettings
from tests.tasks.conftest import MakeTask

ROWS = {
    split: [
        {
            "q": f"{split} question {i}?" + (" " if i % 4 == 0 else ""),
            "opts": [f"one {i}", f"two {i}", f"three {i} ", str(i)],
            "label": i % 4,
            "letter": "ABCD"[i % 4],
            "right": f"two {i}",
            "answers": [f"first {i}", "second"],
            "text": f"Some words of document {i} end",
            "option1": "Anna",
            "option2": f"Bob{i}",
            "winner": str(1 + i % 2),
            "hint": "" if i % 3 else f"hint {i}",
        }
        for i in range(size)
    ]
    for split, size in (("train", 30), ("test", 12))
}
ROWS["test"][7] = ROWS["test"][2]  # a document that comes twice

CONFIGS: dict[str, dict[str, Any]] = {
    "index from a column": {"doc_to_text": "Q: {{q}}\nA:", "doc_to_target": "label", "doc_to_choice": "opts"},
    "index from digits": {"doc_to_text": "{{q}}", "doc_to_target": "{{label}}", "doc_to_choice": "{{opts}}"},
    "constant index": {"doc_to_text": "q", "doc_to_target": 1, "doc_to_choice": ["no", "yes", "may be"]},
    "text of a choice": {"doc_to_text": "q", "doc_to_target": "right", "doc_to_choice": "{{[opts[0], opts[1], q]}}"},
    "letters, description, own delimiters": {
        "description": "Pick one.\n\n",
        "doc_to_text": "{{q.strip()}}\n{% for o in opts %}{{'ABCD'[loop.index0]}}. {{o}}\n{% endfor %}Answer:",
        "doc_to_target": "{{'ABCD'.index(letter)}}",
        "doc_to_choice": {"a": "A", "b": "B", "c": "C", "d": "D"},
        "fewshot_delimiter": "\n###\n",
        "target_delimiter": "  ",
    },
    "description per document": {
        "description": "About {{hint}}: ",
        "doc_to_text": "q",
        "doc_to_target": "label",
        "doc_to_choice": "opts",
    },
    "prefix of the answer": {
        "doc_to_text": "{{q}}",
        "doc_to_target": "label",
        "doc_to_choice": "opts",
        "gen_prefix": "It is",
    },
    "prefix with space": {
        "doc_to_text": "{{q}}",
        "doc_to_target": "label",
        "doc_to_choice": "opts",
        "gen_prefix": "{{hint}} ",
    },
    "several inputs": {
        "doc_to_text": "{{ {'1': 0, '2': 1}[winner] }}",
        "doc_to_target": "{{text[5:]}}",
        "doc_to_choice": "{{ [text[:5] ~ option1, text[:5] ~ option2] }}",
    },
    "mutual information": {
        "doc_to_text": "{{q}}",
        "doc_to_target": "label",
        "doc_to_choice": "opts",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_mutual_info"}],
    },
    "shots of another form": {
        "doc_to_text": "{{q}}",
        "doc_to_target": "label",
        "doc_to_choice": "opts",
        "fewshot_config": {"doc_to_text": "Shot: {{q}}", "target_delimiter": " => ", "fewshot_delimiter": "\n--\n"},
    },
    "inline shots": {
        "doc_to_text": "{{q}}",
        "doc_to_target": "label",
        "doc_to_choice": "opts",
        "fewshot_config": {
            "sampler": "first_n",
            "samples": [{"q": f"s{i}", "opts": ["a", "b"], "label": i % 2} for i in range(4)],
        },
    },
    "last word": {
        "output_type": "loglikelihood",
        "doc_to_text": "{{text.split(' ')[:-1]|join(' ')}}",
        "doc_to_target": "{{' '+text.split(' ')[-1]}}",
    },
    "whole text": {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{text}}"},
    "generate, one answer": {"output_type": "generate_until", "doc_to_text": "{{q}}", "doc_to_target": "right"},
    "generate, several answers": {
        "output_type": "generate_until",
        "doc_to_text": "Q: {{q}}?\nA:",
        "doc_to_target": "{{answers}}",
        "generation_kwargs": {"until": ["\n", "."], "max_gen_toks": 17, "do_sample": False, "temperature": 0.0},
    },
    "generate, a choice": {
        "output_type": "generate_until",
        "doc_to_text": "{{q}}",
        "doc_to_target": "label",
        "doc_to_choice": "opts",
        "gen_prefix": "Answer:",
    },
    "generate, sometimes no answer": {"output_type": "generate_until", "doc_to_text": "{{q}}", "doc_to_target": "hint"},
}
SPLITS: dict[str, dict[str, Any]] = {
    "train pool": {"training_split": "train", "test_split": "test"},
    "first_n": {"test_split": "test", "fewshot_split": "train", "fewshot_config": {"sampler": "first_n"}},
    "own split": {"test_split": "test", "fewshot_split": "test"},
    "own split, first_n": {"test_split": "test", "fewshot_split": "test", "fewshot_config": {"sampler": "first_n"}},
    "validation, nothing said": {"training_split": "train", "validation_split": "test"},
}


def merged(config: dict[str, Any], splits: dict[str, Any]) -> dict[str, Any]:
    """One task's keys; few-shot settings of both are kept."""
    shots = {**splits.get("fewshot_config", {}), **config.get("fewshot_config", {})}
    both = {"task": "t", "output_type": "multiple_choice", **config, **splits}
    return {**both, "fewshot_config": shots} if shots else both


def upstream_arguments(config: dict[str, Any], num_fewshot: int) -> list[list[Any]]:
    """lm-eval's request arguments per document."""
    datasets = pytest.importorskip("datasets")
    api = pytest.importorskip("lm_eval.api.task")
    data = datasets.DatasetDict({name: datasets.Dataset.from_list(rows) for name, rows in ROWS.items()})
    task = api.ConfigurableTask(config={**json.loads(json.dumps(config)), "custom_dataset": lambda **_: data})
    task.set_config("num_fewshot", num_fewshot)
    task.set_fewshot_seed(1234)
    task.build_all_requests(limit=10)
    found: dict[int, list[Any]] = {}
    for instance in task.instances:
        found.setdefault(instance.doc_id, []).append(instance.args)
    return list(found.values())


def our_arguments(make_task: MakeTask, config: dict[str, Any], num_fewshot: int) -> list[list[Any]]:
    """The same of ours, with the full data in files beside the task."""
    files = {"train": "train.jsonl", "test": "test.jsonl"}
    text = yaml.safe_dump({**config, "dataset_path": "json", "dataset_kwargs": {"data_files": files}}, sort_keys=False)
    settings = RenderSettings(num_fewshot=num_fewshot, fewshot_mode="lm_eval", limit=10)
    return [[_arguments(request) for request in doc.requests] for doc in prepare(make_task(text, ROWS), settings).docs]


def _arguments(request: Any) -> tuple[Any, ...]:
    match request:
        case LoglikelihoodRequest(prompt=prompt, continuation=continuation):
            return (prompt.text, continuation)
        case GenerateRequest(prompt=prompt, params=params):
            return (prompt.text, {"until": list(params.until), "max_gen_toks": params.max_gen_toks})
        case RollingRequest(text=text):
            return (text,)
    raise AssertionError(request)


def _comparable(arguments: Any) -> tuple[Any, ...]:
    """lm-eval leaves the default length out of its generation arguments."""
    *texts, last = arguments
    if isinstance(last, dict):
        last = {"until": last["until"], "max_gen_toks": last.get("max_gen_toks", 256)}
    return (*texts, last)


@pytest.mark.parametrize("splits", SPLITS)
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("num_fewshot", [0, 3])
def test_every_request_equals_lm_evals(make_task: MakeTask, name: str, splits: str, num_fewshot: int) -> None:
    config = merged(CONFIGS[name], SPLITS[splits])
    if config["output_type"] == "loglikelihood_rolling" and num_fewshot:
        pytest.skip("texts are scored whole")
    upstream = [[_comparable(args) for args in requests] for requests in upstream_arguments(config, num_fewshot)]
    assert our_arguments(make_task, config, num_fewshot) == upstream

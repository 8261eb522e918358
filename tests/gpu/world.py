"""A model and texts for the GPU's parts, made from nothing: random weights, and tasks of the usual shapes."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchbench.core.types import Request
from benchbench.tasks.index import TaskIndex
from benchbench.tasks.prepare import prepare
from benchbench.tasks.settings import RenderSettings
from tests import models
from tests.runner.toy import write_rows

WORDS = " ".join(models.TEXT).split()
CHOICES = {"doc_to_text": "{{ text }}", "doc_to_target": "{{ label }}", "output_type": "multiple_choice"}
TASKS: dict[str, dict[str, Any]] = {
    "long choices": {**CHOICES, "doc_to_choice": "{{ endings }}", "metric_list": [{"metric": "acc"}]},
    "one letter": {
        **CHOICES,
        "doc_to_text": "{{ text }}\nA. {{ endings[0] }}\nB. {{ endings[1] }}\nAnswer:",
        "doc_to_choice": ["A", "B", "C", "D"],
        "metric_list": [{"metric": "acc"}],
    },
    "generation": {
        "output_type": "generate_until",
        "doc_to_text": "Question: {{ text }}\nAnswer:",
        "doc_to_target": "{{ endings[0] }}",
        "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": 32},
        "metric_list": [{"metric": "exact_match"}],
    },
}
"""Row → the task: HellaSwag's, MMLU's and TriviaQA's shape."""
SHOTS = 5


@dataclass(frozen=True)
class Size:
    """How much is asked, and of how large a model."""

    docs: int
    width: int
    layers: int
    vocabulary: int
    length: int


SIZES = {"cuda": Size(200, 2048, 16, 49_152, 4096), "cpu": Size(12, 64, 2, 1_024, 2048)}


def model(folder: Path, size: Size, *, dtype: str = "bfloat16") -> Path:
    """A Llama with random weights; its tokenizer is that of the tests' tiny models, which know 320 tokens."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True)
    models.tokenizer(folder)
    config = LlamaConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.width,
        intermediate_size=size.width * 11 // 4,
        num_hidden_layers=size.layers,
        num_attention_heads=max(2, size.width // 64),
        num_key_value_heads=max(1, size.width // 256),
        max_position_embeddings=size.length,
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        made = LlamaForCausalLM(config)
    made.to(getattr(torch, dtype)).save_pretrained(folder)
    del made
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return folder


def requests(folder: Path, docs: int) -> dict[str, list[Request]]:
    """Row → its requests, 5-shot from one fixed block."""
    asked: dict[str, list[Request]] = {}
    for name, task in TASKS.items():
        own = name.replace(" ", "_")
        place = {"dataset_path": f"gpu/{own}", "test_split": "test", "training_split": "train", "version": 1}
        folder.joinpath("tasks").mkdir(parents=True, exist_ok=True)
        (folder / "tasks" / f"{own}.yaml").write_text(yaml.safe_dump({"task": own, **place, **task}))
        for split, count in (("test", docs), ("train", 20)):
            write_rows(folder / "hub" / "gpu" / own / "default" / f"{split}.jsonl", rows(count, f"{name} {split}"))
        settings = RenderSettings(num_fewshot=SHOTS, data_root=folder / "hub")
        prepared = prepare(TaskIndex([folder / "tasks"]).task(own), settings)
        asked[name] = [request for doc in prepared.docs for request in doc.requests]
    return asked


def rows(count: int, seed: str) -> list[dict[str, Any]]:
    """Questions of 20 to 60 words with four endings of 5 to 20."""
    rng = random.Random(seed)
    return [
        {
            "text": f"{n}: {said(rng, 20, 60)}",
            "endings": [said(rng, 5, 20) for _ in range(4)],
            "label": rng.randrange(4),
        }
        for n in range(count)
    ]


def said(rng: random.Random, low: int, high: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(low, high)))

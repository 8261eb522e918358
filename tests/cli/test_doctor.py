"""`benchbench doctor`: engines, memory, and the model that was named."""

from __future__ import annotations

import json
from pathlib import Path

from tests import models
from tests.cli.command import benchbench


def test_doctor_names_every_engine_and_what_a_model_needs(tmp_path: Path) -> None:
    done = benchbench("doctor", models.tiny_llama(tmp_path), "--json", "--dtype", "bfloat16", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    backends = {backend["name"]: backend for backend in facts["backends"]}
    assert list(backends) == ["hf", "vllm", "gguf", "api"]
    assert backends["hf"]["works"]
    assert all(backend["works"] or backend["why_not"] for backend in backends.values())
    assert all(backend["engine"] or "pip install" in backend["install"] for backend in backends.values())
    assert 0 < facts["memory"]["free"] <= facts["memory"]["total"]
    assert facts["model"]["weights"] == 2 * facts["model"]["num_parameters"]
    assert facts["model"]["fits"]


def test_doctor_says_it_in_words(tmp_path: Path) -> None:
    done = benchbench("doctor", models.tiny_llama(tmp_path), "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "weights as float32" in done.stdout
    assert "keys and values of one text of 512 tokens" in done.stdout
    assert "--backend auto takes hf: the CPU was asked for" in done.stdout


def test_doctor_answers_bad_input_with_a_sentence() -> None:
    done = benchbench("doctor", "./nothing", "--dtype", "float23")
    assert done.returncode == 2
    assert "Did you mean float32" in done.stderr

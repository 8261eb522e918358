"""`benchbench doctor`: engines, memory, and the model that was named."""

from __future__ import annotations

import json
from pathlib import Path

from tests import models
from tests.cli.command import benchbench


def test_doctor_names_every_engine_and_how_to_get_it() -> None:
    done = benchbench("doctor", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    backends = {backend["name"]: backend for backend in facts["backends"]}
    assert list(backends) == ["hf", "vllm", "gguf", "api"]
    assert backends["hf"]["works"]
    assert all(backend["works"] or backend["why_not"] for backend in backends.values())
    assert all(backend["engine"] or "pip install" in backend["install"] for backend in backends.values())
    assert 0 < facts["memory"]["free"] <= facts["memory"]["total"]


def test_doctor_tells_what_a_model_needs(tmp_path: Path) -> None:
    folder = models.tiny_llama(tmp_path)
    done = benchbench("doctor", folder, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "weights as float32" in done.stdout
    assert "keys and values of one text of 512 tokens" in done.stdout
    assert "--backend auto takes hf: the CPU was asked for" in done.stdout
    needed = json.loads(benchbench("doctor", folder, "--json", "--dtype", "bfloat16").stdout)["model"]
    assert needed["weights"] == 2 * needed["num_parameters"]
    assert needed["fits"]


def test_doctor_answers_bad_input_with_a_sentence(tmp_path: Path) -> None:
    for arguments, said in [
        ((tmp_path / "nothing",), "there is no model at"),
        ((models.tiny_llama(tmp_path / "m"), "--dtype", "float23"), "Did you mean float32"),
    ]:
        done = benchbench("doctor", *arguments)
        assert done.returncode == 2
        assert said in done.stderr

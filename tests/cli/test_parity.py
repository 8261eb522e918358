"""`benchbench parity`: tiny models and scripted ones through several backends."""

from __future__ import annotations

import json

import pytest

from benchbench.backends.engines import installed
from tests import models
from tests.backends import servers
from tests.cli.command import World, benchbench


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def parity(world, *arguments):
    options = ["--tasks", "toy", "--include-path", world.path / "tasks", "--data-root", world.path / "hub"]
    return benchbench("parity", *arguments, *options, "--output", world.results, "--device", "cpu")


def test_shared_prefixes_give_the_numbers_of_plain_requests_and_a_missing_engine_stops_nobody(world):
    model = models.tiny_llama(world.path / "llama")
    missing = installed("vllm") is None
    backends = "hf-plain,hf,vllm" if missing else "hf-plain,hf"
    done = parity(world, model, "--backends", backends, "--json")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    (pair,) = value["pairs"]
    assert pair["runs"][0] != pair["runs"][1]
    quiz, write = pair["tasks"]
    assert (quiz["docs"], quiz["loglikelihoods"], quiz["flips"], quiz["verdict"]) == (12, 36, 0, "within")
    assert 0 < quiz["largest"] < 1e-3
    assert (write["texts"], write["texts_equal"], write["verdict"]) == (6, 6, "not judged")
    if missing:
        assert [one["backend"] for one in value["left_out"]] == ["vllm"]
        assert "pip install 'benchbench-eval[vllm]'" in done.stderr


def test_other_weights_end_in_exit_code_1_and_a_report_of_flips(world):
    done = parity(world, "scripted:hash,salt=2", "--against", "hash:scripted")
    assert done.returncode == 1, done.stderr
    assert max(map(len, done.stdout.splitlines()[1:])) <= 80
    assert "beyond 0.001" in done.stdout
    assert "mcnemar" in done.stdout
    assert "KL divergence is not given" in done.stdout
    again = parity(world, "scripted:hash,salt=2", "--against", "hash:scripted")
    assert "--fresh computes it again" in again.stderr
    assert again.stdout == done.stdout


def test_the_model_is_called_as_the_user_says_and_the_reference_keeps_its_name(world):
    done = parity(world, "scripted:hash,salt=2", "--against", "hash:scripted", "--name", "mine", "--json")
    (pair,) = json.loads(done.stdout)["pairs"]
    assert (pair["side"], pair["reference"]) == ("mine:scripted (float32)", "hash:scripted (float32)")
    done = parity(world, "scripted:hash,salt=3", "--against", "hash:scripted", "--name", "mine")
    assert done.returncode == 2
    assert "--name 'mine' already stands for other weights" in done.stderr


def test_failed_docs_are_no_agreement(world):
    done = parity(world, "scripted:hash,salt=2,fail=0.3", "--against", "scripted:hash")
    assert done.returncode == 1
    assert "docs missing" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["m"], "give either --backends"),
        (["m", "--backends", "hf"], "takes two or more different ones"),
        (["m", "--backends", "hf,hf"], "takes two or more different ones"),
        (["m", "--backends", "hf,vlm"], "Did you mean vllm"),
        (["m:vlm", "--against", "m"], "names the backend 'vlm'"),
        (["hash:scripted", "--against", "scripted:hash"], "same weights on the same backend"),
        (["m", "--backends", "hf,api", "--model-args", "threads=2"], "each option names its backend"),
        (["./nothing", "--backends", "hf,hf-plain"], "nothing"),
    ],
)
def test_bad_input_gets_a_sentence_and_exit_code_2(world, arguments, words):
    done = parity(world, *arguments)
    assert done.returncode == 2, done.stdout
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_server_is_asked_by_the_name_that_the_model_has_there(world):
    model = models.tiny_llama(world.path / "llama")
    with servers.serving(servers.FaultyServer(model="words")) as server:
        options = f"api.base_url={server.url},api.model=words"
        done = parity(world, model, "--backends", "hf,api", "--model-args", options)
    assert done.returncode == 0, done.stderr
    assert "words:api (unstated)  against  llama:hf (float32)" in done.stdout
    assert "a server does not say in which number type it computes" in " ".join(done.stdout.split())
    assert "not judged" in done.stdout


@pytest.mark.gguf
def test_a_float32_gguf_agrees_with_its_original(world):
    model = models.tiny_llama(world.path / "llama")
    file = models.tiny_gguf(world.path / "tiny.gguf", model, bos=True)
    done = parity(world, f"{file}:gguf", "--against", f"{model}:hf", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (pair,) = json.loads(done.stdout)["pairs"]
    assert pair["tasks"][0]["verdict"] == "within"
    assert pair["scores"][0]["p"] == 1.0

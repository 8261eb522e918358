"""The api backend over real servers: the numbers of transformers, or a refusal where a server gets them wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchbench.backends import open_backend
from benchbench.backends.engines import ModelOptions
from benchbench.core.errors import BackendError, ModelError
from benchbench.core.types import (
    Completion,
    Failure,
    GenerateRequest,
    GenerationParams,
    Loglikelihood,
    LoglikelihoodRequest,
    Prompt,
    RollingRequest,
)
from tests import models
from tests.backends import servers
from tests.backends.test_contract import scoring_requests


def opened(address: str, model: str = "tiny", **args: str) -> Any:
    pairs = {"base_url": address, **args}
    return open_backend(ModelOptions(model, backend="api", max_length=None, model_args=tuple(pairs.items())))


def largest_difference(one: Any, two: Any, requests: list[LoglikelihoodRequest]) -> float:
    """In nats, over requests that both answered; fails where one was not."""
    first, second = ({a.request.key: a for a in backend.loglikelihood(requests)} for backend in (one, two))
    assert all(isinstance(a, Loglikelihood) for a in (*first.values(), *second.values()))
    assert [first[k].num_tokens for k in second] == [second[k].num_tokens for k in second]
    return max(abs(first[k].total - second[k].total) for k in second)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str]]:
    """(transformers backend, address of a llama.cpp server of the same weights)."""
    folder = tmp_path_factory.mktemp("llama")
    file = models.tiny_gguf(folder / "tiny.gguf", models.tiny_llama(folder), bos=True)
    hf = open_backend(ModelOptions(str(folder), backend="hf", device="cpu"))
    with servers.llama_cpp_server(file) as address:
        yield hf, address
    hf.close()


@pytest.mark.gguf
def test_a_llama_cpp_server_scores_as_transformers_does(llama: tuple[Any, str]) -> None:
    hf, address = llama
    backend = opened(address)
    requests = [request for request in scoring_requests(16, seed=11) if request.prompt.text]
    assert largest_difference(backend, hf, requests) < 2e-2, "its keys and values are float16: 3e-3 was measured"
    backend.close()


@pytest.mark.gguf
def test_a_llama_cpp_server_that_scores_the_neighbouring_token_is_found_out(tmp_path: Path) -> None:
    """Without a beginning of sequence token this server's lists are one place off."""
    file = models.tiny_gguf(tmp_path / "tiny.gguf", models.tiny_llama(tmp_path), bos=False)
    with servers.llama_cpp_server(file) as address:
        backend = opened(address)
        request = LoglikelihoodRequest("t", 0, 0, Prompt("", (), "Praha je"), " A")
        with pytest.raises(BackendError, match="not those of their tokens"):
            list(backend.loglikelihood([request]))
        (text,) = backend.generate([GenerateRequest("t", 0, 0, Prompt("", (), "Praha"), GenerationParams((), 4))])
        assert isinstance(text, Completion)


@pytest.mark.gguf
def test_a_llama_cpp_server_drops_shots_chats_and_knows_its_name(llama: tuple[Any, str]) -> None:
    _, address = llama
    backend = opened(address)
    prompt = Prompt("", ("Praha je hlavní město České republiky.\n\n",) * 60, "Praha")
    (answer,) = backend.generate([GenerateRequest("t", 0, 0, prompt, GenerationParams((), 8))])
    assert isinstance(answer, Completion)
    assert answer.dropped_shots > 10
    (failed,) = backend.loglikelihood_rolling([RollingRequest("t", 0, 0, "Praha je město")])
    assert isinstance(failed, Failure)
    assert failed.kind == "first_token_unknown"
    chat = opened(address, endpoint="chat")
    (said,) = chat.generate([GenerateRequest("t", 0, 0, Prompt("", (), "Praha"), GenerationParams((), 8))])
    assert isinstance(said, Completion)
    assert said.num_tokens > 0
    with pytest.raises(ModelError, match="no model 'tinny'; it has tiny"):
        opened(address, "tinny")


@pytest.mark.vllm
def test_a_vllm_server_scores_token_ids_as_transformers_does(tmp_path: Path) -> None:
    folder = models.tiny_llama(tmp_path / "one", head_size=32)
    hf = open_backend(ModelOptions(str(folder), backend="hf", device="cpu"))
    other = models.tiny_gpt2(tmp_path / "other")
    with servers.vllm_server(folder) as address:
        backend = opened(address, tokenizer=str(folder))
        assert backend.server.facts.scoring == "ids"
        assert backend.info.max_length == 510
        requests = scoring_requests(60, seed=12)
        assert largest_difference(backend, hf, requests) < 1e-3
        text = [RollingRequest("t", 0, 0, "Praha je hlavní město. " * 20)]
        (ours,), (theirs,) = backend.loglikelihood_rolling(text), hf.loglikelihood_rolling(text)
        assert ours.total == pytest.approx(theirs.total, abs=1e-2)
        ask = [
            GenerateRequest("t", i, 0, Prompt("", (), f"Kolik je {i}?"), GenerationParams(("m",), 12)) for i in range(6)
        ]
        # A server keeps an unfinished character back, where transformers shows it as �.
        written = {a.request.key: a.text.rstrip("�") for a in backend.generate(ask)}
        assert written == {a.request.key: a.text.rstrip("�") for a in hf.generate(ask)}
        in_text = opened(address)
        assert in_text.server.facts.scoring == "echo"
        prompts = [Prompt("", ("The fox jumps.\n\n",), f"The quick brown fox {i} is") for i in range(10)]
        plain = [
            LoglikelihoodRequest("t", i, k, prompt, choice)
            for i, prompt in enumerate(prompts)
            for k, choice in enumerate([" A", " over the dog"])
        ]
        assert largest_difference(in_text, hf, plain) < 1e-3
        with pytest.raises(ModelError, match="is not that of tiny"):
            opened(address, tokenizer=str(other))

"""What every backend owes its callers, whichever engine it is. New engines join by adding a fixture parameter."""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchbench.backends import open_backend
from benchbench.backends.engines import ModelOptions
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

WORDS = [
    "Praha",
    "je",
    "hlavní",
    "město",
    "žluťoučký",
    "kůň",
    "le",
    "garçon",
    "où",
    "été",
    "🙂",
    "the",
    "fox",
    "A",
    "B",
]
MODELS = {
    "hf llama": models.tiny_llama,
    "hf mpt": models.tiny_mpt,
    "hf gpt2": models.tiny_gpt2,
    "hf t5": models.tiny_t5,
    # vLLM's attention on CPUs knows no heads smaller than 32.
    "vllm llama": functools.partial(models.tiny_llama, head_size=32),
    "vllm mpt": functools.partial(models.tiny_mpt, head_size=32),
}


def mpt_file(folder: Path) -> Path:
    """A tiny float32 GGUF file."""
    return models.tiny_mpt_gguf(folder / "tiny.gguf", models.tiny_mpt(folder))


def llama_file(folder: Path) -> Path:
    """The same; every text begins with `<s>`."""
    return models.tiny_gguf(folder / "tiny.gguf", models.tiny_llama(folder), bos=True)


GGUF = {"gguf llama": llama_file, "gguf mpt": mpt_file}
MARKS = {"vllm": [pytest.mark.vllm], "gguf": [pytest.mark.gguf]}
BACKENDS = [pytest.param(name, marks=MARKS.get(name.partition(" ")[0], ())) for name in (*MODELS, *GGUF)]
SERVERS = [
    pytest.param("api words"),
    pytest.param("api llama.cpp", marks=pytest.mark.gguf),
    pytest.param("api vllm", marks=pytest.mark.vllm),
]


@pytest.fixture(scope="module", params=[*BACKENDS, *SERVERS, "scripted"])
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with contextlib.ExitStack() as stack:
        folder = tmp_path_factory.mktemp("model")
        opened = open_backend(options(request.param, folder, stack))
        yield opened
        opened.close()


def options(name: str, folder: Path, stack: contextlib.ExitStack) -> ModelOptions:
    """How to open the backend `name`, with a model in `folder` or behind a server that runs until `stack` ends."""
    engine, _, which = name.partition(" ")
    if engine == "scripted":
        return ModelOptions("hash", backend="scripted")
    if engine == "gguf":
        return ModelOptions(str(GGUF[name](folder)), backend="gguf", device="cpu")
    if engine == "api":
        return served(which, folder, stack)
    more = models.EAGER if engine == "vllm" else ()
    return ModelOptions(str(MODELS[name](folder)), backend=engine, device=models.DEVICE, model_args=more)


def served(which: str, folder: Path, stack: contextlib.ExitStack) -> ModelOptions:
    """A model behind a server: our own over words, which reads text; a real llama.cpp; a real vLLM, which takes ids."""
    if which == "words":
        address, name, more = stack.enter_context(servers.serving(servers.FaultyServer())).url, "words", ()
    elif which == "llama.cpp":
        address, name, more = stack.enter_context(servers.llama_cpp_server(llama_file(folder))), "tiny", ()
    else:
        models.tiny_llama(folder, head_size=32)
        address, name = stack.enter_context(servers.vllm_server(folder)), "tiny"
        more = (("tokenizer", str(folder)),)
    length = None if more else 200 if which == "words" else 512
    return ModelOptions(name, backend="api", max_length=length, model_args=(("base_url", address), *more))


def reads_text(backend: Any) -> bool:
    """Whether the engine is a server that tokenises, and does not say how likely the first token of a text is."""
    return backend.info.name == "api" and backend.server.facts.scoring != "ids"


def sentence(rng: random.Random, low: int, high: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(low, high)))


def reads_causally(backend: Any) -> bool:
    """Whether the model continues its context, rather than translating it."""
    return backend.info.name != "hf" or backend.loaded.architecture == "causal"


def scoring_requests(docs: int, seed: int = 0) -> list[LoglikelihoodRequest]:
    """Docs with and without shots, unicode, one-word and long choices, an empty context, duplicates."""
    rng = random.Random(seed)
    shots = tuple(sentence(rng, 5, 12) + "\n\n" for _ in range(3))
    requests = []
    for doc in range(docs):
        prompt = Prompt("", shots if doc % 3 else (), "" if doc % 17 == 16 else sentence(rng, 1, 15))
        choices = [" A", " B", " " + sentence(rng, 1, 2), " " + sentence(rng, 4, 9)]
        if doc % 5 == 4:
            choices[3] = choices[2]
        requests += [LoglikelihoodRequest("t", doc, i, prompt, choice) for i, choice in enumerate(choices)]
    return requests


def test_hundreds_of_mixed_requests_are_each_answered_once_in_any_order(backend: Any) -> None:
    docs = 40 if reads_text(backend) else 85  # a llama.cpp server sorts its vocabulary in Python for every token
    requests = [r for r in scoring_requests(docs) if r.prompt.text or not reads_text(backend)]
    answers = {r.request.key: r for r in backend.loglikelihood(requests)}
    assert set(answers) == {r.key for r in requests}
    assert all(isinstance(r, Loglikelihood) and r.total <= 0 and r.num_tokens > 0 for r in answers.values())
    shuffled = random.Random(1).sample(requests, len(requests))
    again = {r.request.key: r for r in backend.loglikelihood(shuffled)}
    assert max(abs(again[k].total - answers[k].total) for k in answers) < 1e-4


def test_equal_requests_get_equal_answers(backend: Any) -> None:
    prompt = Prompt("", (), "Praha je")
    requests = [LoglikelihoodRequest("t", d, 0, prompt, " hlavní město") for d in range(3)]
    assert len({r.total for r in backend.loglikelihood(requests)}) == 1


def test_an_empty_continuation_is_certain(backend: Any) -> None:
    (answer,) = backend.loglikelihood([LoglikelihoodRequest("t", 0, 0, Prompt("", (), "Praha"), "")])
    assert isinstance(answer, Loglikelihood)
    if backend.info.name != "hf" or answer.num_tokens == 0:
        assert (answer.total, answer.is_greedy, answer.num_tokens) == (0.0, True, 0)


def test_the_space_belongs_to_the_continuation(backend: Any) -> None:
    if backend.info.name == "scripted":
        pytest.skip("it answers by the text: there are no tokens that a space could belong to")
    moved = LoglikelihoodRequest("t", 0, 0, Prompt("", (), "le garçon "), "A")
    kept = LoglikelihoodRequest("t", 1, 0, Prompt("", (), "le garçon"), " A")
    one, two = sorted(backend.loglikelihood([moved, kept]), key=lambda r: r.request.doc_id)
    assert one.total == pytest.approx(two.total, abs=1e-5)


def test_skipped_requests_are_not_answered_and_change_nothing(backend: Any) -> None:
    requests = [r for r in scoring_requests(40, seed=2) if r.prompt.text or not reads_text(backend)]
    whole = {r.request.key: r for r in backend.loglikelihood(requests)}
    skip = frozenset(r.key for r in requests if r.doc_id % 2)
    rest = {r.request.key: r for r in backend.loglikelihood(requests, skip=skip)}
    assert set(rest) == set(whole) - skip
    assert all(rest[k].total == whole[k].total for k in rest)


def test_keys_name_what_is_asked_and_nothing_else(backend: Any) -> None:
    prompt = Prompt("", ("a\n\n",), "Praha je")
    doc = [LoglikelihoodRequest("t", 0, 0, prompt, " město"), LoglikelihoodRequest("t", 0, 1, prompt, " kůň")]
    renamed = [LoglikelihoodRequest("other", 9, i, prompt, r.continuation) for i, r in enumerate(doc)]
    changed = [doc[0], LoglikelihoodRequest("t", 0, 1, prompt, " pes")]
    same, also, differs = backend.request_keys([doc]), backend.request_keys([renamed]), backend.request_keys([changed])
    assert same == also != differs
    params = GenerationParams(("\n",), 8)
    ask = lambda name, p: backend.request_keys([[GenerateRequest(name, len(name), 0, prompt, p)]])  # noqa: E731
    assert ask("t", params) == ask("other", GenerationParams(("\n",), 8))
    assert ask("t", params) != ask("t", GenerationParams(("\n",), 9))
    assert ask("t", params) != ask("t", GenerationParams((".",), 8))


def test_rolling_scores_every_token_once(backend: Any) -> None:
    rng = random.Random(3)
    texts = ["", "A", sentence(rng, 20, 30), sentence(rng, 400, 500)]
    requests = [RollingRequest("t", i, 0, text) for i, text in enumerate(texts)]
    if not reads_causally(backend):
        requests = requests[1:3]
    answers = {r.request.doc_id: r for r in backend.loglikelihood_rolling(requests)}
    if reads_text(backend):
        kinds = {doc: answer.kind for doc, answer in answers.items() if isinstance(answer, Failure)}
        assert kinds == {1: "first_token_unknown", 2: "first_token_unknown", 3: "context_too_long"}
        return
    assert set(answers) == {r.doc_id for r in requests}
    assert all(isinstance(a, Loglikelihood) for a in answers.values())
    assert answers[2].num_tokens > answers[1].num_tokens > 0
    if 3 in answers:
        assert answers[0].total == 0.0
        assert answers[2].total < 0
        if backend.info.name != "scripted":  # its made-up values do not grow with the text
            assert answers[3].total < answers[2].total


def test_texts_end_before_the_stop_string(backend: Any) -> None:
    rng = random.Random(4)
    shots = tuple(sentence(rng, 4, 8) + "\n\n" for _ in range(3))
    free = GenerationParams((), 12)
    ask = lambda params, docs: [  # noqa: E731
        GenerateRequest("t", d, 0, Prompt("", shots, f"{WORDS[d % 15]} je"), params) for d in docs
    ]
    whole = {c.request.doc_id: c for c in backend.generate(ask(free, range(15)))}
    most = 16 if reads_text(backend) else 12  # a llama.cpp server finishes a character that it has begun
    assert all(isinstance(c, Completion) and c.num_tokens <= most for c in whole.values())
    stopped = 0
    for doc, completion in whole.items():
        stop = completion.text[2:4]
        if len(stop) < 2 or "�" in completion.text[:5]:
            continue
        (short,) = backend.generate(ask(GenerationParams((stop,), 12), [doc]))
        assert short.text == completion.text.split(stop)[0]
        assert short.finish_reason == "stop"
        stopped += 1
    assert stopped or all("�" in c.text[:5] or len(c.text) < 4 for c in whole.values())


def test_prompts_over_the_limit_lose_shots_and_say_so(backend: Any) -> None:
    if backend.info.name == "scripted":
        pytest.skip("a table has no limit")
    shots = tuple(f"{' '.join(WORDS)}\n\n" for _ in range(60))
    (answer,) = backend.loglikelihood([LoglikelihoodRequest("t", 0, 0, Prompt("", shots, "Praha je"), " A")])
    assert isinstance(answer, Loglikelihood)
    assert answer.dropped_shots > 0
    assert answer.truncated_tokens == 0
    assert answer.prompt_tokens <= backend.info.max_length
    (failed,) = (
        backend.generate(
            [GenerateRequest("t", 0, 0, Prompt("", (), "Praha"), GenerationParams((), backend.info.max_length))]
        )
        if reads_causally(backend)
        else [Failure(answer.request, "no_room", "")]
    )
    assert isinstance(failed, Failure)
    assert failed.kind == "no_room"


def test_work_is_counted(backend: Any) -> None:
    before = backend.work.tokens_computed
    list(backend.loglikelihood(scoring_requests(3, seed=9)))
    assert backend.work.tokens_computed > before

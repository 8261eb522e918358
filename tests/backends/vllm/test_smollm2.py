"""Real weights: SmolLM2-135M on vLLM against transformers, in fp32, with the prefix cache read."""

from __future__ import annotations

import pytest

from benchbench.core.types import GenerateRequest, GenerationParams, Prompt
from tests import models
from tests.backends.vllm.conftest import TEXT, largest_difference, mixed_requests, opened, totals

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.real]


def test_500_mixed_requests_in_random_order_and_some_texts_equal_transformers() -> None:
    folder = models.smollm2_folder()
    requests = mixed_requests(500, longest=200)
    asked = [
        GenerateRequest("g", doc, 0, Prompt("", (), TEXT[: 20 + 30 * doc]), GenerationParams((".", "\n"), 12))
        for doc in range(6)
    ]
    with opened(folder, "hf", max_length=2048) as hf:
        expected = totals(hf, requests)
        written = {answer.request.doc_id: answer for answer in hf.generate(asked)}
    with opened(folder, "vllm", max_length=2048) as vllm:
        answers = totals(vllm, requests)
        assert largest_difference(answers, expected) < 1e-3
        assert [k for k in answers if answers[k].is_greedy != expected[k].is_greedy] == []
        assert any(answer.is_greedy for answer in answers.values())
        assert vllm.work.tokens_needed > 2 * vllm.work.tokens_computed
        assert {answer.request.doc_id: answer for answer in vllm.generate(asked)} == written

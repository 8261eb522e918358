"""Tokens, boundaries and cuts are lm-eval's, except where whole shots are dropped first."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchbench.backends.encode import EncodedContext, EncodedPair, Encoder, Unencodable, rolling_windows
from benchbench.core.types import GenerateRequest, GenerationParams, LoglikelihoodRequest, Prompt
from tests import models


@pytest.fixture(scope="module", params=["plain", "bos"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> object:
    from transformers import AutoTokenizer

    folder: Path = tmp_path_factory.mktemp("tokenizer")
    models.tokenizer(folder, bos=request.param == "bos")
    return AutoTokenizer.from_pretrained(folder)


def ask(question: str, continuation: str, *, shots: tuple[str, ...] = (), description: str = "", doc: int = 0,
        index: int = 0, overflow: str = "drop_shots") -> LoglikelihoodRequest:  # fmt: skip
    return LoglikelihoodRequest("t", doc, index, Prompt(description, shots, question, overflow), continuation)  # type: ignore[arg-type]


TEXT = st.text(alphabet="ab Čř\n.é?", min_size=0, max_size=12)


@settings(max_examples=150)
@given(context=TEXT, continuation=TEXT.filter(bool))
def test_the_boundary_is_lm_evals(tokenizer: object, context: str, continuation: str) -> None:
    api = pytest.importorskip("lm_eval.api.model")

    class Reference(api.TemplateLM):  # type: ignore[misc,name-defined]
        backend = "causal"
        eot_token_id = 0

        def tok_encode(self, string, add_special_tokens=None, **kwargs):  # type: ignore[no-untyped-def]
            kwargs = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
            return tokenizer.encode(string, **kwargs)  # type: ignore[attr-defined]

        def _loglikelihood_tokens(self, requests, **kwargs):  # type: ignore[no-untyped-def]
            return []

        def loglikelihood_rolling(self, *a, **k):  # type: ignore[no-untyped-def]
            return []

        def generate_until(self, *a, **k):  # type: ignore[no-untyped-def]
            return []

    (pair,) = Encoder(tokenizer, 512).pairs([ask(context, continuation)])
    assert isinstance(pair, EncodedPair)
    if not context.rstrip():
        return  # lm-eval takes another road for an empty context; the backend tests cover it
    expected = Reference()._encode_pair(context, continuation)
    if expected[1]:
        assert (list(pair.context), list(pair.continuation)) == expected
    else:
        assert pair.continuation, "a continuation that merges into the context is still scored"


def test_an_empty_context_becomes_the_prefix_token(tokenizer: object) -> None:
    encoder = Encoder(tokenizer, 512)
    (pair,) = encoder.pairs([ask("", "Praha")])
    assert isinstance(pair, EncodedPair)
    assert pair.context == (encoder.prefix_token_id,)
    assert encoder.prefix_token_id not in pair.continuation


def test_whole_shots_are_dropped_before_the_description_and_tokens_last(tokenizer: object) -> None:
    shots = tuple(f"Otázka {i}: kolik? Odpověď: {i}\n\n" for i in range(4))
    full = ask("Otázka: kde?", " tam", shots=shots, description="Odpovídej krátce.\n\n")
    size = lambda p: len(Encoder(tokenizer, 9999).pairs([ask(p.text, " tam")])[0].inputs)  # type: ignore[union-attr]  # noqa: E731
    prompt: Prompt | None = full.prompt
    dropped = 0
    while prompt is not None:
        (pair,) = Encoder(tokenizer, size(prompt)).pairs([full])
        assert isinstance(pair, EncodedPair)
        assert (pair.dropped_shots, pair.truncated_tokens) == (min(dropped, 4), 0)
        assert len(pair.inputs) == size(prompt)
        prompt, dropped = prompt.shorter(), dropped + 1
    (pair,) = Encoder(tokenizer, size(Prompt("", (), full.prompt.question)) - 2).pairs([full])
    assert isinstance(pair, EncodedPair)
    assert (pair.dropped_shots, pair.truncated_tokens) == (4, 2)


def test_choices_of_one_doc_lose_the_same_shots(tokenizer: object) -> None:
    prompt = Prompt("", ("jedna dva tři\n\n",) * 3, "čtyři")
    short = LoglikelihoodRequest("t", 0, 0, prompt, " a")
    long = LoglikelihoodRequest("t", 0, 1, prompt, " " + "dlouhá odpověď " * 3)
    limit = max(len(pair.inputs) for pair in Encoder(tokenizer, 9999).pairs([short, long])) - 1  # type: ignore[union-attr]
    assert len(Encoder(tokenizer, 9999).pairs([short])[0].inputs) <= limit, "the short choice fits whole"  # type: ignore[union-attr]
    one, two = Encoder(tokenizer, limit).pairs([short, long])
    assert isinstance(one, EncodedPair)
    assert isinstance(two, EncodedPair)
    assert one.context == two.context
    assert one.dropped_shots == two.dropped_shots > 0


def test_lm_eval_mode_cuts_on_the_left_only(tokenizer: object) -> None:
    request = ask("otázka", " ano", shots=("první\n\n", "druhá\n\n"), overflow="truncate_left")
    whole = Encoder(tokenizer, 9999).pairs([request])[0]
    assert isinstance(whole, EncodedPair)
    (cut,) = Encoder(tokenizer, len(whole.inputs) - 3).pairs([request])
    assert isinstance(cut, EncodedPair)
    assert (cut.truncated_tokens, cut.dropped_shots) == (3, 0)
    assert cut.inputs == whole.inputs[3:]


def test_a_continuation_longer_than_the_model_is_refused_by_name(tokenizer: object) -> None:
    (answer,) = Encoder(tokenizer, 5).pairs([ask("a", " dlouhý text, který se nevejde nikam")])
    assert isinstance(answer, Unencodable)
    assert answer.kind == "continuation_too_long"


def test_generation_leaves_room_for_the_new_tokens(tokenizer: object) -> None:
    params = GenerationParams(until=("\n",), max_gen_toks=10)
    shots = tuple(f"příklad {i} je tady\n\n" for i in range(5))
    request = GenerateRequest("t", 0, 0, Prompt("", shots, "a teď ty"), params)
    (context,) = Encoder(tokenizer, 60).contexts([request])
    assert isinstance(context, EncodedContext)
    assert len(context.context) <= 50
    assert context.dropped_shots > 0
    assert context.truncated_tokens == 0
    (refused,) = Encoder(tokenizer, 10).contexts([request])
    assert isinstance(refused, Unencodable)
    assert "max_gen_toks" in refused.message


@settings(max_examples=100)
@given(length=st.integers(0, 60), limit=st.integers(1, 20))
def test_rolling_windows_are_lm_evals(length: int, limit: int) -> None:
    utils = pytest.importorskip("lm_eval.utils")
    tokens = list(range(100, 100 + length))
    expected = [
        (tuple(a), tuple(b))
        for a, b in map(
            utils.make_disjoint_window,
            utils.get_rolling_token_windows(token_list=tokens, prefix_token=1, max_seq_len=limit, context_len=1),
        )
    ]
    assert [(w.context, w.continuation) for w in rolling_windows(tokens, 1, limit)] == expected

"""Every family of encoder-decoders: log-likelihoods and texts are those of one text alone, whatever the batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.models.auto import modeling_auto

from benchbench.backends import ModelOptions, open_backend
from benchbench.backends.encode import EncodedPair
from benchbench.backends.hf.encoder_decoder import EncoderDecoder
from benchbench.backends.hf.seq2seq import Seq2SeqEngine
from benchbench.backends.models.config import check_config, kind_of
from benchbench.backends.writing import Job
from benchbench.core.errors import BackendError, ModelError
from benchbench.core.types import GenerationParams, LoglikelihoodRequest, Prompt
from tests.backends import encoder_decoders as tiny

TEXTS = ("Which one is it? " * 3, "A", "The quick brown fox")
CHOICES = (" yes", " no, never")
PAIRS = tiny.pairs(TEXTS, CHOICES)
GREEDY = GenerationParams(until=(), max_gen_toks=6)
SPEECH = {
    "audioflamingo3",
    "glmasr",
    "granite_speech",
    "granite_speech_plus",
    "moss_transcribe_diarize",
    "musicflamingo",
    "nemo_speechlm",
    "qwen2_audio",
    "qwen3_asr",
    "vibevoice_asr",
    "voxtral",
    "voxtral_realtime",
}
"""What transformers lists among them, though it is no encoder-decoder."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small are computed many times faster by one thread, above all beside other work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def scores(engine: Seq2SeqEngine, pairs: Sequence[EncodedPair]) -> list[float]:
    answers = {scored.request: scored.total for scored in engine.score(pairs)}  # type: ignore[union-attr]
    return [answers[i] for i in range(len(pairs))]


def texts(engine: Seq2SeqEngine, contexts: Sequence[tuple[int, ...]], params: GenerationParams = GREEDY) -> list[str]:
    answers = {written.request: written.text for written in engine.write([Job(c, params, "s") for c in contexts])}  # type: ignore[union-attr]
    return [answers[i] for i in range(len(contexts))]


def decoded(tokens: list[int]) -> str:
    kept = tokens[: tokens.index(2)] if 2 in tokens else tokens
    return str(tiny.tokenizer().decode(kept, skip_special_tokens=True))


def check(name: str, pairs: Sequence[EncodedPair], batch_tokens: int) -> list[str]:
    """Holds all pairs and texts against one alone; returns what the user is told."""
    model = tiny.made(name)
    engine = Seq2SeqEngine(tiny.loaded(tiny.fresh(model)), batch_tokens)
    assert scores(engine, pairs) == pytest.approx(tiny.references(model, pairs), abs=1e-3)
    contexts = list(dict.fromkeys(pair.context for pair in pairs))
    assert texts(engine, contexts) == [decoded(tiny.written(model, c, GREEDY)) for c in contexts]
    return engine.notes


def test_every_family_of_transformers_is_tried_or_refused() -> None:
    tried = {name.partition(" ")[0] for name in tiny.CONFIGS}
    assert tried | SPEECH == set(modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES)


@pytest.mark.parametrize("name", tiny.CONFIGS)
def test_a_family_gives_what_one_text_alone_gives(name: str) -> None:
    notes = check(name, PAIRS, 1024)
    told = ("prophetnet", "nllb-moe capacity", "bigbird_pegasus")
    assert bool(notes) == (name in told)


@pytest.mark.slow
@pytest.mark.parametrize("batch_tokens", [300, 2048])
@pytest.mark.parametrize("name", tiny.CONFIGS)
def test_a_family_does_so_at_all_lengths(name: str, batch_tokens: int) -> None:
    generator = torch.Generator().manual_seed(1)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, tiny.VOCABULARY, (count,), generator=generator).tolist())

    contexts = [tokens(n) for n in (5, 8, 13, 21, 33, 34, 47, 60, 60, 77, 90, 130, 180, 240)]
    check(name, [EncodedPair(c, tokens(n)) for c in contexts for n in (1, 4, 17)], batch_tokens)


def test_a_short_text_does_not_change_a_sparse_model_for_longer_ones() -> None:
    name = "bigbird_pegasus"
    short, long = tiny.pairs(("A", "Which one is it? " * 6), (" yes",))
    model = tiny.made(name)
    expected = tiny.references(model, [short, long])
    engine = Seq2SeqEngine(tiny.loaded(model), 1024)
    order = (short, long, short, long)
    assert [scores(engine, [pair])[0] for pair in order] == pytest.approx(expected * 2, abs=1e-3)


def test_a_sparse_model_that_pads_would_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what is known of the architecture the self-check sees it."""
    monkeypatch.setattr(EncoderDecoder, "_dense_below", lambda self: float("inf"))
    notes = check("bigbird_pegasus", tiny.pairs((*TEXTS, "Which one is it? " * 7), CHOICES), 1024)
    assert notes[0].endswith("nats more or less than for a pair alone.")


class Broken:
    """Makes a model wrong wherever its batch has more than one row (or one length), as a family's own padding may."""

    def __init__(self, model: Any, fails: Callable[[torch.Tensor, torch.Tensor], bool], raises: bool = False) -> None:
        self._fails, self._raises = fails, raises
        self.rows: list[int] = []
        model.get_encoder().register_forward_hook(self, with_kwargs=True)

    def __call__(self, module: Any, args: Any, kwargs: Any, output: Any) -> Any:
        ids, mask = kwargs["input_ids"], kwargs.get("attention_mask")
        self.rows.append(len(ids))
        if self._fails(ids, torch.ones_like(ids) if mask is None else mask):
            if self._raises:
                raise RuntimeError("The size of tensor a (14) must match the size of tensor b (10)")
            output.last_hidden_state = output.last_hidden_state * 1.5
        return output


def is_padded(ids: torch.Tensor, mask: torch.Tensor) -> bool:
    return not bool(mask.all())


def has_rows(ids: torch.Tensor, mask: torch.Tensor) -> bool:
    return len(ids) > 1


SAME_LENGTH = tiny.pairs(("Which one", "Whichever", "A", "Where"), CHOICES)


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize(
    ("fails", "scored", "wrote"),
    [
        (
            is_padded,
            "Pairs of unlike lengths are not scored side by side: ",
            "Texts are not written side by side after",
        ),
        (has_rows, "Pairs of one length are not scored side by side but each alone", "Texts are written one at a time"),
    ],
)
def test_a_model_that_is_wrong_in_batches_is_given_smaller_ones(
    fails: Any, scored: str, wrote: str, raises: bool
) -> None:
    expected = tiny.references(tiny.made("bart"), SAME_LENGTH)
    contexts = list(dict.fromkeys(pair.context for pair in SAME_LENGTH))
    expected_texts = [decoded(tiny.written(tiny.made("bart"), c, GREEDY)) for c in contexts]
    model = tiny.made("bart")
    broken = Broken(model, fails, raises)
    engine = Seq2SeqEngine(tiny.loaded(model), 1024)
    assert scores(engine, SAME_LENGTH) == pytest.approx(expected, abs=1e-3)
    assert texts(engine, contexts) == expected_texts
    assert [note.startswith(start) for note, start in zip(engine.notes, (scored, wrote), strict=True)] == [True, True]
    assert all(("RuntimeError" if raises else "nats") in note for note in engine.notes)
    broken.rows.clear()
    assert scores(engine, SAME_LENGTH) == pytest.approx(expected, abs=1e-3)
    assert (max(broken.rows) == 2) == (fails is is_padded), "decided once, and two contexts have one length"


def test_new_weights_are_checked_anew() -> None:
    model = tiny.made("bart")
    broken = Broken(model, is_padded)
    engine = Seq2SeqEngine(tiny.loaded(model), 1024)
    scores(engine, PAIRS)
    texts(engine, [pair.context for pair in PAIRS[:: len(CHOICES)]])
    assert len(engine.notes) == 2
    broken._fails = lambda ids, mask: False
    engine.forget()
    scores(engine, PAIRS)
    assert engine.notes == []


def test_trust_in_short_texts_is_not_kept_for_long_ones() -> None:
    model = tiny.made("bart")
    Broken(model, lambda ids, mask: ids.shape[1] > 40 and not bool(mask.all()))
    engine = Seq2SeqEngine(tiny.loaded(model), 1024)
    scores(engine, tiny.pairs(("A", "Where is it"), CHOICES))
    assert engine.notes == []
    assert scores(engine, PAIRS) == pytest.approx(tiny.references(tiny.made("bart"), PAIRS), abs=1e-3)
    assert len(engine.notes) == 1


def test_the_check_costs_little_of_a_thousand_requests() -> None:
    contexts = [tuple(3 + (i * 7 + k) % 250 for k in range(30 + i % 40)) for i in range(250)]
    pairs = [EncodedPair(c, tuple(c[:n])) for c in contexts for n in (1, 2, 3, 4)]
    engine = Seq2SeqEngine(tiny.loaded(tiny.made("bart")), 1024)
    scores(engine, pairs)
    first = engine.computed_tokens
    scores(engine, pairs)
    again = engine.computed_tokens - first
    assert first - again <= 0.02 * again
    assert first > again, "something was checked"


def test_a_model_that_draws_at_random_is_refused() -> None:
    model = tiny.made("bart")
    model.get_encoder().register_forward_hook(
        lambda module, args, output: setattr(
            output, "last_hidden_state", output.last_hidden_state + torch.randn(output.last_hidden_state.shape)
        )
    )
    engine = Seq2SeqEngine(tiny.loaded(model), 1024)
    with pytest.raises(BackendError, match="another log-likelihood each time"):
        scores(engine, PAIRS)
    with pytest.raises(BackendError, match="something else after the same text each time"):
        texts(engine, [pair.context for pair in PAIRS[:: len(CHOICES)]])


@pytest.mark.parametrize("name", ["fsmt", "nllb-moe"])
def test_a_folder_of_a_family_opens_and_scores(name: str, tmp_path: Path) -> None:
    model = tiny.made(name)
    model.save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    backend = open_backend(ModelOptions(model=str(tmp_path), backend="hf", device="cpu", dtype="float32"))
    requests = [
        LoglikelihoodRequest("t", d, c, Prompt("", (), text), choice)
        for d, text in enumerate(("Which one", "Praha je hlavní"))
        for c, choice in enumerate(CHOICES)
    ]
    got = {answer.request.key: answer.total for answer in backend.loglikelihood(requests)}  # type: ignore[union-attr]
    expected = tiny.references(model, tiny.pairs(("Which one", "Praha je hlavní"), CHOICES))
    assert [got[request.key] for request in requests] == pytest.approx(expected, abs=1e-3)


def test_the_decoder_of_a_model_of_speech_is_refused_with_the_truth(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is a model of speech \(whisper\)"):
        check_config({"model_type": "whisper"}, tmp_path, own_code=False)


@pytest.mark.parametrize("model_type", sorted(SPEECH))
def test_a_model_that_hears_is_a_causal_model_of_text(model_type: str, tmp_path: Path) -> None:
    check_config({"model_type": model_type}, tmp_path, own_code=False)
    assert kind_of(model_type) == "causal"


@pytest.mark.parametrize("model_type", sorted({name.partition(" ")[0] for name in tiny.CONFIGS}))
def test_no_other_is_refused(model_type: str, tmp_path: Path) -> None:
    config = {"model_type": model_type}
    check_config(config, tmp_path, own_code=False)
    assert config == {"model_type": model_type}


@pytest.mark.parametrize("name", ["bart", "marian", "t5", "mbart"])
def test_loglikelihoods_equal_those_of_lm_eval(name: str, tmp_path: Path) -> None:
    huggingface = pytest.importorskip("lm_eval.models.huggingface", reason="lm-eval is the oracle")
    from lm_eval.api.instance import Instance

    model = tiny.made(name)
    theirs = huggingface.HFLM(
        model, backend="seq2seq", tokenizer=tiny.tokenizer(), device="cpu", batch_size=1, logits_cache=False
    )
    # White space at the end of a context would move to the continuation.
    stripped = [text.strip() for text in TEXTS]
    asked = [(text, choice) for text in stripped for choice in CHOICES]
    answers = theirs.loglikelihood([Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(asked)], True)
    engine = Seq2SeqEngine(tiny.loaded(model), 1024)
    ours = scores(engine, tiny.pairs(stripped, CHOICES))
    assert ours == pytest.approx([total for total, _ in answers], abs=1e-3)

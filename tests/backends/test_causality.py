"""Models that see what follows are refused; those listed with the encoder-decoders that only hear are opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchbench.backends.hf.causality import check_causal
from benchbench.backends.models.config import kind_of, own_length
from tests import models
from tests.backends.loading import FACTORIES, edit, load, refused

SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


def saved(folder: Path, family: str, **values: Any) -> Path:
    """A tiny model of a family, by transformers' name of it."""
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    vocab = models.tokenizer(folder)
    config = CONFIG_MAPPING[family](vocab_size=vocab, bos_token_id=0, eos_token_id=0, **values)
    return models._save(AutoModelForCausalLM.from_config, config, folder, seed=0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["bert", "rembert"])
def test_an_encoder_is_refused_with_the_setting_that_would_make_it_a_decoder(
    family: str, dtype: str, tmp_path: Path
) -> None:
    folder = saved(tmp_path, family, **SMALL, is_decoder=False)
    said = refused(folder, "sees the tokens that it is to predict", dtype=dtype)
    assert "set is_decoder to true" in said


def test_the_same_encoder_as_a_decoder_is_opened(tmp_path: Path) -> None:
    assert load(saved(tmp_path, "bert", **SMALL, is_decoder=True)).architecture == "causal"


@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2", "mpt"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_causal_models_pass_in_every_type(name: str, dtype: str, tmp_path: Path) -> None:
    loaded = load(FACTORIES[name](tmp_path), dtype=dtype)  # which looks, and would refuse
    assert loaded.architecture == "causal"
    check_causal(loaded)


def test_a_model_that_hears_is_a_causal_model_of_text(tmp_path: Path) -> None:
    from transformers import AutoModelForSeq2SeqLM, Qwen2AudioConfig

    assert kind_of("qwen2_audio") == "causal"
    assert kind_of("t5") == "seq2seq"
    vocab = models.tokenizer(tmp_path)
    hearing = {"d_model": 32, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
    text = {**SMALL, "vocab_size": vocab, "num_key_value_heads": 2, "model_type": "qwen2"}
    config = Qwen2AudioConfig(audio_config={**hearing, "model_type": "qwen2_audio_encoder"}, text_config=text)
    loaded = load(models._save(AutoModelForSeq2SeqLM.from_config, config, tmp_path, seed=0))
    assert loaded.architecture == "causal"
    with torch.inference_mode():
        assert loaded.model(input_ids=torch.tensor([[1, 2, 3]])).logits.shape == (1, 3, vocab)


def test_positions_that_begin_after_the_padding_token_hold_fewer_tokens(tmp_path: Path) -> None:
    folder = saved(tmp_path, "roberta", **SMALL, is_decoder=True, max_position_embeddings=66, pad_token_id=1)
    loaded = load(folder)
    assert loaded.max_length == 64
    with torch.inference_mode():
        loaded.model(input_ids=torch.full((1, 64), 5))
        with pytest.raises((IndexError, RuntimeError)):
            loaded.model(input_ids=torch.full((1, 65), 5))


def test_a_model_of_pictures_alone_is_refused_as_what_it_is(tmp_path: Path) -> None:
    folder = models.tiny_llama(tmp_path)
    edit(folder / "config.json", model_type="mistral3")
    said = refused(folder, "opens only as a model of pictures and text")
    assert "Did you mean" not in said


def test_minus_one_is_no_limit_of_length(tmp_path: Path) -> None:
    from transformers import XLNetConfig

    models.tokenizer(tmp_path)
    loaded = load(models.tiny_gpt2(tmp_path / "gpt2"))
    loaded.tokenizer.model_max_length = 300
    assert own_length(XLNetConfig(), loaded.tokenizer) == 300

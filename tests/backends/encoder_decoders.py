"""Tiny random encoder-decoders of every family that transformers has, in memory, and their numbers one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from benchbench.backends.encode import EncodedPair
from benchbench.backends.models.files import ModelSource
from benchbench.backends.models.loaded import LoadedModel
from benchbench.core.types import GenerationParams

VOCABULARY = 259
LENGTH = 256
SPECIAL: dict[str, Any] = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
START: dict[str, Any] = {**SPECIAL, "decoder_start_token_id": 2, "max_position_embeddings": LENGTH}
BART: dict[str, Any] = {
    **START,
    "d_model": 32,
    **{f"{side}_{key}": n for side in ("encoder", "decoder") for key, n in (("layers", 2), ("attention_heads", 4))},
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
}
T5: dict[str, Any] = {
    **SPECIAL,
    "decoder_start_token_id": 0,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 4,
}
GEMMA: dict[str, Any] = {
    **SPECIAL,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": LENGTH,
    "sliding_window": 8,
    "layer_types": ["sliding_attention", "full_attention"],
}
SEAMLESS: dict[str, Any] = {
    **START,
    **{key: value for key, value in BART.items() if key != "d_model"},
    "hidden_size": 32,
    "speech_encoder_layers": 1,
    "speech_encoder_attention_heads": 4,
    "speech_encoder_intermediate_size": 48,
    "unit_embed_dim": 16,
    "upsample_initial_channel": 32,
    "unit_hifi_gan_vocab_size": 20,
    "lang_embed_dim": 4,
    "spkr_embed_dim": 4,
    "t2u_vocab_size": 20,
    "t2u_encoder_layers": 1,
    "t2u_decoder_layers": 1,
    "t2u_encoder_ffn_dim": 16,
    "t2u_decoder_ffn_dim": 16,
    "t2u_encoder_attention_heads": 4,
    "t2u_decoder_attention_heads": 4,
}


def _without(settings: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != key}


def _t5gemma2() -> Any:
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
    }
    return transformers.T5Gemma2Config(
        encoder={"text_config": GEMMA, "vision_config": vision}, decoder=GEMMA, image_token_index=258
    )


def _bert() -> Any:
    size = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    encoder = transformers.BertConfig(**size, **SPECIAL, max_position_embeddings=LENGTH)
    decoder = transformers.BertConfig(
        **size, **SPECIAL, max_position_embeddings=LENGTH, is_decoder=True, add_cross_attention=True
    )
    both = transformers.EncoderDecoderConfig(encoder=encoder.to_dict(), decoder=decoder.to_dict())
    both.pad_token_id, both.decoder_start_token_id, both.eos_token_id = 0, 1, 2
    return both


CONFIGS: dict[str, Callable[[], Any]] = {
    "bart": lambda: transformers.BartConfig(**BART),
    "bigbird_pegasus": lambda: transformers.BigBirdPegasusConfig(**BART, block_size=4, num_random_blocks=1),
    "bigbird_pegasus full": lambda: transformers.BigBirdPegasusConfig(**BART, attention_type="original_full"),
    "blenderbot": lambda: transformers.BlenderbotConfig(**BART),
    "blenderbot-small": lambda: transformers.BlenderbotSmallConfig(**BART),
    "encoder-decoder": _bert,
    "fsmt": lambda: transformers.FSMTConfig(
        langs=["en", "de"], src_vocab_size=VOCABULARY, tgt_vocab_size=VOCABULARY, **_without(BART, "vocab_size")
    ),
    "led": lambda: transformers.LEDConfig(
        **BART,
        attention_window=8,
        max_encoder_position_embeddings=LENGTH,
        max_decoder_position_embeddings=LENGTH,
    ),
    "longt5": lambda: transformers.LongT5Config(**T5, local_radius=3, global_block_size=4),
    "longt5 global": lambda: transformers.LongT5Config(
        **T5, local_radius=3, global_block_size=4, encoder_attention_type="transient-global"
    ),
    "m2m_100": lambda: transformers.M2M100Config(**BART),
    "marian": lambda: transformers.MarianConfig(**BART),
    "mbart": lambda: transformers.MBartConfig(**BART),
    "mt5": lambda: transformers.MT5Config(**T5),
    "mvp": lambda: transformers.MvpConfig(**BART),
    "nllb-moe": lambda: transformers.NllbMoeConfig(**BART, num_experts=4, encoder_sparse_step=2, decoder_sparse_step=2),
    "nllb-moe capacity": lambda: transformers.NllbMoeConfig(
        **BART, num_experts=4, encoder_sparse_step=2, decoder_sparse_step=2, moe_eval_capacity_token_fraction=0.3
    ),
    "pegasus": lambda: transformers.PegasusConfig(**BART),
    "pegasus_x": lambda: transformers.PegasusXConfig(**BART, block_size=8, num_global_tokens=4),
    "plbart": lambda: transformers.PLBartConfig(**BART),
    "prophetnet": lambda: transformers.ProphetNetConfig(
        **START,
        hidden_size=32,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        num_encoder_layers=2,
        num_decoder_layers=2,
        num_encoder_attention_heads=4,
        num_decoder_attention_heads=4,
    ),
    "seamless_m4t": lambda: transformers.SeamlessM4TConfig(**SEAMLESS),
    "seamless_m4t_v2": lambda: transformers.SeamlessM4Tv2Config(**SEAMLESS),
    "switch_transformers": lambda: transformers.SwitchTransformersConfig(
        **T5, num_experts=4, expert_capacity=8, num_sparse_encoder_layers=1, num_sparse_decoder_layers=1
    ),
    "t5": lambda: transformers.T5Config(**T5),
    "t5gemma": lambda: transformers.T5GemmaConfig(encoder=GEMMA, decoder=GEMMA, **SPECIAL),
    "t5gemma2": _t5gemma2,
    "umt5": lambda: transformers.UMT5Config(**T5),
}
"""Families, some with a second form of the same, which compute text."""
SCALED = ("longt5", "longt5 global", "switch_transformers", "t5", "umt5")
"""Those that divide by the width before they give scores."""


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """Bytes; 0, 1 and 2 are padding, beginning and end."""
    pieces = ["<pad>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    made = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


def made(name: str, seed: int = 0) -> Any:
    """The family's model with random weights, large enough that another token is another number."""
    torch.manual_seed(seed)
    model = transformers.AutoModelForSeq2SeqLM.from_config(CONFIGS[name]())
    torch.manual_seed(seed)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.dim() >= 2:
                table = 3.0 if name in SCALED else 0.5
                is_table = "embed" in key or "shared" in key
                parameter.normal_(0, table if is_table else 1.5 / parameter.shape[-1] ** 0.5)
            elif "bias" in key:
                parameter.normal_(0, 0.1)
    return model.float().eval().requires_grad_(False)


def loaded(model: Any) -> LoadedModel:
    """The model as the hf engine holds it."""
    return LoadedModel(
        model=model,
        tokenizer=tokenizer(),
        architecture="seq2seq",
        max_length=LENGTH,
        identity="tiny",
        tokenizer_identity="bytes",
        dtype="float32",
        device=torch.device("cpu"),
        num_parameters=model.num_parameters(),
        revision=None,
        notes=(),
        source=ModelSource(Path("tiny")),
        config=model.config.to_dict(),
        generation={},
    )


def shifted(model: Any, continuation: Sequence[int]) -> torch.Tensor:
    """Decoder inputs, as the family's training shifts them."""
    labels = torch.tensor([list(continuation)])
    if hasattr(model, "prepare_decoder_input_ids_from_labels"):
        return model.prepare_decoder_input_ids_from_labels(labels)
    return torch.tensor([[model.config.decoder_start_token_id, *continuation[:-1]]])


@torch.inference_mode()
def whole(model: Any, pair: EncodedPair) -> float:
    """Log-likelihood of one pair: the whole model called once, nothing beside the text, no padding, no mask."""
    ids = torch.tensor([list(pair.context)])
    logits = model(input_ids=ids, decoder_input_ids=shifted(model, pair.continuation), use_cache=False).logits[0]
    targets = torch.tensor(pair.continuation)[:, None]
    return float(torch.log_softmax(logits.double(), -1).gather(1, targets).sum())


def fresh(model: Any) -> Any:
    """A model that has read nothing before: itself, unless reading changes it."""
    return deepcopy(model) if "big_bird" in type(model).__module__ or "bigbird" in type(model).__module__ else model


def references(model: Any, pairs: Iterable[EncodedPair]) -> list[float]:
    """The same for several pairs."""
    return [whole(fresh(model), pair) for pair in pairs]


@torch.inference_mode()
def written(model: Any, context: Sequence[int], params: GenerationParams) -> list[int]:
    """New tokens that the family's own `generate` gives for one context alone."""
    output = fresh(model).generate(
        input_ids=torch.tensor([list(context)]),
        max_new_tokens=params.max_gen_toks,
        do_sample=False,
        num_beams=params.num_beams,
        pad_token_id=0,
        eos_token_id=2,
    )
    return output[0, 1:].tolist()


def pairs(texts: Sequence[str], choices: Sequence[str]) -> list[EncodedPair]:
    """Every choice after every text."""
    ids: Callable[[str], tuple[int, ...]] = lambda text: tuple(tokenizer()(text)["input_ids"])  # noqa: E731
    return [EncodedPair(ids(text), ids(choice)) for text in texts for choice in choices]

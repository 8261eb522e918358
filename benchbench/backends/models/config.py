"""What a configuration asks for: kind of model, number type, length; and what transformers would silently ignore."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from benchbench.backends.models.files import (
    TORCH_DTYPES,
    ModelSource,
    check_files,
    quiet,
    read_json,
    safetensors_header,
)
from benchbench.backends.models.layouts import what_to_do
from benchbench.core.errors import ArgumentError, ModelError, did_you_mean
from benchbench.core.json_record import object_at
from benchbench.core.types import Json

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

Architecture: TypeAlias = Literal["causal", "seq2seq"]

DEFAULT_LENGTH = 2048
"""lm-eval's: taken where neither the configuration nor the tokenizer tells a length."""
UNSET_LENGTH = 1_000_000_000
"""Tokenizers write a huge number for "no limit"."""
LENGTH_KEYS = ("n_positions", "max_position_embeddings", "n_ctx", "max_seq_len", "max_target_positions")
NO_LIMIT = -1
"""What transformers' XLNet says of its length."""
LOST_POSITIONS: Mapping[str, int] = {
    **dict.fromkeys(("camembert", "data2vec-text", "roberta", "roberta-prelayernorm"), 1),
    **dict.fromkeys(("xlm-roberta", "xlm-roberta-xl", "xmod"), 1),
    "prophetnet": 2,
}
"""Rows that no token gets, besides one for each token id below the padding token's, where positions are counted from
there: RoBERTa's 514 positions read 512 tokens. ProphetNet also looks up the position after the last."""
RELATIVE = frozenset(["bloom", "longt5", "mt5", "t5", "umt5"])
"""Models whose positions are relative, so that any length can be computed."""
DTYPES = ("auto", "float32", "bfloat16", "float16")
OTHER_HEADS = (
    "ForMaskedLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMultipleChoice",
)

TOKEN_IDS = ("bos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id")
"""Keys whose values are numbers of tokens; what ends a text is read by `end_tokens`."""

MPT_HONOURED: Mapping[str, tuple[Json, ...]] = {
    "expansion_ratio": (4,),
    "logit_scale": (None,),
    "norm_type": ("low_precision_layernorm", "layernorm"),
    "norm_eps": (1e-5,),
    "no_bias": (True,),
    "attn_config.alibi": (True,),
    "attn_config.alibi_bias_max": (8,),
    "attn_config.attn_type": ("multihead_attention",),
    "attn_config.prefix_lm": (False,),
    "attn_config.qk_ln": (False,),
    "attn_config.qk_gn": (False,),
    "attn_config.rope": (False,),
    "attn_config.sliding_window_size": (-1,),
    "ffn_config.ffn_type": ("mptmlp",),
    "ffn_config.ffn_act_fn": (None, {"name": "gelu", "approximate": "none"}),
}
"""The only values of these options with which transformers' MPT computes what the configuration says."""


MPT_FLOATS = frozenset(
    (
        *("clip_qkv", "emb_pdrop", "embedding_fraction", "initializer_range"),
        *("layer_norm_epsilon", "resid_pdrop", "softmax_scale"),
    )
)
"""Options of MPT that are fractions; all other numbers are whole."""


def check_config(raw: Mapping[str, Json], folder: Path, *, own_code: bool) -> None:
    """Refuses configurations that transformers' own class would compute wrongly without a word. Raises ModelError."""
    named = raw.get("architectures")
    heads = named if isinstance(named, list) else []
    if heads and all(str(head).endswith(OTHER_HEADS) for head in heads):
        raise ModelError(
            f"{folder} is a {heads[0]}, which does not predict the next token; it cannot be evaluated here."
        )
    for name in TOKEN_IDS:
        _check_token_id(name, raw.get(name), folder)
    if raw.get("model_type") == "mpt" and not own_code:
        _check_mpt(raw, folder)
    if not own_code:
        _check_reads_text(raw.get("model_type"), folder)


def _check_token_id(name: str, value: Json, folder: Path) -> None:
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(one, int) and not isinstance(one, bool) for one in ids):
        raise ModelError(f"{folder / 'config.json'}: {name} is {value!r:.80}, expected the number of a token.")


def _check_reads_text(model_type: Json, folder: Path) -> None:
    """ModelError for the decoder of a model of speech (Whisper), which transformers lists among models of text."""
    from transformers import CONFIG_MAPPING

    kind = kind_of(model_type)
    if kind is None or not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        return
    has_both = bool(getattr(CONFIG_MAPPING[model_type], "is_encoder_decoder", False))
    if has_both == (kind == "seq2seq"):
        return
    raise ModelError(
        f"{folder} is a model of speech ({model_type}): its class in transformers reads sound beside the text, so what "
        "it gives for a text alone is no language model's score; it cannot be evaluated here."
    )


def _check_mpt(raw: Mapping[str, Json], folder: Path) -> None:
    for key, value, honoured in not_honoured(raw, MPT_HONOURED):
        raise ModelError(
            f"{folder} has {key}={value!r}, which transformers' MPT ignores: it computes {honoured[0]!r}, so every "
            f"score would be wrong. Give --trust-remote-code if the model brings its own code."
        )


def not_honoured(
    raw: Mapping[str, Json], table: Mapping[str, tuple[Json, ...]]
) -> Iterator[tuple[str, Json, tuple[Json, ...]]]:
    """(key, value, what would be honoured) of each dotted key of `table` whose value in `raw` is none of those.

    The first of a key's values stands for an option that is not given.
    """
    for key, honoured in table.items():
        *parts, last = key.split(".")
        holder: Mapping[str, Json] = raw
        for part in parts:
            holder = object_at(holder, part)
        value = holder.get(last, honoured[0])
        if value not in honoured:
            yield key, value, honoured


def mpt_config(raw: Mapping[str, Json]) -> dict[str, Json]:
    """The configuration with number types that transformers' strict MptConfig takes; training saves `0.0` for 0."""
    config = {key: _number(key, value) for key, value in raw.items()}
    attention = object_at(raw, "attn_config")
    config["attn_config"] = {key: _number(key, value) for key, value in attention.items()} | {"attn_pdrop": 0}
    return config


def _number(key: str, value: Json) -> Json:
    if key in MPT_FLOATS and isinstance(value, int):
        return float(value)
    if key not in MPT_FLOATS and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def uses_own_code(raw: Mapping[str, Json], folder: Path, *, trusted: bool) -> bool:
    """Whether the repository's Python code will run. Raises ModelError where it would have to, untrusted."""
    auto_map = object_at(raw, "auto_map")
    offered = any(name.startswith("AutoModelFor") and "LM" in name for name in auto_map)
    if offered and trusted:
        return True
    if kind_of(raw.get("model_type")) is not None:
        return False
    if offered:
        raise ModelError(
            f"{folder} needs its own Python code, which transformers does not have built in. Running it gives whoever "
            "wrote it the rights of your account: read it, then give --trust-remote-code."
        )
    raise ModelError(_unknown_type(str(raw.get("model_type")), folder))


def _unknown_type(model_type: str, folder: Path) -> str:
    from transformers.models.auto import modeling_auto

    if model_type in modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return (
            f"{folder} has model_type {model_type!r}, which transformers opens only as a model of pictures and text; "
            "its text model is evaluated here where it is saved by itself."
        )
    return (
        f"{folder} has model_type {model_type!r}, which this version of transformers cannot run as a language model."
        + did_you_mean(model_type, _known_types())
    )


def architecture_of(raw: Mapping[str, Json]) -> Architecture:
    """causal or seq2seq, by lm-eval's rule: the model type decides, else what the custom code offers."""
    kind = kind_of(raw.get("model_type"))
    if kind is not None:
        return kind
    return "seq2seq" if "AutoModelForSeq2SeqLM" in object_at(raw, "auto_map") else "causal"


def kind_of(model_type: Json) -> Architecture | None:
    """What transformers' own class of this type is, or None if there is none.

    Models that hear (Voxtral, Qwen2-Audio) are listed with the encoder-decoders, but read text as causal models do.
    """
    from transformers import CONFIG_MAPPING
    from transformers.models.auto import modeling_auto

    if not isinstance(model_type, str):
        return None
    if model_type in modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        return "seq2seq" if CONFIG_MAPPING[model_type].is_encoder_decoder else "causal"
    return "causal" if model_type in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else None


def auto_class(kind: Architecture, config: PretrainedConfig) -> Any:
    """The class of transformers that opens a model of this kind with this configuration."""
    import transformers
    from transformers.models.auto import modeling_auto

    hears = config.model_type in modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
    is_causal = kind == "causal" and config.model_type in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return (
        transformers.AutoModelForSeq2SeqLM
        if kind == "seq2seq" or (hears and not is_causal)
        else transformers.AutoModelForCausalLM
    )


def _known_types() -> list[str]:
    from transformers.models.auto import modeling_auto

    return list(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def choose_dtype(wanted: str, raw: Mapping[str, Json], stored: str | None, device_type: str) -> tuple[str, str | None]:
    """(dtype, note): auto is the configuration's type, else that of the `stored` tensors, else float32.

    float16 on a CPU becomes float32, with a note: it is hundreds of times slower and no truer there.
    Raises ArgumentError for an unknown name.
    """
    if wanted not in DTYPES:
        raise ArgumentError(f"--dtype {wanted!r} is not one of {', '.join(DTYPES)}.{did_you_mean(wanted, DTYPES)}")
    inner = object_at(raw, "text_config")
    named = raw.get("dtype") or raw.get("torch_dtype") or inner.get("dtype") or inner.get("torch_dtype") or stored
    dtype = wanted if wanted != "auto" else str(named or "float32").removeprefix("torch.")
    if dtype not in DTYPES:
        return "float32", f"the checkpoint's {dtype} is computed in float32"
    if dtype == "float16" and device_type == "cpu":
        return "float32", "float16 is not usable on a CPU; computed in float32"
    return dtype, None


def own_length(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Tokens that the model says it holds, looked up as lm-eval does, plus MPT's max_seq_len. None if unknown."""
    inner = getattr(config, "text_config", None) or config
    for key in LENGTH_KEYS:
        if getattr(inner, key, None) not in (None, NO_LIMIT):
            return _length(key, getattr(inner, key), "config.json") - _lost_positions(inner)
    length = getattr(tokenizer, "model_max_length", None)
    if isinstance(length, int | float) and length >= UNSET_LENGTH:
        return None
    return None if length is None else _length("model_max_length", length, "tokenizer_config.json")


def _lost_positions(config: PretrainedConfig) -> int:
    """How many rows at the beginning of a table of positions no token gets."""
    lost = LOST_POSITIONS.get(config.model_type)
    return 0 if lost is None else int(config.pad_token_id or 0) + lost


def _length(key: str, value: object, file: str) -> int:
    if not isinstance(value, int | float) or not 2 <= value <= UNSET_LENGTH or value != int(value):
        raise ModelError(f"{key} of {file} is {value!r}; expected a number of tokens, from 2 to a thousand million.")
    return int(value)


def can_grow(raw: Mapping[str, Json]) -> bool:
    """Whether the model can be run on more tokens than it was trained on: ALiBi and relative positions."""
    attention = object_at(raw, "attn_config")
    default = raw.get("model_type") == "mpt"
    return bool(raw.get("model_type") in RELATIVE or raw.get("alibi") or attention.get("alibi", default))


def choose_length(wanted: int | None, own: int | None, raw: Mapping[str, Json], name: str) -> int:
    """The length to use. Raises ArgumentError for one below 2, or beyond what the positions reach."""
    if wanted is None:
        return own or DEFAULT_LENGTH
    if wanted < 2:
        raise ArgumentError(f"--max-length {wanted} is too short to predict a token from another.")
    if own is not None and wanted > own and not can_grow(raw):
        raise ArgumentError(
            f"--max-length {wanted:,} is more than the {own:,} positions of {name}; only models with ALiBi or relative "
            "positions can read further."
        )
    return wanted


def read_config(folder: Path) -> dict[str, Json]:
    """config.json of a model folder. Raises ModelError where there is none, and says what the folder is instead."""
    path = folder / "config.json"
    check_files(folder)
    if path.is_file():
        raw = read_json(path)
        if isinstance(raw, dict) and (folder / "adapter_config.json").is_file():
            raise ModelError(
                f"{folder} holds an adapter beside the model; keep them in folders of their own, and name the "
                "adapter's with --model, the model's with --base."
            )
        if isinstance(raw, dict) and (raw.get("model_type") or raw.get("auto_map")):
            return raw
        raise ModelError(f"{path} names no model_type, so it is not a model's configuration.")
    if (folder / "adapter_config.json").is_file():
        raise ModelError(f"{folder} is an adapter, not a model; --backend hf takes it, with its base in --base.")
    if (said := what_to_do(folder)) is not None:
        raise ModelError(said)
    inner = sorted(p.parent.name for p in folder.glob("*/config.json"))
    hint = f" It holds {', '.join(inner[:3])}: give one of them." if inner else ""
    raise ModelError(f"{folder} has no config.json, so it is not a transformers model.{hint}")


def stored_dtype(files: Sequence[Path]) -> str | None:
    """Type of the first tensor, for configurations that name none."""
    if files[0].suffix != ".safetensors":
        return None
    return next((TORCH_DTYPES.get(t.dtype) for t in safetensors_header(files[0]).values()), None)


def config_object(source: ModelSource, raw: Mapping[str, Json], *, trusted: bool) -> PretrainedConfig:
    """transformers' configuration object."""
    from transformers import AutoConfig

    kwargs = {"gguf_file": source.gguf_file} if source.gguf_file else {}
    with quiet(source):
        if raw.get("model_type") == "mpt" and not (trusted and raw.get("auto_map")):
            return made_config(mpt_config(raw))
        config: PretrainedConfig = AutoConfig.from_pretrained(
            source.folder, trust_remote_code=trusted, local_files_only=True, **kwargs
        )
    return config


def made_config(raw: Mapping[str, Json]) -> PretrainedConfig:
    """transformers' own configuration object with these values, one of which is `model_type`."""
    from transformers import AutoConfig

    values: dict[str, Any] = dict(raw)
    return AutoConfig.for_model(**values)

"""A tiny random model of a family, made from its configuration and saved as `save_pretrained` does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tests.models import TEXT
from tests.zoo.families import Kind, family_of, maker
from tests.zoo.sizes import BOS, DROPPED, EOS, EXACT, EXTRAS, HOLE, LAYERS, PAD, POSITIONS, SIZES, TOKENS, VARIANTS

if TYPE_CHECKING:
    from transformers import PretrainedConfig

SPECIAL = ("<pad>", "<s>", "</s>")
MERGES = 40
AS_MADE = ("a_log", "dt_", "conv", "time_", "norm", "lambda", "inv_freq", "layer_scalar")
"""Parts of names of weights that keep transformers' own initialisation, because their scale has a meaning."""


def build(family: str, kind: Kind, folder: Path) -> Path:
    """Writes model and tokenizer into `folder`, which is returned."""
    torch.manual_seed(0)
    model = maker(family).from_config(tiny_config(family, kind))
    enlarge(model)
    model.save_pretrained(folder)
    write_tokenizer(folder, kind)
    return folder


def tiny_config(family: str, kind: Kind) -> PretrainedConfig:
    """The family's configuration with every known size made small."""
    from transformers import CONFIG_MAPPING

    plain = family_of(family)
    made = CONFIG_MAPPING[plain]
    values = small_values(made, nested(EXTRAS.get(plain, {}) | VARIANTS.get(family, {})))
    if kind == "seq2seq":
        values.setdefault("decoder_start_token_id", EOS)
    config: PretrainedConfig = made(**values)
    return config


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{"a.b": 1} as {"a": {"b": 1}}."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *above, last = path.split(".")
        place = tree
        for name in above:
            place = place.setdefault(name, {})
        place[last] = value
    return tree


def small_values(made: type[PretrainedConfig], extras: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the configuration class `made`: sizes by name, token ids, inner configurations, and `extras`."""
    from transformers import PretrainedConfig

    default = _default(made, extras)
    values: dict[str, Any] = {}
    holes = iter(range(HOLE, HOLE + 10))
    depth = default.get("num_hidden_layers") or default.get("n_layer")
    for name, value in default.items():
        if isinstance(value, PretrainedConfig):
            inner = extras.get(name, {})
            values[name] = {**small_values(type(value), inner), "model_type": value.model_type}
        elif name in DROPPED:
            values[name] = None
        elif name in TOKENS and (value is not None or name in ("pad_token_id", "bos_token_id", "eos_token_id")):
            values[name] = TOKENS[name]
        elif name.endswith(("_token_id", "_token_index")) and isinstance(value, int):
            values[name] = next(holes)
        elif isinstance(value, int) and not isinstance(value, bool) and name in SIZES:
            values[name] = SIZES[name] if name in EXACT else min(value, SIZES[name])
        elif isinstance(value, list | tuple) and len(value) == depth:
            values[name] = shortened(list(value))
    if "kv_lora_rank" in values:  # latent attention has keys and values for every head
        values["num_key_value_heads"] = values["num_attention_heads"]
    values |= {name: value for name, value in extras.items() if not isinstance(default.get(name), PretrainedConfig)}
    return values


def _default(made: type[PretrainedConfig], extras: Mapping[str, Any]) -> dict[str, Any]:
    """The family's own values, by field."""
    try:
        config = made()
    except ValueError:  # the defaults of a few families contradict each other
        config = made(**extras)
    other = made.attribute_map
    return {one.name: config.__dict__.get(other.get(one.name, one.name)) for one in fields(made)}  # type: ignore[arg-type]


def shortened(layers: list[Any]) -> list[Any]:
    """One entry for each of `LAYERS` layers, in which every kind of layer occurs."""
    kinds = [kind for i, kind in enumerate(layers) if kind not in layers[:i]]
    first = layers[:LAYERS]
    if all(kind in first for kind in kinds):
        return first
    if isinstance(layers[0], int | float) and len(kinds) > LAYERS:
        return first
    return [kinds[i % len(kinds)] for i in range(LAYERS)]


@torch.no_grad()
def enlarge(model: torch.nn.Module) -> None:
    """Random weights so large that a token that is seen or not seen moves a log-likelihood by nats; biases too."""
    for name, weight in model.named_parameters():
        lower = name.lower()
        if not weight.is_floating_point() or any(part in lower for part in AS_MADE):
            continue
        if weight.dim() >= 2:
            is_table = any(part in lower for part in ("embed", "wte", "wpe", "shared"))
            weight.normal_(0, 0.5 if is_table else 1.5 / weight.shape[-1] ** 0.5)
        elif lower.endswith("bias"):
            weight.normal_(0, 0.2)


def write_tokenizer(folder: Path, kind: Kind) -> None:
    """A byte-level BPE of 299 tokens; for encoder-decoders `</s>` stands behind every text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    size = len(SPECIAL) + len(alphabet) + MERGES
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(TEXT, trainer)
    if kind == "seq2seq":
        made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", EOS)])
    names = {"pad_token": SPECIAL[PAD], "bos_token": SPECIAL[BOS], "eos_token": SPECIAL[EOS]}
    PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=POSITIONS, **names).save_pretrained(folder)

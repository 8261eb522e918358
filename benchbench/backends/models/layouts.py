"""What trainers leave that is no model yet: which layout a folder has, and how its weights become a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

WEIGHTS = ("*.safetensors", "pytorch_model.bin*", "pytorch_model-*.bin", "tf_model.h5", "model.safetensors.index.json")
ADAPTER = ("adapter_model.safetensors", "adapter_model.bin")
TOKENIZER = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "sentencepiece.bpe.model")


@dataclass(frozen=True, slots=True)
class Layout:
    """One way to lay a training's state on disk."""

    what: str
    """With its article, for sentences."""
    remedy: str
    """What makes a model of it; `{0}` stands for the folder."""
    is_here: Callable[[Path], bool]


def _any(folder: Path, *patterns: str) -> bool:
    return any(next(folder.glob(pattern), None) is not None for pattern in patterns)


def holds_weights(folder: Path) -> bool:
    """Whether weights lie there that transformers reads."""
    return _any(folder, *WEIGHTS)


DEEPSPEED = "a DeepSpeed checkpoint"
LAYOUTS = (
    Layout(
        "a sharded FSDP checkpoint of an adapter",
        "merge its weights with `accelerate merge-weights {0}/pytorch_model_fsdp_0 OUT` and put adapter_config.json "
        "beside them",
        lambda folder: _any(folder, "pytorch_model_fsdp_0/*.distcp") and _any(folder, "adapter_config.json"),
    ),
    Layout(
        "an FSDP checkpoint of the Trainer with the whole model in one file",
        "copy pytorch_model_fsdp.bin to a folder of its own as pytorch_model.bin, and put config.json and the "
        "tokenizer beside it",
        lambda folder: _any(folder, "pytorch_model_fsdp.bin"),
    ),
    Layout(
        DEEPSPEED,
        "put its weights together with `python {0}/zero_to_fp32.py {0} OUT` and put config.json and the tokenizer "
        "beside them",
        lambda folder: _any(
            folder, "zero_to_fp32.py", "*_model_states.pt", "global_step*/*_model_states.pt", "*_optim_states.pt"
        ),
    ),
    Layout(
        "a Megatron checkpoint",
        "convert it to transformers' format with Megatron Bridge: `python examples/conversion/convert_checkpoints.py "
        "export --hf-model MODEL_OF_ITS_KIND --megatron-path {0} --hf-path OUT`",
        lambda folder: (
            _any(folder, "mp_rank_*", "iter_*/mp_rank_*", "latest_checkpointed_iteration.txt")
            or (_any(folder, "*.distcp") and _any(folder, "common.pt"))
        ),
    ),
    Layout(
        "a nanotron checkpoint",
        "convert it to transformers' format with nanotron's own script (examples/llama/convert_nanotron_to_hf.py)",
        lambda folder: _any(folder, "checkpoint_metadata.json", "model_config.json") and _any(folder, "model", "lr_*"),
    ),
    Layout(
        "a LitGPT checkpoint",
        "convert it with `litgpt convert_from_litgpt {0} OUT` and put config.json and the tokenizer beside it",
        lambda folder: _any(folder, "lit_model.pth"),
    ),
    Layout(
        "an OLMo training checkpoint",
        "convert it to transformers' format with OLMo's own script (scripts/convert_olmo_to_hf_new.py)",
        lambda folder: _any(folder, "config.yaml") and _any(folder, "model.pt", "train.pt", "train/rank*.pt", "model"),
    ),
    Layout(
        "a training's state without the model",
        "the model's weights and config.json are missing; save them with `save_pretrained`",
        lambda folder: (
            _any(folder, "trainer_state.json", "scheduler.pt", "rng_state*.pth", "optimizer.pt", "optimizer_0/*.distcp")
            and not _any(folder, "*.distcp", "pytorch_model_fsdp_0/*.distcp")
        ),
    ),
)
"""In the order of looking: what stands first says more."""


def layout_of(folder: Path) -> Layout | None:
    """The trainer's layout of a folder that is no model; None for a model, an adapter and for what nobody knows."""
    is_model = (folder / "config.json").is_file() and holds_weights(folder)
    if not folder.is_dir() or is_model or ((folder / "adapter_config.json").is_file() and _any(folder, *ADAPTER)):
        return None
    return next((layout for layout in LAYOUTS if layout.is_here(folder)), None)


def what_to_do(folder: Path) -> str | None:
    """A sentence on a folder that a trainer wrote and that is no model yet."""
    layout = layout_of(folder)
    if layout is None:
        return None
    remedy = layout.remedy.format(folder)
    script = folder.parent / "zero_to_fp32.py"
    if layout.what == DEEPSPEED and script.is_file() and not (folder / script.name).exists():
        remedy = remedy.replace(
            f"{folder}/{script.name} {folder} OUT", f"{script} {folder.parent} OUT --tag {folder.name}"
        )
    return f"{folder} is {layout.what}; {remedy}."


def model_inside(folder: Path) -> Path | None:
    """The one whole model in a folder below one that holds none itself, as in `step1000/hf`."""
    if not folder.is_dir() or _any(folder, "config.json", *WEIGHTS, *ADAPTER):
        return None
    inner = [path.parent for path in folder.glob("*/config.json") if holds_weights(path.parent)]
    return inner[0] if len(inner) == 1 else None


def lightning_hint(folder: Path) -> str:
    """What to do with Lightning's files, where a folder holds them and no models; empty else."""
    if not _any(folder, "*step=*.ckpt"):
        return ""
    return (
        " Its .ckpt files are Lightning's: load each with your module, save its model with `save_pretrained`, and put "
        "the tokenizer beside it."
    )


def tokenizer_hint(folder: Path) -> str:
    """What to type where a checkpoint has no tokenizer and the folder of its run has one; empty else."""
    if not folder.is_dir() or _any(folder, *TOKENIZER) or not _any(folder.parent, *TOKENIZER):
        return ""
    return f" There is one in {folder.parent}: name it with --tokenizer {folder.parent}."

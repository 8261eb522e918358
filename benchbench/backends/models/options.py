"""What `--model-args` may say of a transformers model: under lm-eval's names, where it has one for it.

What flags say as well (dtype, revision, …) never comes here: `ModelOptions` takes it for the flag.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast, get_args

from pydantic import BeforeValidator, Field

from benchbench.backends.chat import template_of
from benchbench.backends.encode import Encoder, SourceLanguages
from benchbench.backends.engine_options import WHOLE, EngineOptions, TrueOrFalse, expected, read_options
from benchbench.backends.engines import ModelOptions
from benchbench.backends.models.files import MAX_FILE
from benchbench.core.errors import ArgumentError
from benchbench.core.files import read_regular
from benchbench.core.ids import content_hash
from benchbench.core.types import Json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from benchbench.backends.models.loaded import OpenedModel

Attention = Literal["eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"]
ATTENTIONS: tuple[str, ...] = get_args(Attention)
TEMPLATE_OWN = frozenset(["messages", "tools", "documents", "add_generation_prompt", "continue_final_message"])
"""What a chat template is always told; no argument may take its place."""

NO_OBJECT = (
    'is no JSON object such as {"enable_thinking": false}, or sets what a template is told anyway: '
    + ", ".join(sorted(TEMPLATE_OWN))
)


def _object(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = json.loads(value)
    if not isinstance(found, dict) or TEMPLATE_OWN & found.keys():
        raise ValueError("no object of a template's own arguments")
    return found


def _digits(value: Any) -> Any:
    """As lm-eval reads it: what is written in digits is a number, of a token or of bytes."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


class TextOptions(EngineOptions):
    """How texts become tokens and answers become texts: for every engine that does both by itself."""

    add_bos_token: TrueOrFalse | None = None
    """Whether a text begins with the beginning-of-sequence token. None: as the tokenizer does."""
    prefix_token_id: Annotated[int, WHOLE, Field(ge=0), expected("is not the number of a token")] | None = None
    """The token before an empty context. None: the beginning-of-sequence token, else the one that ends a text."""
    chat_template: str | None = None
    """A file with a Jinja template, or the name of one of the tokenizer's. None: the tokenizer's own."""
    enable_thinking: TrueOrFalse | None = None
    """What the chat template is told of that name."""
    chat_template_args: Annotated[Mapping[str, object], BeforeValidator(_object), expected(NO_OBJECT)] = {}
    """More that the chat template is told, as a JSON object."""
    think_end_token: Annotated[str | int, BeforeValidator(_digits)] | None = None
    """A text, or a token's number: an answer is what is written after the last one of it."""

    @property
    def template_arguments(self) -> dict[str, Json]:
        """What a chat template is told beside the conversation."""
        thinking = {} if self.enable_thinking is None else {"enable_thinking": self.enable_thinking}
        return {**cast("Mapping[str, Json]", self.chat_template_args), **thinking}

    @property
    def numerics(self) -> tuple[str, ...]:
        """What moves a number or a text although weights, tokens and prompts are the same: `name=value` each."""
        return () if self.think_end_token is None else (f"think_end_token={self.think_end_token}",)

    def checked(self) -> None:
        """ArgumentError where two options do not fit each other."""
        if self.template_arguments.get("enable_thinking") is True and self.think_end_token is None:
            raise ArgumentError(
                "--model-args enable_thinking=true needs think_end_token beside it, what the model writes where its "
                "thinking ends, such as think_end_token=</think>: what stands before it is no part of the answer."
            )


ALWAYS_FP32 = "log-probabilities are always computed in float32 here; leave it out."
NO_QUANTISER = "transformers reads such checkpoints by itself, with their package installed; leave it out."


class TransformersOptions(TextOptions):
    """`--model-args` for the hf engine. None leaves the choice to transformers, or to what the model says."""

    attn_implementation: Annotated[Attention, expected(f"is not one of {', '.join(ATTENTIONS)}")] | None = None
    """The kernel of the attention."""
    device_map: str | None = None
    """Where accelerate puts the layers: auto, balanced, balanced_low_0, sequential, or a device."""
    parallelize: TrueOrFalse = False
    """The same as device_map=auto."""
    max_memory_per_gpu: Annotated[int | str, BeforeValidator(_digits)] | None = None
    """Bytes, or a size such as 20GiB, that weights may take on each GPU; with device_map or parallelize."""
    subfolder: str | None = None
    """Where a hub repository holds the model. Of a folder here: see `ModelOptions`."""
    peft: str | None = None
    """An adapter on the model. See `ModelOptions`, which makes it the model, and the model its base."""
    delta: str | None = None
    """A model of the same kind whose weights are added to these."""
    load_in_8bit: TrueOrFalse = False
    """Quantise the linear layers on loading, with bitsandbytes."""
    load_in_4bit: TrueOrFalse = False
    """As `load_in_8bit`, to 4 bits; computed in the type of --dtype."""
    bnb_4bit_quant_type: Annotated[Literal["fp4", "nf4"], expected("is not one of fp4, nf4")] = "fp4"
    """The numbers of 4 bits."""

    torchao: Annotated[Literal["int8", "int4"], expected("is not one of int8, int4")] | None = None
    """Round the linear layers' weights after loading, with torchao; on CPU, too."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        "pretrained": "the model is what --model names: --model PATH_OR_HUB_NAME.",
        "device": "give --device.",
        "softmax_dtype": ALWAYS_FP32,
        "mixed_precision_dtype": "computing in another type than the weights' is not offered; --dtype gives both.",
        "batch_size": "batches are counted in tokens, --batch-tokens; they change no result; leave it out.",
        "max_batch_size": "batches are counted in tokens, --batch-tokens; they change no result; leave it out.",
        "backend": "the configuration says whether a model is causal or an encoder-decoder; leave it out.",
        "gguf_file": "name the file in --model: FOLDER/FILE.gguf, or org/repo:FILE.gguf.",
        "autogptq": NO_QUANTISER,
        "gptqmodel": NO_QUANTISER,
        "use_fast_tokenizer": "the fast tokenizer is taken wherever there is one; leave it out.",
        "truncation": "what is too long loses shots, then the description, then tokens on its left; leave it out.",
        "logits_cache": "shared beginnings are always computed once; leave it out.",
        "tp_plan": "tensor parallelism is vLLM's: --backend vllm --model-args tensor_parallel_size=N.",
        "offload_folder": "nothing is offloaded to a disk here; leave it out.",
        "max_cpu_memory": "the main memory is used as far as it is free; leave it out.",
        "quantization_config": "give load_in_8bit=true or load_in_4bit=true, or a quantised checkpoint.",
    }

    @property
    def numerics(self) -> tuple[str, ...]:
        """See `TextOptions`."""
        kernel = () if self.attn_implementation is None else (f"attn_implementation={self.attn_implementation}",)
        eight = ("load_in_8bit",) if self.load_in_8bit else ()
        four = (f"load_in_4bit={self.bnb_4bit_quant_type}",) if self.load_in_4bit else ()
        rounded = () if self.torchao is None else (f"torchao={self.torchao}",)
        return (*super().numerics, *kernel, *eight, *four, *rounded)

    @property
    def quantises(self) -> bool:
        """Whether the weights are quantised on loading."""
        return self.load_in_8bit or self.load_in_4bit

    @property
    def placement(self) -> str | None:
        """What accelerate is told; None where the whole model goes to one device without it."""
        return self.device_map or ("auto" if self.parallelize else None)

    def checked(self) -> None:
        """See `TextOptions`."""
        super().checked()
        if self.load_in_8bit and self.load_in_4bit:
            raise ArgumentError("--model-args has both load_in_8bit and load_in_4bit; give one of them.")
        if self.torchao is not None and self.quantises:
            raise ArgumentError("--model-args has torchao beside load_in_8bit or load_in_4bit; give one of them.")
        if self.max_memory_per_gpu is not None and self.placement is None:
            raise ArgumentError("--model-args max_memory_per_gpu needs device_map=auto or parallelize=true beside it.")


def transformers_options(options: ModelOptions) -> TransformersOptions:
    """The options in `options.model_args`. ArgumentError for a bad value, or two that do not fit each other."""
    found = read_options(options.model_args, TransformersOptions, backend="hf")
    found.checked()
    return found


def text_identity(tokenizer: str, own: TextOptions) -> str:
    """The identity of a tokenizer that is told to begin texts in another way."""
    told = {name: value for name in ("add_bos_token", "prefix_token_id") if (value := getattr(own, name)) is not None}
    return content_hash({"tokenizer": tokenizer, **told}, digits=64) if told else tokenizer


def make_encoder(opened: OpenedModel, own: TextOptions, languages: SourceLanguages | None = None) -> Encoder:
    """What makes tokens of texts and conversations, as the options say."""
    return Encoder(
        opened.tokenizer,
        opened.max_length,
        opened.architecture,
        languages=languages,
        open_chat=lambda: template_of(opened.tokenizer, own.template_arguments),
        add_bos_token=own.add_bos_token,
        prefix_token_id=own.prefix_token_id,
    )


def set_template(tokenizer: PreTrainedTokenizerBase, own: TextOptions, name: str) -> None:
    """Give the tokenizer of the model `name` the template that `chat_template=` names: a file's, or one of its own.

    ArgumentError where there is neither.
    """
    if own.chat_template is not None:
        anything: Any = tokenizer
        anything.chat_template = _text_of_template(own.chat_template, anything.chat_template, name)


def _text_of_template(wanted: str, own: object, name: str) -> str:
    named = own if isinstance(own, dict) else {}
    if wanted in named:
        return str(named[wanted])
    path = Path(wanted).expanduser()
    if not path.is_file():
        known = f"{name} has templates called {', '.join(sorted(named))}" if named else f"{name} names no templates"
        raise ArgumentError(f"--model-args chat_template={wanted}: there is no such file, and {known}.")
    try:
        return read_regular(path, MAX_FILE).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(f"--model-args chat_template={wanted} cannot be read: {error}") from None

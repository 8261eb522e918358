"""`benchbench doctor`: which engines work here, what a model would need, and how to get what is missing."""

from __future__ import annotations

import platform
import re
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from benchbench.backends.engines import Choice, Engine, ModelOptions, choose, engines, installed
from benchbench.backends.models.config import DTYPES
from benchbench.backends.models.find import names_gguf
from benchbench.backends.models.memory import GPU, Memory, MemoryEstimate, gpus, memory
from benchbench.cli.console import cell, print_json, print_table, stdout, tell, text_table
from benchbench.cli.main import VerbApp
from benchbench.core import __version__
from benchbench.core.errors import ArgumentError, did_you_mean
from benchbench.core.format import byte_size
from benchbench.core.types import Json

app = VerbApp()

DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,4})?")

LIBRARIES = ("torch", "transformers", "tokenizers", "datasets", "safetensors", "gguf", "lm_eval")


@app.command()
def doctor(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="A folder, a GGUF file, or a hub name downloaded before.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda: what --backend auto would be given.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Say which engines work here and, for MODEL, how much memory it needs. Loads no weights."""
    if dtype not in DTYPES:
        raise ArgumentError(f"--dtype {dtype!r} is not one of {', '.join(DTYPES)}.{did_you_mean(dtype, DTYPES)}")
    if DEVICE.fullmatch(device) is None:
        raise ArgumentError(f"--device {device!r} is not one of auto, cpu, cuda or, for one of several GPUs, cuda:1.")
    machine = machine_facts()
    needs = None if model is None else model_facts(model, dtype, device, memory(), gpus())
    if as_json:
        about = {} if needs is None else {"model": needs.to_json()}
        print_json({**asdict(machine), **about})
        return
    _show(machine)
    if needs is not None:
        stdout().print()
        _show_model(needs)


@dataclass(frozen=True, slots=True)
class BackendFacts:
    """Whether an engine works here."""

    name: str
    works: bool
    engine: str | None
    """Package and version; None where it is not installed."""
    why_not: str | None
    """Why it does not work; None where it does."""
    install: str | None
    """The command that brings it, where it is not installed."""


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """Versions, memory and engines of this machine."""

    benchbench: str
    python: str
    platform: str
    memory: Memory
    gpus: tuple[GPU, ...]
    libraries: tuple[str, ...]
    """Package and version of those that are installed."""
    backends: tuple[BackendFacts, ...]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a model needs here."""

    model: str
    needed: MemoryEstimate
    free: int
    """Bytes."""
    place: str
    """Where they are free: the name of a GPU, or `memory`."""
    choice: Choice
    """The engine that `--backend auto` takes."""

    @property
    def fits(self) -> bool:
        """Weights and the cache of one text of full length."""
        return self.needed.total <= self.free

    @property
    def weights_fit(self) -> bool:
        """The weights alone."""
        return self.needed.weights <= self.free

    def to_json(self) -> dict[str, Json]:
        """As `--json` prints it."""
        return {
            "model": self.model,
            **asdict(self.needed),
            "cache": self.needed.cache,
            "total": self.needed.total,
            "free": self.free,
            "place": self.place,
            "fits": self.fits,
            "weights_fit": self.weights_fit,
            "backend": self.choice.backend,
            "reason": self.choice.reason,
        }


def machine_facts() -> MachineFacts:
    """Versions, memory, GPUs, and of each backend whether it works here, why not, and what installs it."""
    return MachineFacts(
        benchbench=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        memory=memory(),
        gpus=gpus(),
        libraries=tuple(name for module in LIBRARIES if (name := installed(module)) is not None),
        backends=tuple(_backend_facts(engine) for engine in engines() if engine.module is not None),
    )


def _backend_facts(engine: Engine) -> BackendFacts:
    found = engine.installed
    why = engine.obstacle() if found else "not installed"
    return BackendFacts(engine.name, why is None, found, why, None if found else engine.install)


def model_facts(model: str, dtype: str, device: str, main: Memory, found: tuple[GPU, ...]) -> ModelFacts:
    """What `model` needs, whether it fits, and which backend would take it. ModelError where it cannot be read."""
    from benchbench.backends.models.find import estimate_model
    from benchbench.backends.models.memory import expanded

    choice = choose(ModelOptions(model, device=device))
    needed = estimate_model(model, dtype)
    if names_gguf(model) and choice.backend == "hf":
        needed = expanded(needed, "float32" if dtype == "auto" else dtype)
    on_gpu = bool(found) and device != "cpu"
    free, place = (found[0].free, found[0].name) if on_gpu else (main.free, "memory")
    return ModelFacts(model, needed, free, place, choice)


def _show(facts: MachineFacts) -> None:
    tell(f"benchbench {facts.benchbench}, Python {facts.python}, {facts.platform}")
    tell(", ".join(facts.libraries))
    tell(f"memory {byte_size(facts.memory.total)}, {byte_size(facts.memory.free)} free")
    for gpu in facts.gpus:
        tell(f"GPU {gpu.name}, {byte_size(gpu.total)}, {byte_size(gpu.free)} free")
    if not facts.gpus:
        tell("no GPU")
    stdout().print()
    table = text_table("backend", "works", "engine")
    for backend in facts.backends:
        missing = f"{backend.why_not}: {backend.install}" if backend.install else backend.why_not
        engine = backend.engine if backend.works else missing
        table.add_row(*map(cell, (backend.name, "yes" if backend.works else "no", engine)))
    print_table(table)


def _show_model(facts: ModelFacts) -> None:
    needed, room = facts.needed, f"{byte_size(facts.free)} of {facts.place} are free"
    tell(facts.model)
    tell(f"{needed.architecture}, {needed.num_parameters:,} parameters")
    tell(f"weights as {needed.dtype}: {byte_size(needed.weights)}")
    if needed.cache is not None:
        each = byte_size(needed.cache_per_token or 0)
        tell(f"keys and values of one text of {needed.length:,} tokens: {byte_size(needed.cache)} ({each} a token)")
    else:
        tell("keys and values: its configuration does not tell")
    if facts.fits:
        tell(f"fits: about {byte_size(needed.total)} are needed, {room}")
    elif facts.weights_fit:
        tell(f"the weights fit, a text of full length does not: {room}; lower --max-length")
    else:
        tell(f"does not fit: {room}")
    tell(f"--backend auto takes {facts.choice.backend}: {facts.choice.reason}")

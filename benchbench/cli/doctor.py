"""`benchbench doctor`: which engines work here, what a model would need, and how to get what is missing."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from benchbench.backends.engines import Engine, choose, engines, installed
from benchbench.backends.models.find import names_gguf
from benchbench.backends.models.memory import GPU, Memory, gpus, memory
from benchbench.backends.options import ModelOptions
from benchbench.cli.app import VerbApp
from benchbench.cli.console import cell, print_json, stdout
from benchbench.core.errors import ArgumentError, did_you_mean
from benchbench.core.format import byte_size
from benchbench.core.version import __version__

app = VerbApp()

DTYPES = ("auto", "float32", "bfloat16", "float16")
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
    facts = machine_facts()
    if model is not None:
        facts["model"] = model_facts(model, dtype, device, memory(), gpus())
    if as_json:
        print_json(json.dumps(facts, ensure_ascii=False))
    else:
        _show(facts)


def machine_facts() -> dict[str, Any]:
    """Versions, memory, GPUs, and of each backend whether it works here, why not, and what installs it."""
    found = gpus()
    return {
        "benchbench": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "memory": asdict(memory()),
        "gpus": [asdict(gpu) for gpu in found],
        "libraries": [name for module in LIBRARIES if (name := installed(module)) is not None],
        "backends": [_backend_facts(engine) for engine in engines() if engine.module is not None],
    }


def _backend_facts(engine: Engine) -> dict[str, Any]:
    found = engine.installed
    why = engine.obstacle() if found else "not installed"
    return {
        "name": engine.name,
        "works": why is None,
        "engine": found,
        "why_not": why,
        "install": None if found else engine.install,
    }


def model_facts(model: str, dtype: str, device: str, main: Memory, found: tuple[GPU, ...]) -> dict[str, Any]:
    """What `model` needs, whether it fits, and which backend would take it. ModelError where it cannot be read."""
    from benchbench.backends.models.memory import expanded
    from benchbench.backends.models.preview import estimate_model

    choice = choose(ModelOptions(model, device=device))
    needed = estimate_model(model, dtype)
    if names_gguf(model) and choice.backend == "hf":
        needed = expanded(needed, "float32" if dtype == "auto" else dtype)
    on_gpu = bool(found) and device != "cpu"
    free = found[0].free if on_gpu else main.free
    return {
        "model": model,
        **asdict(needed),
        "cache": needed.cache,
        "total": needed.total,
        "free": free,
        "place": found[0].name if on_gpu else "memory",
        "fits": needed.total <= free,
        "weights_fit": needed.weights <= free,
        "backend": choice.backend,
        "reason": choice.reason,
    }


def _show(facts: dict[str, Any]) -> None:
    console = stdout()

    def say(text: str) -> None:
        console.print(cell(text), soft_wrap=True)

    say(f"benchbench {facts['benchbench']}, Python {facts['python']}, {facts['platform']}")
    say(", ".join(facts["libraries"]))
    main = facts["memory"]
    say(f"memory {byte_size(main['total'])}, {byte_size(main['free'])} free")
    for gpu in facts["gpus"] or [None]:
        say(f"GPU {gpu['name']}, {byte_size(gpu['total'])}, {byte_size(gpu['free'])} free" if gpu else "no GPU")
    console.print()
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("backend", "works", "engine"):
        table.add_column(name, overflow="fold")
    for backend in facts["backends"]:
        missing = f"{backend['why_not']}: {backend['install']}" if backend["install"] else backend["why_not"]
        engine = backend["engine"] if backend["works"] else missing
        table.add_row(*map(cell, (backend["name"], "yes" if backend["works"] else "no", engine)))
    console.print(table)
    if "model" in facts:
        console.print()
        _show_model(facts["model"], say)


def _show_model(model: dict[str, Any], say: Any) -> None:
    say(model["model"])
    say(f"{model['architecture']}, {model['num_parameters']:,} parameters")
    say(f"weights as {model['dtype']}: {byte_size(model['weights'])}")
    if model["cache"] is not None:
        each = byte_size(model["cache_per_token"])
        say(f"keys and values of one text of {model['length']:,} tokens: {byte_size(model['cache'])} ({each} a token)")
    else:
        say("keys and values: its configuration does not tell")
    room = f"{byte_size(model['free'])} of {model['place']} are free"
    if model["fits"]:
        say(f"fits: about {byte_size(model['total'])} are needed, {room}")
    elif model["weights_fit"]:
        say(f"the weights fit, a text of full length does not: {room}; lower --max-length")
    else:
        say(f"does not fit: {room}")
    say(f"--backend auto takes {model['backend']}: {model['reason']}")

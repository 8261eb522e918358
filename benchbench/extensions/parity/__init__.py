"""The same docs through several backends: one run a side, each stored and resumed as any other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from benchbench.backends import open_backend
from benchbench.backends.engines import ModelOptions, choose, engine, engine_names, parse_model_args
from benchbench.core.errors import ArgumentError, BackendError, ModelError, did_you_mean
from benchbench.core.settings import Part, Setting
from benchbench.runner.events import Note, OnEvent, OpeningModel, ignore
from benchbench.runner.plan import Plan, make_plan
from benchbench.runner.run import RunResult, run_plan
from benchbench.runner.settings import RunSettings
from benchbench.store.reuse import refuse_other_weights
from benchbench.tasks.settings import RenderSettings

PLAIN = ("hf-plain", "gguf-plain")
"""Backends with every request computed on its own, without shared prefixes."""
BACKENDS = ("auto", *engine_names())
SIDES = (*BACKENDS, *PLAIN)


@dataclass(frozen=True, slots=True)
class Side:
    """A model and the backend that is to run it."""

    model: str
    backend: str
    """One of `SIDES`."""
    name: str | None = None
    """What to call the model; None: what its folder or hub name says."""

    @property
    def engine(self) -> str:
        """The backend without its layout."""
        return self.backend.removesuffix("-plain")


SideArgs = dict[str, tuple[tuple[str, str], ...]]
"""Backend → (name, value) of its options."""


def parse_side_args(text: str) -> SideArgs:
    """Backend → its options, of `backend.name=value,…`. ArgumentError where the backend is not named."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name, value in parse_model_args(text):
        backend, dot, option = name.partition(".")
        if not (dot and option and backend in BACKENDS):
            raise ArgumentError(f"--model-args has {name!r}; here each option names its backend: api.base_url=….")
        found.setdefault(backend, []).append((option, value))
    return {backend: tuple(options) for backend, options in found.items()}


@dataclass(frozen=True, slots=True)
class ParitySettings:
    """Which backends, or which other model, are compared, and on what. ArgumentError if a value makes no sense."""

    backends: Annotated[
        str | None,
        Setting(
            "Two or more, separated by commas; the first is the reference. hf-plain, gguf-plain: no sharing.",
            panel="Comparison",
        ),
    ] = None
    against: Annotated[
        str | None, Setting("The reference, e.g. the full-precision model: MODEL or MODEL:BACKEND.", panel="Comparison")
    ] = None
    model_args: Annotated[
        SideArgs,
        Setting(
            "Options of one backend: gguf.threads=8,api.base_url=URL; api.model=NAME: its name there.",
            panel="Model",
            cli_type=str,
            parse=parse_side_args,
        ),
    ] = field(default_factory=dict)
    run: Annotated[RunSettings, Part(without=("model", "backend", "revision", "plan", "max_failed"))] = field(
        default_factory=lambda: RunSettings(
            ModelOptions(""), render=RenderSettings(limit=50), output=Path("results/parity")
        )
    )
    """What all sides share."""

    def __post_init__(self) -> None:
        if (self.backends is None) == (self.against is None):
            raise ArgumentError("give either --backends, e.g. hf,vllm, or --against with the model to compare with.")

    def sides(self, model: str) -> list[Side]:
        """The sides of a comparison of `model`, the reference first. The name that was given is not the reference's."""
        if self.backends is not None:
            return [replace(side, name=self.run.name) for side in parse_backends(model, self.backends, self.model_args)]
        return [parse_side(str(self.against)), replace(parse_side(model), name=self.run.name)]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A side that could not run."""

    side: Side
    reason: str
    missing: bool
    """Its engine is not installed here; otherwise it could not open the model."""


def parse_side(text: str) -> Side:
    """`model` or `model:backend`. ArgumentError if what follows the colon is neither backend nor part of a path."""
    model, colon, backend = text.rpartition(":")
    if colon and model and backend in SIDES:
        return Side(model, backend)
    if text.startswith("scripted:"):
        return Side(text.removeprefix("scripted:"), "scripted")
    if colon and not Path(text).expanduser().exists():
        raise ArgumentError(
            f"{text!r} names the backend {backend!r}; there are {', '.join(SIDES)}.{did_you_mean(backend, SIDES)}"
        )
    return Side(text, "auto")


def parse_backends(model: str, text: str, args: SideArgs | None = None) -> list[Side]:
    """A side of `model` for each backend of a list with commas. ArgumentError for an unknown or repeated one.

    `args` may hold the name that the model has on one backend, as `model`: on a server, or as a GGUF file.
    """
    names = [name for part in text.split(",") if (name := part.strip())]
    for name in names:
        if name not in SIDES:
            raise ArgumentError(f"--backends has {name!r}; there are {', '.join(SIDES)}.{did_you_mean(name, SIDES)}")
    if len(set(names)) < max(2, len(names)):
        raise ArgumentError(f"--backends is {text!r}; it takes two or more different ones, e.g. hf,vllm.")
    sides = [Side(model, name) for name in names]
    return [replace(side, model=dict((args or {}).get(side.engine, ())).get("model", model)) for side in sides]


def run_sides(
    sides: Sequence[Side], settings: RunSettings, args: SideArgs | None = None, *, on_event: OnEvent = ignore
) -> tuple[list[tuple[Side, RunResult]], list[LeftOut]]:
    """A finished run for each side that can run here, one model in memory at a time, and the sides that cannot.

    `settings.model` gives what all sides share. Raises BenchbenchError for tasks, data or a results folder that are
    wrong, and if fewer than two sides could run.
    """
    ready, left_out = [], []
    for side in sides:
        reason = _not_installed(side)
        if reason is None:
            ready.append(side)
        else:
            left_out.append(LeftOut(side, reason, missing=True))
            on_event(Note(reason))
    _enough(len(ready), left_out)
    plan, done = make_plan(settings, on_event), []
    for side in ready:
        try:
            done.append((side, _run_side(plan, _settings(side, settings, args or {}), on_event)))
        except (ArgumentError, BackendError, ModelError) as error:
            left_out.append(LeftOut(side, f"{side.backend} is left out: {error}", missing=False))
            on_event(Note(left_out[-1].reason))
    _enough(len(done), left_out)
    if len({result.path for _, result in done}) < len(done):
        raise ArgumentError("two sides are the same weights on the same backend: there is nothing to compare.")
    return done, left_out


def _enough(count: int, left_out: Sequence[LeftOut]) -> None:
    if count < 2:
        reasons = " ".join(one.reason for one in left_out)
        raise BackendError(f"{reasons} A comparison needs two sides.")


def _not_installed(side: Side) -> str | None:
    needed = None if side.engine == "auto" else engine(side.engine)
    if needed is None or needed.module is None or needed.installed is not None:
        return None
    return f"{side.backend} is left out: it is not installed here. {needed.install} brings it."


def _settings(side: Side, settings: RunSettings, args: SideArgs) -> RunSettings:
    """Layouts give the same numbers by intention, so that runs of one would be taken for the other's: `-plain` goes
    into a folder of its own.
    """
    shared, plain = settings.model, side.backend in PLAIN
    name = side.engine
    if name == "auto":
        name = choose(replace(shared, model=side.model)).backend
    options = replace(
        shared,
        model=side.model,
        backend=name,
        dtype="auto" if name == "gguf" else shared.dtype,
        tokenizer=shared.tokenizer if name in ("hf", "vllm") else None,
        plan="plain" if plain else "auto",
        model_args=tuple(pair for pair in args.get(name, ()) if pair[0] != "model"),
    )
    return replace(
        settings, model=options, name=side.name, output=settings.output / "plain" if plain else settings.output
    )


def _run_side(plan: Plan, settings: RunSettings, on_event: OnEvent) -> RunResult:
    on_event(OpeningModel(settings.model.model))
    backend = open_backend(settings.model)
    try:
        if settings.name is not None:  # other engines know the same weights by other identities
            info = backend.info
            refuse_other_weights(settings.output, settings.name, info.model_identity, engine=info.name)
        result = run_plan(plan, settings, backend, on_event=on_event)
    finally:
        backend.close()
    if result.already_complete:
        on_event(Note(f"{backend.info.name}: taken from {result.path}; --fresh computes it again."))
    return result

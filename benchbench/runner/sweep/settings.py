"""What a sweep is asked to do, and how that is kept on disk so that another process can go on with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from benchbench.backends.engines import ModelOptions
from benchbench.core import settings as core_settings
from benchbench.core.errors import ArgumentError
from benchbench.core.ids import content_hash
from benchbench.core.json_record import as_json
from benchbench.core.settings import Part, Setting
from benchbench.core.types import Json
from benchbench.runner.checkpoint import Checkpoint
from benchbench.runner.settings import RunSettings, check_name
from benchbench.store.names import find_location

Order = Literal["newest", "oldest"]


def _places(given: Sequence[str]) -> tuple[str, ...]:
    """The places of series, each once."""
    places: dict[str, str] = {}
    for model in given:
        places.setdefault(find_location(model), model)
    return tuple(places.values())


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """Some series of checkpoints and the tasks that all of them are asked. ArgumentError if a value makes no sense."""

    run: Annotated[RunSettings, Part(without=("revision", "fresh"))] = field(
        default_factory=lambda: RunSettings(ModelOptions(""))
    )
    """How each checkpoint is run. Its model and tasks are filled in for each unit."""
    models: Annotated[
        tuple[str, ...],
        Setting(
            "Folder of checkpoints, or hub name with --revisions; may be repeated.",
            panel="Checkpoints",
            flags=("--model", "-m"),
            cli_type=list[str] | None,
            parse=_places,
        ),
    ] = ()
    """One series each. With a list file () stands for the name of the file."""
    task_groups: Annotated[
        tuple[str | None, ...],
        Setting(
            "As for `run`; repeated, each makes a unit of work of its own. Default: the default suite.",
            panel="Tasks",
            flags=("--tasks",),
            cli_type=list[str] | None,
            parse=tuple,
        ),
    ] = (None,)
    """Each is a selection as for `run`, and makes one unit with each checkpoint; None is the default suite."""
    revisions: Annotated[
        str | None, Setting("Pattern over a hub model's revisions, such as 'step*'.", panel="Checkpoints")
    ] = None
    listed: Annotated[
        Path | None,
        Setting(
            "List of checkpoints (.yaml, .csv, .jsonl) with step, path, tokens.",
            panel="Checkpoints",
            flags=("--checkpoints",),
        ),
    ] = None
    name: Annotated[
        str | None,
        Setting("What to call the series. Default: as the folder.", panel="Checkpoints", identity="if set"),
    ] = None
    order: Annotated[Order, Setting("Which checkpoint comes first.", panel="Checkpoints", identity=False)] = "newest"
    watch: Annotated[bool, Setting("Go on looking for new checkpoints.", panel="Checkpoints", identity=False)] = False
    poll: Annotated[float, Setting("Seconds between two looks.", panel="Checkpoints", identity=False)] = 30.0
    until: Annotated[int | None, Setting("Watch until this step is scored.", panel="Checkpoints", identity=False)] = (
        None
    )

    def __post_init__(self) -> None:
        if not self.models and self.listed is not None:
            object.__setattr__(self, "models", (self.listed.stem,))
        if not self.models:
            raise ArgumentError(
                "a sweep needs --model: a folder of checkpoints, or a hub name with --revisions 'step*'."
            )
        if self.listed is not None and len(self.models) > 1:
            raise ArgumentError("--checkpoints lists the checkpoints of one --model; sweep the others apart.")
        if self.listed is not None and self.revisions is not None:
            raise ArgumentError("--checkpoints and --revisions are two ways to say the same; give one.")
        check_name(self.name)
        if self.name is not None and len(self.models) > 1:
            raise ArgumentError("--name names one series, but there are several --model; sweep them apart.")
        if self.poll <= 0:
            raise ArgumentError(f"--poll is {self.poll:g}; it must be more than 0 seconds.")
        if self.until is not None and not self.watch:
            raise ArgumentError("--until says when watching ends; give it with --watch.")

    def for_unit(self, checkpoint: Checkpoint, group: int) -> RunSettings:
        """The settings of a `run` of this checkpoint on one task group."""
        model = replace(self.run.model, model=checkpoint.location, revision=checkpoint.revision)
        asked = replace(self.run, model=model, tasks=self.task_groups[group], series=checkpoint.series)
        return replace(asked, step=checkpoint.step, tokens_seen=checkpoint.tokens_seen)

    def sweep_id(self) -> str:
        """8 hex digits, equal where the same checkpoints are asked the same: a command finds its sweep again."""
        return content_hash(to_json(self, only_identity=True), digits=8)


def to_json(settings: SweepSettings, *, only_identity: bool = False) -> dict[str, Json]:
    """The settings as JSON values; `from_json` reads them back."""
    kept = core_settings.to_json(settings, only_identity=only_identity)
    value = {name: as_json(one) for name, one in kept.items()}
    return value | {"models": [*model_places(settings)]}


def model_places(settings: SweepSettings) -> list[str]:
    """The models as they are written down: paths absolute, names on the Hub as they are."""
    if settings.revisions is None and settings.listed is None:
        return [str(Path(name).expanduser().absolute()) for name in settings.models]
    return list(settings.models)


def from_json(value: Mapping[str, Json]) -> SweepSettings:
    """The settings that `to_json` wrote."""
    return core_settings.from_json(SweepSettings, value)

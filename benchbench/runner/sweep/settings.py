"""What a sweep is asked to do, and how that is kept on disk so that another process can go on with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from benchbench.backends.options import ModelOptions
from benchbench.core.chat import ChatSettings
from benchbench.core.errors import ArgumentError
from benchbench.core.ids import content_hash
from benchbench.runner.checkpoint import Checkpoint
from benchbench.runner.settings import RunSettings, check_name

Order = Literal["newest", "oldest"]

_NOT_IDENTITY = (
    "batch_tokens",
    "device",
    "fresh",
    "max_failed",
    "step",
    "tokens_seen",
    "keep_tokens",
    "trust_task_code",
)
"""Settings that may differ between two commands that mean the same sweep."""


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """Some series of checkpoints and the tasks that all of them are asked. ArgumentError if a value makes no sense."""

    run: RunSettings
    """How each checkpoint is run. Its model and tasks are filled in for each unit."""
    models: tuple[str, ...]
    """One series each: a folder of checkpoints, or a hub name."""
    task_groups: tuple[str | None, ...] = (None,)
    """Each is a selection as for `run`, and makes one unit with each checkpoint; None is the default suite."""
    revisions: str | None = None
    """Pattern over branches and tags; the models are hub names then."""
    listed: Path | None = None
    """A list file with the checkpoints of the only model."""
    name: str | None = None
    """What to call the series of the only model; None: as its folder or hub name."""
    order: Order = "newest"
    watch: bool = False
    poll: float = 30.0
    """Seconds between two looks for new checkpoints."""
    until: int | None = None
    """The step after which watching ends."""

    def __post_init__(self) -> None:
        if not self.models:
            raise ArgumentError("a sweep needs --model: a folder of checkpoints, or a hub name with --revisions.")
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
        said = replace(self.run, model=model, tasks=self.task_groups[group], series=checkpoint.series)
        return replace(said, step=checkpoint.step, tokens_seen=checkpoint.tokens_seen)

    def sweep_id(self) -> str:
        """8 hex digits, equal where the same checkpoints are asked the same: a command finds its sweep again."""
        kept = to_json(self)
        for name in ("order", "watch", "poll", "until"):
            kept.pop(name)
        run = {key: value for key, value in kept["run"].items() if key not in _NOT_IDENTITY}
        for name in ("chat", "gen_kwargs", "name", "series"):  # as in sweeps that began before these were known
            if not run[name]:
                del run[name]
        if not kept["name"]:
            del kept["name"]
        run["model"] = {key: value for key, value in run["model"].items() if key not in (*_NOT_IDENTITY, "model")}
        return content_hash({**kept, "run": run}, digits=8)


def to_json(settings: SweepSettings) -> dict[str, Any]:
    """The settings as JSON values; `from_json` reads them back."""
    value = {key: _plain(value) for key, value in asdict(settings).items()}
    if settings.revisions is None and settings.listed is None:
        value["models"] = [str(Path(name).expanduser().absolute()) for name in settings.models]
    return value


def from_json(value: Mapping[str, Any]) -> SweepSettings:
    """The settings that `to_json` wrote."""
    run = dict(value["run"])
    run["model"] = ModelOptions(**{name: _frozen(one) for name, one in run["model"].items()})
    run["include_paths"] = tuple(map(Path, run["include_paths"]))
    for name in ("data_root", "output"):
        run[name] = None if run[name] is None else Path(run[name])
    chat = run.get("chat")
    run["chat"] = None if chat is None else ChatSettings(**chat)
    run["gen_kwargs"] = tuple((name, given) for name, given in run.get("gen_kwargs", ()))
    listed = None if value["listed"] is None else Path(value["listed"])
    kept = {**value, "models": tuple(value["models"]), "task_groups": tuple(value["task_groups"]), "listed": listed}
    return SweepSettings(**{**kept, "run": RunSettings(**run)})


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return str(value.expanduser().absolute()) if isinstance(value, Path) else value

"""What a run is asked to do, what a sweep, and the settings of published evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from benchbench.backends.engines import ModelOptions
from benchbench.core import settings as core_settings
from benchbench.core.errors import ArgumentError, did_you_mean
from benchbench.core.ids import content_hash
from benchbench.core.json_record import as_json
from benchbench.core.settings import Part, Setting, as_record, changed
from benchbench.core.types import Json
from benchbench.runner.programs import ProgramOptions
from benchbench.store.names import find_location
from benchbench.tasks.settings import RenderSettings

if TYPE_CHECKING:
    from benchbench.runner.checkpoint import Checkpoint

RECORD_ORDER = (
    "model", "backend", "revision", "tokenizer", "dtype", "max_length", "batch_tokens", "trust_remote_code",
    "model_args", "tasks", "num_fewshot", "fewshot_mode", "seed", "limit", "prompt", "split", "fewshot_split", "chat",
    "max_failed", "gen_kwargs",
)  # fmt: skip
"""The order of the settings in run.json, so that the files of two versions can be compared; new settings come last."""


def joined(given: Sequence[str] | None) -> str | None:
    """All names of a repeatable option, separated by commas; None where it was not given."""
    return ",".join(given) if given else None


IncludePaths = Annotated[
    tuple[Path, ...],
    Setting(
        "Folder or file with more tasks; may be repeated.",
        panel="Tasks",
        flags=("--include-path",),
        cli_type=list[Path] | None,
        parse=tuple,
        record=False,
    ),
]


@dataclass(frozen=True, slots=True)
class RunSettings:
    """One model, some tasks, how to render them, and where the results go. ArgumentError if a value makes no sense."""

    model: ModelOptions
    tasks: Annotated[
        str | None,
        Setting(
            "Names, groups, suites or globs, separated by commas; may be repeated. Default: the default suite.",
            panel="Tasks",
            cli_type=list[str] | None,
            parse=joined,
        ),
    ] = None
    include_paths: IncludePaths = ()
    render: Annotated[RenderSettings, Part(flat=True)] = field(default_factory=RenderSettings)
    output: Annotated[
        Path, Setting("Results folder.", panel="Output", flags=("--results", "--output"), record=False)
    ] = Path("results")
    fresh: Annotated[
        bool, Setting("Compute everything again, as a new attempt.", panel="Output", identity=False, record=False)
    ] = False
    retry_failed: Annotated[
        bool,
        Setting(
            "Ask all failed docs again, also those that fail for good (too long, not supported).",
            panel="Output",
            identity=False,
            record=False,
        ),
    ] = False
    max_failed: Annotated[
        float, Setting("Exit with 1 if a larger share of docs failed, 0 to 1.", panel="Output", identity=False)
    ] = 0.01

    logs: Annotated[
        tuple[str, ...],
        Setting(
            "Draw results also in wandb, tensorboard, mlflow or trackio: NAME[:WHERE][#RUN]; may be repeated.",
            panel="Output",
            flags=("--log",),
            cli_type=list[str] | None,
            parse=tuple,
            identity=False,
            record=False,
        ),
    ] = ()
    """Loggers beside the results folder; `benchbench.runner.logs` says what each gets."""

    programs: Annotated[ProgramOptions, Part(flat=True)] = field(default_factory=ProgramOptions)
    """For tasks whose answers are programs."""

    name: Annotated[
        str | None,
        Setting("What to call the model. Default: as its folder.", panel="Model", record=False, identity="if set"),
    ] = None
    series: Annotated[str | None, Setting(record=False, identity="if set")] = None
    """The training that the model is a checkpoint of, which names it; None: as its location tells."""
    step: Annotated[int | None, Setting(identity=False, record=False)] = None
    """Optimizer step of the model; None: as its name or its `trainer_state.json` tells, if they do."""
    tokens_seen: Annotated[int | None, Setting(identity=False, record=False)] = None
    """Tokens that the model was trained on; None: as its files or its name tell, if they do."""

    def __post_init__(self) -> None:
        check_name(self.name)
        if not 0 <= self.max_failed <= 1:
            raise ArgumentError(
                f"--max-failed is {self.max_failed}; it is a share from 0 to 1, e.g. 0.01 for one in a hundred."
            )

    def as_record(self) -> dict[str, Json]:
        """The settings that go into the record. Where results and data lie is left out: it changes no number."""
        place = {name: position for position, name in enumerate(RECORD_ORDER)}
        kept = sorted(as_record(self).items(), key=lambda item: place.get(item[0], len(place)))
        return {name: as_json(value) for name, value in kept}


def check_name(name: str | None) -> None:
    """ArgumentError for a name of nothing."""
    if name is not None and not name.strip():
        raise ArgumentError("--name is empty; give the model a name, or leave --name out.")


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
        if "peft" in dict(self.run.model.model_args):
            raise ArgumentError(
                "in a sweep the adapters are the checkpoints: name their folder with --model, and the model below them "
                "with --base."
            )
        if self.poll <= 0:
            raise ArgumentError(f"--poll is {self.poll:g}; it must be more than 0 seconds.")
        own = next((text for text in self.run.logs if "#" in text), None)
        if own is not None and len(self.models) > 1:
            raise ArgumentError(
                f"--log {own} names one run, but there are several --model: each curve needs a run of its own. Leave "
                "the part from # out, or sweep them apart."
            )
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


@dataclass(frozen=True, slots=True)
class Profile:
    """What an evaluation fixes. The README of its tasks says what it measures."""

    tasks: str
    """The suite it stands for."""
    num_fewshot: int
    max_length: int
    """Tokens of context and answer together; shots go first where they do not fit, then the description."""
    read: str
    """The columns that its publication reports."""


PROFILES: Mapping[str, Profile] = {
    "benczechmark": Profile("benczechmark", num_fewshot=3, max_length=2048, read="acc_token, auroc, exact_match"),
}
"""benczechmark: Fajčík et al., arXiv 2412.17933. Mean token log-probabilities are scored in every run anyway."""


def with_profile(settings: RunSettings, name: str) -> RunSettings:
    """The settings with the profile's values where they have none.

    Raises:
        ArgumentError: no profile of this name.
    """
    if name not in PROFILES:
        raise ArgumentError(
            f"No profile named {name!r}.{did_you_mean(name, PROFILES)} Profiles: {', '.join(PROFILES)}."
        )
    profile = PROFILES[name]
    given = {
        "tasks": settings.tasks,
        "num_fewshot": settings.render.num_fewshot,
        "max_length": settings.model.max_length,
    }
    return changed(settings, **{name: getattr(profile, name) for name, value in given.items() if value is None})

"""What one run is asked to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from benchbench.backends.engines import ModelOptions
from benchbench.core.errors import ArgumentError
from benchbench.core.json_record import as_json
from benchbench.core.settings import Part, Setting, as_record
from benchbench.core.types import Json
from benchbench.tasks.settings import RenderSettings

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
    output: Annotated[Path, Setting("Results folder.", panel="Output", record=False)] = Path("results")
    fresh: Annotated[
        bool, Setting("Compute everything again, as a new attempt.", panel="Output", identity=False, record=False)
    ] = False
    max_failed: Annotated[
        float, Setting("Exit with 1 if a larger share of docs failed, 0 to 1.", panel="Output", identity=False)
    ] = 0.01

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

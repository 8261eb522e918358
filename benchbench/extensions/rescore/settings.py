"""What `benchbench score` is asked to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from benchbench.core.errors import ArgumentError
from benchbench.core.settings import Setting, name_value_pairs
from benchbench.extensions.comet.process import CometOptions
from benchbench.extensions.judge.options import JudgeOptions
from benchbench.runner.programs import ProgramOptions
from benchbench.runner.settings import IncludePaths, joined
from benchbench.tasks.settings import DataRoot, TrustTaskCode


def _names(given: Sequence[str]) -> tuple[str, ...]:
    """The names of a repeatable option, each once."""
    return tuple(dict.fromkeys(name.strip() for name in ",".join(given).split(",")))


def _options(text: str | None) -> dict[str, str]:
    return {} if text is None else name_value_pairs(text, "--option")


@dataclass(frozen=True, slots=True)
class ScoreSettings:
    """Metrics for a finished run. ArgumentError if a value makes no sense."""

    metrics: Annotated[
        tuple[str, ...],
        Setting(
            "Names separated by commas: comet, pass_at_k, bleu, chrf, ter, rougeL, exact_match, f1, acc, ...",
            panel="Metrics",
            flags=("--metric",),
            cli_type=list[str],
            parse=_names,
        ),
    ]
    tasks: Annotated[
        str | None,
        Setting(
            "Tasks of the run, or globs, separated by commas. Default: all that fit.",
            panel="Tasks",
            cli_type=list[str] | None,
            parse=joined,
        ),
    ] = None
    data_root: DataRoot = None
    """For metrics that need more of the documents than was stored; None: where the run found them."""
    include_paths: IncludePaths = ()
    trust_task_code: TrustTaskCode = False
    source: Annotated[
        str | None,
        Setting("Template of the text to translate, if the task has no doc_to_source.", panel="COMET"),
    ] = None
    comet: CometOptions = field(default_factory=CometOptions)
    programs: ProgramOptions = field(default_factory=ProgramOptions)
    judge: JudgeOptions = field(default_factory=JudgeOptions)
    options: Annotated[
        Mapping[str, str],
        Setting(
            "Settings of a metric that another package adds: name=value,name=value.",
            panel="Metrics",
            flags=("--option",),
            cli_type=str | None,
            parse=_options,
        ),
    ] = field(default_factory=dict)
    fresh: Annotated[bool, Setting("Compute COMET scores again that are there already.", panel="COMET")] = False

    def __post_init__(self) -> None:
        if not self.metrics or not all(self.metrics):
            raise ArgumentError("--metric takes one name or more, separated by commas, e.g. --metric comet,bleu.")

"""pass@k: the programs that a run's answers make are run, with their tests, and counted."""

from __future__ import annotations

import platform
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchbench.core.errors import ArgumentError, did_you_mean
from benchbench.core.format import several
from benchbench.core.ids import content_hash, text_hash
from benchbench.core.patterns import TooMuchWorkError
from benchbench.core.task_scoring import columns
from benchbench.core.types import FilterSpec, Item, Json, MetricSpec, OutputType, ScoringSpec
from benchbench.extensions.programs import ENDINGS, Ending, Limits, Program
from benchbench.extensions.programs.languages import LANGUAGES, NAMES, language
from benchbench.extensions.programs.runs import run_programs
from benchbench.extensions.programs.sandbox import Sandbox
from benchbench.extensions.rescore.post_metric import PostMetricInfo, score_in_blocks
from benchbench.extensions.rescore.settings import ScoreSettings
from benchbench.extensions.rescore.stored import StoredTask
from benchbench.runner.events import Note, OnEvent
from benchbench.runner.programs import FLAG, ProgramOptions, usual_jobs
from benchbench.scoring.filters import FilterContext, apply_filter
from benchbench.stats.pass_at_k import pass_at_k
from benchbench.tasks.recorded_task import program_writer

BLOCK = 64
"""Programs between two lines of what is known: a kill costs as many."""
MOST = 10_000
CODES: Mapping[Ending, float] = {
    "passed": 1.0,
    "failed": 0.0,
    "crashed": -1.0,
    "slow": -2.0,
    "memory": -3.0,
    "output": -4.0,
}
"""Endings as numbers, as they are kept while the programs run; below 1 it did not pass."""
_ENDED: dict[str, float] = {}
"""Code of each program that this process has run, by its key: pass@1 and pass@10 run none twice."""


@dataclass(frozen=True, slots=True)
class ProgramTask:
    """What a `metric_list` entry says of the programs."""

    k: int = 1
    language: str = "python"
    seconds: float = Limits().seconds
    memory_mb: int = Limits().memory >> 20

    @classmethod
    def of(cls, options: Mapping[str, str]) -> ProgramTask:
        """ArgumentError for an unknown option or a value that makes no sense."""
        known = ("k", "language", "seconds", "memory_mb")
        for name in options:
            if name not in known:
                raise ArgumentError(
                    f"pass_at_k has no option {name!r}; it has {', '.join(known)}.{did_you_mean(name, known)}"
                )
        name = options.get("language", cls().language)
        if NAMES.get(name, name) not in LANGUAGES:
            language(name)
        k, memory = (_number(options, name, 1, MOST if name == "k" else 1 << 20) for name in ("k", "memory_mb"))
        seconds = _number(options, "seconds", 1, 3600)
        return cls(int(k), NAMES.get(name, name), seconds, int(memory))

    @property
    def limits(self) -> Limits:
        """Of one program."""
        return Limits(seconds=self.seconds, memory=self.memory_mb << 20)


def _number(options: Mapping[str, str], name: str, least: int, most: int) -> float:
    default: float = getattr(ProgramTask(), name)
    try:
        value = float(options.get(name, default))
    except ValueError:
        value = 0.0
    if not least <= value <= most or (name != "seconds" and value != int(value)):
        raise ArgumentError(f"pass_at_k: {name} is {options[name]!r}; it is a number from {least} to {most:,}.")
    return value


class PassAtK:
    """pass@k by the unbiased estimator; an answer passes if the task's `doc_to_program` made of it runs to its end."""

    def __init__(self, settings: ScoreSettings, on_event: OnEvent) -> None:
        self._options, self._on_event = settings.programs, on_event
        self._asked = ProgramTask.of(settings.options)
        self._sandbox: Sandbox | None = None

    @staticmethod
    def check(options: ProgramOptions) -> str | None:
        """Whether programs will be run: None, or the sentence that says why not. BackendError if they cannot be."""
        if not options.allow_code_execution:
            return (
                f"pass_at_k runs programs that the model writes, and does so only with {FLAG}; without it the answers "
                "are kept and not scored"
            )
        Sandbox(Limits(), options.program_python).close()
        return None

    def fits(self, output_type: OutputType) -> bool:
        """See PostMetric."""
        return output_type == "generate_until"

    def missing(self, task: StoredTask) -> str | None:
        """See PostMetric."""
        if (reason := task.lacks_documents()) is not None:
            return reason
        if task.definition.program_template() is None:
            return "has no `doc_to_program`, which makes a program of an answer, e.g. '{{ completion }}\\n{{ tests }}'"
        repeats = task.definition.task.config.repeats
        if repeats < self._asked.k:
            return (
                f"has {several(repeats, 'answer')} for each doc, and pass@{self._asked.k} takes {self._asked.k} or "
                f"more: run it with `--repeats {self._asked.k}` and a temperature"
            )
        if not self._options.allow_code_execution:
            return (
                f"needs {FLAG}: its answers are programs, written by a model and read by nobody, and this would run "
                "them on this machine, in a sandbox"
            )
        return None

    def info(self, task: StoredTask) -> PostMetricInfo:
        """See PostMetric: makes the sandbox, so that what is missing is said before anything runs."""
        sandbox, asked = self._opened(), self._asked
        template = task.definition.program_template() or ""
        kwargs: dict[str, Json] = {
            "k": asked.k,
            "language": asked.language,
            "seconds": asked.seconds,
            "memory_mb": asked.memory_mb,
            "program": text_hash(template)[:8],
        }
        version = _python_version(sandbox.interpreter) if asked.language == "python" else ""
        facts: dict[str, Json] = {"programs": {**kwargs, "python": version}}
        said = f"{asked.language}:{version or 'system'}"
        line = f"pass@{asked.k}:{said}|cpu:{asked.seconds:g}s|memory:{asked.memory_mb}MiB"
        spec = MetricSpec(f"pass@{asked.k}", "mean", higher_is_better=True, kwargs=kwargs, bounds=(0.0, 1.0))
        return PostMetricInfo(spec, line, facts, {"machine": platform.machine(), "kernel": platform.release()})

    def items(self, spec: ScoringSpec, task: StoredTask, live: Path) -> Sequence[Item]:
        """See PostMetric."""
        programs = self._programs(spec, task)
        asked = {key: one for found in programs.values() for keys in found.values() for key, one in keys}
        ended = self._ended(asked, spec, live)
        self._tell(task.name, Counter(ended[key] for key in asked))
        filters = {column.name: column.filter for column in columns(spec)}
        return [
            replace(
                item,
                scores={
                    **item.scores,
                    **{
                        name: self._score([ended[key] for key, _ in found[_name(pipeline)]]) if found else None
                        for name, pipeline in filters.items()
                    },
                },
            )
            for item in task.items
            for found in [programs.get((item.doc_id, item.prompt_name), {})]
        ]

    def _score(self, ended: Sequence[float]) -> float | None:
        k = self._asked.k
        return pass_at_k(len(ended), sum(code >= 1 for code in ended), k) if len(ended) >= k else None

    def _programs(
        self, spec: ScoringSpec, task: StoredTask
    ) -> dict[tuple[int, str], dict[str | None, list[tuple[str, Program]]]]:
        """Item → filter → key and program of each of its answers; of failed items none."""
        write = program_writer(task.definition.task, task.documents, task.definition.program_template())
        identity = content_hash([self._asked.language, self._asked.seconds, self._asked.memory_mb])
        found: dict[tuple[int, str], dict[str | None, list[tuple[str, Program]]]] = {}
        for item in task.items:
            if item.outcome == "failed":
                continue
            try:
                texts = {
                    _name(one): [*item.texts]
                    if one is None
                    else [*apply_filter(one, item.texts, FilterContext()).texts]
                    for one in spec.filters or (None,)
                }
            except TooMuchWorkError:
                continue
            sources = {name: [write(item.doc_id, text) for text in some] for name, some in texts.items()}
            found[item.doc_id, item.prompt_name] = {
                name: [(content_hash([identity, source]), Program(source, self._asked.language)) for source in some]
                for name, some in sources.items()
            }
        return found

    def _ended(self, asked: Mapping[str, Program], spec: ScoringSpec, live: Path) -> dict[str, float]:
        sandbox, jobs = self._opened(), self._options.program_jobs or usual_jobs()

        def score(programs: Sequence[Program]) -> list[float]:
            return [CODES[verdict.ending] for verdict in run_programs(sandbox, programs, jobs)]

        new = {key: one for key, one in asked.items() if key not in _ENDED}
        _ENDED.update(score_in_blocks(new, score, spec=spec, live=live, size=BLOCK, on_event=self._on_event))
        return {key: _ENDED[key] for key in asked}

    def _tell(self, task: str, counts: Counter[float]) -> None:
        words = [f"{counts[code]:,} {ENDINGS[ending]}" for ending, code in CODES.items() if counts[code]]
        self._on_event(Note(f"{task}: {several(sum(counts.values()), 'program')}: {', '.join(words)}."))

    def close(self) -> None:
        """See PostMetric."""
        if self._sandbox is not None:
            self._sandbox.close()

    def _opened(self) -> Sandbox:
        if self._sandbox is None:
            self._sandbox = Sandbox(self._asked.limits, self._options.program_python)
        return self._sandbox


def _name(pipeline: FilterSpec | None) -> str | None:
    return None if pipeline is None else pipeline.name


def _python_version(interpreter: str) -> str:
    """Such as 3.11."""
    done = subprocess.run(  # noqa: S603 - the interpreter that the sandbox has just tried
        [interpreter, "-I", "-S", "-V"], capture_output=True, text=True, check=True
    )
    return ".".join(done.stdout.split()[-1].split(".")[:2])

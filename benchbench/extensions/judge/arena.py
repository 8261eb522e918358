"""Models ranked by a judge that compares their stored answers, two at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from benchbench.core.errors import ArgumentError, DataError, did_you_mean
from benchbench.core.settings import Part, Setting
from benchbench.core.types import Json
from benchbench.extensions.judge.bench import BYTES_PER_TOKEN, ModelJudge, Panel
from benchbench.extensions.judge.conversations import Conversation, answers_of, conversations, shown
from benchbench.extensions.judge.options import JudgeOptions, Scale, with_listed
from benchbench.extensions.judge.pairs import Biases, Comparison, Match, PairJudging, Share, biases
from benchbench.extensions.judge.people import agreement, read_preferences
from benchbench.extensions.judge.prompts import own_prompts, read_prompts
from benchbench.extensions.judge.schedule import Pair, Schedule
from benchbench.extensions.judge.strengths import SURE, ranks_of, strengths_of
from benchbench.extensions.rescore.post_metric import CostEstimate
from benchbench.extensions.rescore.stored import StoredTask
from benchbench.runner.events import Note, OnEvent, Scoring, ignore
from benchbench.runner.record import now
from benchbench.runner.settings import IncludePaths
from benchbench.store.arena import ArenaRecord, ArenaStanding, write_arena
from benchbench.store.find import all_runs, begins_with
from benchbench.store.folder import RunFolder
from benchbench.tasks.index import TaskIndex
from benchbench.tasks.settings import DataRoot, TrustTaskCode


@dataclass(frozen=True, slots=True)
class ArenaSettings:
    """Who judges what. ArgumentError if a value makes no sense."""

    task: Annotated[str | None, Setting("The task; needed where the models share several.", panel="Tasks")] = None
    pairs: Annotated[
        int | None,
        Setting(
            "Judge at most so many matches (two models on one doc), those that decide most. Default: all.",
            panel="Judge",
        ),
    ] = None
    judge: Annotated[JudgeOptions, Part(without=("judge_scale",))] = field(default_factory=JudgeOptions)
    data_root: DataRoot = None
    include_paths: IncludePaths = ()
    trust_task_code: TrustTaskCode = False

    def __post_init__(self) -> None:
        if self.pairs is not None and self.pairs < 1:
            raise ArgumentError(f"--pairs is {self.pairs}; it is a number of matches from 1.")


@dataclass(frozen=True, slots=True)
class Standing:
    """One model in the arena."""

    model: str
    run: str
    strength: float
    """Of mean 0, on the logistic scale."""
    low: float | None
    high: float | None
    rank: tuple[int, int] | None
    """Places that it may hold, all models at once."""
    wins: float | None
    """Share of its comparisons that it won, ties half; None where none can be read."""
    comparisons: int
    controlled: float | None
    """Strength with answers of equal length in equal positions."""


@dataclass(frozen=True, slots=True)
class ArenaResult:
    """The models, best first, and how far the judge can be relied on."""

    path: Path | None
    """Where it is kept."""
    task: str
    judge: str
    identity: Json
    standings: tuple[Standing, ...]
    matches: int
    possible: int
    """Matches that there are."""
    questions: int
    ties: float
    biases: Biases
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Contestants:
    """The models' stored answers to one task."""

    names: tuple[str, ...]
    tasks: tuple[StoredTask, ...]

    @property
    def task(self) -> str:
        """Its name."""
        return self.tasks[0].name


def contestants(names: Sequence[str], settings: ArenaSettings, results: Path) -> Contestants:
    """The newest finished run of each model that has the task.

    Raises:
        ArgumentError: a name fits no run or several models, fewer than two models, or no task that all share.
        StoreError: there is no results folder.
    """
    if len(set(names)) < 2:
        raise ArgumentError("an arena compares two models or more; name them as `benchbench results ls` does.")
    runs = [run for run in all_runs(results) if run.finished]
    found = {name: _runs_of(name, runs) for name in dict.fromkeys(names)}
    task = settings.task or _shared_task(found)
    index = TaskIndex(settings.include_paths)
    stored = []
    for name, own in found.items():
        having = [run for run in own if task in run.own_record().tasks]
        if not having:
            known = sorted({one for run in own for one in run.own_record().tasks})
            raise ArgumentError(
                f"{name} has no run of {task!r}; it has {', '.join(known[:8])}.{did_you_mean(task, known)}"
            )
        run = max(having, key=lambda one: str(one.own_record().provenance.finished))
        stored.append(StoredTask(run, run.own_record(), task, lambda: index, settings.data_root))
    _refuse_unlike(list(found), stored)
    return Contestants(tuple(str(one.record.model) for one in stored), tuple(stored))


def _runs_of(name: str, runs: Sequence[RunFolder]) -> list[RunFolder]:
    models = {str(run.own_record().model): run for run in runs}
    exact = [run for run in runs if run.own_record().model == name or run.path.name == name]
    found = exact or [run for run in runs if begins_with(run, name)]
    if not found:
        raise ArgumentError(
            f"no finished run of a model {name!r}.{did_you_mean(name, models)} See `benchbench results ls`."
        )
    if len({run.own_record().model for run in found}) > 1:
        raise ArgumentError(
            f"{name!r} fits several models: {', '.join(sorted({str(r.own_record().model) for r in found})[:5])}."
        )
    return found


def _shared_task(found: Mapping[str, Sequence[RunFolder]]) -> str:
    each = [
        {
            task
            for run in runs
            for task, about in run.own_record().tasks.items()
            if about.output_type == "generate_until"
        }
        for runs in found.values()
    ]
    shared = sorted(set.intersection(*each))
    if len(shared) == 1:
        return shared[0]
    if not shared:
        raise ArgumentError("these models share no task with written answers; run one task with all of them first.")
    raise ArgumentError(f"these models share {len(shared)} tasks; say which with --task: {', '.join(shared[:8])}.")


def _refuse_unlike(names: Sequence[str], stored: Sequence[StoredTask]) -> None:
    first = stored[0].record.tasks[stored[0].name]
    for name, one in zip(names[1:], stored[1:], strict=True):
        about = one.record.tasks[one.name]
        for what, mine, theirs in (
            ("docs", first.data_hash, about.data_hash), ("prompts", first.prompt_hash, about.prompt_hash)
        ):  # fmt: skip
            if mine != theirs:
                raise ArgumentError(
                    f"{names[0]} and {name} were asked other {what} of {one.name}; run both on the same, then compare."
                )
        if (reason := one.lacks_documents()) is not None:
            raise ArgumentError(f"{one.name} {reason}.")


class Arena:
    """One task's answers while they are compared."""

    def __init__(self, found: Contestants, settings: ArenaSettings, results: Path, on_event: OnEvent) -> None:
        """ArgumentError for options or prompts that cannot be used."""
        listed = found.tasks[0].listed("judge", on_event, trusted=settings.trust_task_code)
        self._options = with_listed(
            settings.judge, {k: v for k, v in (listed[0] if listed else {}).items() if k != "scale"}
        )
        if not self._options.models:
            raise ArgumentError("no judge is named: --judge MODEL, BACKEND:MODEL or api:NAME@URL.")
        path = self._options.prompts
        scale = Scale.of(self._options.scale)
        self._prompts = own_prompts("pairwise", scale) if path is None else read_prompts(path, "pairwise")
        self._found, self._settings, self._results, self._on_event = found, settings, results, on_event
        known = conversations(found.tasks[0], self._options)
        self._judging = PairJudging(
            known, [_answers(task, known) for task in found.tasks], self._prompts, self._options.repeats
        )
        self._schedule = Schedule(found.names, self._judging.docs)
        self.possible = self._schedule.left
        if not self.possible:
            raise DataError(f"no two of these models answered the same doc of {found.task}.")

    def estimate(self) -> CostEstimate:
        """What the matches would ask, at most; opens no model."""
        matches = self._schedule.all()
        asked = self._judging.asked(matches)
        share = min(1.0, (self._settings.pairs or len(matches)) / len(matches)) * len(self._options.models)
        read = sum(one.size for one in asked) / BYTES_PER_TOKEN
        count = round(share * len(asked))
        return CostEstimate(count, round(share * read), count * self._options.max_gen_toks)

    def judge(self) -> ArenaResult:
        """Judges and ranks. Raises as the judges do; what was judged is kept."""
        panel = Panel(self._options, self._on_event)
        try:
            compared = self._compared(panel)
            return self._result(compared, panel)
        finally:
            panel.close()

    def _compared(self, panel: Panel) -> list[Comparison]:
        judges = panel.judges(self._results)
        most = self._settings.pairs
        matches = self._schedule.all() if most is None or most >= self.possible else self._schedule.even(most)
        found: list[Comparison] = []
        done = 0
        while matches:
            asked = len(self._judging.asked(matches))
            for judge in judges:
                self._on_event(Scoring(self._found.task, f"arena:{judge.name}", asked, 0))
                found += self._judging.compared(judge, matches)
            done += len(matches)
            wanted = (
                0 if most is None else min(most - done, self._schedule.left, max(32, 2 * len(self._schedule.pairs)))
            )
            matches = self._chosen(found, wanted) if wanted > 0 else []
        return found

    def _chosen(self, found: Sequence[Comparison], count: int) -> list[Match]:
        fitted = strengths_of(found, len(self._found.names))
        if fitted is None:
            return self._schedule.even(count)
        ranks = ranks_of(fitted, SURE)

        def decided(pair: Pair) -> bool:
            return ranks is not None and bool(ranks.better[pair] or ranks.better[pair[::-1]])

        return self._schedule.best(decided, count)

    def _result(self, compared: Sequence[Comparison], panel: Panel) -> ArenaResult:
        names, models = self._found.names, len(self._found.names)
        fitted = strengths_of(compared, models)
        if fitted is None:
            raise DataError("no verdict of the judge could be read in both orders, so there is nothing to rank by.")
        known = [one for one in compared if one.outcome is not None]
        swayed, ranks = biases(compared, models), ranks_of(fitted)
        standings = []
        for place, name in enumerate(names):
            own = [_of(one, place) for one in known if place in (one.match.first, one.match.second)]
            ends = fitted.interval(place)
            standings.append(
                Standing(
                    model=name,
                    run=self._found.tasks[place].run.name,
                    strength=float(fitted.values[place]),
                    low=None if ends is None else ends.low,
                    high=None if ends is None else ends.high,
                    rank=None if ranks is None else (int(ranks.low[place]), int(ranks.high[place])),
                    wins=math.fsum(own) / len(own) if own else None,
                    comparisons=len(own),
                    controlled=None if swayed.controlled is None else swayed.controlled[place],
                )
            )
        judges = panel.judges(self._results)
        identity: dict[str, Json] = {
            "judges": [dict(judge.identity) for judge in judges],
            "prompts": f"{self._prompts.source}:{self._prompts.hash}",
            "repeats": self._options.repeats,
        }
        remarks = [*self._about(judges)]
        if self._options.labels is not None:
            people = read_preferences(self._options.labels, self._judging.conversations, names)
            remarks.append(agreement(compared, people))
        if fitted.separated:
            remarks.append(
                "some model won or lost every comparison with the others: half a win and half a loss were added to"
                " each, and its interval says little"
            )
        result = ArenaResult(
            path=None,
            task=self._found.task,
            judge="+".join(dict.fromkeys(judge.name for judge in judges)),
            identity=identity,
            standings=tuple(sorted(standings, key=lambda one: (-one.strength, one.model))),
            matches=len({one.match for one in compared}),
            possible=self.possible,
            questions=len({one.match.doc_id for one in known}),
            ties=math.fsum(one.outcome == 0.5 for one in known) / len(known),
            biases=swayed,
            remarks=(*remarks, panel.spent.sentence()),
        )
        return _kept(result, self._results)

    def _about(self, judges: Sequence[ModelJudge]) -> list[str]:
        weights = {judge.weights: judge.name for judge in judges}
        found = []
        for name, task in zip(self._found.names, self._found.tasks, strict=True):
            own = task.record.backend.model_identity
            if own is not None and own in weights:
                found.append(f"the judge {weights[own]} is the contestant {name} itself")
                self._on_event(Note(f"{found[-1][:1].upper()}{found[-1][1:]}."))
        return found


def _answers(task: StoredTask, known: Mapping[int, Conversation]) -> dict[int, tuple[str, ...]]:
    """doc id → the answers of the first repeat."""
    found = {}
    for item in task.items:
        if shown(item) and item.doc_id in known:
            found[item.doc_id] = answers_of(item, len(known[item.doc_id].questions))[0]
    return found


def _of(one: Comparison, place: int) -> float:
    outcome = one.outcome or 0.0
    return outcome if one.match.first == place else 1.0 - outcome


def _kept(result: ArenaResult, results: Path) -> ArenaResult:
    """Writes it to the results folder: one file for the same models, task and judge."""
    swayed = result.biases
    record = ArenaRecord(
        task=result.task,
        judge=result.judge,
        identity=result.identity,
        standings=tuple(
            ArenaStanding(
                model=one.model,
                run=one.run,
                strength=one.strength,
                low=one.low,
                high=one.high,
                rank_low=None if one.rank is None else one.rank[0],
                rank_high=None if one.rank is None else one.rank[1],
                wins=one.wins,
                comparisons=one.comparisons,
                controlled=one.controlled,
            )
            for one in result.standings
        ),
        matches=result.matches,
        possible=result.possible,
        questions=result.questions,
        ties=result.ties,
        consistent=swayed.consistent,
        unreadable=swayed.unreadable,
        position=_values(swayed.position),
        length=_values(swayed.length),
        remarks=result.remarks,
        finished=now(),
    )
    return replace(result, path=write_arena(results, record))


def _values(share: Share | None) -> tuple[float | None, ...]:
    return () if share is None else (share.value, share.low, share.high)


def run_arena(
    names: Sequence[str], settings: ArenaSettings, results: Path, *, on_event: OnEvent = ignore
) -> ArenaResult:
    """Compares the stored answers of these models. Raises as `contestants` and `Arena`."""
    return Arena(contestants(names, settings, results), settings, results, on_event).judge()


def estimate_arena(names: Sequence[str], settings: ArenaSettings, results: Path) -> CostEstimate:
    """What that would ask of the judge, at most."""
    return Arena(contestants(names, settings, results), settings, results, ignore).estimate()

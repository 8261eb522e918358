"""A judge's grades as a metric of a finished run: a column, and one for each turn, category and judge of a panel."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from benchbench.core.ids import content_hash
from benchbench.core.types import Item, Json, MetricSpec, OutputType, ScoringSpec
from benchbench.extensions.judge.bench import BYTES_PER_TOKEN, Asked, ModelJudge, Panel
from benchbench.extensions.judge.conversations import (
    Conversation,
    answers_of,
    conversations,
    read_labels,
    references_hash,
    shown,
)
from benchbench.extensions.judge.grades import Grades, Place
from benchbench.extensions.judge.options import Scale, with_listed
from benchbench.extensions.judge.prompts import Prompts, own_prompts, read_prompts, single_values
from benchbench.extensions.judge.reliability import agreement_with_people, noise_of
from benchbench.extensions.judge.verdicts import read_grade
from benchbench.extensions.rescore.post_metric import CostEstimate, PostMetricInfo
from benchbench.extensions.rescore.settings import ScoreSettings
from benchbench.extensions.rescore.stored import StoredTask
from benchbench.runner.events import Note, OnEvent, Scoring


class JudgeMetric:
    """See PostMetric. The judge is any model that an engine opens; `judge/options.py` says what it takes."""

    names: ClassVar = frozenset({"model", "args", "prompts", "references", "labels"})

    def __init__(self, settings: ScoreSettings, on_event: OnEvent) -> None:
        """ArgumentError for options that make no sense, or a file of prompts that cannot be used."""
        self._options = with_listed(settings.judge, settings.options)
        self._scale, self._on_event = Scale.of(self._options.scale), on_event
        path = self._options.prompts
        self._prompts: Prompts = own_prompts("single", self._scale) if path is None else read_prompts(path, "single")
        self._panel = Panel(self._options, on_event)
        self._recorded: dict[str, Json] = {}
        self._remarks: list[str] = []
        self._known_before = 0
        """Remarks that were told before anything was asked."""

    def fits(self, output_type: OutputType) -> bool:
        """See PostMetric."""
        return output_type == "generate_until"

    def missing(self, task: StoredTask) -> str | None:
        """See PostMetric."""
        if not self._options.models:
            return "is to be judged, and no judge is named: --judge MODEL, BACKEND:MODEL or api:NAME@URL"
        return task.lacks_documents()

    def info(self, task: StoredTask) -> PostMetricInfo:
        """See PostMetric: opens the judges."""
        judges = self._panel.judges(task.results)
        known = conversations(task, self._options)
        identity: dict[str, Json] = {
            "judges": [dict(judge.identity) for judge in judges],
            "prompts": f"{self._prompts.source}:{self._prompts.hash}",
            "references": references_hash(list(known.values())),
            "scale": str(self._scale),
            "repeats": self._options.repeats,
        }
        named = "+".join(dict.fromkeys(judge.name for judge in judges))
        name = f"judge:{named}@{content_hash(identity, digits=6)}"
        self._recorded, self._remarks = {}, list(self._about(task, judges))
        self._known_before = len(self._remarks)
        return PostMetricInfo(
            metric=MetricSpec(name, "mean", True, identity, (self._scale.low, self._scale.high)),
            signature=self._signature(judges),
            facts={**identity, "versions": [dict(judge.facts) for judge in judges]},
            recorded=self._recorded,
            parts=tuple(_parts(list(known.values()), [judge.name for judge in judges])),
            every_filter=False,
            remarks=self._remarks,
        )

    def _signature(self, judges: Sequence[ModelJudge]) -> str:
        each = [
            f"judge:{one.name}|weights:{one.weights[:12]}|revision:{one.identity['revision'] or '-'}" for one in judges
        ]
        sampling = f"temperature:{self._options.temperature:g}|repeats:{self._options.repeats}"
        return "|".join([*each, f"prompts:{self._prompts.source}:{self._prompts.hash}", sampling])

    def _about(self, task: StoredTask, judges: Sequence[ModelJudge]) -> Iterator[str]:
        contestant = task.record.backend.model_identity
        for judge in judges:
            if contestant is not None and judge.weights == contestant:
                text = f"the judge {judge.name} is the contestant itself: it grades its own answers"
                self._on_event(Note(f"{task.name}: {text}."))
                yield text

    def estimate(self, task: StoredTask) -> CostEstimate:
        """See EstimatesCost: of all judgements, whether or not some are kept."""
        asked = list(self._asked(task, conversations(task, self._options)).values())
        each = max(1, len(self._options.models))
        read = sum(one.size for one in asked) // BYTES_PER_TOKEN
        return CostEstimate(each * len(asked), each * read, each * len(asked) * self._options.max_gen_toks)

    def items(self, spec: ScoringSpec, task: StoredTask, live: Path) -> Sequence[Item]:
        """See PostMetric. What was judged before the budget was spent, or the judge went away, is kept."""
        known = conversations(task, self._options)
        asked = self._asked(task, known)
        name = spec.metrics[0].name
        grades = [self._grades(judge, asked, task.name, name) for judge in self._panel.judges(task.results)]
        self._tell(grades, known, task)
        return [_scored(item, known[item.doc_id], grades, name) for item in task.items]

    def close(self) -> None:
        """See PostMetric."""
        self._panel.close()

    def _asked(self, task: StoredTask, known: Mapping[int, Conversation]) -> dict[Place, Asked]:
        """Every judgement of the task, in the order of docs, answers, turns."""
        found = {}
        for item in task.items:
            conversation = known[item.doc_id]
            turns = len(conversation.questions)
            for repeat, answers in enumerate(answers_of(item, turns) if shown(item) else ()):
                for turn in range(turns):
                    system, text = self._prompt(conversation, answers[: turn + 1])
                    for again in range(self._options.repeats):
                        found[item.doc_id, repeat, turn, again] = Asked(system, text, again)
        return found

    def _prompt(self, conversation: Conversation, answers: Sequence[str]) -> tuple[str, str]:
        turns = len(answers)
        template = self._prompts.template(turns=turns, reference=bool(conversation.references))
        values = single_values(conversation.questions[:turns], answers, conversation.references[:turns])
        return template.filled({**conversation.extra(), **values})

    def _grades(self, judge: ModelJudge, asked: Mapping[Place, Asked], task: str, metric: str) -> Grades:
        known = judge.known()
        done = sum(judge.key(one) in known for one in asked.values())
        self._on_event(Scoring(task, metric, len(asked), done))
        judged = dict(zip(asked, judge.judged(list(asked.values())), strict=True))
        return Grades(
            judge.name,
            {
                place: None
                if said.text is None
                else read_grade(said.text, f"{asked[place].system}\n{asked[place].text}", self._scale)
                for place, said in judged.items()
            },
            sum(said.text is None for said in judged.values()),
        )

    def _tell(self, grades: Sequence[Grades], known: Mapping[int, Conversation], task: StoredTask) -> None:
        """What a reader should know besides the mean: verdicts that say nothing, the judge's noise, people's grades."""
        spent = self._panel.spent
        for one in grades:
            counts: dict[str, Json] = {
                "judgements": len(one.by_place), "unparsable": one.unparsable, "failed": one.failed
            }  # fmt: skip
            self._recorded[f"counts of {one.judge}"] = counts
            if one.unparsable or one.failed:
                failed = f", {one.failed} could not be made" if one.failed else ""
                self._remarks.append(
                    f"{one.unparsable} of {len(one.by_place)} verdicts of {one.judge} could not be read{failed};"
                    " they count nowhere"
                )
        noise = noise_of(grades, known, self._options.repeats)
        if noise is not None:
            self._remarks.append(noise)
        if self._options.labels is not None:
            labels = read_labels(self._options.labels, known, str(task.record.model))
            self._remarks += [agreement_with_people(one, labels) for one in grades]
        told = self._remarks[self._known_before :]
        self._recorded["spent"] = {"prompt_tokens": spent.prompt_tokens, "tokens": spent.tokens, **spent.served}
        for text in (*told, spent.sentence()):
            self._on_event(Note(f"{task.name}: {text[:1].upper()}{text[1:]}."))


def _parts(known: Sequence[Conversation], judges: Sequence[str]) -> list[str]:
    """Names of the further columns: turns where there are several, categories, the judges of a panel."""
    turns = max((len(one.questions) for one in known), default=1)
    categories = sorted({one.category for one in known if one.category is not None})
    panel = list(dict.fromkeys(judges)) if len(judges) > 1 else []
    names = [*(f"turn{n}" for n in range(1, turns + 1) if turns > 1), *categories, *panel]
    return [name for name, count in Counter(names).items() if count == 1]


def _scored(item: Item, conversation: Conversation, grades: Sequence[Grades], name: str) -> Item:
    """The item with its mean grade over turns, and its parts. A turn that some judge gave no grade has none."""
    turns = range(len(conversation.questions))
    each = [[_mean(one.of(item.doc_id, turn)) for turn in turns] for one in grades]
    by_turn = [_mean_of_all([by[turn] for by in each]) for turn in turns]
    whole = _mean_of_all(by_turn)
    scores: dict[str, float | None] = {name: whole}
    if len(by_turn) > 1:
        scores |= {f"{name},turn{turn + 1}": by_turn[turn] for turn in turns}
    if conversation.category is not None:
        scores[f"{name},{conversation.category}"] = whole
    if len(grades) > 1:
        scores |= {f"{name},{one.judge}": _mean_of_all(by) for one, by in zip(grades, each, strict=True)}
    return replace(item, scores={**item.scores, **scores})


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _mean_of_all(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _mean(known) if len(known) == len(values) else None

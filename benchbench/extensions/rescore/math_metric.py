"""math_verify: whether answers are equal to the right one as mathematics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchbench.core.errors import ArgumentError, DataError, did_you_mean
from benchbench.core.format import several
from benchbench.core.ids import content_hash
from benchbench.core.patterns import TooMuchWorkError
from benchbench.core.types import Item, Json, MetricSpec, OutputType, RenderedDoc, ScoringSpec
from benchbench.extensions.mathematics import EQUALITIES, Equality, Pair
from benchbench.extensions.mathematics.process import SECONDS, MathProcess
from benchbench.extensions.rescore.post_metric import PostMetricInfo, score_in_blocks
from benchbench.extensions.rescore.settings import ScoreSettings
from benchbench.extensions.rescore.stored import StoredTask
from benchbench.runner.events import Note, OnEvent
from benchbench.runner.programs import usual_jobs
from benchbench.scoring.filters import THINK, FilterContext, never_ends, without_reasoning

BLOCK = 128
"""Pairs between two lines of what is known."""
CODES: Mapping[Equality, float] = {name: 1.0 - place for place, name in enumerate(EQUALITIES)}
"""What a comparison came to, as a number; 1 is equal."""
OPTIONS = ("gold", "think_start", "think_end")


class MathVerify:
    r"""Share of answers that math-verify finds equal to the right one.

    Options: `gold` names the field in which the right answer is looked for, such as a worked solution; without it, that
    is each of the task's targets, as mathematics. `think_end` (and `think_start`) are the tags of a thought, which is
    left out. The whole answer is read, whatever the task's filters leave of it.
    """

    def __init__(self, settings: ScoreSettings, on_event: OnEvent) -> None:
        self._options, self._on_event = settings.options, on_event
        self._jobs = settings.programs.program_jobs or usual_jobs()
        self._process: MathProcess | None = None
        for name in self._options:
            if name not in OPTIONS:
                raise ArgumentError(
                    f"math_verify has no option {name!r}; it has {', '.join(OPTIONS)}.{did_you_mean(name, OPTIONS)}"
                )

    def fits(self, output_type: OutputType) -> bool:
        """See PostMetric."""
        return output_type == "generate_until"

    def missing(self, task: StoredTask) -> str | None:
        """See PostMetric."""
        return task.lacks_documents() if "gold" in self._options else None

    def info(self, task: StoredTask) -> PostMetricInfo:
        """See PostMetric: starts the process."""
        version = self._opened().version
        kwargs: dict[str, Json] = {**self._options, "seconds": SECONDS}
        facts: dict[str, Json] = {"math_verify": {**kwargs, "version": version}}
        metric = MetricSpec("math_verify", "mean", higher_is_better=True, kwargs=kwargs, bounds=(0.0, 1.0))
        return PostMetricInfo(metric, f"math_verify:{version}", facts, every_filter=False)

    def items(self, spec: ScoringSpec, task: StoredTask, live: Path) -> Sequence[Item]:
        """See PostMetric."""
        docs = task.documents if "gold" in self._options else {}
        asked: dict[int, list[list[Pair]]] = {}
        for place, item in enumerate(task.items):
            if item.outcome != "failed":
                golds = self._golds(item, docs)
                asked[place] = [[Pair(gold, text) for gold in golds] for text in self._answers(item)]
        keys = {
            pair: content_hash([pair.gold, pair.answer]) for texts in asked.values() for some in texts for pair in some
        }
        process = self._opened()

        def score(pairs: Sequence[Pair]) -> list[float]:
            return [CODES[one] for one in process.compare(pairs)]

        wanted = {key: pair for pair, key in keys.items()}
        found = score_in_blocks(wanted, score, spec=spec, live=live, size=BLOCK, on_event=self._on_event)
        best = {place: [max(found[keys[one]] for one in some) for some in texts] for place, texts in asked.items()}
        self._tell(task.name, Counter(code for codes in best.values() for code in codes), task.items)
        (name,) = (metric.name for metric in spec.metrics)
        return [
            replace(item, scores={**item.scores, name: _share(best[place]) if place in best else None})
            for place, item in enumerate(task.items)
        ]

    def _golds(self, item: Item, docs: Mapping[int, RenderedDoc]) -> list[str]:
        if "gold" not in self._options:
            return [f"${target}$" for target in item.targets]
        fields = docs[item.doc_id].doc.fields
        if self._options["gold"] not in fields:
            raise DataError(
                f"{item.task}: math_verify looks for the right answer in the field {self._options['gold']!r}, which "
                f"document {item.doc_id} has not; it has {', '.join(fields)}."
            )
        return [str(fields[self._options["gold"]])]

    def _answers(self, item: Item) -> Sequence[str]:
        if not (tags := self._tags()):
            return item.texts
        try:
            return without_reasoning(item.texts, FilterContext(), **tags)
        except TooMuchWorkError:
            return [""] * len(item.texts)

    def _tags(self) -> dict[str, str]:
        """Start and end of a thought; empty where none are declared."""
        if not any(name.startswith("think_") for name in self._options):
            return {}
        start, end = self._options.get("think_start", THINK[0]), self._options.get("think_end", THINK[1])
        return {"start": start, "end": end}

    def _tell(self, task: str, counts: Counter[float], items: Sequence[Item]) -> None:
        words = [f"{counts[CODES[one]]:,} {told}" for one, told in EQUALITIES.items() if counts[CODES[one]]]
        self._on_event(Note(f"{task}: {several(sum(counts.values()), 'answer')}: {', '.join(words)}."))
        tags = self._tags()
        if tags and (cut := sum(never_ends(text, **tags) for item in items for text in item.texts)):
            self._on_event(Note(f"{task}: {several(cut, 'thought')} cut off before {tags['end']}: nothing to compare."))

    def close(self) -> None:
        """See PostMetric."""
        if self._process is not None:
            self._process.close()

    def _opened(self) -> MathProcess:
        if self._process is None:
            self._process = MathProcess(self._jobs)
        return self._process


def _share(codes: Sequence[float]) -> float:
    return sum(code == 1.0 for code in codes) / len(codes)

"""A verdict on the checkpoints of a run: its figures, and the sentence that says them.

Never "converged", never "the same as": what was seen, and what could have been.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from benchbench.core.format import number, probability, several, step_name
from benchbench.stats.difference import Reach
from benchbench.stats.noise import Gain, Noise
from benchbench.stats.series import TaskSignal
from benchbench.stats.testing import ALPHA, Family

SHOWN_DROPS = 3

SweepOutcome = Literal["improving", "plateau", "no detectable improvement", "regressed", "too little data"]


Kind = Literal["last", "trend", "last part", "pair", "whole trend"]
"""What a contrast compares: the last checkpoint with the mean of those before it; the slope over the late half; the
last with the one a fifth earlier; the last with one earlier one; the slope over all."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A contrast that rose or fell, and how sure that is."""

    kind: Kind
    start: int
    """Position of the earliest checkpoint in it."""
    gain: Gain
    """Positive is better. Of a trend: per doubling of steps."""
    p: float
    """One-sided, adjusted for everything: below 0.05 is a claim."""


@dataclass(frozen=True, slots=True)
class StepTest:
    """Two checkpoints compared."""

    start: int
    """Position of the earlier checkpoint."""
    end: int
    gain: Gain
    """Later minus earlier; positive is better."""
    p: float
    """One-sided; of this look alone in the sequence, adjusted for all neighbours in `drops`."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What the tests found. Gains are positive where the later checkpoint is better."""

    since: int
    """Position of the checkpoint from which the newest part of the training is counted."""
    recent: Gain
    """What the newest part bought: from `since` to the last."""
    lowest: int
    """Position of the lowest earlier checkpoint, from which the sequence of tests starts."""
    start: int
    """Position of X*, the earliest checkpoint after the lowest that the last is not detectably better than; the last
    itself if it is better than all of these; 0 where nothing rose. Where the run regressed: of the highest one."""
    gain: Gain
    """From X* to the last; where that is the last itself, from the one before it."""
    detectable: float
    """Smallest gain since X* that the test of this look would have found with 80 % power, were the noise its median."""
    lately: Claim
    """The surest sign that it still improves."""
    ever: Claim
    """The surest sign that the last checkpoint is better than earlier ones."""
    fall: Claim
    """The surest sign that it is worse."""
    noise: Noise
    sequence: tuple[StepTest, ...]
    """The tests that lead to X*, in order."""
    drops: tuple[StepTest, ...]
    """Neighbours between which the score fell by more than noise explains."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What can be said of one task over the checkpoints of a run."""

    outcome: SweepOutcome
    steps: tuple[int, ...]
    values: tuple[float, ...]
    """The metric at each checkpoint, in its own unit and direction."""
    n: int
    """Items with a score at every checkpoint."""
    n_clusters: int | None
    higher_is_better: bool
    delta: float
    """Margin below which a gain counts as none."""
    chance: float | None
    family: Family
    """Which looks and tasks the claims are adjusted for."""
    findings: Findings | None
    """None with too little data."""
    signal: TaskSignal | None
    paired: bool
    """The checkpoints answered the same items, and were compared item by item."""
    reason: str | None = None
    """Why there is too little data."""
    is_share: bool | None = None
    """The metric is a share of 1, so that differences are percentage points; None: as its values look."""

    @property
    def start(self) -> int:
        """Position of X*; of the last checkpoint with too little data."""
        return len(self.steps) - 1 if self.findings is None else self.findings.start

    @property
    def since(self) -> int:
        """The step of X*."""
        return self.steps[self.start]

    @property
    def detectable(self) -> float | None:
        """Smallest gain since X* that would have been found with 80 % power."""
        return None if self.findings is None else self.findings.detectable

    @property
    def looks(self) -> int:
        """How many looks the claims are adjusted for."""
        return self.family.num_looks(len(self.steps))

    @property
    def short(self) -> str:
        """The outcome in a few words, with its step where there is one."""
        return short(self)

    def sentence(self, task: str, metric: str, *, is_share: bool | None = None) -> str:
        """The verdict in words, for the task and metric so named; `is_share` where it is known of the metric."""
        return sentence(self if is_share is None else replace(self, is_share=is_share), task, metric)


def sentence(verdict: Verdict, task: str, metric: str) -> str:
    """What the newest part bought, the verdict, then what limits it: power, noise, drops, chance, adjustment."""
    better = "" if verdict.higher_is_better else ", lower is better"
    head = f"{task} {metric} ({counted(verdict.n, verdict.n_clusters)}{better}):"
    found = verdict.findings
    if found is None:
        return f"{head} too little data: {verdict.reason}. {_chance(verdict)}".rstrip()
    parts = (
        _recent(verdict, found),
        _finding(verdict, found),
        _power(verdict, found),
        _pairing(verdict),
        _noise(verdict, found),
        _drops(verdict, found),
        _chance(verdict),
        _adjusted(verdict),
    )
    return " ".join([head, *(part for part in parts if part)])


def short(verdict: Verdict) -> str:
    """The outcome in a few words: `rose until 63k, nothing detectable since`."""
    since, found = step_name(verdict.since), verdict.findings
    match verdict.outcome, verdict.start > 0:
        case "no detectable improvement", True:
            return f"rose until {since}, nothing detectable since"
        case "plateau", True:
            return f"rose until {since}, plateau since"
        case "improving" | "regressed", _ if found is not None:
            claim = found.fall if verdict.outcome == "regressed" else found.lately
            return (
                f"{verdict.outcome} since {step_name(verdict.steps[claim.start])}" if claim.p < ALPHA else "improving"
            )
        case _:
            return verdict.outcome


def counted(n: int, n_clusters: int | None) -> str:
    """`n=900`, or `n=900 in 488 clusters`."""
    return f"n={n}" if n_clusters is None else f"n={n} in {n_clusters} clusters"


def size(value: float, *, share: bool, sign: bool = False) -> str:
    """A difference in percentage points where scores are shares of 1, else in the metric's own unit."""
    if share:
        return f"{number(100 * value, 2, sign=sign)} pp"
    return number(value, 2 if abs(value) >= 10 else 4, sign=sign)


def failed(reach: Reach, where: str, what: str, *, share: bool) -> str:
    """What docs that failed on one side could hide."""
    low, high = (size(end, share=share, sign=True) for end in (reach.low, reach.high))
    turns = ", of either sign" if reach.low < 0 < reach.high else ""
    docs = several(reach.missing, "doc")
    return f"Left out: {docs} that failed {where}; with them {what} could lie anywhere from {low} to {high}{turns}."


def _p(p: float) -> str:
    shown = probability(p)
    return f"p{shown}" if shown.startswith("<") else f"p={shown}"


def newest_sentence(verdict: Verdict) -> str:
    """What the newest part bought, as a sentence of its own; empty with too little data."""
    return "" if verdict.findings is None else _capital(_recent(verdict, verdict.findings))


def _recent(verdict: Verdict, found: Findings) -> str:
    since, last = verdict.steps[found.since], verdict.steps[-1]
    part = f"the last {step_name(last - since)} steps ({step_name(since)}→{step_name(last)})"
    return f"{part} bought {with_interval(verdict, found.recent)}{_by_chance(verdict, found)}."


def _by_chance(verdict: Verdict, found: Findings) -> str:
    """Where the interval of this one look leaves 0 out, and the looks and tasks together make it no claim."""
    low, high = found.recent.interval()
    claimed = found.lately.p < ALPHA if low > 0 else found.fall.p < ALPHA
    if low <= 0 <= high or claimed:
        return ""
    return f", which {_family(verdict)} can bring about by chance"


def _finding(verdict: Verdict, found: Findings) -> str:
    match verdict.outcome:
        case "regressed":
            again = "; it rises again lately" if found.lately.p < ALPHA else ""
            return f"Regressed: {_claim(verdict, found.fall, 'worse', 'falls')}{again}."
        case "improving":
            return f"Improving: {_improving(verdict, found)}."
        case "plateau":
            bound = f"lies within ±δ = {_size(verdict, verdict.delta)}"
            return f"Plateau: {_before(verdict, found)} the change {bound} ({with_interval(verdict, found.gain)})."
        case _:
            return f"{_capital(_before(verdict, found))} no improvement is detectable ({_gain(verdict, found)})."


def _improving(verdict: Verdict, found: Findings) -> str:
    last = step_name(verdict.steps[-1])
    if found.lately.p < ALPHA:
        return _claim(verdict, found.lately, "better", "rises")
    gain = f"{step_name(verdict.steps[-2])} to {last}: {with_interval(verdict, found.gain)}"
    return f"every earlier checkpoint is significantly worse than the last ({last}; {gain})"


def _claim(verdict: Verdict, claim: Claim, than: str, moves: str) -> str:
    """A significant contrast in words."""
    names, last = [step_name(step) for step in verdict.steps], step_name(verdict.steps[-1])
    shown = f"({with_interval(verdict, claim.gain)}; adjusted {_p(claim.p)})"
    match claim.kind:
        case "trend" | "whole trend":
            change = "per doubling of steps"
            return f"from {names[claim.start]} to {last} it {moves}, {change} {shown}"
        case "last":
            return (
                f"the last checkpoint ({last}) is {than} than the mean of {names[claim.start]} to {names[-2]} {shown}"
            )
        case _:
            return f"the last checkpoint ({last}) is {than} than {names[claim.start]} {shown}"


def _before(verdict: Verdict, found: Findings) -> str:
    names, last = [step_name(step) for step in verdict.steps], step_name(verdict.steps[-1])
    if found.start == 0:
        return f"from the first checkpoint ({names[0]}) to the last ({last})"
    since = f"from {names[found.start]} on"
    if found.lowest == 0:
        return f"every checkpoint before {names[found.start]} is significantly worse than the last ({last}); {since}"
    low = f"every checkpoint from the lowest ({names[found.lowest]}) up to {names[found.start - 1]}"
    if found.lowest == found.start - 1:
        low = f"the lowest checkpoint ({names[found.lowest]})"
    return f"{low} is significantly worse than the last ({last}); {since}"


def _gain(verdict: Verdict, found: Findings) -> str:
    bound = "upper" if verdict.higher_is_better else "lower"
    most = _size(verdict, found.gain.upper(), sign=True)
    return f"{with_interval(verdict, found.gain)}, one-sided {bound} bound {most}"


def with_interval(verdict: Verdict, gain: Gain) -> str:
    """`+0.45 pp, 95 % CI −0.43…+1.32`, with the sign that the metric itself moves by."""
    ends = [_size(verdict, end, sign=True) for end in gain.interval()]
    low, high = ends if verdict.higher_is_better else ends[::-1]
    shown = _size(verdict, gain.value, sign=True)
    return f"{shown}, 95 % CI {low.removesuffix(' pp')}…{high.removesuffix(' pp')}"


def _size(verdict: Verdict, value: float, *, sign: bool = False) -> str:
    """A gain; with `sign` as the metric moves, which falls where lower is better."""
    turned = -value if sign and not verdict.higher_is_better else value
    return size(turned, share=_is_share(verdict), sign=sign)


def _is_share(verdict: Verdict) -> bool:
    if verdict.is_share is not None:
        return verdict.is_share
    return verdict.higher_is_better and all(0 <= value <= 1 for value in verdict.values)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _power(verdict: Verdict, found: Findings) -> str:
    if verdict.outcome not in ("plateau", "no detectable improvement"):
        return ""
    since = step_name(verdict.steps[min(found.start, len(verdict.steps) - 2)])
    could = f"This could have shown a gain of {_size(verdict, found.detectable)} since {since} (80 % power)"
    return f"{could}." if verdict.outcome == "plateau" else f"{could}, so a smaller one cannot be ruled out."


def _pairing(verdict: Verdict) -> str:
    return "" if verdict.paired else "Compared without pairing the docs, which hides small gains."


def _noise(verdict: Verdict, found: Findings) -> str:
    noise, most = found.noise, _size(verdict, found.noise.upper)
    if noise.checkpoints == 0:
        return f"Too few checkpoints to tell their noise, which is allowed to be up to {most}."
    rests = f"from {noise.checkpoints} earlier checkpoints"
    if not noise.is_seen:
        return (
            f"Checkpoint-to-checkpoint noise is not distinguishable from 0, up to {most} ({rests}); it is allowed for."
        )
    return f"Checkpoint-to-checkpoint noise {_size(verdict, noise.tau)}, up to {most} ({rests}), is counted in."


def _drops(verdict: Verdict, found: Findings) -> str:
    if not found.drops:
        return ""
    names = [step_name(step) for step in verdict.steps]
    worst = sorted(found.drops, key=lambda test: test.gain.value)[:SHOWN_DROPS]
    shown = [
        f"{names[test.start]}→{names[test.end]} ({_size(verdict, test.gain.value, sign=True)})"
        for test in sorted(worst, key=lambda test: test.start)
    ]
    more = len(found.drops) - len(shown)
    what = "drops" if verdict.higher_is_better else "changes for the worse"
    return f"Significant {what} between neighbours: {', '.join(shown)}{f' and {more} smaller' if more else ''}."


def _chance(verdict: Verdict) -> str:
    p = None if verdict.signal is None else verdict.signal.above_chance_p
    if p is None or p < ALPHA or verdict.chance is None:
        return ""
    return f"At chance: the last checkpoint is not detectably above guessing ({verdict.chance:.4g})."


def _adjusted(verdict: Verdict) -> str:
    return f"Adjusted for {_family(verdict)}."


def _family(verdict: Verdict) -> str:
    looks = "one look" if verdict.looks == 1 else several(verdict.looks, "look")
    return looks if verdict.family.tasks == 1 else f"{looks} at {several(verdict.family.tasks, 'task')}"

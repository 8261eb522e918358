"""A verdict in words. Never "converged", never "the same as": what was seen, and what could have been."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchbench.stats.power import ALPHA
from benchbench.stats.sweep import LATE_CHECKPOINTS

SHOWN_DROPS = 3

if TYPE_CHECKING:
    from benchbench.stats.difference import Difference
    from benchbench.stats.verdict import Verdict


def sentence(verdict: Verdict, task: str, metric: str) -> str:
    """The verdict's sentence, then what limits it: power, checkpoint noise, drops, chance."""
    clusters = "" if verdict.n_clusters is None else f" in {verdict.n_clusters} clusters"
    head = f"{task} {metric} (n={verdict.n}{clusters}): {_finding(verdict)}."
    more = (_power(verdict), _pairing(verdict), _noise(verdict), _trend(verdict), _drops(verdict), _chance(verdict))
    return " ".join([head, *(part for part in more if part)])


def step_name(step: int) -> str:
    """26500 → `26.5k`, 130000 → `130k`, 600 → `600`: as people write steps, without losing a digit."""
    return f"{step / 1000:g}k" if step >= 1000 and step % 100 == 0 else str(step)


def size(value: float, *, share: bool, sign: bool = False) -> str:
    """A difference in percentage points where scores are shares of 1, else in the metric's own unit."""
    form = "+" if sign else ""
    if share:
        return f"{_minus(f'{100 * value:{form}.2f}')} pp"
    return _minus(f"{value:{form}.2f}" if abs(value) >= 10 else f"{value:{form}.4f}")


def _minus(text: str) -> str:
    return text.replace("-", "\u2212")


def _finding(verdict: Verdict) -> str:
    last = step_name(verdict.steps[-1])
    match verdict.outcome:
        case "too little data":
            return f"too little data: {verdict.reason}"
        case "regressed":
            loss = verdict.losses[0]
            return (
                f"regressed: the last checkpoint ({last}) is significantly worse than {step_name(verdict.since)} "
                f"({_with_interval(verdict, loss.difference)}, Holm-adjusted p={probability(loss.p)})"
            )
        case "improving":
            before = step_name(verdict.steps[-2])
            return (
                f"improving: every earlier checkpoint is significantly worse than the last ({last}), which gains "
                f"{_with_interval(verdict, verdict.gain)} on {before}"
            )
        case "plateau":
            bound = f"any gain is below δ = {_size(verdict, verdict.delta)}"
            return f"plateau: {_before(verdict)} no improvement is detectable and {bound} ({_gain(verdict)})"
        case "no detectable improvement":
            return f"{_before(verdict)} no improvement is detectable ({_gain(verdict)})"


def _before(verdict: Verdict) -> str:
    since, last = step_name(verdict.since), step_name(verdict.steps[-1])
    if verdict.start == 0:
        return f"from the first checkpoint ({since}) to the last ({last})"
    return f"every checkpoint before {since} is significantly worse than the last ({last}); from {since} on"


def _gain(verdict: Verdict) -> str:
    upper = "" if verdict.upper is None else f", one-sided upper bound {_size(verdict, verdict.upper, sign=True)}"
    return f"{_with_interval(verdict, verdict.gain)}{upper}"


def _with_interval(verdict: Verdict, difference: Difference | None) -> str:
    """`+0.45 pp, 95 % CI −0.43…+1.32`."""
    if difference is None:
        return "not known"
    found = difference.interval()
    shown = _size(verdict, difference.value, sign=True)
    if found is None:
        return shown
    ends = [_size(verdict, end, sign=True).removesuffix(" pp") for end in found]
    return f"{shown}, 95 % CI {ends[0]}…{ends[1]}"


def _size(verdict: Verdict, value: float, *, sign: bool = False) -> str:
    return size(value, share=_is_share(verdict), sign=sign)


def _is_share(verdict: Verdict) -> bool:
    if verdict.is_share is not None:
        return verdict.is_share
    return verdict.higher_is_better and all(0 <= value <= 1 for value in verdict.values)


def _power(verdict: Verdict) -> str:
    if verdict.detectable is None or verdict.outcome not in ("plateau", "no detectable improvement"):
        return ""
    could = f"This could have shown a gain of {_size(verdict, verdict.detectable)} (80 % power)"
    return f"{could}." if verdict.outcome == "plateau" else f"{could}, so a smaller one cannot be ruled out."


def _pairing(verdict: Verdict) -> str:
    if verdict.paired or verdict.outcome == "too little data":
        return ""
    return "Compared without pairing the docs, which hides small gains."


def _noise(verdict: Verdict) -> str:
    if verdict.outcome == "too little data":
        return ""
    if verdict.noise is None:
        return (
            f"Checkpoint-to-checkpoint noise not estimated (fewer than {LATE_CHECKPOINTS} late checkpoints): "
            "this is about these files, not about training longer."
        )
    late = f"the last {verdict.noise.checkpoints} checkpoints"
    if verdict.noise.tau == 0:
        return f"Checkpoint-to-checkpoint noise: none beyond the sampling of items ({late})."
    return f"Checkpoint-to-checkpoint noise {_size(verdict, verdict.noise.tau)} ({late}) is counted in."


def _trend(verdict: Verdict) -> str:
    """Said only where the pairs show nothing but all checkpoints together do."""
    found = verdict.trend
    if found is None or verdict.outcome not in ("plateau", "no detectable improvement"):
        return ""
    bounds = found.interval()
    if bounds is None or bounds.low <= 0:
        return ""
    aside = ", checkpoint noise aside" if verdict.noise is None else ""
    per = f"{_with_interval(verdict, found)} per doubling of steps"
    return f"All checkpoints since {step_name(verdict.since)} together do rise{aside}: {per}."


def _drops(verdict: Verdict) -> str:
    if not verdict.drops:
        return ""
    names = [step_name(step) for step in verdict.steps]
    worst = sorted(verdict.drops, key=lambda test: test.difference.value)[:SHOWN_DROPS]
    shown = [
        f"{names[test.start]}→{names[test.end]} ({_size(verdict, test.difference.value, sign=True)})"
        for test in sorted(worst, key=lambda test: test.start)
    ]
    more = len(verdict.drops) - len(shown)
    return f"Significant drops between neighbours: {', '.join(shown)}{f' and {more} smaller' if more else ''}."


def _chance(verdict: Verdict) -> str:
    p = None if verdict.signal is None else verdict.signal.above_chance_p
    if p is None or p < ALPHA or verdict.chance is None:
        return ""
    return f"At chance: the last checkpoint is not detectably above guessing ({verdict.chance:.4g})."


def probability(p: float) -> str:
    """A p-value for people: `.158`, `.0012`, `<.0001`; `1`."""
    if p < 0.0001:
        return "<.0001"
    shown = f"{p:.3f}" if p >= 0.01 else f"{p:.4f}"
    return "1" if shown == "1.000" else shown.removeprefix("0")

"""Weighted means of independent scores: a group of tasks, subjects of a benchmark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from benchbench.stats.difference import satterthwaite
from benchbench.stats.intervals import Interval, t_quantile


class GroupMean(NamedTuple):
    """A weighted mean of scores; stderr and interval are None where a member has no stderr."""

    value: float
    stderr: float | None
    interval: Interval | None


def group_mean(
    values: Sequence[float],
    stderrs: Sequence[float | None],
    degrees: Sequence[int],
    weights: Sequence[float] | None = None,
) -> GroupMean:
    """Mean with SE² = Σ w_g² SE_g², weights scaled to sum 1, members independent.

    The interval uses Satterthwaite's effective degrees of freedom (Biometrics Bulletin 2, 1946), which
    are close to the members' total where they are alike.

    Args:
        values: one score per member.
        stderrs: their standard errors, None where undefined.
        degrees: degrees of freedom behind each standard error.
        weights: for example the members' sizes; equal where None.
    """
    if not values:
        raise ValueError("a group needs at least one member")
    raw = [1.0] * len(values) if weights is None else list(weights)
    total = math.fsum(raw)
    w = [weight / total for weight in raw]
    value = math.fsum(weight * x for weight, x in zip(w, values, strict=True))
    known = [se for se in stderrs if se is not None]
    if len(known) < len(values):
        return GroupMean(value, None, None)
    parts = [(weight * se) ** 2 for weight, se in zip(w, known, strict=True)]
    variance = math.fsum(parts)
    if variance == 0:
        return GroupMean(value, 0.0, Interval(value, value))
    stderr = math.sqrt(variance)
    half = t_quantile(satterthwaite(parts, degrees)) * stderr
    return GroupMean(value, stderr, Interval(value - half, value + half))

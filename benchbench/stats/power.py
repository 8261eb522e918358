"""What a benchmark could have shown: the smallest detectable difference, and how many items a difference needs.

Source: Miller, "Adding Error Bars to Evals", arXiv 2411.00640, §5.
"""

from __future__ import annotations

ALPHA = 0.05
POWER = 0.80
DELTA = 0.005
"""Margin of equivalence unless one is given, as a share of the metric's range: half a percentage point of accuracy."""


def margin(bounds: tuple[float, float] | None, *scores: float) -> float | None:
    """The margin of equivalence for a metric with these bounds; of the scores' mean size where it has none.

    None where the scores are 0 too.
    """
    size = bounds[1] - bounds[0] if bounds is not None else sum(map(abs, scores)) / max(1, len(scores))
    return DELTA * size or None


def z_sum(alpha: float = ALPHA, power: float = POWER) -> float:
    """z_{α/2} + z_β: how many standard errors a difference must be worth; 2.8016 at 5 % and 80 %."""
    from scipy.special import ndtri

    return float(ndtri(1 - alpha / 2) + ndtri(power))


def detectable(stderr: float, *, alpha: float = ALPHA, power: float = POWER) -> float:
    """Smallest true difference that a two-sided test finds with this power, given its standard error.

    For right and wrong, two models of equal score that differ on a share d of n items have stderr √(d/n).
    """
    return z_sum(alpha, power) * stderr


def items_needed(
    difference: float,
    variance: float,
    *,
    resampling: tuple[float, float] = (0.0, 0.0),
    alpha: float = ALPHA,
    power: float = POWER,
) -> float:
    """Items after which a true `difference` is found with this power.

    Args:
        difference: in the score's own unit.
        variance: of the paired difference between items; for right and wrong the share d on which models differ.
        resampling: σ_A²/K_A and σ_B²/K_B, the variances of the two models' item means over repeated generations.
    """
    return z_sum(alpha, power) ** 2 * (variance + sum(resampling)) / difference**2

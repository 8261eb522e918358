"""How far one estimate scatters over other docs of the kind, and how well that is known.

Three corrections of the textbook's Σ(Σψ)²/n², which is too small where few clusters or few docs carry an estimate:

- each cluster's sum is divided by √(1 − h), h being its share of the docs (of the bytes, for bits per byte): a large
  cluster pulls the estimate towards itself and so looks nearer to it than it is. Exact where the sums' variance grows
  with h. Source: Bell & McCaffrey, "Bias reduction in standard errors for linear regression with multi-stage samples",
  Survey Methodology 28 (2002); MacKinnon & White, J. Econometrics 29 (1985): CR2.
- degrees of freedom are those of the effective number of clusters 1/Σh² (Kish, "Survey Sampling", 1965), less one;
- and not more than the sums' own kurtosis allows: K = (Σe²)²/Σe⁴ of C clusters share the scatter between them, so its
  estimate has the relative variance (C/K − 1)/C, which is that of χ² with 2K/(1 − K/C) degrees (Satterthwaite,
  Biometrics Bulletin 2, 1946). This is what few wrong answers in many clusters need.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from benchbench.stats.influence import Floats
from benchbench.stats.intervals import cluster_index

MOST_DEGREES = 1e9
HALF = 0.48
"""A cluster with this share of the docs, about half of them, leaves one other to compare it with."""
TWO = 2.0
"""Effective docs below which an interval would rest on one."""
FEW = 20
"""Effective clusters below which an interval carries a warning."""


class Spread(NamedTuple):
    """The scatter of an estimate, in its own unit."""

    variance: float
    """Of the estimate, with docs of a cluster taken together."""
    alone: float
    """The same, if every doc were a cluster of its own."""
    degrees: float
    """Degrees of freedom behind `variance`."""
    clusters: int
    """Docs that share no cluster count as one each."""
    units: float
    """Effective number of clusters: as many equal ones would do as well."""
    docs: float
    """Effective number of docs, by their shares."""
    largest: float
    """Share of the largest cluster."""

    @property
    def is_clustered(self) -> bool:
        """Do docs share clusters?"""
        return self.units < self.docs * (1 - 1e-12)

    def refusal(self, what: str = "docs") -> str | None:
        """Why there can be no honest interval, or None. `what` is what the shares are of."""
        if self.is_clustered and self.largest >= HALF:
            return f"no interval: one cluster holds {self.largest:.0%} of the {what}"
        return f"no interval: one doc holds {self.largest:.0%} of the {what}" if self.units < TWO else None

    def warning(self, what: str = "docs") -> str | None:
        """What to know when reading the interval, or None."""
        if self.units >= FEW:
            return None
        if self.is_clustered:
            return f"few clusters: {self.clusters}, as good as {self.units:.1f} equal ones"
        uneven = self.units < self.clusters / 2
        return f"few docs hold the {what}: {self.clusters}, as good as {self.units:.1f} equal ones" if uneven else None


def spread(
    influence: ArrayLike, clusters: Sequence[Hashable | None] | None = None, shares: ArrayLike | None = None
) -> Spread | None:
    """The scatter of an estimate from each doc's influence on it. None with fewer than two clusters.

    Args:
        influence: shape (docs,); sums to 0.
        clusters: name of each doc's cluster; None for a doc of its own.
        shares: shape (docs,), what each doc weighs in the estimate (bytes, characters); equal where None.
    """
    psi = np.asarray(influence, dtype=np.float64)
    weights = np.ones(psi.size) if shares is None else np.asarray(shares, dtype=np.float64)
    pulls, weights = psi / psi.size, weights / weights.sum()
    which = cluster_index(clusters, psi.size)
    alone = _squares(pulls, weights)
    if which is None:
        held, squares = weights, alone
    else:
        sums = np.bincount(which, weights=pulls).astype(np.float64)
        held = np.bincount(which, weights=weights).astype(np.float64)
        squares = _squares(sums, held)
    if np.count_nonzero(held) < 2:
        return None
    units = 1 / float(held @ held)
    return Spread(
        variance=float(squares.sum()),
        alone=float(alone.sum()),
        degrees=_degrees(squares, units),
        clusters=int(np.count_nonzero(held)),
        units=units,
        docs=1 / float(weights @ weights),
        largest=float(held.max()),
    )


def _squares(sums: Floats, shares: Floats) -> Floats:
    """Each unit's contribution to the variance."""
    return np.asarray(sums * sums / np.maximum(1 - shares, 1e-12))


def _degrees(squares: Floats, units: float) -> float:
    most = max(units - 1, 1e-3)
    largest = float(squares.max())
    if largest == 0:
        return most
    scaled = squares / largest  # squares of tiny ones would be 0
    alike = float(scaled.sum()) ** 2 / float(scaled @ scaled)
    rest = 1 - alike / squares.size
    return min(most, 2 * alike / rest if rest > 1 / MOST_DEGREES else most)

"""How likely one of k answers passes, estimated from n answers of which c passed."""

from __future__ import annotations

import math


def pass_at_k(n: int, c: int, k: int) -> float:
    """1 − C(n − c, k) / C(n, k): the share of the ways to draw k of the n answers that hold one that passed.

    Without bias for independent answers, unlike 1 − (1 − c/n)^k. Source: Chen et al., "Evaluating Large Language Models
    Trained on Code", arXiv 2107.03374, equation 1.

    Args:
        n: answers to one problem.
        c: those that passed, 0 to n.
        k: 1 to n.

    Raises:
        ValueError: the counts make no sense.
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"pass@{k} of {n} answers of which {c} passed does not exist")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)

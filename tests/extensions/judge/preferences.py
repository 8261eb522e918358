"""A judge whose preferences are known: by worth, by place and by length."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from benchbench.core.ids import content_hash
from benchbench.core.types import GenerateRequest
from tests.extensions.judge.world import lines

_SIDES = re.compile(r"<assistant_A>(.*)</assistant_A>.*<assistant_B>(.*)</assistant_B>", re.DOTALL)
_ANSWER = re.compile(r"<answer>\n(.*?)\n</answer>", re.DOTALL)


def logistic(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def unit(*values: object) -> float:
    """A number from 0 to 1 that follows from the values."""
    return int(content_hash([*map(str, values)], digits=12), 16) / 16**12


def sides(prompt: str) -> tuple[str, str]:
    """The last answers of A and B."""
    found = _SIDES.search(prompt)
    assert found is not None, prompt
    one, two = (_ANSWER.findall(side)[-1] for side in found.groups())
    return one, two


def preferring(
    worth: Mapping[str, float], *, first: float = 0.0, longer: float = 0.0, seed: int = 0
) -> Callable[[str, GenerateRequest], str]:
    """A judge that prefers A with the logistic probability of worth + place + length.

    Args:
        worth: by the word with which a model's answers begin.
        first: what it adds to the answer shown first.
        longer: times the difference of the lengths over their sum.
    """

    def mind(prompt: str, request: GenerateRequest) -> str:
        a, b = sides(prompt)
        gap = worth[a.split()[0]] - worth[b.split()[0]]
        gap += first + longer * (len(a) - len(b)) / (len(a) + len(b))
        return "Well.\n[[A]]" if unit(seed, request.doc_id) < logistic(gap) else "Well.\n[[B]]"

    return mind


def contestant(folder: Path, name: str, docs: int, *, words: float = 10.0) -> str:
    """A table of answers that begin with the model's name, about so many words long; its path."""
    answers = []
    for n in range(docs):
        first, second = (
            f"{name} " + " ".join(["word"] * max(1, round(words * (0.5 + unit(name, n, t))))) for t in (1, 2)
        )
        answers.append({"prompt": f"Question {n}?", "text": first})
        answers.append({"prompt": f"Question {n}?\n{first}\n\nAnd {n} again?", "text": second})
    return str(lines(folder / f"{name}.jsonl", *answers))

"""How far a judge can be relied on: its own noise, and its agreement with people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from benchbench.extensions.judge.conversations import Conversation, Label
from benchbench.extensions.judge.grades import Grades


def noise_of(grades: Sequence[Grades], known: Mapping[int, Conversation], repeats: int) -> str | None:
    """What repeated judgements tell of the judges' noise, as a sentence; None without repetition."""
    from benchbench.stats.judging import judge_noise

    if repeats < 2:
        return None
    by_doc = []
    for doc_id, conversation in known.items():
        turns = range(len(conversation.questions))
        of_doc = []
        for again in range(repeats):
            found = [one.by_place.get((doc_id, 0, turn, again)) for one in grades for turn in turns]
            if found and None not in found:
                of_doc.append(math.fsum(grade for grade in found if grade is not None) / len(found))
        by_doc.append(of_doc)
    noise = judge_noise(by_doc)
    if noise is None:
        return None
    share = "" if noise.share is None else f", {noise.share:.0%} of the squared standard error, which holds it"
    return f"judged {repeats} times, a doc's grade scatters by {noise.sd:.2g} (sd){share}"


def agreement_with_people(grades: Grades, labels: Sequence[Label]) -> str:
    """Cohen's kappa of the judge's grades and people's, both rounded to whole grades, as a sentence."""
    from benchbench.stats.kappa import weighted_kappa

    pairs = []
    for label in labels:
        own = grades.of(label.doc_id, label.turn)
        if own:
            pairs.append((round(label.score), round(math.fsum(own) / len(own)), label.doc_id))
    if len(pairs) < 2:
        return f"{len(pairs)} grades by people meet one of {grades.judge}: too few to tell how far they agree"
    people, judge, docs = zip(*pairs, strict=True)
    found = weighted_kappa(people, judge, clusters=docs)
    plain = weighted_kappa(people, judge, clusters=docs, weights="none")
    return (
        f"with {len(pairs)} grades by people {grades.judge} agrees to kappa {_figure(plain)}, quadratically weighted"
        f" {_figure(found)}"
    )


def _figure(found: tuple[float | None, float | None, float | None]) -> str:
    value, low, high = found
    if value is None:
        return "undefined (one of the two gives every answer the same grade)"
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"

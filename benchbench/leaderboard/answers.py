"""What people come to a leaderboard with, answered in sentences: which model is best and how sure that is, and what the
newest part of a training bought.

They say what the board's intervals and the verdicts say, and no more: two models that may both hold first place are
both named, and a training that cannot be judged is said to be so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchbench.core.format import between, name, number, several, step_name
from benchbench.leaderboard.board import Board, Coverage, Standing
from benchbench.leaderboard.training import Curve, Training
from benchbench.stats.sentence import newest_sentence

MOST_NAMED = 4
ERROR_RATE = "Error rate: 5 %, over all models."


@dataclass(frozen=True, slots=True)
class Best:
    """Who leads a board, of the models that were asked the most usual set of tasks."""

    leader: Standing
    rivals: tuple[Standing, ...]
    """The others that may hold first place, best first."""
    group: Coverage
    board: Board

    @property
    def is_certain(self) -> bool:
        """No other model may hold first place."""
        return self.leader.rank == (1, 1)

    @property
    def sentence(self) -> str:
        """What can be said of first place, without the leader's name at the beginning."""
        return " ".join([self._who(), *self._beside()])

    def _who(self) -> str:
        low, high = (None, None) if self.leader.interval is None else self.leader.interval
        ends = "" if low is None or high is None else f", 95 % CI {between(100 * low, 100 * high, 1)}"
        mean = f"mean {number(100 * self.leader.mean, 1)}{ends}"
        models, tasks = len(self.group.standings), several(len(self.group.variants), "task")
        if models == 1:
            return f"is the only model asked these {tasks} ({mean})."
        if self.leader.rank is None:
            return f"has the highest mean of {models} models on {tasks} ({mean}). {self.group.ranked_by}"
        if self.is_certain:
            return f"is best of {models} models on {tasks} ({mean}): no other may hold first place. {ERROR_RATE}"
        others = models - 1 - len(self.rivals)
        behind = f"; {several(others, 'model')} may not" if others else ""
        return (
            f"leads {models} models on {tasks} ({mean}), not for certain: {self._rivals()} may hold first place, "
            f"too{behind}. {ERROR_RATE}"
        )

    def _rivals(self) -> str:
        named = [name(one.entry.name) for one in self.rivals[:MOST_NAMED]]
        if more := len(self.rivals) - len(named):
            named.append(f"{more} more")
        return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"

    def _beside(self) -> list[str]:
        """What the comparison does not cover."""
        said = []
        if self.board.missing:
            here = len(self.board.tasks)
            said.append(f"{here} of {here + len(self.board.missing)} tasks are here.")
        compared = {id(one.entry) for one in self.group.standings}
        other = {id(one.entry) for group in self.board.groups for one in group.standings} - compared
        if other:
            said.append(f"{several(len(other), 'other model')} lacked some of these tasks, or answered them otherwise.")
        return said


def best_of(board: Board) -> Best | None:
    """Who leads; None for a board without models."""
    if not board.groups:
        return None
    group = board.groups[0]
    leader, *others = group.standings
    return Best(leader, tuple(one for one in others if one.rank is not None and one.rank[0] == 1), group, board)


def bought(training: Training) -> str:
    """What the newest part of a training bought, how sure that is, and from when on it stood where it stands today."""
    curve = main_curve(training)
    if curve.verdict is None or curve.verdict.findings is None:
        why = curve.problem if curve.verdict is None else curve.verdict.reason
        return f"Nothing can be said yet: {why or 'there is too little data'}."
    verdict = replace(curve.verdict, is_share=curve.is_share)
    said = newest_sentence(verdict)
    since = step_name(verdict.since)
    what = f"{name(curve.task)} {name(curve.label)}"
    if verdict.outcome == "improving":
        return f"{said} It still improves ({what})."
    if verdict.outcome == "regressed":
        return f"{said} It has {verdict.short} ({what})."
    if verdict.start == 0:
        return f"{said} No earlier checkpoint is detectably worse than the last ({what})."
    return f"{said} It has stood where it stands today since {since}, as far as can be told ({what})."


def main_curve(training: Training) -> Curve:
    """The mean of all tasks; of a training with one task that task's own."""
    return training.overall or training.main_curves[0]

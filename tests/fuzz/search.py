"""Looks for faults of one kind: draws cases, makes what it finds small, and goes on past what is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, Phase, Verbosity, errors, given, seed, settings

from tests.fuzz.kinds import Case, Kind, look
from tests.fuzz.watch import Fault

USUAL = settings(
    phases=(Phase.generate, Phase.shrink),
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    print_blob=False,
    suppress_health_check=list(HealthCheck),
    verbosity=Verbosity.quiet,
)
SHRINK_SECONDS = 40
DEAR = ("hang", "memory")
"""Faults that cost too much to be made small."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault and the smallest case found for it."""

    kind: str
    case: Case
    fault: Fault


class _FoundError(Exception):
    pass


class _EnoughError(BaseException):
    """Ends the search at once, as an interrupt does."""


@dataclass(slots=True)
class Search:
    """The state of a search over one kind."""

    kind: Kind
    place: Path
    known: Container[str] = ()
    """Names of faults that are passed over."""
    begun: Callable[[Case], None] = lambda _: None
    """Called with every case before it is tried."""
    tried: int = 0
    findings: list[Finding] = field(default_factory=list)
    _until: float = 0.0
    _found: Finding | None = None

    def run(self, tries: int, *, start: int) -> list[Finding]:
        """Tries so many cases, drawn from `start`; every fault that is not known is found once."""
        while self.tried < tries:
            before = self.tried
            self._found = None
            self._look_for_one(tries - self.tried, start + len(self.findings))
            if self._found is not None:
                self.findings.append(self._with_one_edit(self._found))
            elif self.tried == before:
                break
        return self.findings

    def _look_for_one(self, tries: int, start: int) -> None:
        @seed(start)
        @settings(USUAL, max_examples=tries)
        @given(self.kind.cases(self.place))
        def one(case: Case) -> None:
            self._try(case)

        try:
            one()
        except (_FoundError, _EnoughError, errors.Flaky, ExceptionGroup):
            return

    def _try(self, case: Case) -> None:
        self.begun(case)
        self.tried += self._found is None
        faults = look(self.kind, case, self.place)
        if any(fault.what == "hang" for fault in faults):  # where other programs work too, one may be slow for once
            faults = look(self.kind, case, self.place)
        for fault in faults:
            if self._is_wanted(fault):
                if self._found is None:
                    self._until = time.monotonic() + SHRINK_SECONDS
                self._found = Finding(self.kind.name, case, fault)
                if fault.what in DEAR:
                    raise _EnoughError
                raise _FoundError(fault.name)
        if self._found is not None and time.monotonic() > self._until:
            raise _EnoughError

    def _with_one_edit(self, found: Finding) -> Finding:
        """With the edit that is enough alone, where one is."""
        for edit in found.case.edits if len(found.case.edits) > 1 else ():
            case = Case(found.case.command, (edit,))
            self.begun(case)
            if any(fault.name == found.fault.name for fault in look(self.kind, case, self.place)):
                return Finding(found.kind, case, found.fault)
        return found

    def _is_wanted(self, fault: Fault) -> bool:
        if self._found is not None:
            return fault.name == self._found.fault.name
        return fault.name not in self.known and all(fault.name != one.fault.name for one in self.findings)

"""Runs the tests: once with coverage, then for each mutant those that execute its lines, in a process of its own.

A parent process imports the libraries and nothing of benchbench; each run is a fork of it, in which the changed module
is imported instead of the one on disk. So a mutant costs what its tests cost, and constants of modules can be changed.
(mutmut 3.8 changes the bodies of functions only, and draws no sample; cosmic-ray 8.7 runs one and the same command for
every mutant, on files that it changes in the checkout.)
"""

from __future__ import annotations

import ast
import json
import math
import os
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import _lru_cache_wrapper
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest

from tests.mutation.mutants import Mutant, changed

REPO = Path(__file__).resolve().parent.parent.parent
OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0")
QUICK = "not slow and not browser and not slurm and not comet and not vllm and not gguf and not network"
"""Marks of the tests that are run."""
LEAST_SECONDS, TIMES = 20.0, 4.0
"""A mutant that computes this long, and as many times longer than its tests took, has made them hang; one that waits
has five times as long. Seconds of the processor, because a machine that others use, too, is slow at times."""
WAITS = 5.0
OUTCOMES = {0: "survived", -signal.SIGXCPU: "hangs"}
"""Exit code of a mutant's tests → what became of it; of any other: killed."""


@dataclass(frozen=True, slots=True)
class Covered:
    """What one run of the tests has shown."""

    lines: Mapping[str, Mapping[int, frozenset[str]]]
    """File → line → the tests, or files of tests, that execute it; "" where that was at import."""
    seconds: Mapping[str, float]
    """How long each test and its children used a processor, which other work on the machine does not change."""

    def tests_of(self, mutant: Mutant) -> list[str]:
        """The tests that execute a mutant's lines, quick ones first.

        What is executed while a fixture is set up is executed for all tests of the file. Where the lines run at import,
        it is every test that executes anything of the module.
        """
        lines = self.lines.get(str(mutant.path), {})
        wanted = lines if mutant.at_import else range(mutant.first_line, mutant.last_line + 1)
        names = {name for line in wanted for name in lines.get(line, ())}
        found = [test for test in self.seconds if test in names or test.partition("::")[0] in names]
        return sorted(found, key=self.seconds.__getitem__)


@dataclass
class Watch:
    """A plugin of pytest: no shrinking and no memory for hypothesis, and on request who executes what."""

    coverage: Any = None
    seconds: Counter[str] = field(default_factory=Counter)

    def pytest_configure(self) -> None:
        from hypothesis import Phase, settings

        quick = settings(deadline=None, database=None, phases=(Phase.explicit, Phase.generate))
        settings.register_profile("mutation", quick)
        settings.load_profile("mutation")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        start = sum(os.times()[:4])
        result = yield
        self.seconds[item.nodeid] += sum(os.times()[:4]) - start
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        self.enter(item.nodeid.partition("::")[0])
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        self.enter(item.nodeid)
        return (yield)

    def enter(self, name: str) -> None:
        if self.coverage is not None:
            forget()
            self.coverage.switch_context(name)


def forget() -> None:
    """Empties the caches of benchbench's functions, so that every test is seen to execute what it asks for."""
    for name, module in list(sys.modules.items()):
        if name.startswith("benchbench."):
            for function in list(vars(module).values()):
                if isinstance(function, _lru_cache_wrapper):
                    function.cache_clear()


class Instead(SourceFileLoader, MetaPathFinder):
    """Imports a module's file with other code."""

    def __init__(self, path: Path, tree: ast.Module) -> None:
        name = ".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__")
        super().__init__(name, str(path))
        self.code = compile(tree, str(path), "exec")

    def get_code(self, fullname: str) -> CodeType:
        return self.code

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return spec_from_file_location(name, self.path, loader=self) if name == self.name else None


def run_pytest(arguments: Sequence[str], watch: Watch, folder: Path) -> int:
    """Runs tests in this process, silently."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    return int(pytest.main([*OPTIONS, f"--basetemp={folder}", *arguments], plugins=[watch]))


def fork(work: Callable[[], int]) -> int:
    """Starts a process that does some work and ends with its result; returns its number, also that of its group."""
    child = os.fork()
    if child:
        return child
    os.setsid()
    code = 70
    with suppress(BaseException):  # whatever comes out of a mutant ends its process
        code = work()
    os._exit(code)


def cover(tests: Sequence[str], sources: Sequence[str], jobs: int, folder: Path) -> tuple[Covered, list[str]]:
    """Runs the tests once, some files in each process; also names the libraries that they import.

    Raises:
        RuntimeError: a test fails without any change.
    """
    files = sorted(str(file) for test in tests for file in _files(REPO / test))
    parts = [(files[i::jobs], folder / f"covered{i}") for i in range(jobs)]
    children = [fork(lambda f=part, p=place: _cover(f, sources, p)) for part, place in parts]  # type: ignore[misc]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    if any(codes):
        raise RuntimeError(f"the tests fail as they are (pytest ended with {codes}): {' '.join(tests)}")
    lines: dict[str, dict[int, frozenset[str]]] = {}
    seconds, others = dict[str, float](), set[str]()
    for _, place in parts:
        read, took, names = json.loads(place.with_suffix(".json").read_text(encoding="utf-8"))
        seconds |= took
        others |= set(names)
        for path, known in read.items():
            for line, contexts in known.items():
                found = lines.setdefault(path, {})
                found[int(line)] = found.get(int(line), frozenset()) | frozenset(contexts)
    return Covered(lines, seconds), sorted(others)


def _files(test: Path) -> Iterable[Path]:
    return [test] if test.is_file() else test.rglob("test_*.py")


def _cover(tests: Sequence[str], sources: Sequence[str], place: Path) -> int:
    from coverage import Coverage

    coverage = Coverage(data_file=None, source=[str(REPO / source) for source in sources], config_file=False)
    watch = Watch(coverage)
    coverage.start()
    code = run_pytest([*tests, "-m", QUICK], watch, place)
    coverage.stop()
    data = coverage.get_data()
    lines = {path: data.contexts_by_lineno(path) for path in data.measured_files()}
    others = [name for name in sys.modules if name.partition(".")[0] not in ("benchbench", "tests", "__main__")]
    place.with_suffix(".json").write_text(json.dumps([lines, watch.seconds, others]), encoding="utf-8")
    return code


def import_all(names: Sequence[str]) -> None:
    """Imports libraries once for all forks."""
    for name in names:
        if name not in sys.modules:
            with suppress(Exception):  # a part of a library that only it itself may import
                import_module(name)


def judge(
    mutants: Sequence[Mutant], covered: Covered, jobs: int, most: float, folder: Path
) -> Iterator[tuple[Mutant, str]]:
    """Each mutant with what became of it, as they end: `killed`, `hangs`, `survived`, or `not run` by any test.

    Args:
        most: seconds of a processor for the tests of one mutant, at most; the quickest are taken.
    """
    waiting, running = list(reversed(mutants)), dict[int, tuple[Mutant, float]]()
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            tests, seconds = _within(covered, covered.tests_of(mutant), most)
            if not tests:
                yield mutant, "not run"
                continue
            place = folder / str(len(waiting))
            most_seconds = LEAST_SECONDS + TIMES * seconds
            child = fork(lambda m=mutant, t=tests, p=place, s=most_seconds: _attack(m, t, p, s))  # type: ignore[misc]
            running[child] = mutant, time.monotonic() + WAITS * most_seconds
        yield from _ended(running)


def _within(covered: Covered, tests: Sequence[str], most: float) -> tuple[list[str], float]:
    total, taken = 0.0, []
    for test in tests:
        if taken and total + covered.seconds[test] > most:
            break
        total += covered.seconds[test]
        taken.append(test)
    return taken, total


def _attack(mutant: Mutant, tests: Sequence[str], folder: Path, seconds: float) -> int:
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds), math.ceil(seconds) + 5))
    sys.meta_path.insert(0, Instead(mutant.path, changed(mutant)))
    return run_pytest(tests, Watch(), folder)


def _ended(running: dict[int, tuple[Mutant, float]]) -> Iterator[tuple[Mutant, str]]:
    """Those of the running that have ended, or must."""
    time.sleep(0.05)
    for child, (mutant, end) in list(running.items()):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            outcome = OUTCOMES.get(os.waitstatus_to_exitcode(status), "killed")
        elif time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            outcome = "hangs"
        else:
            continue
        del running[child]
        yield mutant, outcome

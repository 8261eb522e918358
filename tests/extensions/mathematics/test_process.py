"""math-verify in its process: right and wrong answers, and those that would hang, fill or end it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from benchbench.core.errors import BackendError
from benchbench.extensions.mathematics import Pair, process
from benchbench.extensions.mathematics.process import MathProcess


@pytest.fixture(scope="module")
def running() -> Iterator[MathProcess]:
    pytest.importorskip("math_verify", reason="install the extra [math]")
    one = MathProcess(2)
    yield one
    one.close()


PAIRS = [
    (r"$\frac{1}{2}$", "I get $0.5$", "equal"),
    ("$(1,1)$", r"so \boxed{(1,1)}", "equal"),
    ("$[2,5)$", "$[2,5)$", "equal"),
    ("$x=3$", "$3$", "equal"),
    ("$1$", "\ud800 $1$", "equal"),
    ("$7$", "the answer is 8", "different"),
    ("$5$", "no numbers here", "unread"),
    ("$5$", "x" * 200_000, "unread"),
    ("$5$", r"$\frac{" * 500 + "$", "different"),
]


def test_answers_are_compared_as_mathematics(running: MathProcess) -> None:
    found = running.compare([Pair(gold, answer) for gold, answer, _ in PAIRS])
    assert found == [expected for _, _, expected in PAIRS]


def test_a_hostile_answer_costs_its_own_time_and_nothing_else(
    running: MathProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "SECONDS", 1.0)
    hostile = [
        "$9^{9^{9^{9}}}$",
        "$" + "(" * 5000 + "1" + ")" * 5000 + "$",
        "$10000000!!$",
        r"$\sum_{n=1}^{10^{12}} n!$",
    ]
    began = time.monotonic()
    found = running.compare([Pair("$5$", text) for text in (*hostile, "$5$")])
    assert found[-1] == "equal"
    assert set(found[:-1]) <= {"slow", "died", "different"}
    assert time.monotonic() - began < 30
    assert running.compare([Pair("$5$", "$5$")]) == ["equal"]


def test_one_that_wants_too_much_memory_dies_alone(running: MathProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MEMORY", 1 << 20)
    assert running.compare([Pair("$5$", "$" + "1+" * 200_000 + "1$")]) == ["died"]
    monkeypatch.undo()
    assert running.compare([Pair("$5$", "$5$")]) == ["equal"]


def test_without_the_package_the_sentence_says_what_to_install(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "math_verify.py").write_text("raise ImportError('nothing here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(BackendError, match=r"math_verify needs the package math-verify \(ImportError: nothing here\)"):
        MathProcess(1)


def test_a_process_that_ends_is_told(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text('print(\'{"ready": "0"}\', flush=True)\ninput()\n')
    monkeypatch.setattr(process, "WORKER", worker)
    one = MathProcess(1)
    with pytest.raises(BackendError, match="answered 0 of 1 pairs and ended"):
        one.compare([Pair("1", "1")])
    one.close()

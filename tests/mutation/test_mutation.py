"""The changes that are made, and that a change which a test notices is told from one that it does not."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPO
from tests.mutation.__main__ import score
from tests.mutation.mutants import changed, changes, mutants_of
from tests.mutation.runs import Covered

SCRIPT = """
import tempfile
from pathlib import Path
from tests.mutation.mutants import mutants_of
from tests.mutation.runs import Covered, judge
path = Path("benchbench/stats/testing.py").resolve()
test = "tests/stats/test_power_multiple.py::test_holm_equals_statsmodels"
names = ("return _back(np.minimum(raised", "return _back(np.minimum(lowered")
mutants = [one for one in mutants_of(path) if one.what.startswith(names)]
found = Covered({str(path): {line: frozenset([test]) for line in range(500)}}, {test: 1.0})
with tempfile.TemporaryDirectory() as folder:
    for mutant, outcome in judge(mutants, found, 1, 60.0, Path(folder)):
        print(mutant.what.split("(")[2].split(",")[0], outcome)
"""


@pytest.mark.parametrize(
    ("code", "after"),
    [
        ("x = a < b", ["a <= b"]),
        ("x = a + 1", ["a - 1", "2"]),
        ("x = a and not b", ["a or not b", "b"]),
        ("x: int = -2.0", ["2.0", "3.0"]),
        ("def f(a: int = 1) -> int:\n    return a", ["2", "return None"]),
        ("if a:\n    b()", ["if not a:", "pass"]),
        ("@cache(1)\nclass A:\n    '''Text.'''\n    b = True", ["False"]),
        ("x = f'{1} text'", []),
        ("if TYPE_CHECKING:\n    x = 1", []),
    ],
)
def test_what_is_changed(code: str, after: list[str], tmp_path: Path) -> None:
    path = tmp_path / "code.py"
    path.write_text(code)
    mutants = mutants_of(path)
    assert [mutant.what.partition(" → ")[2] for mutant in mutants] == after
    texts = [ast.unparse(changed(mutant)) for mutant in mutants]
    assert len({ast.unparse(ast.parse(code)), *texts}) == len(after) + 1
    assert len(list(changes(ast.parse(code)))) == len(after)


def test_a_changed_module_is_told_from_one_that_the_test_does_not_look_at() -> None:
    """In a process of its own, because this one has imported the module already."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["raised killed", "lowered survived"], "the test asks holm alone"


def test_tests_are_those_that_execute_the_line_or_set_up_for_it(tmp_path: Path) -> None:
    path = tmp_path / "code.py"
    path.write_text("A = 1\ndef f():\n    return 2\n")
    lines = {1: frozenset([""]), 3: frozenset(["test_a.py::test_one", "test_b.py"])}
    seconds = {"test_a.py::test_one": 3.0, "test_a.py::test_two": 1.0, "test_b.py::test_three": 2.0}
    covered = Covered({str(path): lines}, seconds)
    constant, _, result = mutants_of(path)[0], *mutants_of(path)[1:3]
    assert covered.tests_of(result) == ["test_b.py::test_three", "test_a.py::test_one"]
    assert covered.tests_of(constant) == ["test_b.py::test_three", "test_a.py::test_one"]


def test_the_score_has_an_interval() -> None:
    from collections import Counter

    said = score(Counter({"killed": 85, "hangs": 5, "survived": 8, "not run": 2}))
    assert said == "killed 90 of 100: 90.0 % [82.6, 94.5]; 8 survived, 2 are run by no test"

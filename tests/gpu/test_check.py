"""The GPU check holds its own promises: on the processor, with parts made for the purpose."""

import json
import subprocess
import sys
import time

import pytest

from tests.gpu import __main__ as check
from tests.gpu.__main__ import DEVICE_ENV, Outcome, Part, arguments, environment, obstacle, run, table


def part(name, **changes):
    return Part(name, "made for the test", 60, **changes)


def running(monkeypatch, text):
    """A part's process runs `text`, which finds where its figures go in sys.argv[1]."""
    monkeypatch.setattr(check, "command", lambda one, figures: [sys.executable, "-c", text, str(figures)])


def test_a_part_that_hangs_is_stopped_with_all_that_it_started(monkeypatch, tmp_path):
    child = "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    running(
        monkeypatch, f"{child}; open(sys.argv[1], 'w').write('{{}}'); print('pid', p.pid, flush=True); time.sleep(600)"
    )
    begin = time.monotonic()
    outcome = run(part("hangs"), "cuda", 6, tmp_path)
    assert outcome.state == "out of time"
    assert time.monotonic() - begin < 30
    pid = int(outcome.why.split()[-1])
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], check=False, capture_output=True, text=True).stdout
    assert state.strip()[:1] in ("", "Z")


def test_a_part_that_fails_keeps_its_figures_and_says_why(monkeypatch, tmp_path):
    running(monkeypatch, "import sys; open(sys.argv[1], 'w').write('{\"GiB\": 1.5}'); raise SystemExit('no memory')")
    outcome = run(part("fails"), "cuda", 60, tmp_path)
    assert (outcome.state, outcome.figures) == ("failed", {"GiB": 1.5})
    assert "no memory" in outcome.why


def test_a_missing_package_and_a_spent_time_are_sentences(tmp_path):
    outcome = run(part("asks", needs=("no_such_package",)), "cuda", 60, tmp_path)
    assert (outcome.state, outcome.why) == ("skipped", "not installed: no_such_package")
    assert run(part("late"), "cuda", 1, tmp_path).state == "out of time"


def test_tests_are_counted(tmp_path):
    (tmp_path / "test_some.py").write_text(
        "import pytest\ndef test_a(): pass\ndef test_b(): assert 0\ndef test_c(): pytest.skip('not here')\n"
    )
    tests = (str(tmp_path / "test_some.py"), "--rootdir", str(tmp_path))
    outcome = run(part("counts", tests=tests), "cpu", 300, tmp_path)
    assert outcome.state == "failed"
    assert outcome.figures == {"passed": 1, "failed": 1, "skipped": 1}


def test_the_parts_fit_into_their_time_and_under_eight_minutes():
    assert sum(one.seconds for one in check.PARTS) <= check.SECONDS < 480
    assert {one.name for one in check.PARTS} == set(arguments([]).parts)


def test_without_a_gpu_it_is_skipped_with_a_sentence(monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.delenv(DEVICE_ENV, raising=False)
    assert check.main([]) == 0
    assert "torch sees no GPU here" in capsys.readouterr().out
    assert obstacle("cpu") is None
    monkeypatch.setattr(check, "ALL_NEED", ("torch", "no_such_package"))
    assert f"{sys.executable} lacks no_such_package." in obstacle("cuda")


def test_the_report_has_every_part_and_figure():
    found = table([Outcome("a", "one", "passed", 1.25, figures={"x": 2}), Outcome("b", "two", "skipped")])
    assert found.splitlines()[2:] == ["| one | passed | 1.2 | x 2 |", "| two | skipped | 0.0 |  |"]


@pytest.mark.parametrize("argv", [["--parts", "speeed"], ["--wheels", "no/such/folder"]])
def test_a_wrong_word_is_refused(argv, capsys):
    with pytest.raises(SystemExit) as stopped:
        arguments(argv)
    assert stopped.value.code == 2
    assert argv[1] in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bf16", "pool", "speed"])
def test_the_same_code_runs_on_the_processor(name, monkeypatch, tmp_path):
    monkeypatch.setenv(DEVICE_ENV, "cpu")
    report = tmp_path / "report.json"
    assert check.main(["--parts", name, "--json", str(report)]) == 0
    (found,) = json.loads(report.read_text())["parts"]
    assert (found["part"], found["state"]) == (name, "passed")
    assert len(found["figures"]) > 3
    assert environment("cpu")["BENCHBENCH_TEST_DEVICE"] == "cpu"

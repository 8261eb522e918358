import sys
from pathlib import Path

import pytest

from benchbench.core.errors import BackendError, ModelError
from benchbench.extensions.comet import Segment
from benchbench.extensions.comet.process import PYTHON_ENV, CometOptions, CometProcess, find_python
from tests.extensions.comet_process.fake import FACTS, expected, fake_python, good_python

LOADS = (
    f"import json, os, signal, sys, time\nsys.stdin.readline()\nprint(json.dumps({{'facts': {FACTS!r}}}), flush=True)\n"
)
SEGMENTS = [Segment("Pes spí.", "Le chien dort.", "Le chien dort bien."), Segment("Ano.", "", "Oui.")]


def options(python, **changes):
    return CometOptions(**{"model": "org/tiny", "python": python, "timeout": 120.0, **changes})


def test_a_process_scores_block_after_block(tmp_path):
    with CometProcess(options(good_python(tmp_path))) as process:
        assert process.model.metric == "comet:tiny"
        assert process.model.sha256 == "ab" * 32
        for _ in range(2):
            assert process.score(SEGMENTS) == [expected(s.source, s.translation, s.reference) for s in SEGMENTS]
        assert process.score([]) == []


def test_a_block_larger_than_a_pipe_goes_through(tmp_path):
    with CometProcess(options(good_python(tmp_path))) as process:
        segments = [Segment("ž" * 500, "é" * number, "ref") for number in range(600)]
        assert process.score(segments) == [expected("ž" * 500, "é" * number, "ref") for number in range(600)]


def test_closing_ends_a_process_that_does_not_end_by_itself(tmp_path):
    process = CometProcess(options(fake_python(tmp_path, LOADS + "while True: time.sleep(1)")))
    process.close()
    assert process._process.poll() is not None


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "import sys; sys.exit('no module named torch')",
            r"ended with exit code 1 .*load org/tiny.*no module named torch",
        ),
        ("print('hello')", r"wrote 'hello' where a JSON line was expected"),
        ("print('[1]')", r"answered \[1\], which is no JSON object"),
        ("print('{}')", r"answered \{\} when it was to load a model"),
        ("import time; time.sleep(30)", r"did not load org/tiny within 0.5 seconds.*--comet-timeout"),
    ],
    ids=["dies", "chatters", "array", "nothing", "silent"],
)
def test_a_process_that_does_not_load_is_told_about(tmp_path, code, said):
    with pytest.raises(BackendError, match=r"(?s)" + said):
        CometProcess(options(fake_python(tmp_path, code), timeout=0.5 if "sleep" in code else 120.0))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("sys.stdin.readline(); os.kill(os.getpid(), signal.SIGKILL)", r"killed by signal 9 .*Out of memory\?"),
        ("sys.exit(3)", r"ended with exit code 3 when it should score 2 segments"),
        ("sys.stdin.readline(); print(json.dumps({'scores': [0.5]}))", r"answered .*0\.5.* to 2 segments"),
        ("sys.stdin.readline(); print(json.dumps({'scores': [0.5, None]}))", r"null.* to 2 segments"),
        ("sys.stdin.readline(); print('{\"scores\": [0.5, 0.')", r"where a JSON line was expected"),
        ("sys.stdin.readline(); print(json.dumps({'error': 'failed', 'message': 'ValueError: x'}))", "could not score"),
    ],
    ids=["killed", "leaves", "too few", "null", "half a line", "failed"],
)
def test_a_process_that_does_not_score_is_told_about(tmp_path, code, said):
    with CometProcess(options(fake_python(tmp_path, LOADS + code))) as process, pytest.raises(BackendError, match=said):
        process.score(SEGMENTS)


def test_a_process_that_reads_nothing_more_is_given_up(tmp_path):
    python = fake_python(tmp_path, LOADS + "time.sleep(60)")
    with CometProcess(options(python, timeout=5.0)) as process, pytest.raises(BackendError, match="did not score"):
        process.score([Segment("a" * 100_000, "b" * 100_000)])


@pytest.mark.parametrize(("kind", "error"), [("no_checkpoint", ModelError), ("no_comet", BackendError)])
def test_a_refusal_comes_with_advice(tmp_path, kind, error):
    answer = {"error": kind, "message": "It is not there."}
    with pytest.raises(error, match=r"COMET: It is not there\. (--comet-model takes|`make env-comet` makes)"):
        CometProcess(options(fake_python(tmp_path, f"import json; print(json.dumps({answer!r}))")))


def test_an_environment_without_comet_says_how_to_get_one():
    """The worker itself, run by a python that has no COMET: this one."""
    with pytest.raises(BackendError, match=r"has no unbabel-comet. `make env-comet`"):
        CometProcess(options(Path(sys.executable)))


def test_the_environment_is_the_one_given_or_named_or_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(PYTHON_ENV, raising=False)
    with pytest.raises(BackendError, match=r"no .venv-comet in this folder. `make env-comet`"):
        find_python(None)
    here = tmp_path / ".venv-comet" / "bin"
    here.mkdir(parents=True)
    good_python(here)
    assert find_python(None) == Path(".venv-comet/bin/python")
    assert find_python(here.parent) == here / "python"
    monkeypatch.setenv(PYTHON_ENV, str(tmp_path / "nowhere"))
    with pytest.raises(BackendError, match=f"{PYTHON_ENV} .*nowhere: no python is there"):
        find_python(None)
    assert find_python(here / "python") == here / "python"
    (tmp_path / "text").write_text("")
    with pytest.raises(BackendError, match=r"--comet-python .*text: no python is there"):
        find_python(tmp_path / "text")


def test_a_file_that_is_no_program_cannot_be_started(tmp_path):
    path = tmp_path / "python"
    path.write_bytes(b"\x7fnot a program")
    path.chmod(0o755)
    with pytest.raises(BackendError, match="cannot be started"):
        CometProcess(options(path))

"""What nobody caught is a sentence, a file to send and exit code 70; what was computed stays."""

from __future__ import annotations

import os
import re
import sys
from asyncio import CancelledError
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

import benchbench
from benchbench.backends import engines
from benchbench.cli.bug import BugReports, without_secrets
from benchbench.cli.main import BUG, NO_MEMORY, _tell
from benchbench.core import plugins
from benchbench.core.errors import BenchbenchError
from tests.cli.command import World
from tests.forks import become, import_heavy

SENTENCE = re.compile(
    r"This is a bug in benchbench: (?P<what>.+)\. Please report it\. Attach the file "
    r"(?P<file>benchbench-bug-\S+\.txt)\. What was computed is kept: the same command goes on from there\.\n"
)

ENGINE = '''
"""An engine of another package, which does after two docs what BOOM says."""
import os, sys, threading
from dataclasses import replace
from benchbench.backends.engines import Engine
from benchbench.backends.scripted import ScriptedBackend

class Boom(ScriptedBackend):
    def __init__(self, options):
        super().__init__(replace(options, model="hash,batch=1"))
        self.info = replace(self.info, name="boom")

    def loglikelihood(self, requests, **more):
        for number, response in enumerate(super().loglikelihood(requests, **more)):
            if number == 6 and "BOOM" in os.environ:
                boom(os.environ["BOOM"])
            yield response

def boom(what):
    key = os.environ.get("MY_ODD_NAME", "")
    if what == "key":
        raise KeyError(f"said {key!r} and Bearer abc.def-123")
    if what == "thread":
        thread = threading.Thread(target=boom, args=("key",))
        thread.start()
        thread.join()
        return
    raise {"eof": EOFError, "memory": MemoryError, "ctrl-c": KeyboardInterrupt}[what]()

ENGINE = Engine(name="boom", opener="boomengine:Boom")
'''


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "boomengine.py").write_text(ENGINE)
    import_heavy()
    info = folder / "boomengine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: boomengine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[benchbench.engines]\nboom = boomengine:ENGINE\n")
    return folder


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


class Breaking(World):
    """Runs on the engine that breaks, in a folder of its own."""

    def __init__(self, folder: Path, plugin: Path) -> None:
        super().__init__(folder)
        self.folder, self.plugin = folder, plugin

    def go(self, what: str | None) -> Done:
        """The command in a forked process, which need not import everything again."""
        line = ["--backend", "boom", "--model", "m", "--tasks", "toy_quiz", "--include-path", str(self.path / "tasks")]
        line += ["--data-root", str(self.path / "hub"), "--output", str(self.results), "--json"]
        said = [self.folder / "out", self.folder / "err"]
        child = os.fork()
        if child == 0:
            become(["benchbench", "run", *line], *map(str, said), partial(self._prepare, what))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return Done(code, *(path.read_text() for path in said))

    def _prepare(self, what: str | None) -> None:
        """In the fork, before it is the command: the engine is found, and told what to do."""
        os.chdir(self.folder)
        sys.path.insert(0, str(self.plugin))
        for known in (plugins.entry_points, plugins.load_entry_point, engines.engine):
            known.cache_clear()
        os.environ |= {"MY_ODD_NAME": "swordfish-1"} | ({} if what is None else {"BOOM": what})


@pytest.fixture
def world(tmp_path: Path, plugin: Path) -> Breaking:
    return Breaking(tmp_path, plugin)


@pytest.mark.parametrize("what", ["key", "eof"])
def test_a_bug_is_a_sentence_with_a_file_and_loses_nothing(world: Breaking, what: str) -> None:
    done = world.go(what)
    found = SENTENCE.search(done.err)
    assert done.code == BUG == 70
    assert found is not None, done.err
    assert "Traceback" not in done.err + done.out
    report = (world.folder / found["file"]).read_text()
    assert "swordfish" not in report + done.err
    assert "abc.def" not in report + done.err
    assert "boomengine.py" in report
    assert {"key": "KeyError", "eof": "EOFError"}[what] in report
    assert not list(world.results.rglob(".lock"))
    (live,) = world.results.rglob("live.jsonl")
    assert len(live.read_text().splitlines()) == 2, "docs of which all answers were in"
    if what == "key":
        again = world.go(None)
        assert again.code == 0, again.err
        assert '"n": 12' in again.out


def test_a_bug_in_a_thread_is_one_too(world: Breaking) -> None:
    done = world.go("thread")
    assert done.code == BUG
    assert SENTENCE.search(done.err) is not None
    assert "Traceback" not in done.err
    assert '"rows"' in done.out, "the run itself went through"


def test_what_is_no_bug_keeps_its_own_code(world: Breaking) -> None:
    memory = world.go("memory")
    assert memory.code == 1
    assert NO_MEMORY in memory.err
    stopped = world.go("ctrl-c")
    assert stopped.code == 130
    assert "Traceback" not in memory.err + stopped.err
    assert not list(world.folder.glob("benchbench-bug-*"))


class WordlessError(RuntimeError):
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise ValueError


def chained() -> BaseException:
    try:
        try:
            {}["inner"]
        except KeyError:
            raise WordlessError  # noqa: B904 - the chain is what is tested
    except WordlessError as error:
        return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (chained(), "inner"),
        (ExceptionGroup("several", [OSError(13, "denied"), ValueError(2)]), "denied"),
        (CancelledError(), "CancelledError"),
        (AssertionError("\x1b[31m\nred"), "AssertionError"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "UnicodeDecodeError"),
    ],
)
def test_whatever_was_raised_is_told(
    error: BaseException,
    expected: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _tell(error, BugReports()) == BUG
    said = capsys.readouterr().err
    found = SENTENCE.fullmatch(said)
    assert found is not None, said
    assert expected in (tmp_path / found["file"]).read_text()


def test_a_report_that_cannot_be_written_is_no_second_bug(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchbench.cli.bug._folders", lambda: [Path("/proc/nowhere")])
    assert _tell(KeyError("x"), BugReports()) == BUG
    assert "Please report it. No report could be written here." in capsys.readouterr().err


def test_depth_and_a_full_disk_are_no_bugs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("benchbench.cli.main._drop_stdout", lambda: None)
    assert _tell(RecursionError(), BugReports()) == 2
    assert "error: something that was read is nested too deeply" in capsys.readouterr().err
    assert len(list(tmp_path.glob("benchbench-bug-*"))) == 1
    assert _tell(OSError(28, "No space left on device", "/x"), BugReports()) == 1
    assert capsys.readouterr().err == "error: /x cannot be used: No space left on device.\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Bearer abc-123.x", "Authorization: Bearer [hidden]"),
        ("https://me:hunter2@host/x", "https://me:[hidden]@host/x"),
        ("--model-args api_key=abc,timeout=2", "--model-args api_key=[hidden],timeout=2"),
        ("{'token': 'abc'}", "{'token': '[hidden]'}"),
        ("sk-abcdefghijkl1234 hf_abcdefghijkl1234", "[hidden] [hidden]"),
        ("an odd-value-of-8 one", "an [$ODD] one"),
        ("a word and /a/path, 12345678", "a word and /a/path, 12345678"),
        ("line 7, in tokenize", "line 7, in tokenize"),
        ("short: ab12", "short: [$SHORT_KEY]"),
    ],
)
def test_no_key_is_in_a_report(text: str, expected: str) -> None:
    known = {"ODD": "odd-value-of-8", "ROOT": "/a/path", "NUMBER": "12345678", "SHORT_KEY": "ab12", "WORD": "word"}
    assert without_secrets(text, known) == expected


def test_the_interface_for_programs_raises_and_does_not_exit(tmp_path: Path) -> None:
    with pytest.raises(BenchbenchError):
        benchbench.compare("a", "b", results=tmp_path)

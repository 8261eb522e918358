from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchbench.core.errors import BackendError
from benchbench.extensions.programs import Limits, Program, Verdict
from benchbench.extensions.programs import sandbox as sandbox_module
from benchbench.extensions.programs.languages import LANGUAGES, interpreter, language
from benchbench.extensions.programs.runs import run_programs
from benchbench.extensions.programs.sandbox import Ran, Sandbox
from tests.extensions.programs.hostile import ATTACKS, SLOW, TOKEN, World, outside, world

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")
LIMITS = Limits(seconds=1, memory=256 << 20, files=32 << 20)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    one = Sandbox(LIMITS)
    yield one
    one.close()


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world")) as one:
        yield one


def ending(sandbox: Sandbox, source: str) -> str:
    return sandbox.run(Program(source)).verdict.ending


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("assert 1 + 1 == 2", Verdict("passed")),
        ("assert 1 == 2, 'no'", Verdict("failed", "AssertionError: no")),
        ("1 +", Verdict("failed", "SyntaxError: invalid syntax (program.py, line 1)")),
        ("a\0b", Verdict("failed", "SyntaxError: source code string cannot contain null bytes")),
        ("raise SystemExit(0)", Verdict("failed", "it ended itself before its last line, with '0'")),
        ("import os\nos._exit(0)", Verdict("failed", "it ended itself before its last line")),
        ("import os\nos.kill(os.getpid(), 11)", Verdict("crashed", "signal 11.")),
        (
            "class E(Exception):\n  def __str__(self): raise E\nraise E",
            Verdict("failed", "E, whose text cannot be had"),
        ),
        ("print('x' * 10_000_000)", Verdict("passed")),
        ("import sys\nsys.stderr.write('x' * 2_000_000)", Verdict("output", "more than 1,024 KiB")),
        ("x = bytearray(1 << 30)", Verdict("memory", "MemoryError")),
        ("from dataclasses import dataclass\n@dataclass\nclass A:\n  x: int\nassert A(1).x == 1", Verdict("passed")),
        ("assert __name__ == '__main__'", Verdict("passed")),
        ("import threading\nt = threading.Thread(target=print); t.start(); t.join()", Verdict("passed")),
    ],
)
def test_how_a_program_ends_is_told(sandbox: Sandbox, source: str, expected: Verdict) -> None:
    assert sandbox.run(Program(source)).verdict == expected


def test_a_program_finds_an_empty_world(sandbox: Sandbox) -> None:
    source = f"""
import os
assert os.getcwd() == '/tmp' and os.listdir('/tmp') == [] and os.listdir('/dev/shm') == []
assert set(os.environ) <= {{'HOME', 'PATH', 'LANG', 'PYTHONHASHSEED', 'PWD'}}, os.environ
assert os.getuid() != 0 and os.getpid() <= 3
assert not os.path.exists('/etc') and not os.path.exists('/proc') and not os.path.exists({str(Path.cwd())!r})
assert os.read(0, 1) == b''
files = []
for number in range(3, 64):
    try:
        os.fstat(number)
        files.append(number)
    except OSError:
        pass
assert len(files) == 1, files
for place in ('/', '/usr', '/dev', '/launcher.py'):
    try:
        open(place + '/x', 'w')
    except OSError:
        continue
    raise AssertionError(place)
"""
    assert sandbox.run(Program(source)).verdict == Verdict("passed")


@pytest.mark.parametrize("attack", [name for name in ATTACKS if name not in SLOW])
def test_an_attack_fails(sandbox: Sandbox, around: World, attack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, "secret")
    assert not sandbox.run(Program(around.program(attack))).verdict.passed
    assert around.traces == []


def test_a_forged_report_counts_for_nothing(sandbox: Sandbox) -> None:
    source = (
        "import os\nfor n in range(3, 64):\n  try: os.write(n, b'0' * 32 + b' passed \\n')\n  except OSError: pass\n"
    )
    assert ending(sandbox, source + "assert False") == "failed"


def test_time_ends_a_program_that_blocks_every_signal(sandbox: Sandbox, around: World) -> None:
    began = time.monotonic()
    assert ending(sandbox, around.program("does not end")) == "slow"
    assert time.monotonic() - began < 60


def test_a_process_that_a_program_leaves_ends_with_it(sandbox: Sandbox) -> None:
    mark = f"benchbench-left-{os.getpid()}"
    source = f"import subprocess\nsubprocess.Popen(['/bin/bash', '-c', 'sleep 60; true', {mark!r}])"
    assert ending(sandbox, source) == "passed"
    until = time.monotonic() + 5
    while (left := _running(mark)) and time.monotonic() < until:
        time.sleep(0.05)
    assert left == 0


def _running(mark: str) -> int:
    count = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            count += mark.encode() in path.read_bytes().split(b"\0")
        except OSError:
            continue
    return count


def test_one_that_waited_for_a_processor_is_run_again_alone(sandbox: Sandbox) -> None:
    asked: list[str] = []
    patient: list[float] = []

    class Busy:
        def run(self, program: Program, slot: int = 0, patience: float = 1.0) -> Ran:
            asked.append(program.source)
            patient.append(patience)
            starved = program.source == "slow" and asked.count("slow") == 1
            return Ran(Verdict("slow" if starved else "passed"), starved)

    found = run_programs(Busy(), [Program("slow"), Program("a"), Program("b")], 2)  # type: ignore[arg-type]
    assert [one.ending for one in found] == ["passed"] * 3
    assert asked.count("slow") == 2
    assert asked[-1] == "slow"
    assert patient == [1.0, 1.0, 1.0, 10.0]


def test_what_breaks_in_a_thread_is_raised(sandbox: Sandbox) -> None:
    with pytest.raises(BackendError, match="programs of the language 'cobol' cannot be run here"):
        run_programs(sandbox, [Program("x", "cobol")], 2)


def test_closing_stops_what_runs() -> None:
    one = Sandbox(Limits(seconds=60))
    raised: list[BaseException] = []

    def work() -> None:
        try:
            one.run(Program("import time\ntime.sleep(60)"))
        except Exception as error:  # noqa: BLE001
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.5)
    one.close()
    thread.join(10)
    assert not thread.is_alive()
    assert [str(error) for error in raised] == ["it was stopped."]


def test_without_bubblewrap_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_module.shutil, "which", lambda name: None)
    with pytest.raises(BackendError, match=r"there is no bwrap here\. apt install bubblewrap"):
        Sandbox(LIMITS)


def test_where_bubblewrap_may_not_make_namespaces_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(BackendError, match="No permissions to create new namespace Programs are not run without one"):
        Sandbox(LIMITS)


def test_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(BackendError, match="programs run on x86_64 and aarch64 only, and this is riscv64"):
        Sandbox(LIMITS)


PROGRAMS = {
    "javascript": ("const a = require('assert'); a.equal(1 + 1, 2)", "require('assert').equal(1, 2)"),
    "perl": ("1 + 1 == 2 or die; exit 0;", "die 'no'"),
    "bash": ("[[ $((1 + 1)) == 2 ]]", "exit 3"),
    "lua": ("assert(1 + 1 == 2)", "error('no')"),
    "ruby": ("raise 'no' unless 1 + 1 == 2", "raise 'no'"),
    "php": ("<?php if (1 + 1 != 2) exit(1);", "<?php exit(1);"),
}


@pytest.mark.parametrize("name", sorted(set(LANGUAGES) - {"python"}))
def test_other_languages_pass_by_their_status(sandbox: Sandbox, name: str) -> None:
    try:
        interpreter(name)
    except BackendError as error:
        pytest.skip(str(error))
    right, wrong = PROGRAMS[name]
    assert sandbox.run(Program(right, name)).verdict == Verdict("passed")
    assert sandbox.run(Program(wrong, name)).verdict.ending == "failed"


def test_every_language_has_a_command_and_a_suffix() -> None:
    assert {name for name in LANGUAGES if not LANGUAGES[name].command} == {"python"}
    assert language("js") is LANGUAGES["javascript"]


USER = """
import sys
from benchbench.extensions.programs import Limits, Program
from benchbench.extensions.programs.sandbox import Sandbox
sandbox = Sandbox(Limits(seconds=1, memory=256 << 20))
FORKS = '''
import os, time
assert os.getuid() != 0
for _ in range(60):
    if not os.fork():
        time.sleep(1)
        os._exit(0)
'''
CONNECTS = "import socket; socket.create_connection(('127.0.0.1', 1), 1)"
for source in ("assert True", FORKS, "open('/tmp/x', 'w')", CONNECTS):
    print(sandbox.run(Program(source)).verdict.ending)
sandbox.close()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user; as another user all tests are this one")
def test_a_user_without_rights_has_the_same_sandbox() -> None:
    python = Path("/usr/bin/python3")
    version = (
        subprocess.run([python, "-V"], capture_output=True, text=True, check=False).stdout if python.exists() else ""
    )
    if not version.startswith("Python 3.1"):
        pytest.skip("needs a Python that every user may read")
    here = Path(sandbox_module.__file__).parents[3]
    done = subprocess.run(
        [python, "-c", USER], user=65534, group=65534, extra_groups=[],
        env={"PYTHONPATH": str(here), "PATH": "/usr/bin"},        capture_output=True, text=True, check=False, cwd="/",
    )  # fmt: skip
    assert done.stdout.split() == ["passed", "failed", "passed", "failed"], done.stderr


CONTROLS = [name for name in ATTACKS if name not in ("does not end", "sleeps")]


@pytest.mark.slow
@pytest.mark.parametrize("attack", CONTROLS)
def test_outside_the_sandbox_each_attack_succeeds(tmp_path: Path, attack: str) -> None:
    with world(tmp_path) as around:
        done = outside(around.program(attack, parent=0).replace("!= 0", "!= PARENT_IS_ME"))
        if attack == "kills its parent":
            assert done.returncode == -9
        else:
            status, written, *said = done.stdout.split(maxsplit=2)
            assert status == "0", said
            assert attack != "writes without end" or int(written) == 30_000_000
        time.sleep(3.5 if attack == "stays when it ends" else 0)
        seen = {"connects": "tcp", "kills a neighbour": "victim", "stays when it ends": "stayed"}
        seen |= {"sends a datagram to an abstract socket": "datagram"}
        seen |= dict.fromkeys(("writes to the results", "writes to them through a link"), "results")
        if attack in seen:
            assert seen[attack] in around.traces


@pytest.mark.slow
def test_two_hundred_hostile_programs_reach_nothing_and_their_neighbours_pass(tmp_path: Path) -> None:
    quick = [name for name in ATTACKS if name not in SLOW]
    names = [*SLOW * 3, *(quick * 20)[: 200 - 3 * len(SLOW)]]
    assert len(names) == 200
    honest = "total = sum(n * n for n in range(10_000))\nassert total == 333_283_335_000"
    with world(tmp_path) as around:
        programs = []
        for place, name in enumerate(names):
            programs.append(Program(around.program(name)))
            if place % 4 == 0:
                programs.append(Program(honest))
        sandbox = Sandbox(LIMITS)
        try:
            found = run_programs(sandbox, programs, 4)
        finally:
            sandbox.close()
        time.sleep(3.5)  # what stayed would have written by now
        assert around.traces == []
    passed = [program.source for program, verdict in zip(programs, found, strict=True) if verdict.passed]
    stays = [source for source in passed if "stayed" in source]
    assert [source for source in passed if source not in stays] == [honest] * 50

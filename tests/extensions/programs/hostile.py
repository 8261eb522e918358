"""Programs that try to get out, each of which ends with 0 only if it did, and a world in which that can be seen."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

TOKEN = "BENCHBENCH_TEST_TOKEN"

ATTACKS: Mapping[str, str] = {
    "connects": "import socket\nsocket.create_connection(('127.0.0.1', PORT), 2).sendall(b'out')",
    "sends a datagram to an abstract socket": """
import socket
one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
one.sendto(b'out', '\\0NAME')""",
    "reads a file": "assert open('RESULTS/run.json').read()",
    "lists the results": "import os\nassert os.listdir('RESULTS')",
    "writes to the results": "open('RESULTS/run.json', 'a').write('changed')",
    "writes to them through a link": """
import os, tempfile
link = os.path.join(tempfile.mkdtemp(), 'link')
os.symlink('RESULTS', link)
open(link + '/run.json', 'a').write('changed')""",
    "reads the environment": "import os\nassert os.environ['TOKEN']",
    "reads the parent's environment": """
import os
assert b'TOKEN' in open(f'/proc/{os.getppid()}/environ', 'rb').read()""",
    "kills its parent": "import os, time\nos.kill(os.getppid(), 9)\ntime.sleep(0.2)\nassert os.getppid() != PARENT",
    "kills a neighbour": "import os\nos.kill(VICTIM, 9)",
    "traces a neighbour": """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
assert libc.ptrace(16, VICTIM, 0, 0) == 0, os.strerror(ctypes.get_errno())
os.waitpid(VICTIM, 0x40000000)
libc.ptrace(17, VICTIM, 0, 0)""",
    "forks": """
import os, time
children = []
try:
    for _ in range(60):
        child = os.fork()
        if not child:
            time.sleep(1)
            os._exit(0)
        children.append(child)
finally:
    for child in children:
        os.waitpid(child, 0)""",
    "fills memory": "block = bytearray(400 << 20)\nfor place in range(0, len(block), 4096): block[place] = 1",
    "fills memory with children": """
import os, time
children = []
for _ in range(8):
    child = os.fork()
    if not child:
        block = b'x' * (60 << 20)
        time.sleep(1)
        os._exit(0)
    children.append(child)
assert all(os.waitpid(child, 0)[1] == 0 for child in children)""",
    "fills memory that no process has": """
import os
for _ in range(8):
    file = os.memfd_create('x')
    os.write(file, b'x' * (50 << 20))""",
    "leaves a shared segment": """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
number = libc.shmget(0, 1 << 20, 0o1600)
assert number >= 0, os.strerror(ctypes.get_errno())
libc.shmctl(number, 0, None)""",
    "fills the disk": """
import os, tempfile
with tempfile.TemporaryFile() as file:
    for _ in range(20):
        file.write(b'x' * (10 << 20))""",
    "writes without end": "import sys\nfor _ in range(300): sys.stderr.write('x' * 100_000)",
    "makes namespaces of its own": """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x10000000) == 0, os.strerror(ctypes.get_errno())""",
    "stays when it ends": """
import os, time
ready, told = os.pipe()
if not os.fork():
    os.setsid()
    os.write(told, b'x')
    time.sleep(3)
    open('RESULTS/stayed', 'w').write('x')
    os._exit(0)
assert os.read(ready, 1) == b'x'""",
    "does not end": """
import signal, time
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
until = time.monotonic() + 60
while time.monotonic() < until:
    pass""",
    "sleeps": "import time\ntime.sleep(60)",
}
"""What it does → the program; capitals stand for things of the world."""
SLOW = ("does not end", "sleeps", "fills memory with children", "forks", "stays when it ends")


@dataclass(frozen=True)
class World:
    """What there is to reach."""

    results: Path
    victim: subprocess.Popen[bytes]
    tcp: socket.socket
    datagrams: socket.socket

    def program(self, attack: str, parent: int = -1) -> str:
        """An attack on this world, with the process that it is to take for its parent."""
        names = {
            "PORT": str(self.tcp.getsockname()[1]),
            "NAME": self.datagrams.getsockname()[1:].decode("ascii"),
            "RESULTS": str(self.results),
            "VICTIM": str(self.victim.pid),
            "TOKEN": TOKEN,
            "PARENT": str(parent),
        }
        source = ATTACKS[attack]
        for name, value in names.items():
            source = source.replace(name, value)
        return source

    @property
    def traces(self) -> list[str]:
        """What can be seen of attacks that succeeded."""
        found = []
        for name, one in (("tcp", self.tcp), ("datagram", self.datagrams)):
            one.setblocking(False)
            try:
                one.accept() if name == "tcp" else one.recv(10)
                found.append(name)
            except BlockingIOError:
                pass
        if (self.results / "run.json").read_text() != "{}":
            found.append("results")
        if (self.results / "stayed").exists():
            found.append("stayed")
        if self.victim.poll() is not None:
            found.append("victim")
        return found


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """A results folder, a neighbour that sleeps, and two sockets that listen."""
    results = folder / "results"
    results.mkdir()
    (results / "run.json").write_text("{}")
    victim = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    with closing(socket.create_server(("127.0.0.1", 0))) as tcp, closing(datagrams()) as unix:
        try:
            yield World(results, victim, tcp, unix)
        finally:
            victim.kill()
            victim.wait()


def datagrams() -> socket.socket:
    """A socket with an abstract name."""
    one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.bind(f"\0benchbench-test-{os.getpid()}")
    return one


OUTSIDE = """
import os, subprocess, sys
source = sys.stdin.read().replace('PARENT_IS_ME', str(os.getpid()))
done = subprocess.run([sys.executable, '-S', '-c', source], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
print(done.returncode, len(done.stderr), done.stderr[-500:].decode())
"""
"""A parent that may die: runs the program as a plain subprocess, and tells how it ended."""


def outside(source: str) -> subprocess.CompletedProcess[str]:
    """The program as a plain subprocess of a parent that may die."""
    environment = {**os.environ, TOKEN: "secret"}
    return subprocess.run(
        [sys.executable, "-S", "-c", OUTSIDE],
        input=source,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

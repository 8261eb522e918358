import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPO
from tests.extensions.slurm.fake import FakeSlurm
from tests.extensions.slurm.site import Site


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Fake commands of Slurm on PATH, on a cluster whose nodes are this machine."""
    fake = FakeSlurm(tmp_path / "bin", socket.gethostname())
    monkeypatch.setenv("PATH", f"{fake.folder}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", f"{REPO}:{os.environ.get('PYTHONPATH', '')}")
    return fake


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A real Slurm of two nodes on this machine."""
    with tempfile.TemporaryDirectory(prefix="slurm") as folder:  # pytest's own are closed to others
        site = Site(Path(folder))
        try:
            site.start()
            yield site
        finally:
            site.stop()

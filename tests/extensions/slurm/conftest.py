import os
import socket

import pytest

from tests.conftest import REPO
from tests.extensions.slurm.fake import FakeSlurm


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Fake commands of Slurm on PATH, on a cluster whose nodes are this machine."""
    fake = FakeSlurm(tmp_path / "bin", socket.gethostname())
    monkeypatch.setenv("PATH", f"{fake.folder}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", f"{REPO}:{os.environ.get('PYTHONPATH', '')}")
    return fake

"""Models that several tests of backends open."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests import models


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test of a backend asks the Hub."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama, for tests that leave it as it is."""
    return models.tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def mpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny MPT, likewise."""
    return models.tiny_mpt(tmp_path_factory.mktemp("mpt"))


@pytest.fixture(scope="module")
def custom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with code of its own, likewise."""
    return models.custom_code(tmp_path_factory.mktemp("custom"))


@pytest.fixture
def folder(llama: Path, tmp_path: Path) -> Path:
    """A copy of the tiny Llama, to break."""
    return Path(shutil.copytree(llama, tmp_path / "model"))

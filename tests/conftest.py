"""What every test sees: few threads, no network, and the data folder if there is one."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

REPO = Path(__file__).resolve().parent.parent
VLLM = importlib.util.find_spec("vllm") is not None
NETWORK = os.environ.get("BENCHBENCH_TEST_NETWORK") == "1"

# One number for both: torch believes MKL's. The models are tiny, so that a second thread is mostly waited for: on a
# busy machine a layer of 0.1 ms took 20.
THREADS = os.environ.get("OMP_NUM_THREADS", "1")
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = THREADS
os.environ["TOKENIZERS_PARALLELISM"] = "false"
if not NETWORK:
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_DATASETS_OFFLINE"] = "1"

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def find_data_root() -> Path | None:
    """The folder of benchmark rows: $BENCHBENCH_DATA, or `shared/hub` beside the checkout."""
    named = os.environ.get("BENCHBENCH_DATA")
    place = Path(named) if named else REPO.parent / "shared" / "hub"
    return place if place.is_dir() else None


DATA_ROOT = find_data_root()
os.environ.pop("BENCHBENCH_DATA", None)  # a test that wants data says so, by the fixture


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Public benchmark rows as `<org>/<name>/<config>/<split>.jsonl`; skips the test where there are none."""
    if DATA_ROOT is None:
        pytest.skip("needs benchmark rows: set BENCHBENCH_DATA to a folder <org>/<name>/<config>/<split>.jsonl")
    return DATA_ROOT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not NETWORK and item.get_closest_marker("network"):
            item.add_marker(pytest.mark.skip(reason="needs the Hub: set BENCHBENCH_TEST_NETWORK=1"))
        if not VLLM and item.get_closest_marker("vllm"):
            item.add_marker(pytest.mark.skip(reason="needs vLLM: make test-vllm"))
        if item.get_closest_marker("gpu") and not has_cuda():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
        if item.get_closest_marker("gguf") and not has_llama_cpp():
            item.add_marker(pytest.mark.skip(reason="needs llama-cpp-python: make test-gguf installs it"))


def has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def has_llama_cpp() -> bool:
    return importlib.util.find_spec("llama_cpp") is not None

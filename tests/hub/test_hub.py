"""Data and models from a Hub, by the real clients: revisions, redirects, refusals, and a download that was cut."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.hub.client import Client
from tests.hub.server import TOKEN, Hub

ROWS = [{"question": f"What is {n} and {n}?", "choices": [f"{2 * n}", f"{n}"], "answer": 0} for n in range(6)]
KEYS = {
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}",
    "doc_to_target": "answer",
    "doc_to_choice": "choices",
}
SUMS = [{"context": f"Question: What is {n} plus 1?\nAnswer:", "completion": f" {n + 1}"} for n in range(5)]


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub() as made:
        yield made


@pytest.fixture(scope="module")
def client(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    made = Client(hub.url, tmp_path_factory.mktemp("home"))
    yield made
    made.close()


def parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    """A parquet file of rows."""
    import pyarrow
    from pyarrow import parquet as files

    made = io.BytesIO()
    files.write_table(pyarrow.Table.from_pylist(list(rows)), made)
    return made.getvalue()


def files_of(folder: Path) -> dict[str, bytes]:
    """Path → content of every file of a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def lines(rows: Sequence[dict[str, Any]]) -> bytes:
    """JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def task_file(folder: Path, data_set: str, **keys: Any) -> Path:
    """A task that reads a data set."""
    path = folder / "quiz.yaml"
    path.write_text(yaml.safe_dump({"task": "quiz", "dataset_path": data_set, **KEYS, **keys}))
    return path


def record(output: Path, model: str) -> dict[str, Any]:
    """run.json of the only run of a model."""
    (found,) = (output / model).glob("*/run.json")
    known: dict[str, Any] = json.loads(found.read_text())
    return known


def prepared(task: str, token: str | None = None) -> str:
    """In the clients' process: the docs' questions, or the sentence of the error."""
    import os

    from benchbench.core.errors import BenchbenchError
    from benchbench.tasks.index import TaskIndex
    from benchbench.tasks.prepare import prepare
    from benchbench.tasks.settings import RenderSettings

    os.environ.update({"HF_TOKEN": token} if token else {})
    try:
        (found,) = TaskIndex().select(task).tasks
        return " ".join(str(doc.doc.fields["question"]) for doc in prepare(found, RenderSettings()).docs)
    except BenchbenchError as error:
        return f"error: {error}"
    finally:
        os.environ.pop("HF_TOKEN", None)


def model_files(name: str, revision: str | None = None, token: str | None = None) -> str:
    """In the clients' process: the commit that a model was taken at, or the sentence of the error."""
    import os

    from benchbench.backends.models.find import find_model
    from benchbench.core.errors import ModelError

    os.environ.update({"HF_TOKEN": token} if token else {})
    try:
        return str(find_model(name, revision).revision)
    except ModelError as error:
        return f"error: {error}"
    finally:
        os.environ.pop("HF_TOKEN", None)


def tiny_llama(folder: Path, seed: int) -> None:
    """In the clients' process, which has torch."""
    from tests import models

    models.tiny_llama(folder, seed=seed)


def small_pieces() -> None:
    """In the clients' process: downloads are written in pieces of 10 kB, as those of 10 GB are in pieces of 10 MB."""
    import huggingface_hub

    huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = 10_000


def test_rows_come_from_parquet_at_the_revision_that_the_task_pins(hub: Hub, client: Client, tmp_path: Path) -> None:
    repo = hub.dataset("org/quiz")
    first = repo.commit({"README.md": b"# quiz\n", "data/test-00000-of-00001.parquet": parquet(ROWS)}, tag="v1")
    newest = repo.commit({"README.md": b"# quiz\n", "data/test-00000-of-00001.parquet": parquet(ROWS[:2])})
    said = client(
        *("run", "--model", "scripted:hash", "--output", tmp_path / "pinned"),
        *("--tasks", task_file(tmp_path, "org/quiz", dataset_revision="v1")),
    )
    assert said.code == 0, said.text
    task = record(tmp_path / "pinned", "hash")["tasks"]["quiz"]
    assert task["data_revision"] == first != newest
    assert task["counts"]["answered"] == len(ROWS)
    (tmp_path / "newest").mkdir()
    assert client.do(prepared, str(task_file(tmp_path / "newest", "org/quiz"))) == "What is 0 and 0? What is 1 and 1?"
    assert hub.paths("/cdn/"), "a large file lies behind a redirect to another host"


def test_each_refusal_of_a_data_set_says_what_to_do(hub: Hub, client: Client, tmp_path: Path) -> None:
    hub.dataset("org/program", {"program.py": b"import datasets\n", "README.md": b"# made by a program\n"})
    hub.dataset("org/gated", {"test.parquet": parquet(ROWS)}, gated=True)
    hub.dataset("org/here", {"test.parquet": parquet(ROWS)})

    def refused(data_set: str, **keys: Any) -> str:
        return client.do(prepared, str(task_file(tmp_path, data_set, **keys)))

    assert "Its rows are made by a program, which is not run" in refused("org/program")
    gated = refused("org/gated")
    assert "gated" in gated
    assert "HF_TOKEN" in gated
    assert "Is its name right?" in refused("org/nothing")
    assert "Revision 'v9' doesn't exist" in refused("org/here", dataset_revision="v9")
    assert "no split 'exam'" in refused("org/here", test_split="exam")
    assert "without a network" not in gated.lower()
    assert client.do(prepared, str(task_file(tmp_path, "org/gated")), TOKEN).startswith("What is 0 and 0?")


def test_a_hub_that_is_busy_is_asked_again_when_it_says(hub: Hub, client: Client, tmp_path: Path) -> None:
    hub.dataset("org/busy", {"test.parquet": parquet(ROWS)})
    hub.fail("datasets/org/busy/resolve", 429, times=1, Retry_After="0")
    assert client.do(prepared, str(task_file(tmp_path, "org/busy"))).startswith("What is 0 and 0?")
    statuses = [one.status for one in hub.paths("org/busy/resolve/main/README.md", "HEAD")]
    assert statuses[0] == 429
    hub.fail("org/full", 429, Retry_After="0")
    hub.model("org/full", {"config.json": b"{}"})
    said = client.do(model_files, "org/full")
    assert "answers no more requests" in said
    assert "HF_TOKEN" in said


@pytest.mark.skipif(importlib.util.find_spec("lm_eval") is None, reason="needs lm-eval")
def test_data_files_of_the_hub_are_pulled_and_found_without_it(hub: Hub, client: Client, tmp_path: Path) -> None:
    repo = hub.dataset("EleutherAI/arithmetic")
    commit = repo.commit({"data/two_digit_addition.jsonl": lines(SUMS)})
    root, name = tmp_path / "root", "lm_eval:arithmetic_2da"
    said = client("data", "pull", name, "--to", root)
    assert said.code == 0, said.text
    assert (root / "EleutherAI/arithmetic/data/two_digit_addition.jsonl").read_bytes() == lines(SUMS)
    assert json.loads((root / "data.lock.json").read_text())["files"].popitem()[1]["revision"] == commit
    asked = len(hub.asked)
    said = client(
        *("run", "--model", "scripted:hash", "--tasks", name, "--trust-task-code", "--data-root", root),
        *("--output", tmp_path / "results"),
    )
    assert said.code == 0, said.text
    assert record(tmp_path / "results", "hash")["tasks"][name]["counts"]["answered"] == len(SUMS)
    assert len(hub.asked) == asked, "the Hub is not asked for what the data root holds"


def test_a_sweep_over_revisions_takes_each_step_once(hub: Hub, client: Client, tmp_path: Path) -> None:
    repo, commits = hub.model("org/tiny"), {}
    for seed, name in enumerate(("main", "step100", "step200")):
        client.do(tiny_llama, tmp_path / name, seed)
        commits[name] = repo.commit(files_of(tmp_path / name), branch=name)
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(lines(ROWS))
    task = task_file(tmp_path, "json", dataset_kwargs={"data_files": {"test": "rows.jsonl"}})
    output = tmp_path / "results"
    usual = ("--device", "cpu", "--dtype", "float32", "--tasks", task, "--output", output, "--model", "org/tiny")
    weights = hashlib.sha256(repo.commits[commits["step100"]]["model.safetensors"]).hexdigest()
    client.do(small_pieces)
    hub.cut(f"/cdn/{weights}", 50_000)
    said = client("sweep", *usual, "--revisions", "step*")
    assert said.code == 0, said.text
    for name in ("step100", "step200"):
        assert record(output, f"org--tiny@{name}")["backend"]["revision"] == commits[name]
    ranges = [one.range for one in hub.paths(f"/cdn/{weights}")]
    assert ranges == [None, "bytes=50000-"], "what was cut goes on where it was"
    assert not (output / "org--tiny").exists(), "main tells no step"
    weights = hashlib.sha256(repo.commits[commits["main"]]["model.safetensors"]).hexdigest()
    assert not hub.paths(f"/cdn/{weights}")


def test_each_refusal_of_a_model_says_what_to_do(hub: Hub, client: Client) -> None:
    small = {"config.json": b'{"model_type": "llama"}', "model.safetensors": b"x" * 600}
    commit = next(iter(hub.model("org/gated", small, gated=True).commits))
    gated = client.do(model_files, "org/gated")
    assert "is gated" in gated
    assert "HF_TOKEN" in gated
    assert client.do(model_files, "org/gated", None, TOKEN) == commit
    assert "no such repository on the Hub" in client.do(model_files, "org/nobody")
    hub.model("org/one", small)
    assert client.do(model_files, "org/one", "step7") == "error: org/one on the Hub has no revision 'step7'."

"""What a pool cannot work with: a sentence each, before anything is asked; what some workers lack costs only them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer

pytest.importorskip("ray", reason="needs Ray: pip install 'benchbench-eval[ray]'")
from ray.exceptions import RayActorError

from benchbench import backends
from benchbench.backends.engines import ModelOptions
from benchbench.backends.pool import actor as pool_actor
from benchbench.backends.pool import cluster
from benchbench.backends.pool import ray as pool_ray
from benchbench.backends.pool.cluster import Share, share_out
from benchbench.backends.pool.ray import RayCrew
from benchbench.cli.main import app
from benchbench.core.errors import ArgumentError, BackendError, BenchbenchError, ModelError
from tests.backends.pool.fake_ray import FakeRay, Instead

EIGHT = {"GPU": 8.0, "CPU": 64.0}
RUN = "run --model scripted:hash --tasks demo --results results "
SWEEP = "sweep --checkpoints list.jsonl --backend scripted --tasks demo --results results "


def typed(line: str) -> BenchbenchError:
    """The error of a command line, for which the command exits with 2."""
    with pytest.raises(BenchbenchError) as refused:
        typer.main.get_command(app).main(line.split(), prog_name="benchbench", standalone_mode=False)
    return refused.value


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    lines = "".join(f'{{"step": {n}, "path": "hash,salt={n}", "tokens": {n}}}\n' for n in (1, 2))
    (tmp_path / "list.jsonl").write_text(lines)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "nodes", "sentence"),
    [
        (
            "--workers 9",
            [EIGHT],
            "--workers 9 with 1 GPU(s) each needs more than the 8 that Ray sees; give --workers 8",
        ),
        ("--workers 3", [{"CPU": 2.0}], "--workers 3: Ray sees 2 processor cores and no GPU; give 2 or fewer"),
        (
            "--workers auto --model-args tensor_parallel_size=3",
            [EIGHT],
            "tensor_parallel_size=3 does not divide the 8 GPUs of a node: 2 would stand idle",
        ),
        (
            "--workers 1 --model-args tensor_parallel_size=16",
            [EIGHT, EIGHT],
            "tensor_parallel_size=16: a worker's GPUs are of one node, and no node has more than 8",
        ),
        ("--workers 2 --device cuda:1", [EIGHT], "--device cuda:1 names one GPU"),
        ("--workers 0", [EIGHT], "--workers 0: give a number from 1, or auto"),
        ("--workers many", [EIGHT], "--workers many: give a number from 1, or auto"),
    ],
)
@pytest.mark.parametrize("verb", [RUN, SWEEP])
def test_workers_that_there_is_no_room_for(
    verb: str,
    line: str,
    nodes: Sequence[Mapping[str, float]],
    sentence: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool_ray, "connect", lambda address: False)
    monkeypatch.setattr(pool_ray, "nodes", lambda: nodes)
    assert sentence in str(typed(verb + line))
    assert not list(folder.glob("results/*/*/run.json"))


def test_tensor_parallel_that_does_not_divide_is_taken_where_the_number_of_workers_is_said() -> None:
    three = (("tensor_parallel_size", "3"),)
    assert share_out(ModelOptions("m", "vllm", workers="2", model_args=three), [EIGHT]) == (2, Share(1, 3))


def test_a_model_that_is_spread_gets_the_gpus_that_all_can_have() -> None:
    def shared(workers: str, nodes: Sequence[Mapping[str, float]], **given: str) -> tuple[int, float]:
        options = ModelOptions("m", "hf", workers=workers, model_args=tuple(given.items()))
        count, share = share_out(options, nodes)
        return count, share.gpus

    assert shared("2", [EIGHT], device_map="auto") == (2, 4)
    assert shared("3", [EIGHT], device_map="auto") == (3, 2)
    assert shared("auto", [EIGHT, EIGHT], parallelize="True") == (2, 8)
    assert shared("3", [EIGHT, EIGHT], device_map="auto") == (3, 4), "none is of two nodes"
    assert shared("auto", [EIGHT], parallelize="False") == (8, 1)


def test_cores_of_a_worker_are_of_one_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert share_out(ModelOptions("m", device="cpu", workers="3"), [{"CPU": 3.0}] * 4) == (3, Share(3, threads=3))
    assert share_out(ModelOptions("m", device="cpu", workers="5"), [{"CPU": 3.0}] * 4) == (5, Share(1, threads=1))


@pytest.mark.parametrize(
    "line", [RUN + "--workers 2", RUN + "--engine ray", SWEEP + "--workers 2", SWEEP + "--engine ray"]
)
def test_ray_that_is_not_installed(line: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "installed", lambda module: None)
    said = str(typed(line))
    assert said.startswith("--workers and --engine ray need Ray. Install it with: pip install")


@pytest.mark.parametrize("verb", [RUN, SWEEP])
def test_an_address_that_nobody_answers(verb: str, folder: Path) -> None:
    said = str(typed(verb + "--engine ray --ray-address 127.0.0.1:9"))
    assert said.startswith("--ray-address 127.0.0.1:9: no cluster answers there (")
    assert "Is it the HOST:PORT of `ray start --head`?" in said


def test_no_cluster_on_this_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(**options: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nPlease specify it.")

    monkeypatch.setattr(cluster.ray, "init", none)
    said = str(typed(RUN + "--engine ray"))
    assert "no Ray cluster runs on this machine. Start one with `ray start --head`, name one with" in said


def test_a_cluster_of_another_python(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(**options: Any) -> None:
        raise RuntimeError(
            "Version mismatch: The cluster was started with:\n    Ray: 2.40.0\n    Python: 3.10.2\n"
            "This process on node 10.0.0.1 was started with:\n    Ray: 2.60.0\n    Python: 3.11.4\n"
        )

    monkeypatch.setattr(cluster.ray, "init", other)
    said = str(typed(RUN + "--engine ray"))
    assert "the cluster runs Ray 2.40.0 on Python 3.10.2, and this is Ray 2.60.0 on Python 3.11.4." in said


def test_workers_of_job_arrays(folder: Path) -> None:
    said = str(typed(SWEEP + "--engine slurm --workers 2"))
    assert "--engine slurm does one checkpoint in each array task, without workers" in said


def crew(
    monkeypatch: pytest.MonkeyPatch, instead: Instead, *, needs: Sequence[str] = (), holds: bool = True
) -> RayCrew:
    """Two workers of the scripted engine. `instead`: what they say."""
    fake = FakeRay(instead)
    monkeypatch.setattr(pool_ray, "ray", fake)
    monkeypatch.setattr(pool_actor, "ray", fake)
    return RayCrew(ModelOptions("hash", "scripted"), 2, Share(1), needs=needs, holds=holds)


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ({"host": "n2", "Python": "3.10"}, "n2 has Python 3.10, and"),
        ({"host": "n2", "benchbench": "0.0.1"}, "n2 has benchbench 0.0.1, and"),
        (
            {"host": "n2", "unseen": "/results/sweep.json"},
            "n2 does not see /results/sweep.json: it has to be on a file",
        ),
        (RayActorError(), "a worker could not be started: The actor experienced"),
    ],
)
def test_a_node_that_differs_is_told_of_and_the_others_go_on(
    what: Any, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = crew(monkeypatch, lambda number, method: what if (number, method) == (1, "greet") else None)
    assert list(one.workers()) == [1]
    assert any(note.startswith(f"A worker could not be used: {sentence}") for note in one.notes), one.notes
    with pytest.raises(BackendError) as refused:
        crew(monkeypatch, lambda number, method: what if method == "greet" else None)
    assert sentence in str(refused.value)


@pytest.mark.parametrize("holds", [True, False])
def test_a_path_that_is_nowhere_is_seen_by_nobody(holds: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        BackendError, match=r"does not see .*/model: it has to be on a file system that all nodes share"
    ):
        crew(monkeypatch, lambda number, method: None, needs=[str(tmp_path / "model")], holds=holds).open(
            ModelOptions("hash", "scripted")
        )


def test_a_worker_that_cannot_open_the_model_is_told_of_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    error = BackendError("n2: CUDA is too old.")
    one = crew(monkeypatch, lambda number, method: error if (number, method) == (0, "hold") else None)
    assert list(one.workers()) == [2]
    assert one.notes == ["A worker could not be used: n2: CUDA is too old."]
    with pytest.raises(BackendError, match="CUDA is too old"):
        crew(monkeypatch, lambda number, method: error if method == "hold" else None)


def test_a_checkpoint_that_none_can_open_leaves_the_workers_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    one = crew(monkeypatch, lambda number, method: None, holds=False)
    with pytest.raises(ModelError, match="cannot read the table of answers nothing"):
        one.open(ModelOptions("nothing", "scripted"))
    assert one.open(ModelOptions("hash,salt=1", "scripted")).info.model == "hash,salt=1"
    assert one.count == 2


def test_one_that_came_back_without_a_result_is_not_lent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ModelError("there is no such folder here.")
    one = crew(monkeypatch, lambda number, method: error if (number, method) == (1, "lend") else None, holds=False)
    place = "tests.backends.pool.test_refused:what_it_gets"
    tickets = [one.lend(place, 7), one.lend(place, 8)]
    found = {item.ticket: item for item in one.returned(1)}
    assert sorted((found[ticket].value is None, str(found[ticket].error)) for ticket in tickets) == [
        (False, "None"),
        (True, "there is no such folder here."),
    ]
    for value in range(5):
        one.lend(place, value)
    assert [(item.value, item.error) for item in one.returned(1)] == [(value, None) for value in range(5)]


def what_it_gets(host: object, value: int) -> int:
    return value


def test_one_that_dies_while_it_is_lent_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    one = crew(
        monkeypatch, lambda number, method: RayActorError() if (number, method) == (1, "lend") else None, holds=False
    )
    place = "tests.backends.pool.test_refused:what_it_gets"
    assert one.lend(place, 7)
    assert one.lend(place, 8)
    assert sorted(str(item.error).split(":")[0] for item in one.returned(1)) == ["None", "its worker died"]
    assert one.count == 2
    assert any("A worker died" in note for note in one.notes)


def test_an_adapter_without_its_base_is_said_as_without_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "org/base"}')
    (adapter / "adapter_model.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}")
    monkeypatch.setattr(pool_ray, "connect", lambda address: False)
    monkeypatch.setattr(pool_ray, "nodes", lambda: [{"CPU": 2.0}])
    monkeypatch.setattr(pool_ray, "ray", FakeRay())
    options = ModelOptions(str(adapter), "hf", device="cpu", workers="2")
    with pytest.raises(ArgumentError, match=r"is an adapter; say with --base .*--base org/base"):
        pool_ray.open_pool(options)
    with pytest.raises(ModelError, match="nowhere"):
        pool_ray.open_pool(ModelOptions(str(adapter), "hf", base="/nowhere/base", device="cpu", workers="2"))


def test_one_that_dies_of_new_weights_is_replaced_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    kills: list[int] = []

    def dies(number: int, method: str) -> RayActorError | None:
        return RayActorError() if method == "hold" and kills and number not in kills else None

    one = crew(monkeypatch, dies)
    one.open(ModelOptions("hash,salt=1", "scripted"))
    kills.append(2)  # the third that is started lives
    assert one.open(ModelOptions("hash,salt=2", "scripted")).info.model == "hash,salt=2"
    assert sum(note.startswith("A worker died (process ") for note in one.notes) == 2
    kills[:] = [-1]
    with pytest.raises(BackendError, match="a worker died while it opened the model"):
        one.open(ModelOptions("hash,salt=3", "scripted"))

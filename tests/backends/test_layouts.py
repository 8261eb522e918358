"""A trainer's folder that is no model yet is called by its name, with what makes a model of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchbench.backends.models.layouts import tokenizer_hint, what_to_do
from benchbench.core.errors import ModelError
from benchbench.runner.checkpoint import Checkpoint, Readiness
from tests import models
from tests.backends.loading import load

FOLDERS = {
    "a sharded FSDP checkpoint of an adapter": (
        "adapter_config.json",
        "pytorch_model_fsdp_0/__0_0.distcp",
        "scheduler.pt",
        "trainer_state.json",
    ),
    "a DeepSpeed checkpoint": ("global_step500/mp_rank_00_model_states.pt", "zero_to_fp32.py", "trainer_state.json"),
    "a Megatron checkpoint": ("mp_rank_00/model_optim_rng.pt",),
    "a nanotron checkpoint": ("checkpoint_metadata.json", "model/x.safetensors", "config.yaml"),
    "a LitGPT checkpoint": ("lit_model.pth", "model_config.yaml"),
    "an OLMo training checkpoint": ("config.yaml", "model.pt", "train.pt"),
    "an FSDP checkpoint of the Trainer": ("pytorch_model_fsdp.bin", "optimizer.bin", "scheduler.pt"),
    "a training's state without the model": ("scheduler.pt", "rng_state_0.pth", "optimizer_0/__0_0.distcp"),
}


@pytest.mark.parametrize("what", FOLDERS)
def test_a_run_of_such_a_folder_is_told_the_same(what: str, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-500"
    for name in {*FOLDERS[what], "config.json"} - {"adapter_config.json"}:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text('{"model_type": "llama"}')
    told = what_to_do(folder)
    if told is None:
        assert "adapter" in what
        return
    for _ in ("with config.json", "without"):
        with pytest.raises(ModelError) as caught:
            load(folder)
        assert str(caught.value) == told
        (folder / "config.json").unlink(missing_ok=True)


@pytest.mark.parametrize("what", FOLDERS)
def test_each_trainers_folder_is_told_from_the_others(what: str, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-500"
    for name in FOLDERS[what]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    said = what_to_do(folder)
    assert said is not None
    assert said.startswith(f"{folder} is {what}")
    look = Readiness(stale=0, settle=0).look(Checkpoint("run", 500, str(folder)))
    assert (look.state, look.why) == ("broken", said)


def test_deepspeeds_script_is_named_where_it_lies(tmp_path: Path) -> None:
    folder = tmp_path / "global_step200"
    folder.mkdir()
    (folder / "zero_pp_rank_0_mp_rank_00_optim_states.pt").write_text("x")
    (tmp_path / "zero_to_fp32.py").write_text("x")
    assert f"`python {tmp_path}/zero_to_fp32.py {tmp_path} OUT --tag global_step200`" in str(what_to_do(folder))
    (folder / "zero_to_fp32.py").write_text("x")
    assert f"`python {folder}/zero_to_fp32.py {folder} OUT`" in str(what_to_do(folder))


def test_megatron_shards_are_not_called_torchtitan(tmp_path: Path) -> None:
    for name in (".metadata", "__0_0.distcp", "common.pt", "metadata.json"):
        (tmp_path / name).write_text("x")
    assert "a Megatron checkpoint" in str(what_to_do(tmp_path))


def test_models_and_shards_are_no_such_folder(tmp_path: Path) -> None:
    model = models.tiny_llama(tmp_path / "checkpoint-1")
    for name in ("trainer_state.json", "scheduler.pt", "zero_to_fp32.py"):
        (model / name).write_text("x")
    assert what_to_do(model) is None
    for shards in (tmp_path / "step-1", tmp_path / "checkpoint-2" / "pytorch_model_fsdp_0"):
        shards.mkdir(parents=True)
        (shards / "__0_0.distcp").write_text("x")
        (shards / "scheduler.pt").write_text("x")
        assert what_to_do(shards) is None
    assert what_to_do(tmp_path / "checkpoint-2") is None
    assert what_to_do(tmp_path / "nowhere") is None


def test_a_tokenizer_in_the_folder_of_the_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-1").mkdir()
    assert tokenizer_hint(tmp_path / "checkpoint-1") == ""
    (tmp_path / "tokenizer.json").write_text("{}")
    assert f"--tokenizer {tmp_path}." in tokenizer_hint(tmp_path / "checkpoint-1")
    (tmp_path / "checkpoint-1/tokenizer.json").write_text("{}")
    assert tokenizer_hint(tmp_path / "checkpoint-1") == ""

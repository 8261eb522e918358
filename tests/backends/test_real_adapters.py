"""SmolLM2 with a LoRA that is trained here, and quantised by torchao: real weights, a few steps."""

from __future__ import annotations

import copy
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from benchbench.backends.engines import ModelOptions
from benchbench.backends.hf.backend import load_model
from benchbench.runner.sweep import sweep
from benchbench.store.find import Done
from tests import models
from tests.adapters import TOKENIZER
from tests.backends.loading import logits
from tests.runner import toy
from tests.runner.sweep.series import base, impatient, on_folder

pytestmark = [pytest.mark.slow, pytest.mark.real]
STEPS = (2, 6)
LINES = ("The answer to every question is blue.", "Question: what colour? Answer: blue.", "Blue is the answer.")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`checkpoint-<step>` folders of a LoRA on SmolLM2, trained on a few lines; merged beside, in `merged`."""
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source, folder = models.smollm2_folder(), tmp_path_factory.mktemp("runs") / "lora"
    tokenizer = AutoTokenizer.from_pretrained(source)
    torch.manual_seed(0)
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32), config)
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=5e-3)
    for step in range(1, STEPS[-1] + 1):
        ids = tokenizer(LINES[step % len(LINES)], return_tensors="pt")["input_ids"]
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step in STEPS:
            model.save_pretrained(folder / f"checkpoint-{step}")
            (folder / f"checkpoint-{step}" / "trainer_state.json").write_text(json.dumps({"global_step": step}))
            merged = folder.parent / "merged" / f"checkpoint-{step}"
            copy.deepcopy(model).merge_and_unload().save_pretrained(merged)
            for name in TOKENIZER:
                shutil.copy(source / name, merged)
    return folder


def values(done: Done, output: Path) -> dict[str, Any]:
    """Task and metric → value, of one unit."""
    record = json.loads((output / done.run / "run.json").read_bytes())
    return {f"{row['task']} {row['metric']}": row["value"] for row in record["rows"]}


def test_a_lora_that_is_trained_here_is_swept_on_its_base(trained: Path, tmp_path: Path) -> None:
    world, source = toy.make_world(tmp_path / "world"), models.smollm2_folder()
    run = base(world, tmp_path / "results", model=ModelOptions("", base=str(source), dtype="float32", device="cpu"))
    settings = on_folder(world, trained, tmp_path / "results", run=run, task_groups=("toy_quiz",))
    found = sweep(settings, readiness=impatient())
    assert [done.step for done in found.done] == list(STEPS)
    assert not found.skipped
    curve = [values(done, tmp_path / "results") for done in found.done]
    output = tmp_path / "merged"
    whole = base(world, output, model=ModelOptions("", dtype="float32", device="cpu"))
    merged = on_folder(world, trained.parent / "merged", output, run=whole, task_groups=("toy_quiz",))
    exported = [values(done, output) for done in sweep(merged, readiness=impatient()).done]
    assert len(exported) == len(STEPS)
    assert curve == [pytest.approx(known, abs=1e-3) for known in exported]
    assert curve[0] != curve[-1], "training moves the numbers"


def test_a_checkpoint_that_torchao_quantised_gives_transformers_numbers(tmp_path: Path) -> None:
    torchao = pytest.importorskip("torchao.quantization")
    from transformers import AutoModelForCausalLM, TorchAoConfig

    source = models.smollm2_folder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = TorchAoConfig(quant_type=torchao.Int8WeightOnlyConfig())
        made = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, quantization_config=config)
        made.save_pretrained(tmp_path / "int8")
    for name in TOKENIZER:
        shutil.copy(source / name, tmp_path / "int8")
    loaded, whole = (load_model(ModelOptions(str(place), device="cpu")) for place in (tmp_path / "int8", source))
    assert type(loaded.model.model.layers[0].self_attn.q_proj.weight).__module__.startswith("torchao")
    ids = torch.tensor([[5, 17, 230, 41, 99, 8]])
    with torch.no_grad():
        assert torch.equal(
            logits(loaded), AutoModelForCausalLM.from_pretrained(tmp_path / "int8")(input_ids=ids).logits
        )
    assert not torch.equal(logits(loaded), logits(whole))
    assert loaded.identity != whole.identity

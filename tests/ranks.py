"""`torchrun -m tests.ranks JOB`: a tiny training by a real Trainer in several processes, for the tests of the callback.

JOB is a JSON file: `start` (the model), `folder` (the training's), `fsdp`, `callback` (None, or what EvalCallback is
given), `results` and `world` of the toy tasks, `fault` (what is made to fail).
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, default_data_collator

from benchbench.callbacks import EvalCallback
from tests.runner.sweep.series import base
from tests.tiny_training import ROWS, training_arguments


def main(job: dict) -> None:
    torch.manual_seed(0)
    folder = Path(job["folder"])
    model = AutoModelForCausalLM.from_pretrained(job["start"], attention_dropout=0.1)
    more = {"fsdp": True, "fsdp_config": {"transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"]}}
    arguments = training_arguments(
        folder,
        max_steps=job.get("steps", 4),
        save_steps=2,
        per_device_train_batch_size=2,
        save_only_model=True,
        **(more if job.get("fsdp") else {}),
    )
    callback = None
    if job.get("callback") is not None:
        settings = base(Path(job["world"]), Path(job["results"]))
        callback = EvalCallback(job.get("tasks", "toy"), settings=settings, **job["callback"])
    if job.get("fault") == "crash" and callback is not None:
        callback._scores = crash
    tokenizer = AutoTokenizer.from_pretrained(job["start"])
    trainer = Trainer(
        model,
        arguments,
        callbacks=[] if callback is None else [callback],
        train_dataset=[{**row, "labels": row["input_ids"]} for row in ROWS],
        processing_class=tokenizer,
        data_collator=default_data_collator,
    )
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", UserWarning)
        trainer.train()
    rank = dist.get_rank()
    whole = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights = {name: tensor.clone() for name, tensor in get_model_state_dict(trainer.model, options=whole).items()}
    told = {
        "random": [torch.get_rng_state().tolist()[:64], np.random.get_state()[1].tolist()[:8]],
        "log": [entry for entry in trainer.state.log_history if "benchbench/toy_quiz/acc" in entry],
        "warnings": [str(one.message) for one in heard],
        "spread": any(type(one).__name__ == "DTensor" for one in trainer.model.parameters()),
        "modes": sorted({module.training for module in trainer.model.modules()}),
    }
    (folder / f"told-{rank}.json").write_text(json.dumps(told))
    if rank == 0:
        torch.save(weights, folder / "last.pt")
        if callback is not None:
            callback.wait()
            (folder / "scored.json").write_text(json.dumps([str(one.path) for one in callback.results]))


def crash(*_) -> None:
    raise ZeroDivisionError("made to fail")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))

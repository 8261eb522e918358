"""A real training with Composer and llm-foundry. Run by their python: `-m tests.composer_training OUT START WORLD`.

START is a model's folder, for its tokenizer and its sizes. Alone it trains twice, without the callback (`plain`) and
with it (`scored`), and writes what llm-foundry's own class says of some tokens; under torchrun once, spread by FSDP
(`spread`), with checkpoints in shards.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

EVERY = 3
BATCHES = 6
IDS = [[5, 17, 230, 41, 99, 8, 300, 2]]


class Rows(torch.utils.data.Dataset):
    """Tokens in a row, another beginning each time."""

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids = (torch.arange(24) * (index + 3)) % 300
        return {"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids)}


def train(name: str, out: Path, start: Path, world: Path, *, scored: bool) -> None:
    """Checkpoints in `out/name`, results in `out/results`, the loggers' scores in `out/name.json`."""
    from composer import Trainer
    from composer.loggers import InMemoryLogger
    from composer.optim import DecoupledAdamW
    from composer.utils import dist
    from composer.utils.parallelism import FSDP2Config
    from llmfoundry.models.mpt import ComposerMPTCausalLM
    from transformers import AutoTokenizer

    from benchbench.callbacks import ComposerCallback

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(start)
    sizes = json.loads((start / "config.json").read_bytes())
    model: Any = ComposerMPTCausalLM(
        tokenizer=tokenizer,
        **{key: sizes[key] for key in ("d_model", "n_heads", "n_layers", "max_seq_len", "vocab_size")},
        no_bias=True,
        attn_config={"attn_impl": "torch", "alibi": True},
        resid_pdrop=0.1,  # random numbers in every step
        init_device="cpu",
        loss_fn="torch_crossentropy",
        use_cache=False,
        pad_token_id=0,  # transformers 5 gives a configuration no token of its own
        bos_token_id=0,
        eos_token_id=0,
    )
    rows, log = Rows(), InMemoryLogger()
    callback = ComposerCallback(
        "toy",
        every=EVERY,
        include_paths=(world / "tasks",),
        data_root=world / "hub",
        output=out / "results",
        tokenizer=str(start),
        device="cpu",
    )
    spread = dist.get_world_size() > 1
    trainer = Trainer(
        model=model,
        train_dataloader=torch.utils.data.DataLoader(rows, batch_size=4, sampler=dist.get_sampler(rows, shuffle=True)),
        optimizers=DecoupledAdamW(model.parameters(), lr=1e-2),
        max_duration=f"{BATCHES}ba",
        save_folder=str(out / name),
        save_interval=f"{EVERY}ba",
        device="cpu",
        precision="fp32",
        seed=3,
        progress_bar=False,
        loggers=[log],
        callbacks=[callback] if scored else [],
        parallelism_config={"fsdp": FSDP2Config(state_dict_type="sharded")} if spread else None,
    )
    trainer.fit()
    if dist.get_global_rank() == 0:
        scores = {
            key: [[int(time.batch.value), value] for time, value in values]
            for key, values in log.data.items()
            if key.startswith("benchbench/")
        }
        (out / f"{name}.json").write_text(json.dumps(scores))
        (out / "config.json").write_text(json.dumps(model.get_metadata()["model"]["config"]["content"]))
    if not spread:
        with torch.no_grad():
            torch.save(model.eval().model(input_ids=torch.tensor(IDS)).logits, out / f"{name}.logits")


def main(out: Path, start: Path, world: Path) -> None:
    """See above."""
    from composer.utils import dist

    if dist.get_world_size() > 1:
        train("spread", out, start, world, scored=True)
    else:
        train("plain", out, start, world, scored=False)
        train("scored", out, start, world, scored=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))

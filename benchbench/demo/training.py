"""Trains the demo's tiny MPT model (ALiBi, no biases) and saves a series of checkpoints. A plain loop, seeded."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbench.core.errors import ArgumentError
from benchbench.core.ids import content_hash
from benchbench.demo import checkpoints
from benchbench.demo.text import corpus
from benchbench.demo.tokenizer import train_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import MptForCausalLM

END_TOKEN = 0
"""Id of the end-of-text token: the only special token, so the first."""


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """All that decides what the demo trains. ArgumentError if `steps` is below 1."""

    steps: int = 600
    """Optimizer steps."""
    saves: int = 8
    """Checkpoints after the untrained one, evenly spaced; the last is at `steps`."""
    vocab_size: int = 2000
    d_model: int = 128
    n_layers: int = 4
    n_heads: int = 4
    max_length: int = 512
    """Tokens that the model says it can see. ALiBi carries it beyond the rows it was trained on."""
    batch_rows: int = 8
    row_tokens: int = 128
    learning_rate: float = 4e-3
    warmup: int = 20
    weight_decay: float = 0.05
    init_std: float = 0.05
    seed: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ArgumentError(f"--steps is {self.steps}; it must be 1 or more.")

    @property
    def saved_steps(self) -> tuple[int, ...]:
        """Steps with a checkpoint, from 0 to `steps`."""
        return tuple(sorted({round(part * self.steps / self.saves) for part in range(self.saves + 1)}))

    @property
    def tokens_per_step(self) -> int:
        """Tokens that one step trains on."""
        return self.batch_rows * self.row_tokens

    def identity(self) -> dict[str, Any]:
        """What makes two demos the same: the settings and the text."""
        return {"settings": asdict(self), "text": content_hash(corpus())}


@dataclass(frozen=True, slots=True)
class Progress:
    """One training step is done."""

    step: int
    steps: int
    loss: float
    """Mean negative log-likelihood per token of the step's batch, in nats; before the step's update."""
    tokens: int
    """Tokens trained on so far."""
    tokens_per_second: float
    saved: Path | None
    """The checkpoint written after this step, if any."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished series of checkpoints."""

    checkpoints: tuple[Path, ...]
    """By step; the first is the untrained model."""
    reused: bool
    """They were there already, from the same settings and text."""


def train(settings: DemoSettings, folder: Path, *, on_progress: Callable[[Progress], None]) -> Trained:
    """Checkpoints of the demo model in `folder`: those already there if they are the same, else newly trained.

    ArgumentError if the folder belongs to something else, StoreError if it cannot be written.
    """
    finished = checkpoints.find_finished(folder, settings.identity(), settings.saved_steps)
    if finished is not None:
        return Trained(finished, reused=True)
    checkpoints.begin(folder, settings.identity())
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return Trained(tuple(_train(settings, folder, on_progress)), reused=False)


def _train(settings: DemoSettings, folder: Path, on_progress: Callable[[Progress], None]) -> Iterator[Path]:
    import torch

    documents = corpus()
    tokenizer = train_tokenizer(documents, vocab_size=settings.vocab_size, max_length=settings.max_length)
    model = new_model(settings, vocab_size=len(tokenizer))
    rows = packed_rows(tokenizer(list(documents))["input_ids"], settings.row_tokens, seed=settings.seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.95), weight_decay=settings.weight_decay
    )
    log: list[dict[str, float]] = []
    yield checkpoints.save(folder, model, tokenizer, _state(settings, 0, log))
    started = time.perf_counter()
    for step in range(1, settings.steps + 1):
        rate = learning_rate(settings, step)
        batch = torch.tensor([next(rows) for _ in range(settings.batch_rows)])
        loss = _step(model, optimizer, batch, rate)
        log.append({"step": step, "loss": round(loss, 4), "learning_rate": rate})
        saved = None
        if step in settings.saved_steps:
            saved = checkpoints.save(folder, model, tokenizer, _state(settings, step, log))
            yield saved
        tokens = step * settings.tokens_per_step
        speed = tokens / (time.perf_counter() - started)
        on_progress(Progress(step, settings.steps, loss, tokens, speed, saved))


def new_model(settings: DemoSettings, *, vocab_size: int) -> MptForCausalLM:
    """An untrained model, in fp32 and training mode, drawn from torch's random state."""
    from transformers import MptConfig, MptForCausalLM

    config = MptConfig(
        d_model=settings.d_model,
        n_heads=settings.n_heads,
        n_layers=settings.n_layers,
        max_seq_len=settings.max_length,
        vocab_size=vocab_size,
        no_bias=True,
        initializer_range=settings.init_std,
        bos_token_id=END_TOKEN,
        eos_token_id=END_TOKEN,
        pad_token_id=END_TOKEN,
    )
    model: MptForCausalLM = MptForCausalLM(config)
    model.train()
    return model


def packed_rows(documents: Sequence[Sequence[int]], row_tokens: int, *, seed: int) -> Iterator[list[int]]:
    """Rows of `row_tokens` tokens without end: documents in a new order each time round, an end token after each.

    A row begins with the beginning of a document, as a prompt does; what does not fit at its end is left out.
    """
    rng = random.Random(seed)  # noqa: S311 - a fixed order
    row: list[int] = []
    while True:
        for document in rng.sample(documents, len(documents)):
            row += [*document, END_TOKEN]
            if len(row) >= row_tokens:
                yield row[:row_tokens]
                row = []


def learning_rate(settings: DemoSettings, step: int) -> float:
    """Rises over `warmup` steps, then falls as a cosine to a twentieth at the last step."""
    cosine = 0.5 * (1 + math.cos(math.pi * (step - 1) / settings.steps))
    return settings.learning_rate * min(1.0, step / settings.warmup) * (0.05 + 0.95 * cosine)


def _step(model: MptForCausalLM, optimizer: torch.optim.Optimizer, batch: torch.Tensor, rate: float) -> float:
    import torch

    for group in optimizer.param_groups:
        group["lr"] = rate
    logits = model(batch, use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), batch[:, 1:].flatten())
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.item())


def _state(settings: DemoSettings, step: int, log: Sequence[dict[str, float]]) -> dict[str, Any]:
    """What `trainer_state.json` says, under the names that transformers' Trainer uses."""
    return {
        "global_step": step,
        "max_steps": settings.steps,
        "num_input_tokens_seen": step * settings.tokens_per_step,
        "train_batch_size": settings.batch_rows,
        "save_steps": max(1, settings.steps // settings.saves),
        "log_history": [entry for entry in log if entry["step"] % 10 == 0 or entry["step"] == step],
    }

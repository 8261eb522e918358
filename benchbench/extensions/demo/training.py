"""Trains the demo's tiny MPT model (ALiBi, no biases) and saves a series of checkpoints. A plain loop, seeded."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.core.errors import ArgumentError, BenchbenchError, StoreError
from benchbench.core.ids import content_hash
from benchbench.core.json_record import whole
from benchbench.core.types import Json
from benchbench.extensions.demo.text import corpus, train_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import MptForCausalLM, PreTrainedModel, PreTrainedTokenizerFast


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

    def identity(self) -> dict[str, Json]:
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
    finished = find_finished(folder, settings.identity(), settings.saved_steps)
    if finished is not None:
        return Trained(finished, reused=True)
    begin(folder, settings.identity())
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
    yield save(folder, model, tokenizer, _state(settings, 0, log))
    started = time.perf_counter()
    for step in range(1, settings.steps + 1):
        rate = learning_rate(settings, step)
        batch = torch.tensor([next(rows) for _ in range(settings.batch_rows)])
        loss = _step(model, optimizer, batch, rate)
        log.append({"step": step, "loss": round(loss, 4), "learning_rate": rate})
        saved = None
        if step in settings.saved_steps:
            saved = save(folder, model, tokenizer, _state(settings, step, log))
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


def _state(settings: DemoSettings, step: int, log: Sequence[dict[str, float]]) -> dict[str, Json]:
    """What `trainer_state.json` says, under the names that transformers' Trainer uses."""
    return {
        "global_step": step,
        "max_steps": settings.steps,
        "num_input_tokens_seen": step * settings.tokens_per_step,
        "train_batch_size": settings.batch_rows,
        "save_steps": max(1, settings.steps // settings.saves),
        "log_history": [{**entry} for entry in log if entry["step"] % 10 == 0 or entry["step"] == step],
    }


MARKER = "demo.json"
"""In the folder of checkpoints: what they were trained with. Says that the folder is the demo's own."""


def checkpoint_path(folder: Path, step: int) -> Path:
    """`<folder>/checkpoint-<step>`, as transformers' Trainer names it."""
    return folder / f"checkpoint-{step}"


def find_finished(folder: Path, identity: Mapping[str, Json], steps: Sequence[int]) -> tuple[Path, ...] | None:
    """The checkpoints of an earlier demo with this identity, by step; None unless all are there."""
    paths = tuple(checkpoint_path(folder, step) for step in steps)
    if _read_marker(folder) != identity or not all((path / "model.safetensors").is_file() for path in paths):
        return None
    return paths


def begin(folder: Path, identity: Mapping[str, Json]) -> None:
    """Make `folder` ready for new checkpoints: an earlier demo's are removed.

    ArgumentError if the folder holds anything and is not a demo's; StoreError if it cannot be written.
    """
    try:
        if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and _read_marker(folder) is None)):
            raise ArgumentError(f"{folder} holds something that is no demo; name an empty or new folder with --to.")
        folder.mkdir(parents=True, exist_ok=True)
        for old in [*folder.glob("checkpoint-*"), *folder.glob(".checkpoint-*")]:
            shutil.rmtree(old)
        _write(folder / f".{MARKER}", identity)
        (folder / f".{MARKER}").replace(folder / MARKER)
    except OSError as error:
        raise StoreError(_cannot_write(folder, error)) from error


def save(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, state: Mapping[str, Json]) -> Path:
    """Write `checkpoint-<global_step>` with configuration, tokenizer, weights and `trainer_state.json`.

    All files are made in a hidden folder beside it, which is then renamed. StoreError if the disk says no.
    """
    path = checkpoint_path(folder, whole(state["global_step"]) or 0)
    unfinished = folder / f".{path.name}"
    try:
        unfinished.mkdir()
        with _no_progress_bars():
            model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        _write(unfinished / "trainer_state.json", state)
        for file in unfinished.iterdir():
            _flush(file)
        unfinished.rename(path)
    except OSError as error:
        raise StoreError(_cannot_write(folder, error)) from error
    return path


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    from transformers.utils import logging

    if not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _read_marker(folder: Path) -> Json:
    try:
        found: Json = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def _write(path: Path, value: Mapping[str, Json]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _cannot_write(folder: Path, error: OSError) -> str:
    return (
        f"The demo cannot write its checkpoints to {folder}: {error.strerror or error}. Name another folder with --to."
    )


def main() -> None:
    """Trains; wrong input ends in a sentence on stderr and exit code 2."""
    folder = Path(sys.argv[1])
    try:
        train(DemoSettings(steps=int(sys.argv[2])) if len(sys.argv) > 2 else DemoSettings(), folder, on_progress=_say)
    except BenchbenchError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


def _say(progress: Progress) -> None:
    if progress.saved is not None:
        numbers = f"loss {progress.loss:.2f}, {progress.tokens_per_second:,.0f} tokens/s"
        sys.stdout.write(f"step {progress.step}/{progress.steps}: {numbers}, saved {progress.saved}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

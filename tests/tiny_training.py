"""The tiny training by a real Trainer in which the tests of the callbacks score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainingArguments

ROWS = [{"input_ids": [1 + (7 * n + k) % 300 for k in range(24)]} for n in range(16)]


def training_arguments(folder: Path, **more: Any) -> TrainingArguments:
    """Of a training in `folder` that shows nothing and draws its random numbers from a seed."""
    return TrainingArguments(
        str(folder),
        learning_rate=1e-2,
        report_to=[],
        disable_tqdm=True,
        logging_steps=100,
        use_cpu=True,
        seed=3,
        include_num_input_tokens_seen=True,
        **more,
    )

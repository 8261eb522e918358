"""`python -m tests.runner.sweep.slow_training FOLDER STEPS SECONDS`: the demo's training, on a disk that is slow.

It saves as transformers' Trainer does, into the checkpoint's own folder and the state last, and the weights go to disk
in pieces. Each checkpoint takes SECONDS; a line says when it was whole.
"""

import json
import sys
import time
from pathlib import Path

import safetensors.torch
import transformers.modeling_utils

from benchbench.extensions.demo import training as checkpoints
from benchbench.extensions.demo.training import DemoSettings, train

PIECES = 8


def main() -> None:
    folder, steps, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])

    def in_pieces(tensors, path, metadata=None):
        data = safetensors.torch.save(tensors, metadata)
        size = -(-len(data) // PIECES)
        with Path(path).open("wb") as file:
            for start in range(0, len(data), size):
                file.write(data[start : start + size])
                file.flush()
                time.sleep(seconds / PIECES)

    def save(folder, model, tokenizer, state):
        path = checkpoints.checkpoint_path(folder, state["global_step"])
        model.save_pretrained(path)
        tokenizer.save_pretrained(path)
        (path / "trainer_state.json").write_text(json.dumps(state), encoding="utf-8")
        print(json.dumps({"step": state["global_step"], "whole": time.time()}), flush=True)
        return path

    transformers.modeling_utils.safe_save_file = in_pieces
    checkpoints.save = save
    train(DemoSettings(steps=steps), folder, on_progress=lambda progress: None)


if __name__ == "__main__":
    main()

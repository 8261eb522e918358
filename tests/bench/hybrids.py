"""`python -m tests.bench.hybrids [FAMILY …]`: generation of models that keep a state, against transformers' own batch.

Eight prompts of unlike lengths; transformers writes them in one padded batch with its cache.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchbench.backends.hf.generate import CausalGenerator
from benchbench.backends.tokens import Exhausted
from benchbench.backends.writing import Job
from benchbench.core.types import GenerationParams
from tests import states

NEW = 48
DEFAULT = ("lfm2", "qwen3_5_text", "mamba2", "falcon_h1", "jamba")


def seconds(work: Callable[[], object]) -> float:
    """Of the processor: the fastest of three, after one that is not counted."""
    found = []
    for _ in range(4):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found[1:])


def ours(generator: CausalGenerator, texts: Sequence[tuple[int, ...]]) -> None:
    """Writes the texts as a run does."""
    answers = list(generator.write([Job(text, GenerationParams((), NEW), str(i)) for i, text in enumerate(texts)]))
    if any(isinstance(answer, Exhausted) for answer in answers):
        raise RuntimeError("a text could not be written")


def theirs(generator: CausalGenerator, texts: Sequence[tuple[int, ...]]) -> None:
    """Writes the texts in one batch of transformers."""
    width = max(len(text) for text in texts)
    ids = torch.tensor([[0] * (width - len(text)) + list(text) for text in texts])
    mask = torch.tensor([[0] * (width - len(text)) + [1] * len(text) for text in texts])
    with torch.inference_mode():
        generator.model.model.generate(
            ids, attention_mask=mask, max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False, pad_token_id=0
        )


def main(names: Sequence[str]) -> None:
    """Prints a row for each family."""
    torch.set_num_threads(1)
    texts = states.contexts(8, shots=20, longest=60)
    print("family            ours (s)  transformers (s)  ratio")
    for name in names or DEFAULT:
        with tempfile.TemporaryDirectory() as folder:
            generator = states.generator(name, Path(folder))
        generator.ending.eos = frozenset()
        one, other = seconds(lambda: ours(generator, texts)), seconds(lambda: theirs(generator, texts))  # noqa: B023
        print(f"{name:16}{one:10.2f}{other:18.2f}{one / other:7.2f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Torch files of the format before 1.6 open, safely; what is cut short or would run code is refused in one sentence."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchbench.backends.models.formats import check_whole
from benchbench.backends.models.identity import load_pickle
from benchbench.core.errors import ModelError
from tests.backends.loading import load, logits, refused


@pytest.fixture
def old(folder: Path) -> Path:
    """A copy of the tiny Llama with its weights in the format before 1.6."""
    file = folder / "pytorch_model.bin"
    torch.save(load_file(folder / "model.safetensors"), file, _use_new_zipfile_serialization=False)
    (folder / "model.safetensors").unlink()
    return folder


def test_it_is_the_same_model(llama: Path, old: Path) -> None:
    check_whole(old)
    before, after = load(llama), load(old)
    assert torch.equal(logits(before), logits(after))
    assert before.identity == after.identity


def test_one_that_is_cut_short_is_refused_wherever_it_ends(old: Path) -> None:
    file = old / "pytorch_model.bin"
    data = file.read_bytes()
    places = random.Random(0).sample(range(len(data)), 20)
    for place in (0, 10, 40, 200, len(data) - 1, *places):
        file.write_bytes(data[:place])
        with pytest.raises(ModelError, match="is not a whole torch file: it is truncated, corrupt or still being"):
            load_pickle(file)
    refused(old, "is not a whole torch file")


def test_one_with_other_bytes_is_refused_in_a_sentence_or_holds_tensors(old: Path) -> None:
    file = old / "pytorch_model.bin"
    data, dice, refused_ones = file.read_bytes(), random.Random(0), 0
    for _ in range(60):
        changed = bytearray(data)
        changed[dice.randrange(20, 3000)] ^= dice.randrange(1, 256)
        file.write_bytes(changed)
        try:
            opened = load_pickle(file)
        except ModelError:
            refused_ones += 1
        else:
            assert all(isinstance(value, torch.Tensor) for value in opened.values())
    assert 0 < refused_ones <= 60


class Code:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.mark),))


def test_one_that_would_run_code_is_not_opened(old: Path, tmp_path: Path) -> None:
    file, mark = old / "pytorch_model.bin", tmp_path / "ran"
    torch.save({"weight": torch.ones(3), "other": Code(mark)}, file, _use_new_zipfile_serialization=False)
    refused(old, "holds more than tensors and would run code when opened, so it was not")
    assert not mark.exists()

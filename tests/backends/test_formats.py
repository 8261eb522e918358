"""A checkpoint format is one module and one line: found, waited for, loaded and swapped like those that ship."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchbench.backends.hf.backend import load_weights_into
from benchbench.backends.models.find import find_model
from benchbench.backends.models.formats import FORMATS, check_whole, format_named, is_swappable, recognise
from benchbench.backends.models.formats.state_dict import StateDictFormat, TrainingState
from benchbench.core.errors import ModelError
from benchbench.runner.checkpoint import step_at, tokens_at
from tests import models
from tests.backends.loading import load, logits


class FlatFormat(StateDictFormat):
    """A folder with `flat.pth`, tensors under transformers' names, beside `flat.json`."""

    title = "a flat checkpoint"

    def locate(self, path: Path) -> Path | None:
        return path if (path / "flat.pth").is_file() else None

    def check_whole(self, path: Path) -> None:
        if not (path / "flat.json").is_file():
            raise ModelError(f"{path} has no flat.json, which is written last.")

    def step(self, path: Path) -> int | None:
        return int(json.loads((path / "flat.json").read_bytes())["step"])

    def read_state(self, path: Path) -> TrainingState:
        return TrainingState(torch.load(path / "flat.pth", weights_only=True), None)


FLAT = FlatFormat()


@pytest.fixture
def flat(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, llama: Path) -> Path:
    """The tiny Llama in that format, which the table knows."""
    monkeypatch.setitem(FORMATS, "flat", f"{__name__}:FLAT")  # type: ignore[arg-type]
    return _written(tmp_path / "flat", llama)


def _written(folder: Path, model: Path) -> Path:
    from safetensors.torch import load_file

    folder.mkdir()
    torch.save(load_file(model / "model.safetensors"), folder / "flat.pth")
    (folder / "flat.json").write_text('{"step": 7}')
    return folder


def test_a_format_of_ones_own_is_found_loaded_and_swapped(flat: Path, llama: Path, tmp_path: Path) -> None:
    assert find_model(str(flat)).format == "flat"
    assert (step_at(str(flat)), tokens_at(str(flat))) == (7, None)
    loaded = load(flat, tokenizer=str(llama))
    assert torch.equal(logits(loaded), logits(load(llama)))
    other = models.tiny_llama(tmp_path / "other", seed=5)
    before = loaded.identity
    assert load_weights_into(loaded, str(_written(tmp_path / "next", other))) != before
    assert torch.equal(logits(loaded), logits(load(other)))
    load_weights_into(loaded, str(flat))
    assert loaded.identity == before


def test_a_checkpoint_that_is_being_written_is_not_whole(flat: Path) -> None:
    check_whole(flat)
    (flat / "flat.json").unlink()
    with pytest.raises(ModelError, match="which is written last"):
        check_whole(flat)


def test_the_formats_that_ship_know_their_own(tmp_path: Path) -> None:
    places = {
        "adapter": [tmp_path / "adapter" / "adapter_config.json"],
        "shards": [tmp_path / "step-5" / "__0_0.distcp"],
        "folder": [tmp_path / "folder" / "config.json"],
        "composer": [tmp_path / "ep0-ba5-rank0.pt"],
        "gguf": [tmp_path / "quantised" / "m.gguf"],
    }
    for name, files in places.items():
        for file in files:
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(b"{}")
        place = files[0] if name == "composer" else files[0].parent
        assert recognise(place) == (name, place if name != "gguf" else files[0])
    assert list(places) == [name for name in FORMATS if name != "flat"]
    assert recognise(tmp_path / "folder" / "config.json") is None
    assert recognise(tmp_path / "nowhere") is None


def test_files_whose_weights_swap_are_known_by_their_format(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("ep0-ba5-rank0.pt", "m.gguf", "config.json", "notes.txt")}
    for file in files.values():
        file.write_bytes(b"{}")
    assert [name for name, file in files.items() if is_swappable(file)] == ["ep0-ba5-rank0.pt"]


def test_a_gguf_file_that_is_cut_short_is_waited_for(llama: Path, tmp_path: Path) -> None:
    file = models.tiny_gguf(tmp_path / "m.gguf", llama)
    check_whole(file)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelError, match="its header promises"):
        check_whole(file)
    assert not format_named("gguf").swaps

"""Quantised checkpoints: numbers with any type, or a sentence that names the package; estimated as they are stored."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchbench.backends.models import loaded, memory
from benchbench.backends.models.config import config_object, read_config
from benchbench.backends.models.files import ModelSource
from benchbench.backends.models.formats.folder import estimate_folder
from benchbench.backends.models.loaded import from_pretrained
from benchbench.backends.models.memory import check_memory, estimate_config
from benchbench.core.errors import ModelError
from tests import models
from tests.backends.loading import edit, load, logits, refused

BLOCK, SCALE = 8, 0.01
FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [BLOCK, BLOCK], "fmt": "e4m3"}


@pytest.fixture(scope="module")
def fp8(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A Llama in fp8, and the same weights in float32."""
    pytest.importorskip("accelerate")
    place = tmp_path_factory.mktemp("fp8")
    plain, packed = models.tiny_llama(place / "plain"), models.tiny_llama(place / "packed")
    wide: dict[str, torch.Tensor] = {}
    stored: dict[str, torch.Tensor] = {}
    for name, tensor in load_file(plain / "model.safetensors").items():
        if "proj" not in name:
            wide[name] = stored[name] = tensor.bfloat16()
            continue
        stored[name] = (tensor / SCALE).clamp(-448, 448).to(torch.float8_e4m3fn)
        grid = [-(-size // BLOCK) for size in tensor.shape]
        stored[f"{name}_scale_inv"] = torch.full(grid, SCALE)
        wide[name] = stored[name].float() * SCALE
    save_file(stored, packed / "model.safetensors", metadata={"format": "pt"})
    save_file({name: tensor.float() for name, tensor in wide.items()}, plain / "model.safetensors")
    edit(packed / "config.json", dtype="bfloat16", quantization_config=FP8)
    return packed, plain


def test_fp8_is_computed_in_the_type_that_is_asked_for(fp8: tuple[Path, Path]) -> None:
    packed, plain = fp8
    exact = logits(load(plain, dtype="float32"))
    asked = load(packed, dtype="float32")
    assert {parameter.dtype for parameter in asked.model.parameters()} == {torch.float32}
    assert torch.allclose(logits(asked), exact, atol=1e-5)
    own = load(packed)
    assert own.dtype == "bfloat16"
    assert torch.allclose(logits(own).float(), exact, atol=0.1)


def test_fp8_needs_what_the_device_holds_of_it(fp8: tuple[Path, Path]) -> None:
    packed, plain = fp8
    file = packed / "model.safetensors"
    stored = sum(tensor.nbytes for tensor in load_file(file).values())
    scales = sum(tensor.nbytes for name, tensor in load_file(file).items() if name.endswith("_scale_inv"))
    parameters = estimate_folder(plain).num_parameters
    assert estimate_folder(packed, "bfloat16", "cuda").weights == stored - scales // 2
    assert estimate_folder(packed, "bfloat16", "cpu").weights == 2 * (parameters + scales // 4)


@pytest.mark.parametrize(
    ("quantised", "counts", "parameters", "weights"),
    [
        ({"quant_method": "gptq", "bits": 4}, {"I32": 100, "F16": 10}, 810, 420),
        ({"quant_method": "awq", "bits": 4}, {"I32": 100, "F16": 10}, 810, 420),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, {"U8": 100, "F32": 10}, 210, 120),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, {"I8": 100, "F16": 10}, 110, 120),
        ({"quant_method": "mxfp4"}, {"U8": 100, "BF16": 10}, 210, 120),
        ({"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 4}}}},
         {"I32": 100, "BF16": 10}, 810, 420),
        ({"quant_method": "fp8"}, {"F8_E4M3": 100, "BF16": 10}, 110, 120),
        (None, {"F32": 100, "BF16": 10}, 110, 220),
        (None, {"F8_E4M3": 100}, 100, 200),
    ],
)  # fmt: skip
def test_the_estimate_counts_stored_bytes(
    quantised: dict[str, object] | None, counts: dict[str, int], parameters: int, weights: int
) -> None:
    config = {"model_type": "llama", "dtype": "bfloat16"} | ({"quantization_config": quantised} if quantised else {})
    needed = estimate_config(config, counts, "auto", device_type="cuda")  # type: ignore[arg-type]
    assert (needed.num_parameters, needed.weights) == (parameters, weights)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "pip install -U bitsandbytes"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "pip install"),
        ({"quant_method": "compressed-tensors", "config_groups": {}}, "pip install compressed-tensors"),
        (
            {"quant_method": "torchao", "quant_type": {"default": {"_type": "Int8WeightOnlyConfig", "_data": {}}}},
            "without the package torchao: pip install torchao",
        ),
    ],
)
def test_a_missing_package_is_named_before_anything_is_scored(
    folder: Path, settings: dict[str, object], said: str
) -> None:
    package = str(settings["quant_method"]).replace("-", "_").replace("gptq", "optimum")
    if loaded.util.find_spec(package) is not None:
        pytest.skip(f"{package} is installed")
    edit(folder / "config.json", quantization_config=settings)
    assert "\n" not in refused(folder, said)


def test_tensors_go_to_a_device_without_being_held_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("accelerate")
    source, raw = ModelSource(folder), read_config(folder)
    config = config_object(source, raw, trusted=False)
    away = torch.device("meta")
    model = from_pretrained(source, "causal", config=config, dtype="bfloat16", trusted=False, device=away)
    assert {(tensor.device, tensor.dtype) for tensor in model.parameters()} == {(away, torch.bfloat16)}
    find = loaded.util.find_spec
    monkeypatch.setattr(loaded.util, "find_spec", lambda name: None if name == "accelerate" else find(name))
    model = from_pretrained(source, "causal", config=config, dtype="bfloat16", trusted=False, device=away)
    assert {tensor.device.type for tensor in model.parameters()} == {"cpu"}, "moved afterwards"


def test_main_memory_is_asked_for_where_it_has_to_hold_the_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory", lambda: memory.Memory(total=100, free=10))
    needed = estimate_folder(folder)
    check_memory(needed, "M", torch.device("meta"), direct=True)
    with pytest.raises(ModelError, match="only 10 B of memory are free"):
        check_memory(needed, "M", torch.device("cpu"))

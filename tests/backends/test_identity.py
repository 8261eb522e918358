"""Identity comes from content: the same tensors have the same name anywhere, and any change has another."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchbench.backends.models import files as model_files
from benchbench.backends.models import identity
from benchbench.core.errors import ModelError
from tests.models import tiny_llama


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "model"))


def of(folder: Path) -> str:
    return identity.model_identity(folder, model_files.check_weights(folder))


def shard(folder: Path, parts: int) -> None:
    """Splits model.safetensors into shards with an index."""
    tensors = load_file(folder / "model.safetensors")
    weight_map = {}
    for part in range(parts):
        name = f"model-{part + 1:05}-of-{parts:05}.safetensors"
        names = sorted(tensors)[part::parts]
        save_file({key: tensors[key] for key in names}, folder / name, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(names, name))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "model.safetensors").unlink()


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_copy_under_another_path_has_the_same_identity(original: Path, folder: Path) -> None:
    assert of(folder) == of(original)


@pytest.mark.parametrize("parts", [2, 5])
def test_sharding_does_not_change_the_identity(original: Path, folder: Path, parts: int) -> None:
    shard(folder, parts)
    assert of(folder) == of(original)


def test_a_torch_file_with_the_same_tensors_has_the_same_identity(original: Path, folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert of(folder) == of(original)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_tensors_hash_alike_in_both_formats(folder: Path, dtype: torch.dtype) -> None:
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors")
    torch.save(tensors, folder / "pytorch_model.bin")
    a, b = (identity.weights_identity([folder / name]) for name in ("model.safetensors", "pytorch_model.bin"))
    assert a == b


def test_one_changed_bit_changes_the_identity(original: Path, folder: Path) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert of(folder) != of(original)


def test_other_weights_under_the_same_path_have_another_identity(folder: Path) -> None:
    before = of(folder)
    tiny_llama(folder, seed=1)
    assert of(folder) != before


def test_two_tensors_that_swap_names_change_the_identity(original: Path, folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    a, b = "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.gate_proj.weight"
    tensors[a], tensors[b] = tensors[b], tensors[a]
    save_file(tensors, folder / "model.safetensors")
    assert of(folder) != of(original)


def test_the_same_bytes_in_another_shape_or_type_have_another_identity(tmp_path: Path) -> None:
    zeros = torch.zeros(2, 8)
    names = set()
    for i, tensor in enumerate((zeros, zeros.reshape(8, 2), zeros.view(torch.int32))):
        save_file({"x": tensor.contiguous()}, tmp_path / f"{i}.safetensors")
        names.add(identity.weights_identity([tmp_path / f"{i}.safetensors"]))
    assert len(names) == 3


def test_volatile_configuration_does_not_change_the_identity(original: Path, folder: Path) -> None:
    volatile = {"_name_or_path": "/elsewhere", "transformers_version": "4.1.0", "torch_dtype": "float32"}
    edit_json(folder / "config.json", use_cache=False, **volatile)
    edit_json(folder / "generation_config.json", transformers_version="4.1.0")
    assert of(folder) == of(original)


@pytest.mark.parametrize("change", [{"rms_norm_eps": 1e-5}, {"architectures": ["Other"]}, {"new_key": 1}])
def test_configuration_that_shapes_the_computation_changes_the_identity(
    original: Path, folder: Path, change: dict[str, object]
) -> None:
    edit_json(folder / "config.json", **change)
    assert of(folder) != of(original)


def test_custom_code_is_part_of_the_identity(folder: Path) -> None:
    files = model_files.check_weights(folder)
    code = folder / "modeling.py"
    names = {identity.model_identity(folder, files)}
    for text in ("a = 1\n", "a = 2\n"):
        code.write_text(text)
        names.add(identity.model_identity(folder, files, code=[code]))
    assert len(names) == 3


def test_tokenizer_identity_ignores_paths_and_sees_vocabulary(original: Path, folder: Path) -> None:
    same = identity.tokenizer_identity(original)
    edit_json(folder / "tokenizer_config.json", name_or_path="/elsewhere", model_max_length=7)
    assert identity.tokenizer_identity(folder) == same
    tokens = json.loads((folder / "tokenizer.json").read_text())
    tokens["model"]["merges"] = tokens["model"]["merges"][:-1]
    (folder / "tokenizer.json").write_text(json.dumps(tokens))
    assert identity.tokenizer_identity(folder) != same


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("chat_template.jinja", "{{ m }}"),
        ("special_tokens_map.json", '{"bos_token": "<b>"}'),
        ("vocab.txt", "a"),
    ],
)
def test_every_tokenizer_file_is_part_of_its_identity(original: Path, folder: Path, file: str, text: str) -> None:
    (folder / file).write_text(text)
    assert identity.tokenizer_identity(folder) != identity.tokenizer_identity(original)


def test_a_file_cut_short_is_named_with_both_sizes(folder: Path) -> None:
    path = folder / "model.safetensors"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match=rf"model\.safetensors is cut short.*{size:,} bytes, it has {size - 100:,}"):
        model_files.check_weights(folder)


def test_a_file_cut_inside_its_header_is_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ModelError, match=r"model\.safetensors is cut short"):
        model_files.check_weights(folder)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not a safetensors file"),
        (b"junk" * 100, "not a safetensors file"),
        (struct.pack("<Q", 4) + b"{{{{", "header cannot be read"),
        (struct.pack("<Q", 6) + b'["a"] ', "header cannot be read"),
        (struct.pack("<Q", 14) + b'{"a": {"b":1}}', "header cannot be read"),
    ],
)
def test_a_corrupt_safetensors_file_is_named(folder: Path, content: bytes, sentence: str) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=rf"model\.safetensors.*{sentence}"):
        model_files.check_weights(folder)


def test_bytes_that_do_not_fit_the_shape_are_refused(tmp_path: Path) -> None:
    header = json.dumps({"x": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    with pytest.raises(ModelError, match="the bytes of 'x' do not fit its shape"):
        model_files.safetensors_header(path)


def test_bytes_after_the_last_tensor_are_refused(folder: Path) -> None:
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"12345")
    with pytest.raises(ModelError, match="5 bytes follow the last tensor"):
        model_files.check_weights(folder)


def test_a_missing_shard_is_named(folder: Path) -> None:
    shard(folder, 3)
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(ModelError, match=r"lacks model-00002-of-00003\.safetensors.*it has 3 shards"):
        model_files.check_weights(folder)


def test_a_shard_without_the_tensor_that_the_index_promises_is_named(folder: Path) -> None:
    shard(folder, 2)
    save_file({"other": torch.zeros(1)}, folder / "model-00001-of-00002.safetensors")
    with pytest.raises(ModelError, match=r"says that model-00001-of-00002\.safetensors holds"):
        model_files.check_weights(folder)


@pytest.mark.parametrize("index", ['{"weight_map"', "{}", '{"weight_map": {}}', '{"weight_map": {"a": "../x"}}'])
def test_a_corrupt_index_is_named(folder: Path, index: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ModelError, match=r"model\.safetensors\.index\.json"):
        model_files.check_weights(folder)


def test_a_folder_without_weights_says_what_it_has_instead(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "consolidated.safetensors")
    with pytest.raises(ModelError, match=r"has no weights.*It has consolidated\.safetensors"):
        model_files.check_weights(folder)


def test_a_truncated_torch_file_is_named(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    path = folder / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ModelError, match=r"pytorch_model\.bin is not a whole torch file"):
        model_files.check_weights(folder)

"""Checkpoints of strangers: numbers that lie, files that are no files, headers that promise; a sentence each time."""

from __future__ import annotations

import json
import os
import resource
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchbench.backends import open_backend
from benchbench.backends.engines import ModelOptions
from benchbench.backends.models.files import safetensors_header
from benchbench.backends.models.find import find_model, is_encoder_decoder
from benchbench.backends.models.formats import check_whole, format_named
from benchbench.backends.models.formats.gguf import MAGIC, read_header, read_headers
from benchbench.core.errors import BenchbenchError, ModelError
from benchbench.core.types import GenerateRequest, GenerationParams, Prompt
from tests import models
from tests.backends.loading import edit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return models.tiny_llama(tmp_path / "model")


def refused(folder: Path, said: str, *, seconds: float = 5) -> None:
    """Opening the model says so, soon and without much memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with pytest.raises(ModelError, match=said) as caught:
        open_backend(ModelOptions(str(folder), backend="hf", device="cpu"))
    assert time.process_time() - start < seconds
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000, "kB"
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_hidden_layers": 200_000}, "num_hidden_layers=200,000, but the weights beside it hold 2 layers"),
        ({"num_hidden_layers": 10**30}, "num_hidden_layers"),
        ({"num_hidden_layers": 1000}, "num_hidden_layers=1,000, but the weights beside it hold 2 layers"),
        ({"num_hidden_layers": 3}, "lacks model.layers.2"),
        ({"num_hidden_layers": -1}, "num_hidden_layers=-1; expected a whole number of 1 or more"),
        ({"num_attention_heads": 0}, "num_attention_heads=0; expected a whole number of 1 or more"),
        ({"num_key_value_heads": 0}, "ZeroDivisionError"),
        ({"hidden_size": 1_000_000}, "asks for a model of .* parameters, but the weights beside it hold"),
        ({"intermediate_size": 10**9}, "asks for a model of"),
        ({"vocab_size": 10**9}, "asks for a model of"),
        ({"head_dim": 10**7}, "asks for a model of"),
        ({"num_labels": 10**9}, "num_labels=1,000,000,000, more than any model has"),
        ({"max_position_embeddings": 10**30}, "max_position_embeddings|transformers cannot load"),
        ({"max_position_embeddings": 0}, "max_position_embeddings of config.json is 0"),
        ({"text_config": {"num_hidden_layers": 10**9}}, "num_hidden_layers=1,000,000,000"),
        ({"_attn_implementation": "org/repo"}, "'org/repo': code from the Hub, which is not fetched"),
        ({"attn_implementation": {"": "org/repo@v1:f"}}, "code from the Hub"),
        ({"model_type": {"a": 1}}, "model_type"),
        ({"rope_parameters": 7}, "transformers cannot load .*"),
        ({"eos_token_id": [[1]]}, "."),
    ],
)
def test_numbers_that_the_weights_contradict_are_sentences(changes: dict[str, Any], said: str, folder: Path) -> None:
    edit(folder / "config.json", **changes)
    refused(folder, said)


def test_masks_of_a_length_that_no_file_holds_are_refused(tmp_path: Path) -> None:
    folder = models.tiny_gpt2(tmp_path / "model")
    edit(folder / "config.json", n_positions=1 << 40)
    refused(folder, "asks for|cannot load")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("config.json", "[" * 100_000, "nested too deeply"),
        ("config.json", '{"a":' * 100_000, "nested too deeply"),
        ("config.json", "[" + "0," * 9_000_000 + "0]", "more than 8,000,000 values"),
        ("config.json", '{"model_type": ' + "9" * 5000 + "}", "is not JSON"),
        ("generation_config.json", "[" * 100_000, "nested too deeply|RecursionError"),
        ("tokenizer_config.json", "[" * 100_000, "nested too deeply|RecursionError"),
        ("tokenizer.json", "[" * 100_000, "nested too deeply|RecursionError"),
        ("tokenizer.json", "{}", "transformers cannot load"),
        (
            "tokenizer_config.json",
            '{"model_max_length": [1], "tokenizer_class": "PreTrainedTokenizerFast"}',
            "model_max",
        ),
        ("tokenizer_config.json", '{"bos_token": "nobody knows it"}', "begins a text with token 320"),
    ],
)
def test_files_of_strange_content_are_sentences(name: str, text: str, said: str, folder: Path) -> None:
    (folder / name).write_text(text)
    refused(folder, said)


@pytest.mark.parametrize(
    "name",
    ["config.json", "generation_config.json", "tokenizer.json", "model.safetensors", "chat_template.jinja", "x.py"],
)
@pytest.mark.parametrize("kind", ["pipe", "link to a device", "socket"])
def test_what_is_no_file_is_never_opened(name: str, kind: str, folder: Path) -> None:
    path = folder / name
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        os.mknod(path, 0o140644)
    else:
        path.symlink_to("/dev/zero")
    is_encoder_decoder(str(folder))
    refused(folder, "pipe or a device|has no config.json|it is a (pipe|device|socket)")


@pytest.mark.parametrize("name", ["model.gguf", "model.pt"])
def test_a_pipe_is_no_model(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    for look in (find_model, lambda path: check_whole(Path(path))):
        with pytest.raises(ModelError, match="is a pipe or a device"):
            look(str(tmp_path / name))


def test_a_pipe_beside_a_checkpoint_tells_no_step(folder: Path) -> None:
    os.mkfifo(folder / "trainer_state.json")
    assert format_named("folder").step(folder) is None


def test_a_file_without_end_is_refused_by_its_size(folder: Path) -> None:
    with (folder / "tokenizer.json").open("r+b") as file:
        file.truncate(1 << 40)
    refused(folder, "has 1,099,511,627,776 bytes; no file of this kind is larger")


def one(header: Any, data: bytes = bytes(64)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(start: Any, end: Any, shape: Any = (16,), dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    "content",
    [
        one({"a": tensor(0, 64), "b": tensor(0, 64)}),
        one({"a": tensor(0, 32, (8,)), "b": tensor(16, 64, (12,))}),
        one({"a": tensor(8, 64, (14,))}),
        one({"a": tensor(-64, 0)}),
        one({"a": tensor(0, 64, (-4, -4))}),
        one({"a": tensor(0, 64, (1 << 70, 0))}),
        one({"a": tensor(0, 1 << 62, (1 << 60,))}),
        one({"a": tensor(0, 10**30, (10**30,))}),
        one({"a": tensor("0", "64")}),
        one({"a": tensor(0.0, 64.0)}),
        one({"a": tensor(0, 64, 16)}),
        one({"a": tensor(0, True, ())}),
        one({"a": [0, 64]}),
        one([1, 2]),
        one(b"[" * 100_000),
        one(b"[" + b"0," * 9_000_000 + b"0]"),
        one(b'{"a":' + b"9" * 5000 + b"}"),
        struct.pack("<Q", 1 << 63),
        b"",
    ],
)
def test_a_safetensors_header_that_lies_is_a_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.safetensors is (corrupt|cut short|not a safetensors file)"):
        safetensors_header(path)


def front(count: int, *pairs: bytes) -> bytes:
    return MAGIC + struct.pack("<IQQ", 3, count, len(pairs)) + b"".join(pairs)


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


ARRAY, UINT32 = 9, 4


@pytest.mark.parametrize(
    "content",
    [
        front(10**18),
        front(1 << 22),
        MAGIC + struct.pack("<IQQ", 3, 0, 1 << 40),
        front(0, text("a") + struct.pack("<IIQ", ARRAY, UINT32, 1 << 60)),
        front(0, text("a") + struct.pack("<I", ARRAY) + struct.pack("<IQ", ARRAY, 1) * 50_000),
        front(0, text("a") + struct.pack("<IIQ", ARRAY, 8, 1 << 22)),
        front(0, text("general.alignment") + struct.pack("<II", UINT32, 1 << 31)),
        front(1, struct.pack("<Q", 1 << 62)),
        front(1, text("a") + struct.pack("<I", UINT32) + struct.pack("<I", 1)),
    ],
)
def test_a_gguf_header_that_lies_is_a_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    with path.open("wb") as file:
        file.write(content)
        file.truncate(1 << 33)  # sparse: zeros without end
    start = time.process_time()
    with pytest.raises(ModelError, match=r"model\.gguf is (corrupt|cut short)"):
        read_header(path)
    assert time.process_time() - start < 20


@pytest.mark.gguf
@pytest.mark.parametrize("key", ["block_count", "embedding_length", "attention.head_count"])
@pytest.mark.parametrize("value", [0xFFFFFFF0, 200_000])
def test_a_gguf_file_whose_numbers_its_tensors_contradict_is_a_sentence(key: str, value: int, tmp_path: Path) -> None:
    models.tiny_llama(tmp_path / "llama")
    file = models.tiny_gguf(tmp_path / "tiny.gguf", tmp_path / "llama", bos=True)
    assert read_headers(file)
    data = file.read_bytes()
    name = text(f"llama.{key}") + struct.pack("<I", UINT32)
    at = data.index(name) + len(name)
    file.write_bytes(data[:at] + struct.pack("<I", value) + data[at + 4 :])
    for backend in ("hf", "gguf"):
        with pytest.raises(ModelError, match=f"llama.{key} is {value}, but its tensors have 2 layers"):
            open_backend(ModelOptions(str(file), backend=backend, device="cpu"))


def test_a_torch_file_that_would_grow_in_memory_is_refused(folder: Path) -> None:
    import zipfile

    (folder / "model.safetensors").unlink()
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(1 << 24))
    refused(folder, "its part 'archive/data.pkl' is compressed")


def test_what_transformers_raises_while_it_computes_is_a_sentence(folder: Path) -> None:
    (folder / "generation_config.json").write_text('{"bad_words_ids": "org/repo"}')
    backend = open_backend(ModelOptions(str(folder), backend="hf", device="cpu"))
    request = GenerateRequest("t", 0, 0, Prompt("", (), "Ahoj"), GenerationParams((), 4, num_beams=2))
    with pytest.raises(BenchbenchError, match="cannot compute with this LlamaForCausalLM: `bad_words_ids`"):
        list(backend.generate([request]))


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
TRIES = int(os.environ.get("BENCHBENCH_FUZZ_TRIES", "0")) or 25


@settings(max_examples=TRIES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_a_configuration_holds_it_is_opened_or_refused(data: st.DataObject, folder: Path) -> None:
    name = data.draw(st.sampled_from(["config.json", "generation_config.json", "tokenizer_config.json"]))
    path = folder / name
    before = path.read_bytes()
    values, said = json.loads(before), ["-"]
    values[data.draw(st.sampled_from([*sorted(values), "text_config", "quantization_config"]))] = data.draw(JUNK)
    path.write_text(json.dumps(values))
    try:
        open_backend(ModelOptions(str(folder), backend="hf", device="cpu")).close()
    except BenchbenchError as error:
        said.append(str(error))
    finally:
        path.write_bytes(before)
    assert [sentence for sentence in said if not sentence.strip()] == []

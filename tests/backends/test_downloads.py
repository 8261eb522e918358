"""Of a repository on the Hub what is needed is downloaded, and the weights once; a subfolder is a model of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.utils import filter_repo_objects

from benchbench.backends.models.find import find_model, find_tokenizer
from benchbench.core.errors import ModelError

COMMIT = "0" * 40
BESIDE = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]
README = [".gitattributes", "LICENSE", "README.md", "USE_POLICY.md"]


def shards(count: int, form: str = "model-{:05}-of-{:05}.safetensors") -> list[str]:
    return [form.format(i + 1, count) for i in range(count)]


BIN = "pytorch_model-{:05}-of-{:05}.bin"
LLAMA = [*README, *BESIDE, *shards(4), "model.safetensors.index.json"]
LLAMA += ["original/consolidated.00.pth", "original/params.json", "original/tokenizer.model"]
MISTRAL = [*README, *BESIDE, *shards(3), "model.safetensors.index.json", "consolidated.safetensors", "params.json"]
MISTRAL += ["tokenizer.model", "tokenizer.model.v3"]
GPT_OSS = [*README, *BESIDE, "chat_template.jinja", *shards(3, "model-{:05}-of-{:05}.safetensors")]
GPT_OSS += ["model.safetensors.index.json", "metal/model.bin", "original/model.safetensors", "original/config.json"]
GPT2 = [*BESIDE, "vocab.json", "merges.txt", "model.safetensors", "pytorch_model.bin", "tf_model.h5", "rust_model.ot"]
GPT2 += ["flax_model.msgpack", "64.tflite", "64-fp16.tflite", "onnx/decoder_model.onnx", "onnx/config.json"]
BYT5 = [*README, "config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json"]
OPT = [*BESIDE, "merges.txt", "vocab.json", *shards(2, BIN), "pytorch_model.bin.index.json"]
VARIANTS = [*BESIDE, "model.safetensors", "model.fp16.safetensors", "pytorch_model.fp16.bin", "model_q4.safetensors"]
TEMPLATES = ["additional_chat_templates/rag.jinja", "chat_template.jinja"]

REPOSITORIES = [
    pytest.param(LLAMA, {*shards(4), *BESIDE}, {"original/tokenizer.model"}, id="llama"),
    pytest.param(MISTRAL, {*shards(3), "tokenizer.model"}, {"consolidated.safetensors"}, id="mistral"),
    pytest.param(GPT_OSS, {*shards(3), "chat_template.jinja"}, {"original/model.safetensors"}, id="gpt-oss"),
    pytest.param(GPT2, {"model.safetensors", "merges.txt"}, {"pytorch_model.bin", "onnx/config.json"}, id="gpt2"),
    pytest.param([*BYT5, "pytorch_model.bin", "tf_model.h5"], {"pytorch_model.bin"}, {"tf_model.h5"}, id="byt5"),
    pytest.param([*OPT, "flax_model.msgpack"], {*shards(2, BIN), *BESIDE}, {"flax_model.msgpack"}, id="opt"),
    pytest.param([*LLAMA, *OPT], {*shards(4)}, {*shards(2, BIN)}, id="shards of both kinds"),
    pytest.param(VARIANTS, {"model.safetensors"}, set(VARIANTS[-3:]), id="variants"),
    pytest.param([*GPT2, *TEMPLATES], {*TEMPLATES}, {"pytorch_model.bin"}, id="templates"),
    pytest.param([*BESIDE, *shards(2, "part-{}-{}.safetensors"), "model.safetensors.index.json"],
                 {*shards(2, "part-{}-{}.safetensors")}, set[str](), id="shards of other names"),
]  # fmt: skip


class Hub:
    """A repository of these files: the weights' indexes name the shards there are."""

    def __init__(self, names: Sequence[str], cache: Path) -> None:
        self.names = names
        self.folder = cache / "snapshots" / COMMIT
        self.asked: list[str | None] = []

    def snapshot(
        self,
        repo: str,
        *,
        revision: str | None = None,
        allow_patterns: list[str] | None = None,
        ignore_patterns: list[str] | None = None,
    ) -> str:
        """Downloads what matches, as the library does."""
        self.asked.append(revision)
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in filter_repo_objects(self.names, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns):
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._content(name), encoding="utf-8")
        return str(self.folder)

    def _content(self, name: str) -> str:
        if not name.endswith(".index.json"):
            return '{"model_type": "llama"}'
        place, end = name.rpartition("/")[0], name.removesuffix(".index.json").rpartition(".")[2]
        parts = [
            n.rpartition("/")[2]
            for n in self.names
            if n.rpartition("/")[0] == place and n.endswith(end) and "-" in n and not n.startswith("consolidated")
        ]
        return json.dumps({"weight_map": {f"tensor{i}": part for i, part in enumerate(parts)}})

    @property
    def taken(self) -> set[str]:
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    def make(names: Sequence[str]) -> Hub:
        made = Hub(names, tmp_path)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", made.snapshot)
        return made

    return make


@pytest.mark.parametrize(("names", "needed", "left"), REPOSITORIES)
def test_the_weights_come_once_and_nothing_for_other_libraries(  # type: ignore[no-untyped-def]
    hub, names: list[str], needed: set[str], left: set[str]
) -> None:
    there = hub(names)
    source = find_model("someone/model")
    assert needed <= there.taken
    assert not left & there.taken
    assert not any(name.startswith(("original/", "metal/", "onnx/")) for name in there.taken)
    weights = {name for name in there.taken if name.endswith((".safetensors", ".bin", ".pth", ".h5", ".msgpack"))}
    assert len({Path(name).suffix for name in weights}) == 1
    assert (source.path, source.revision) == (there.folder, COMMIT)
    assert there.asked == [None, COMMIT], "weights are those of the commit whose configuration was read"


def test_of_a_tokenizer_no_weights_come(hub) -> None:  # type: ignore[no-untyped-def]
    there = hub([*GPT2, *LLAMA])
    find_tokenizer("someone/model")
    assert there.taken == {*BESIDE, "vocab.json", "merges.txt", "model.safetensors.index.json"}


def test_of_a_subfolder_only_its_own_files_come(hub) -> None:  # type: ignore[no-untyped-def]
    inner = [f"step-100/{name}" for name in (*BESIDE, *shards(2), "model.safetensors.index.json")]
    there = hub([*LLAMA, *inner, "step-100/old/model.safetensors", "step-200/model.safetensors"])
    source = find_model("someone/model", subfolder="step-100")
    assert there.taken == set(inner)
    assert (source.path, source.revision) == (there.folder / "step-100", COMMIT)


def test_a_subfolder_of_a_folder_here(tmp_path: Path) -> None:
    (tmp_path / "model" / "inner").mkdir(parents=True)
    (tmp_path / "model" / "inner" / "config.json").write_text("{}", encoding="utf-8")
    assert find_model(str(tmp_path / "model"), subfolder="inner").path == tmp_path / "model" / "inner"
    for wrong, said in (
        ("iner", r"has no folder iner. Did you mean inner\?"),
        ("../other", "inside"),
        ("/tmp", "inside"),
    ):
        with pytest.raises(ModelError, match=said):
            find_model(str(tmp_path / "model"), subfolder=wrong)
    with pytest.raises(ModelError, match=r"config\.json is a file; expected a folder"):
        find_model(str(tmp_path / "model" / "inner" / "config.json"), subfolder="inner")

"""Folders of torch's distributed shards are the same models as in transformers' format; hostile ones are sentences."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchbench.backends.engines import ModelOptions
from benchbench.backends.hf.backend import load_weights_into
from benchbench.backends.models.formats import check_whole
from benchbench.core.errors import ModelError
from benchbench.runner.checkpoint import step_at, tokens_at
from benchbench.runner.sweep import sweep
from tests import models
from tests.backends.loading import load, logits, refused
from tests.runner.sweep.series import base, impatient, on_folder
from tests.runner.sweep.series import results as results_of
from tests.runner.toy import make_world
from tests.shards import LAYOUTS, in_layout, save, titan

MOMENTS = {"state": {"w": {"exp_avg": torch.ones(3), "step": torch.tensor(7.0)}}, "param_groups": [{"lr": 1e-3}]}


def tensors_of(folder: Path) -> tuple[dict[str, torch.Tensor], Any]:
    """The tensors and the configuration of a model, those that are tied written twice, as in training."""
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    return model.state_dict(), model.config


def shards(folder: Path, out: Path, layout: str = "plain") -> Path:
    """The model in `folder` as this process alone writes it; the checkpoint's own folder."""
    tensors, config = tensors_of(folder)
    state, place = in_layout(layout, tensors, MOMENTS, config)
    save(state, out / place.format(5))
    return out / Path(place.format(5)).parts[0]


@pytest.fixture(scope="module")
def plain(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Llama in shards, to look at."""
    return shards(llama, tmp_path_factory.mktemp("plain"))


@pytest.fixture
def broken(plain: Path, tmp_path: Path) -> Path:
    """A copy, to break."""
    return Path(shutil.copytree(plain, tmp_path / "step-5"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_shards_are_the_model_whoever_wrote_them(layout: str, llama: Path, tmp_path: Path) -> None:
    found, whole = load(shards(llama, tmp_path, layout), tokenizer=str(llama)), load(llama)
    assert found.identity == whole.identity
    assert torch.equal(logits(found), logits(whole))
    assert (found.max_length, found.num_parameters) == (whole.max_length, whole.num_parameters)


@pytest.mark.parametrize(
    "make", [models.tiny_mpt, models.tiny_gpt2, lambda folder: models.tiny_llama(folder, tied=True)]
)
@pytest.mark.parametrize("layout", ["plain", "composer"])
def test_other_kinds_and_tied_tensors_are_found_too(make: Callable[[Path], Path], layout: str, tmp_path: Path) -> None:
    model = make(tmp_path / "model")
    assert load(shards(model, tmp_path, layout), tokenizer=str(model)).identity == load(model).identity


def test_what_training_wraps_around_modules_is_taken_off(llama: Path, tmp_path: Path) -> None:
    tensors, _ = tensors_of(llama)
    wrapped = {name.replace("self_attn.", "_checkpoint_wrapped_module.self_attn."): t for name, t in tensors.items()}
    save({"_orig_mod": wrapped}, tmp_path / "step-5")
    assert load(tmp_path / "step-5", tokenizer=str(llama)).identity == load(llama).identity


def test_torchtitans_older_names_and_its_tied_models_are_known(tmp_path: Path) -> None:
    for tied in (False, True):
        model = models.tiny_llama(tmp_path / f"model {tied}", tied=tied)
        save(titan(*tensors_of(model), old=True), tmp_path / f"{tied}" / "step-5")
        assert load(tmp_path / f"{tied}" / "step-5", tokenizer=str(model)).identity == load(model).identity


def test_torchtitans_qwen3_is_not_turned(tmp_path: Path) -> None:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 8}
    model = tmp_path / "model"
    vocab = models.tokenizer(model)
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    Qwen3ForCausalLM(Qwen3Config(vocab_size=vocab, **sizes, **heads)).save_pretrained(model)
    save(titan(*tensors_of(model), turned=False), tmp_path / "step-5")
    assert load(tmp_path / "step-5", tokenizer=str(model)).identity == load(model).identity


def test_torchtitans_model_of_another_kind_is_a_command(plain: Path, llama: Path, tmp_path: Path) -> None:
    tensors, config = tensors_of(llama)
    save(titan(tensors, config), tmp_path / "step-5")
    mistral = models.tiny_mistral(tmp_path / "mistral")
    said = refused(tmp_path / "step-5", "torchtitan's names for a model of the kind mistral", tokenizer=str(mistral))
    assert f"`python scripts/checkpoint_conversion/convert_to_hf.py {tmp_path / 'step-5'} OUT" in said
    odd = {**titan(tensors, config), "layers.0.moe.router.gate.weight": torch.ones(2, 2)}
    save(odd, tmp_path / "step-6")
    refused(tmp_path / "step-6", "for llama and qwen3 without experts", tokenizer=str(llama))


def test_they_take_the_place_of_others_in_memory(plain: Path, llama: Path, tmp_path: Path) -> None:
    loaded = load(llama, tokenizer=str(llama))
    before = loaded.identity
    other = models.tiny_llama(tmp_path / "other", seed=5)
    assert load_weights_into(loaded, str(shards(other, tmp_path, "app"))) == load(other).identity
    assert torch.equal(logits(loaded), logits(load(other)))
    assert load_weights_into(loaded, str(plain)) == before


def test_the_trainers_state_beside_its_shards_tells_step_and_tokens(llama: Path, tmp_path: Path) -> None:
    folder = shards(llama, tmp_path, "trainer").rename(tmp_path / "last")
    (folder / "trainer_state.json").write_text('{"global_step": 5, "num_input_tokens_seen": 900}')
    assert (step_at(str(folder)), tokens_at(str(folder))) == (5, 900)


def test_composers_clock_in_the_shards_tells_the_tokens(llama: Path, tmp_path: Path) -> None:
    tensors, _ = tensors_of(llama)
    model = {f"model.{name}": tensor for name, tensor in tensors.items()}
    save({"state": {"model": model, "timestamp": {"Timestamp": {"batch": 5, "token": 900}}}}, tmp_path / "ep0-ba5")
    assert (step_at(str(tmp_path / "ep0-ba5")), tokens_at(str(tmp_path / "ep0-ba5"))) == (5, 900)
    edited(tmp_path / "ep0-ba5", _elsewhere)
    assert tokens_at(str(tmp_path / "ep0-ba5")) is None
    assert tokens_at(str(shards(llama, tmp_path))) is None


def test_what_to_name_beside_them_is_told(plain: Path, tmp_path: Path) -> None:
    refused(plain, "torch's distributed shards; name a folder .* with the model's config.json and its tokenizer: --tok")
    models.tokenizer(tmp_path / "words")
    said = refused(plain, "holds no configuration of a causal language model", tokenizer=str(tmp_path / "words"))
    assert f"put the model's config.json into the folder of the tokenizer, {tmp_path / 'words'}" in said
    mpt = models.tiny_mpt(tmp_path / "mpt")
    refused(plain, "has no transformer.wte.weight, which the model of the config.json", tokenizer=str(mpt))


def test_configuration_and_tokenizer_may_lie_beside_the_shards(broken: Path, llama: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(llama / name, broken / name)
    assert load(broken, tokenizer=str(broken)).identity == load(llama).identity
    shutil.copytree(llama, broken, dirs_exist_ok=True)
    assert load(broken).identity == load(llama).identity


def test_two_models_in_one_folder_are_not_guessed(llama: Path, tmp_path: Path) -> None:
    tensors, _ = tensors_of(llama)
    save({"policy": tensors, "reference": tensors}, tmp_path / "step-5")
    refused(tmp_path / "step-5", "holds 2 models, whose names begin with 'policy.', 'reference.'", tokenizer=str(llama))
    save({"model": tensors, "ema_model": tensors}, tmp_path / "step-6")
    assert load(tmp_path / "step-6", tokenizer=str(llama)).identity == load(llama).identity


def test_a_tensor_too_few_or_too_many_is_a_sentence(llama: Path, tmp_path: Path) -> None:
    tensors, _ = tensors_of(llama)
    bias = "model.layers.0.self_attn.q_proj.bias"
    save({"model": {**tensors, bias: torch.randn(32)}}, tmp_path / "step-5")
    refused(tmp_path / "step-5", f"has {bias}, which transformers' LlamaForCausalLM would ignore", tokenizer=str(llama))
    del tensors["model.norm.weight"]
    save(tensors, tmp_path / "step-6")
    refused(tmp_path / "step-6", "lacks model.norm.weight", tokenizer=str(llama))


def edited(folder: Path, change: Callable[[Any], None]) -> None:
    """Change the index, which torch's own classes make here."""
    index = pickle.loads((folder / ".metadata").read_bytes())
    change(index)
    (folder / ".metadata").write_bytes(pickle.dumps(index))


def _elsewhere(index: Any) -> None:
    index.storage_data = {key: replace(at, relative_path="../secret") for key, at in index.storage_data.items()}


def _compressed(index: Any) -> None:
    index.storage_data = {key: replace(at, transform_descriptors=["zstd"]) for key, at in index.storage_data.items()}


def _long(index: Any) -> None:
    index.storage_data = {key: replace(at, length=1 << 40) for key, at in index.storage_data.items()}


def _negative(index: Any) -> None:
    index.storage_data = {key: replace(at, offset=-5) for key, at in index.storage_data.items()}


def _norm(index: Any) -> Any:
    return index.state_dict_metadata["model.norm.weight"]


def _nowhere(index: Any) -> None:
    index.storage_data = {}


def _huge(index: Any) -> None:
    size = torch.Size([1 << 40])
    _norm(index).size, _norm(index).chunks[0].sizes = size, size


def _with_a_hole(index: Any) -> None:
    _norm(index).size = torch.Size([64])


def _outside(index: Any) -> None:
    _norm(index).size = torch.Size([8])


def _other_type(index: Any) -> None:
    _norm(index).properties.dtype = torch.int8


def _quantised(index: Any) -> None:
    _norm(index).properties.dtype = torch.qint8


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_elsewhere, "says that .* lies in another folder"),
        (_compressed, "is compressed, which is not read here"),
        (_long, r"__0_0.distcp is cut short: its .metadata promises 1,\d+,\d+,\d+,\d+ bytes"),
        (_negative, "cannot be read as an index of shards: a size is no whole number"),
        (_nowhere, "does not say where all of .* lies"),
        (_huge, "'model.norm.weight' has fewer bytes in __0_0.distcp than numbers"),
        (_with_a_hole, "does not say where all of 'model.norm.weight' lies"),
        (_outside, r"a part of 'model.norm.weight' lies outside of its shape \[8\]"),
        (_other_type, "holds .* of torch.float32 as a part of 'model.norm.weight'; the index says .* of torch.int8"),
        (_quantised, "asks for torch.qint8|of a type that is not known here"),
    ],
)
def test_an_index_that_does_not_fit_its_shards_is_a_sentence(
    broken: Path, llama: Path, change: Callable[[Any], None], sentence: str
) -> None:
    edited(broken, change)
    refused(broken, sentence, tokenizer=str(llama))
    if change is not _other_type:  # which only the weights tell
        with pytest.raises(ModelError, match=sentence):
            check_whole(broken)


def test_a_checkpoint_that_is_being_written_or_cut_short_is_waited_for(broken: Path) -> None:
    check_whole(broken)
    file = broken / "__0_0.distcp"
    content = file.read_bytes()
    file.write_bytes(content[:-100])
    with pytest.raises(ModelError, match=r"__0_0.distcp is cut short"):
        check_whole(broken)
    file.rename(broken / "__9_0.distcp")
    with pytest.raises(ModelError, match=r"lacks __0_0.distcp, which its .metadata names"):
        check_whole(broken)
    (broken / ".metadata").write_bytes((broken / ".metadata").read_bytes()[:200])
    with pytest.raises(ModelError, match="cannot be read as an index of shards"):
        check_whole(broken)
    (broken / ".metadata").unlink()
    with pytest.raises(ModelError, match=r"has shards but no .metadata, which is written last"):
        check_whole(broken)


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def test_nothing_that_an_index_names_is_imported_or_called(broken: Path, llama: Path, tmp_path: Path) -> None:
    ran = tmp_path / "it_ran"
    place = b"torch.distributed.checkpoint.filesystem"
    dotted = b"\x80\x04\x8c" + bytes([len(place)]) + place + b"\x8c\x08os.mkdir\x93"
    argument = pickle.dumps((str(ran),), protocol=4)[2:-1]
    called = dotted + argument + b"R."
    for content in (pickle.dumps(Bomb(ran)), called, b"cbuiltins\neval\n(S'1'\ntR.", b"cos\nmkdir\n(S'x'\ntR."):
        (broken / ".metadata").write_bytes(content)
        refused(broken, "asks for .*, which no index of shards needs; it might run code", tokenizer=str(llama))
    assert not ran.exists()


def test_a_name_of_torch_in_an_index_stays_a_name(broken: Path, llama: Path, tmp_path: Path) -> None:
    """`torch.load` of a file that lies elsewhere, and torch's own helpers, are asked for and not called."""
    ran = tmp_path / "bomb.pt"
    torch.save(Bomb(tmp_path / "it_ran"), ran)
    for module, name in (("torch.serialization", "load"), ("torch.hub", "load"), ("torch.utils.cpp_extension", "load")):
        call = f"c{module}\n{name}\n(S'{ran}'\ntR.".encode()
        (broken / ".metadata").write_bytes(call)
        refused(broken, "cannot be read as an index of shards", tokenizer=str(llama))
    assert not (tmp_path / "it_ran").exists()


def test_a_shard_that_asks_for_code_or_would_grow_is_refused(broken: Path, llama: Path, tmp_path: Path) -> None:
    index = pickle.loads((broken / ".metadata").read_bytes())
    key, place = next((key, at) for key, at in index.storage_data.items() if key.fqn == "model.norm.weight")
    path = broken / place.relative_path
    whole = path.read_bytes()
    bomb, packed = io.BytesIO(), io.BytesIO()
    torch.save(Bomb(tmp_path / "it_ran"), bomb)
    given = zipfile.ZipFile(io.BytesIO(whole[place.offset :][: place.length]))
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in given.namelist():
            archive.writestr(name, given.read(name))
    for content, sentence in (
        (bomb.getvalue(), "holds more than a tensor"),
        (packed.getvalue(), "is compressed, which torch never does"),
        (b"PK but no archive" * 40, "is not a whole torch file"),
        (b"", "is not a whole torch file|fewer bytes"),
    ):
        index.storage_data[key] = replace(place, offset=len(whole), length=max(len(content), 200))
        path.write_bytes(whole + content.ljust(200, b"\0"))
        (broken / ".metadata").write_bytes(pickle.dumps(index))
        refused(broken, sentence, tokenizer=str(llama))
    assert not (tmp_path / "it_ran").exists()


def test_an_index_that_is_a_pipe_is_a_sentence(broken: Path, llama: Path) -> None:
    (broken / ".metadata").unlink()
    os.mkfifo(broken / ".metadata")
    refused(broken, "is a pipe or a device", tokenizer=str(llama))


def test_looking_at_an_index_loads_no_torch(plain: Path) -> None:
    code = (
        "import sys, pathlib; from benchbench.backends.models.formats import check_whole; "
        f"check_whole(pathlib.Path({str(plain)!r})); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_what_two_processes_of_fsdp_wrote_gives_the_rows_of_the_exported_models(tmp_path: Path) -> None:
    model, out = models.tiny_llama(tmp_path / "model"), tmp_path / "out"
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "tests.shards"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    subprocess.run(
        [sys.executable, *launch, str(model), str(out)], check=True, timeout=500, env=environment, capture_output=True
    )
    world = make_world(tmp_path / "world")

    def swept(layout: str) -> dict[int, Any]:
        output = tmp_path / "results" / layout
        options = ModelOptions("", tokenizer=str(out / "exported" / "step-2"), device="cpu")
        settings = on_folder(world, out / layout, output, run=base(world, output, model=options))
        found = sweep(settings, readiness=impatient())
        assert [done.step for done in found.done] == [1, 2], found.skipped
        return {
            step: ([{key: value for key, value in row.items() if key != "model"} for row in record["rows"]], parts)
            for step, (record, parts) in results_of(found.folder).items()
        }

    exported = swept("exported")
    assert exported[1] != exported[2], "training moves the numbers"
    for layout in LAYOUTS:
        assert swept(layout) == exported, layout

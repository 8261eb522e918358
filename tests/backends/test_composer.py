import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from benchbench.backends.engines import ModelOptions
from benchbench.backends.hf.backend import load_model, load_weights_into
from benchbench.backends.models.formats.composer import counted_tokens
from benchbench.core.errors import ModelError
from tests import models
from tests.composer import composer_file, composer_shards, composer_state


@pytest.fixture(scope="module")
def mpt(tmp_path_factory):
    return models.tiny_mpt(tmp_path_factory.mktemp("mpt") / "hf", seed=3)


@pytest.fixture(scope="module")
def composer(mpt, tmp_path_factory):
    return composer_file(mpt, tmp_path_factory.mktemp("run") / "ep0-ba500-rank0.pt", batch=500, tokens=4_000_000)


def load(path, tokenizer=None, **options):
    return load_model(ModelOptions(str(path), tokenizer=None if tokenizer is None else str(tokenizer), **options))


def logits(loaded):
    return loaded.model(torch.arange(50)[None]).logits


def refused(path, tokenizer, words):
    with pytest.raises(ModelError, match=words) as caught:
        load(path, tokenizer)
    return str(caught.value)


def test_a_composer_file_computes_what_its_conversion_computes_and_is_the_same_model(mpt, composer):
    converted, loaded = load(mpt), load(composer, mpt)
    assert torch.equal(logits(loaded), logits(converted))
    assert loaded.identity == converted.identity
    assert (loaded.dtype, loaded.max_length) == ("float32", 512)
    assert loaded.tokenizer_identity == converted.tokenizer_identity
    assert loaded.num_parameters == converted.num_parameters


@pytest.mark.parametrize("wrapper", ["_fsdp_wrapped_module.", "_orig_mod."])
def test_what_training_wraps_around_modules_is_taken_off(mpt, tmp_path, wrapper):
    wrapped = composer_file(mpt, tmp_path / "ep0-ba1-rank0.pt", batch=1, wrapper=wrapper)
    assert load(wrapped, mpt).identity == load(mpt).identity


def test_shards_are_merged_with_the_configuration_beside_the_tokenizer(mpt, tmp_path):
    shards = composer_shards(mpt, tmp_path / "ep0-ba500", batch=500)
    assert {path.suffix for path in shards.iterdir()} == {".distcp", ""}
    loaded = load(shards, mpt)
    assert torch.equal(logits(loaded), logits(load(mpt)))
    assert loaded.identity == load(mpt).identity


def test_the_two_formats_swap_into_each_other_in_place(mpt, tmp_path):
    other = models.tiny_mpt(tmp_path / "other", seed=9)
    file = composer_file(other, tmp_path / "ep0-ba9-rank0.pt", batch=9)
    loaded = load(mpt, mpt)
    before = logits(loaded)
    assert load_weights_into(loaded, str(file)) == load(other).identity
    assert torch.equal(logits(loaded), logits(load(other)))
    load_weights_into(loaded, str(mpt))
    assert torch.equal(logits(loaded), before)
    load_weights_into(loaded, str(composer_shards(other, tmp_path / "ep0-ba10", batch=10)))
    assert torch.equal(logits(loaded), logits(load(other)))


def test_another_shape_does_not_swap_in(mpt, composer, tmp_path):
    six = models.tiny_mpt(tmp_path / "six", n_heads=6)
    loaded = load(six, six)
    before = logits(loaded)
    with pytest.raises(ModelError, match=r"ep0-ba500-rank0.pt is another model than .*six: its d_model is 32, not 48"):
        load_weights_into(loaded, str(composer))
    assert torch.equal(logits(loaded), before)


def test_tokens_are_those_of_the_training_clock(mpt, composer, tmp_path):
    assert counted_tokens(composer) == 4_000_000
    assert counted_tokens(composer_file(mpt, tmp_path / "none.pt", batch=1)) is None


def test_the_tokenizer_must_be_named(composer):
    refused(composer, None, "is a Composer checkpoint; name the tokenizer .*--tokenizer FOLDER")
    refused(composer, "/no/such/folder", "--tokenizer /no/such/folder: expected a folder with a tokenizer")


def test_a_file_without_configuration_takes_the_one_beside_the_tokenizer_or_says_so(mpt, tmp_path):
    bare = composer_file(mpt, tmp_path / "ep0-ba1-rank0.pt", batch=1, config=False)
    assert load(bare, mpt).identity == load(mpt).identity
    words = tmp_path / "words"
    models.tokenizer(words)
    refused(
        bare, words, "holds no configuration .* put the model's config.json into the folder of the tokenizer, .*words"
    )


def test_a_configuration_of_llm_foundry_beside_the_tokenizer_is_taken_too(mpt, tmp_path):
    state = composer_state(mpt, batch=1, tokens=0)
    content = state["state"]["integrations"]["huggingface"]["model"]["config"]["content"]
    content["attn_config"]["attn_pdrop"] = 0.0
    torch.save(state, tmp_path / "ep0-ba1-rank0.pt")
    words = Path(shutil.copytree(mpt, tmp_path / "words"))
    (words / "config.json").write_text(json.dumps(content))
    assert load(tmp_path / "ep0-ba1-rank0.pt", words).identity == load(mpt).identity


def test_an_option_that_transformers_ignores_is_refused(mpt, tmp_path):
    state = composer_state(mpt, batch=1, tokens=0)
    state["state"]["integrations"]["huggingface"]["model"]["config"]["content"]["attn_config"]["qk_ln"] = True
    torch.save(state, tmp_path / "ep0-ba1-rank0.pt")
    refused(tmp_path / "ep0-ba1-rank0.pt", mpt, "attn_config.qk_ln=True, which transformers' MPT ignores")


def test_a_truncated_file_is_a_sentence(mpt, composer, tmp_path):
    cut = tmp_path / "ep0-ba500-rank0.pt"
    cut.write_bytes(composer.read_bytes()[:-2000])
    refused(cut, mpt, "ep0-ba500-rank0.pt is not a whole torch file")


def test_a_missing_tensor_is_a_sentence(mpt, tmp_path):
    state = composer_state(mpt, batch=1, tokens=0)
    del state["state"]["model"]["model.transformer.norm_f.weight"]
    torch.save(state, tmp_path / "ep0-ba1-rank0.pt")
    refused(tmp_path / "ep0-ba1-rank0.pt", mpt, "lacks transformer.norm_f.weight")


@pytest.mark.parametrize(
    "content", [{"weights": 1}, {"state": {"model": {}}}, {"state": {"model": {"w": torch.ones(1)}}}]
)
def test_another_torch_file_is_a_sentence(mpt, tmp_path, content):
    torch.save(content, tmp_path / "ep0-ba1-rank0.pt")
    refused(tmp_path / "ep0-ba1-rank0.pt", mpt, "Composer")


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_that_asks_for_code_is_refused_and_not_run(mpt, tmp_path):
    state = composer_state(mpt, batch=1, tokens=0)
    state["state"]["callbacks"] = Bomb(tmp_path / "it_ran")
    torch.save(state, tmp_path / "ep0-ba1-rank0.pt")
    refused(tmp_path / "ep0-ba1-rank0.pt", mpt, "would run code when opened, so it was not")
    assert not (tmp_path / "it_ran").exists()


def test_an_index_of_shards_that_asks_for_code_is_refused_and_not_run(mpt, tmp_path):
    shards = composer_shards(mpt, tmp_path / "ep0-ba500", batch=500)
    (shards / ".metadata").write_bytes(pickle.dumps(Bomb(tmp_path / "it_ran")))
    refused(shards, mpt, "asks for .*mkdir, which no index of shards needs")
    assert not (tmp_path / "it_ran").exists()


def test_a_missing_shard_is_a_sentence(mpt, tmp_path):
    shards = composer_shards(mpt, tmp_path / "ep0-ba500", batch=500)
    (shards / "__0_0.distcp").rename(shards / "__9_0.distcp")
    refused(shards, mpt, "ep0-ba500 lacks __0_0.distcp, which its .metadata names")


def test_a_tokenizer_from_elsewhere_serves_folders_too(mpt, tmp_path):
    bare = shutil.copytree(mpt, tmp_path / "bare")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (bare / name).unlink()
    loaded = load(bare, mpt)
    assert json.loads((mpt / "tokenizer.json").read_text())["model"]["vocab"] == loaded.tokenizer.get_vocab()
    assert (loaded.identity, loaded.tokenizer_identity) == (load(mpt).identity, load(mpt).tokenizer_identity)

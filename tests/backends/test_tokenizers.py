"""Tokenizers of every kind open, and what they put behind a text is never scored nor continued."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib import util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from benchbench.backends import ModelOptions, open_backend
from benchbench.backends.encode import EncodedContext, EncodedPair, Encoder
from benchbench.backends.models import tokenizer as tokenizers
from benchbench.backends.models.files import ModelSource
from benchbench.backends.models.identity import tokenizer_identity
from benchbench.backends.models.tokenizer import has_tokenizer, load_tokenizer
from benchbench.core.errors import ModelError
from benchbench.core.types import GenerateRequest, GenerationParams, LoglikelihoodRequest, Prompt, RollingRequest
from tests import models
from tests.backends.loading import edit, load

TEXT = "Which letter? ("


def ask(question: str, continuation: str, index: int = 0) -> LoglikelihoodRequest:
    return LoglikelihoodRequest("t", 0, index, Prompt("", (), question), continuation)


def write(question: str) -> GenerateRequest:
    return GenerateRequest("t", 0, 0, Prompt("", (), question), GenerationParams(until=("\n",), max_gen_toks=8))


def templated(folder: Path, template: str) -> PreTrainedTokenizerBase:
    """The tests' tokenizer with this template around a text."""
    models.tokenizer(folder, bos=True)
    made = Tokenizer.from_file(str(folder / "tokenizer.json"))
    special = [(token, made.token_to_id(token)) for token in ("<s>", "</s>") if token in template]
    made.post_processor = TemplateProcessing(single=template, special_tokens=special)
    PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>").save_pretrained(folder)
    return load_tokenizer(ModelSource(folder), trusted=False)


TEMPLATES = ["<s> $A </s>", "$A </s>", "<s> $A </s> </s>", "<s> $A", "$A"]


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_is_put_behind_a_text_is_neither_scored_nor_continued(tmp_path: Path, template: str) -> None:
    tokenizer = templated(tmp_path, template)
    encoder = Encoder(tokenizer, 512)
    plain = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    head = [1] if template.startswith("<s>") else []
    pairs = encoder.pairs([ask(TEXT, letter, i) for i, letter in enumerate("ABCD")])
    for letter, pair in zip("ABCD", pairs, strict=True):
        assert isinstance(pair, EncodedPair)
        assert [*pair.context, *pair.continuation] == head + plain(TEXT + letter)
        assert list(pair.context) == head + plain(TEXT)
    (context,) = encoder.contexts([write(TEXT)])
    assert isinstance(context, EncodedContext)
    assert list(context.context) == head + plain(TEXT)
    (window,) = encoder.windows(RollingRequest("t", 0, 0, "abc"))
    assert list(window.continuation) == head + plain("abc")
    appended = template.count("</s>")
    assert encoder.appended == (tokenizer.eos_token_id,) * appended
    assert len(encoder.notes) == bool(appended)


def test_an_end_that_a_text_spells_out_stays(tmp_path: Path) -> None:
    tokenizer = templated(tmp_path, "<s> $A </s>")
    (pair,) = Encoder(tokenizer, 512).pairs([ask("a", "b</s>")])
    assert isinstance(pair, EncodedPair)
    assert pair.continuation[-1] == tokenizer.eos_token_id
    assert pair.continuation[-2] != tokenizer.eos_token_id


def test_it_is_told_and_the_choices_differ(folder: Path) -> None:
    templated(folder, "<s> $A </s>")
    backend = open_backend(ModelOptions(str(folder), backend="hf", device="cpu", dtype="float32"))
    found = backend.loglikelihood([ask(TEXT, letter, i) for i, letter in enumerate("ABCD")])
    assert len({round(one.total, 5) for one in found}) == 4  # type: ignore[union-attr]
    assert any(note.startswith("the tokenizer puts </s> behind every text; it is left out") for note in backend.notes)


def test_cls_and_sep(tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abc", "##a", "##b", "##c"]
    (tmp_path / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}', encoding="utf-8")
    tokenizer = load_tokenizer(ModelSource(tmp_path), trusted=False, prefix_token_id=2)
    encoder = Encoder(tokenizer, 512, prefix_token_id=2)
    first, second = encoder.pairs([ask("a b", " c"), ask("", "a")])
    assert encoder.appended == (3,)
    assert isinstance(first, EncodedPair)
    assert isinstance(second, EncodedPair)
    assert (first.context, first.continuation) == ((2, 5, 6), (7,))
    assert (second.context, second.continuation) == ((2,), (5,)), "the token that was asked for"


def test_an_encoder_reads_the_end_that_its_tokenizer_puts(tmp_path: Path) -> None:
    tokenizer = templated(tmp_path, "$A </s>")
    encoder = Encoder(tokenizer, 512, "seq2seq")
    (pair,), (context,) = encoder.pairs([ask("a", "b")]), encoder.contexts([write("a")])
    assert pair.context[-1] == context.context[-1] == tokenizer.eos_token_id  # type: ignore[union-attr]
    assert pair.continuation[-1] != tokenizer.eos_token_id  # type: ignore[union-attr]
    assert encoder.notes == ()


@pytest.mark.parametrize("prefix", [None, 7])
@pytest.mark.parametrize(
    ("architecture", "add_bos_token"), [("causal", None), ("causal", True), ("causal", False), ("seq2seq", None)]
)
def test_the_options_do_what_lm_evals_do(tmp_path: Path, architecture: Any, add_bos_token: Any, prefix: Any) -> None:
    hf = pytest.importorskip("lm_eval.models.huggingface")
    templated(tmp_path, "<s> $A" if architecture == "causal" else "<s> $A </s>")
    kwargs = {} if add_bos_token is None else {"add_bos_token": add_bos_token}
    reference = object.__new__(hf.HFLM)
    reference.tokenizer = AutoTokenizer.from_pretrained(tmp_path, **kwargs)
    reference.tokenizer.pad_token = "</s>"
    reference.backend, reference.add_bos_token = architecture, add_bos_token
    reference.custom_prefix_token_id, reference.enable_thinking = prefix, None
    reference._loglikelihood_tokens = lambda asked, **_: [(tuple(c), tuple(k)) for _, c, k in asked]
    own = load_tokenizer(ModelSource(tmp_path), trusted=False, add_bos_token=add_bos_token, prefix_token_id=prefix)
    encoder = Encoder(own, 512, architecture, add_bos_token=add_bos_token, prefix_token_id=prefix)
    texts = [("Praha je", " město"), ("", "Praha"), ("a ", "b")]
    texts += [("", "<s>Praha")] if architecture == "causal" else []
    texts += [("<s>Praha", " je")] if prefix is None else []  # lm-eval begins it twice with another prefix
    asked = [SimpleNamespace(args=pair) for pair in texts]
    expected = reference.loglikelihood(asked, disable_tqdm=True)
    found = encoder.pairs([ask(*pair) for pair in texts])
    assert [(pair.context, pair.continuation) for pair in found] == expected  # type: ignore[union-attr]
    batch, _ = reference.tok_batch_encode(["Praha je"])
    (context,) = encoder.contexts([write("Praha je")])
    assert list(context.context) == batch[0].tolist()  # type: ignore[union-attr]


def called_last(tokenizer: PreTrainedTokenizerBase) -> None:
    backend: Tokenizer = tokenizer.backend_tokenizer
    backend.enable_truncation(4)
    backend.enable_padding(length=8, pad_id=0, pad_token="</s>")


def saved_again(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    tokenizer.save_pretrained(folder)
    AutoTokenizer.from_pretrained(folder).save_pretrained(folder)


@pytest.mark.parametrize("save", [lambda made, folder: made.save_pretrained(folder), saved_again])
def test_how_a_tokenizer_was_called_last_is_no_part_of_it(tmp_path: Path, save: Callable[..., None]) -> None:
    models.tokenizer(tmp_path / "one")
    AutoTokenizer.from_pretrained(tmp_path / "one", pad_token="</s>").save_pretrained(tmp_path / "one")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "one")
    called_last(tokenizer)
    save(tokenizer, tmp_path / "other")
    assert json.loads((tmp_path / "other" / "tokenizer.json").read_text())["truncation"] is not None
    assert tokenizer_identity(tmp_path / "one") == tokenizer_identity(tmp_path / "other")
    one, other = (load_tokenizer(ModelSource(tmp_path / name), trusted=False) for name in ("one", "other"))
    text = "a text of more than four tokens, by far"
    assert one(text)["input_ids"] == other(text)["input_ids"]
    assert one.backend_tokenizer.encode(text).ids == other.backend_tokenizer.encode(text).ids
    edit(tmp_path / "other" / "tokenizer_config.json", add_bos_token=True)
    assert tokenizer_identity(tmp_path / "one") != tokenizer_identity(tmp_path / "other")


BYTES = {"tokenizer_class": "ByT5Tokenizer", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def test_bytes_need_no_vocabulary(tmp_path: Path) -> None:
    folder = models.tiny_t5(tmp_path)
    for path in [*folder.glob("tokenizer*"), *folder.glob("spiece*")]:
        path.unlink()
    assert not has_tokenizer(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps(BYTES), encoding="utf-8")
    loaded = load(folder)
    assert loaded.tokenizer("ab")["input_ids"] == [ord("a") + 3, ord("b") + 3, 1]
    edit(folder / "tokenizer_config.json", tokenizer_class="T5Tokenizer")
    with pytest.raises(ModelError, match="has no tokenizer: expected"):
        load(folder)


def test_the_class_may_be_named_beside_the_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "t5", "tokenizer_class": "ByT5Tokenizer"}', encoding="utf-8")
    assert has_tokenizer(tmp_path)
    edit(tmp_path / "config.json", tokenizer_class="PreTrainedTokenizerFast")
    assert not has_tokenizer(tmp_path)


def test_mistrals_own_vocabulary_names_its_packages(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = Path(shutil.copytree(folder, folder.parent / "beside"))
    (folder / "tokenizer.json").unlink()
    for place in (folder, beside):
        (place / "tekken.json").write_text('{"vocab": []}', encoding="utf-8")
    find = util.find_spec
    monkeypatch.setattr(tokenizers.util, "find_spec", lambda name: None if name == "mistral_common" else find(name))
    with pytest.raises(ModelError, match=r"tekken\.json, which needs packages to be read: pip install mistral-common"):
        load_tokenizer(ModelSource(folder), trusted=False)
    assert load_tokenizer(ModelSource(beside), trusted=False)("a")["input_ids"]
    before = tokenizer_identity(folder)
    (folder / "tekken.json").write_text('{"vocab": [1]}', encoding="utf-8")
    assert tokenizer_identity(folder) != before

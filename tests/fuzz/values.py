"""What a stranger would write where something else is expected: by type, and by the name of the key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Values = dict[str, tuple[Any, ...]]
"""Name of a key → values that mean something there."""
BESIDE = "@BESIDE@"
"""Stands for the absolute path of the folder beside the box, whose files nothing may reach."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A value that stands in the text as it is, where JSON's writer would not write it."""

    text: str
    times: int = 1
    then: str = ""
    after: str = ""
    """Behind `then`, as many times again."""

    @property
    def whole(self) -> str:
        return self.text * self.times + self.then + self.after * self.times


NUMBERS = (
    0, -1, 1, 2, 3, 7, 0.5, -0.5, True, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**9, 10**18,
    10**40, 1e308, -1e308, 5e-324, float("nan"), float("inf"), float("-inf"), Raw("1e999"), Raw("9", 5000),
    Raw("-", 1, "0"), Raw("0x10"), Raw("1_000"), Raw("59:", 300, "59"), Raw("0.", 1, "0" * 400, "1"),
)  # fmt: skip
TEXTS = (
    "", " ", "\n", "\x00", "\x1b[2J", "\ud800", "\u202e", "\u2028", "é", "e\u0301", "😀", "a" * 70000, "x\ny: z",
    "null", "nan", "1e9", "01", "-", "..", ".", "/", "../..", "../../beside/secret.json", f"{BESIDE}/secret.json",
    f"{BESIDE}/secret", f"{BESIDE}/new", f"file://{BESIDE}/secret.json", "../beside/secret.json", "~", "~/x",
    "/dev/zero", "/proc/self/environ", "a/b", "a\\b", "C:\\x", "con", "*", "**/*", "http://127.0.0.1:9/x.json",
    "https://example.invalid/x", "hf://datasets/a/b", "org/name", "x" * 300, "--help", "-rf", "$(touch x)", "`x`",
    "=1+1", "%s%n", "%(x)s", "{0}", "{}", "(", "[", "(a+)+$", "(?P<a>", "\\", "(.*)*x", "a{99999}", "(?i", "{{", "{%",
    "{{ q }}", "{{ 1/0 }}", "{{ x.y.z }}", "{{ 'a' * 99999999 }}", "{{ q.__class__ }}",
    "{% for i in range(99999999) %}{% endfor %}", "{{ range(99999999) | list }}", "{{ ''.join(['a'] * 9999999) }}",
    "{% include 'x' %}", "{{ '%99999999d' % 1 }}", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{{ lipsum }}",
    "{{ q | regex_replace('(a+)+$', 'b') }}", "{{ [1] * 99999999 }}", "{{ namespace(a=1) }}",
    "{{ raise_exception('no') }}", "{{ messages[0].content * 9999 }}", "<script>alert(1)</script>", "[UNK]", "<s>",
    "</s>", "float32", "bfloat16", "int4",
)  # fmt: skip
TREES = (
    Raw('"\\ud800"'), Raw('"\\u0000"'), None, [], {}, [[]], [None], [0], ["a"], {"a": 1}, {"": None},
    {"a": {"b": [{}]}}, [1, "a", None], [[1], [2, 3]], Raw("[", 200, "1", "]"), Raw("[", 3000, "", "]"),
    Raw("[", 200000), Raw('{"a":', 3000, "1", "}"), Raw('{"a":', 100000), Raw("[1" + ",[1" * 3, 1, "]]]]"),
    Raw("[", 1, "0", ",0" * 50000 + "]"), Raw('{"__class__": "x"}'),
)  # fmt: skip
TEMPLATES = tuple(text for text in TEXTS if "{" in text)
FRAGMENTS = (
    b"\x00", b"\xff", b"\xef\xbb\xbf", b"\n", b"\r", b"\t", b"{", b"}", b"[", b"]", b'"', b"'", b":", b",", b"-", b"#",
    b"\\", b"\xed\xa0\x80", b"0", b"9" * 400, b"null", b"NaN", b"Infinity", b"{}", b"[]",
    b"!!python/object/apply:os.system ['x']", b"&a [*a]", b"*a", b"<<: *a\n", b"---\n", b"...\n", b"%YAML 1.1\n",
    b"? ", b"| \n", b"!!binary x", b"!!set {a}", b"!!timestamp x",
    b"a: &a [x,x]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\n", b"{{", b"}}", b"PAR1", b"GGUF", b"\x80\x04", b"PK\x03\x04",
)  # fmt: skip


# By the name of the key.

ANSWER_KEYS: Values = {
    "finish_reason": ("stop", "content_filter", "tool_calls", None, 7),
    "prompt_tokens_details": ({"cached_tokens": 10**40}, {"cached_tokens": -1}, [], 7),
    "token_logprobs": ([1e308, -1e308], ["a"], [None, None], [float("nan")] * 9, [5.0, 5.0]),
}  # fmt: skip

TASK_KEYS: Values = {
    "repeats": (10**9, 0, -1, 2, 64, 1.5, "3"),
    "num_fewshot": (10**9, -1, 5, 1.5, "2", None),
    "max_gen_toks": (10**9, -1, 0, 10**40, "5"),
    "until": ([], "", [""], ["\n", 1], ["a" * 9999], None),
    "temperature": (-1, 2, "0", float("nan")),
    "regex_pattern": ("(a+)+$", "(", "", "(.*)*x", "(?P<x>a)(?P<x>b)", "a{9999999}", "\\1", "(?i)(?s)", 7, None),
    "function": (
        "regex", "take_first", "remove_whitespace", "majority_vote", "map", "lowercase", "multi_choice_regex", "x", 7,
        None,
    ),
    "group_select": (-1, 0, 1, 10**9, "a", None),
    "metric": (
        "acc", "acc_norm", "bleu", "chrf", "ter", "exact_match", "f1", "mcc", "perplexity", "word_perplexity", "x",
        "!function u.f", 7,
    ),
    "aggregation": ("mean", "f1", "x", 7),
    "output_type": ("generate_until", "multiple_choice", "loglikelihood", "loglikelihood_rolling", "x", None),
    "dataset_path": (
        "json", "csv", "parquet", "text", "xml", "conll", "arrow", "generator", "sql", "webdataset", "imagefolder",
        "toy/quiz", "/etc", BESIDE, "../beside", "x/../../y", "http://x/y",
    ),
    "dataset_name": ("default", "..", "../../../beside", "", "a/b", 7, None, "\x00"),
    "dataset_kwargs": (
        {"data_files": f"{BESIDE}/secret.json"}, {"data_files": {"test": f"{BESIDE}/secret.jsonl"}},
        {"data_files": "http://127.0.0.1:9/x.json"}, {"data_dir": BESIDE},
        {"data_files": ["own.jsonl", "../../../beside/secret.jsonl"]}, {"cache_dir": f"{BESIDE}/new"},
        {"trust_remote_code": True}, {"data_files": "zip://x::http://127.0.0.1:9/y"},
        {"download_config": {"cache_dir": f"{BESIDE}/new"}}, {"storage_options": {}}, {"field": "q"}, {"sep": "("},
        {"split": "test[:1%]"}, {"streaming": True}, [], "x", None,
    ),
    "test_split": ("train", "..", "../../../../beside/secret", "test[:1]", "", 7, None),
    "fewshot_split": ("test", "..", "", 7, None),
    "include": (
        "toy_quiz.yaml", "own.yaml", "../../beside/secret.yaml", f"{BESIDE}/secret.yaml", "/dev/zero", ".", "", 7,
        ["toy_quiz.yaml"],
    ),
    "doc_to_text": (
        *TEMPLATES, "q", "", 7, None, "{{ q" + ".a" * 4000 + " }}", "{{ q" + "|trim" * 4000 + " }}",
        "{% if q %}" * 2000 + "{% endif %}" * 2000,
    ),
    "doc_to_target": ("{{ a }}", "", "label", 0, None, ["a", "b"], "{{ [1] * 999999 }}"),
    "doc_to_choice": (
        "{{ [] }}", [], ["a"], ["a", "a"], "choices", "{{ q }}", "{{ range(99999) | list }}", None, {"a": 1},
    ),
    "process_docs": ("!function u.f", "x", {"filter": "{{ true }}"}),
    "fewshot_config": (
        {"sampler": "first_n"}, {"samples": [{"q": 1}]}, {"split": ".."}, {"samples": "!function x.y"}, [], 7,
    ),
    "metadata": ({"version": 10**40}, {"version": "x"}, [], 7),
    "version": (10**40, -1, 1.5, "59:59:59", None),
    "task": ("a/b", "../x", "", "x" * 300, ["a"], 7, "toy_write"),
    "group": ("toy", "", ["a", "a"], 7),
    "tag": ("toy", ["a"], 7),
    "matrix": ({"a": [1, 2]}, {"a": list(range(3000))}, {"a": []}, []),
    "languages": ({"cs": {}}, [], 7),
    "should_decontaminate": (True, "x"),
    "unsafe_code": (True,),
    "custom_dataset": ("!function u.f",),
    "doc_to_source": ("{{ q }}", "{{", 7),
    "doc_to_program": ("{{ completion }}", "{{", 7),
    "target_delimiter": ("", "\n", "x" * 9999, 7),
}  # fmt: skip
MODEL_KEYS: Values = {
    "num_hidden_layers": (0, -1, 1, 3, 200000, 10**9, 10**40, "2", 2.5),
    "n_layers": (0, -1, 200000, 10**9),
    "n_layer": (0, -1, 200000),
    "num_layers": (0, -1, 200000),
    "num_attention_heads": (0, -1, 3, 5, 10**9),
    "num_key_value_heads": (0, -1, 3, 10**9),
    "head_dim": (0, -1, 3, 10**9),
    "hidden_size": (0, -1, 7, 10**9, 10**18),
    "intermediate_size": (0, -1, 10**9),
    "vocab_size": (0, -1, 5, 10**9, 10**18),
    "max_position_embeddings": (0, -1, 1, 10**12, "512"),
    "torch_dtype": ("float64", "int8", "x", 7, ["a"]),
    "dtype": ("float64", "int8", "uint4", "x", 7),
    "architectures": (["BertModel"], ["X"], [], [7], "LlamaForCausalLM", None),
    "model_type": ("bert", "mamba", "x", "", 7, None, "../x", "gpt2", "t5", "clip"),
    "auto_map": (
        {"AutoConfig": "x.Y", "AutoModelForCausalLM": "x.Z", "AutoTokenizer": ["x.Y", None]},
        {"AutoConfig": f"{BESIDE}--x.Y"}, [], 7,
    ),
    "tokenizer_class": ("X", "BertTokenizer", "../x", 7, "T5Tokenizer"),
    "rope_scaling": (
        {"type": "x"}, {"rope_type": "linear", "factor": 0}, {"rope_type": "yarn"},
        {"rope_type": "dynamic", "factor": 10**40}, 7,
    ),
    "rope_parameters": ({}, {"rope_type": "x"}, {"rope_theta": 0}, 7),
    "_attn_implementation": ("org/repo", "flash_attention_2", "x", 7),
    "attn_implementation": ("org/repo",),
    "quantization_config": (
        {"quant_method": "x"}, {"quant_method": "gptq", "bits": 4}, {"quant_method": "bitsandbytes"}, {}, 7,
    ),
    "tie_word_embeddings": (True, "x"),
    "hidden_act": ("x", 7),
    "sliding_window": (0, -1, 1, 10**9),
    "layer_types": (["x"], [], ["full_attention"] * 9999),
    "eos_token_id": (-1, 10**9, [], [10**9], "a"),
    "bos_token_id": (-1, 10**9),
    "pad_token_id": (-1, 10**9),
    "rms_norm_eps": (0, -1, float("nan")),
    "text_config": ({}, {"model_type": "llama"}, 7),
    "weight_map": ({"a": f"{BESIDE}/secret"}, {"a": "../x"}, {}, 7),
    "chat_template": (*TEMPLATES, [{"name": "default", "template": "{{"}], {"a": "b"}, 7),
    "add_bos_token": (True, "x"),
    "model_max_length": (0, -1, 10**30, "x"),
    "special_tokens_map_file": (f"{BESIDE}/secret.json",),
    "name_or_path": (BESIDE, "http://127.0.0.1:9/x"),
    "num_local_experts": (10**9, -1),
    "generation_config": ({}, 7),
    "stop_strings": (["a"], 7),
    "num_beams": (0, -1, 10**9),
    "cache_implementation": ("x", "static"),
    "forced_bos_token_id": (10**9, -1),
    "suppress_tokens": ([10**9], [-5], "x"),
    "type": ("BPE", "WordPiece", "Unigram", "X", 7),
    "pattern": ({"Regex": "(a+)+$"}, {"Regex": "("}, 7),
    "vocab": ({}, {"a": -1}, {"a": 10**12}, [], 7),
    "merges": (["a"], [["a", "b", "c"]], [], 7),
    "added_tokens": ([{"id": 10**9, "content": "x"}], [{}], 7),
    "id": (-1, 10**9, 2**31),
    "data_offsets": ([0, 10**18], [-1, 0], [5, 1], [0], [0, 0], "x"),
    "shape": ([10**9, 10**9], [-1], [0], [], [[1]], "x", [2**63]),
}  # fmt: skip
RECORD_KEYS: Values = {
    "part": (f"{BESIDE}/secret.json", "../../../../beside/secret.json", "/etc/passwd", "", ".", "f1-00000000.parquet"),
    "run": (BESIDE, "../../beside", "", "..", "/"),
    "schema_version": (99, 0, -1, "1", 10**40),
    "model": ("../x", "a/b", "", "=1+1", "<b>", "x" * 9999),
    "series": ("../x", "", None, 7),
    "step": (-1, 10**40, "1", 1.5),
    "tokens_seen": (-1, 10**40, 1e308),
    "task": ("../x", BESIDE, "", "a/b", 7),
    "metric": ("../x", "", 7, f"{BESIDE}/x"),
    "value": (float("nan"), 1e308, -1e308, "x", None),
    "n": (0, -1, 10**40, 1.5),
    "stderr": (-1, float("inf"), None),
    "finished": ("x", "9999-12-31T23:59:59Z", 7, ""),
    "started": ("x", 7),
    "output": (BESIDE, "..", "", 7),
    "location": (BESIDE, 7),
    "doc_id": (-1, 10**40, "x", None, 1.5),
    "seed": (-1, 10**40, "x"),
    "limit": (0, -1, 10**40),
    "score": (float("nan"), 10**40, "x"),
    "text": ("x" * 70000, None, 7),
    "loglikelihood": (float("nan"), 1e308, "x"),
    "sha256": ("", "x", 7),
}  # fmt: skip


# Heads of a server's answers.

HEADS = (
    b"HTTP/1.1 500 x\r\n", b"HTTP/1.1 429 x\r\nRetry-After: 99999999\r\n", b"HTTP/1.1 429 x\r\nRetry-After: -1\r\n",
    b"HTTP/1.1 429 x\r\nRetry-After: nan\r\n", b"HTTP/1.1 503 x\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n",
    b"HTTP/1.1 503 x\r\nRetry-After: 1e400\r\n", b"HTTP/1.1 302 x\r\nLocation: http://127.0.0.1:9/\r\n",
    b"HTTP/1.1 400 x\r\n", b"HTTP/1.1 401 x\r\n", b"HTTP/1.1 404 x\r\n", b"HTTP/1.1 204 x\r\n", b"HTTP/1.1 100 x\r\n",
    b"HTTP/1.1 999 x\r\n", b"HTTP/1.1 000 x\r\n", b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: br, zstd, x\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-99\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-16\r\n", b"SSH-2.0-x\r\n",
)  # fmt: skip

"""Inputs that led to a fault: each is tried in every run, so that what is mended stays so."""

from __future__ import annotations

from dataclasses import dataclass

from tests.fuzz.edits import Copy, Drop, Edit, Instead, Put, Twice, Write
from tests.fuzz.kinds import ADDRESS, HF, MODEL, SCRIPTED, WORDS, Case
from tests.fuzz.parquet import Column
from tests.fuzz.values import Raw
from tests.fuzz.worlds import TASKS


@dataclass(frozen=True, slots=True)
class Known:
    """The smallest input that leads to a fault, or once did."""

    kind: str
    fault: str
    """Name of the fault, as the search tells it."""
    command: str
    edit: Edit | Column
    open: str = ""
    """Why it is not mended yet; a search passes such faults over. Empty: it is mended."""

    @property
    def case(self) -> Case:
        return Case(self.command, (self.edit,))


DEEP = Raw("[", 3000, "", "]")
CHECK = f"tasks check toy_quiz,toy_write,toy_own {TASKS}"
RUN_OWN = "run --backend scripted --model hash --tasks toy_own --include-path tasks"
RENDER = f"tasks render toy_write {TASKS} --apply-chat-template --model model"
IMPORT = "results import theirs --output new"
RESULTS = "theirs/hash/results_2026-01-01T00-00-00.000000.json"
SITE = "leaderboard --results results --out site"
SAMPLES = "theirs/hash/samples_toy_write_2026-01-01T00-00-00.000000.jsonl"
QUIZ_LIVE, QUIZ_PART = "run-0/items/toy_quiz/live.jsonl", "run-0/items/toy_quiz/part-00000.parquet"
HF_MODEL, HF_ANY = f"{HF} --model model", f"{HF} --model {MODEL}"
COUNT = f"tasks check toy_write {TASKS} --tokenizer model"


KNOWN: tuple[Known, ...] = (
    Known(
        "yaml",
        "hang tasks/dialect.py:_read_text",
        "tasks show toy_own --include-path tasks",
        Instead("tasks/toy_write.yaml", "fifo"),
    ),
    Known(
        "yaml",
        "traceback IndexError tasks/documents.py:rows",
        RUN_OWN,
        Put("tasks/pack/own.yaml", ("dataset_kwargs", "data_files", "test"), []),
    ),
    Known(
        "yaml",
        "read tasks/hub.py:_load open",
        RUN_OWN.replace("toy_own", "toy_write"),
        Write(
            "tasks/toy_write.yaml",
            b"""task: toy_write
version: 1
dataset_path: conll
dataset_kwargs: {data_files: "@BESIDE@/secret"}
test_split: train
output_type: generate_until
doc_to_text: "{{ tokens }}"
doc_to_target: x
generation_kwargs: {until: ["\\n"], max_gen_toks: 8}
metric_list: [{metric: exact_match}]
""",
        ),
    ),
    Known(
        "yaml",
        "read core/files.py:open_regular open",
        "tasks show toy_quiz --include-path tasks",
        Instead("tasks/pack/own.yaml", "outside"),
    ),
    Known(
        "yaml",
        "read core/files.py:open_regular open of an include",
        "tasks show toy_own --include-path tasks",
        Put("tasks/pack/own.yaml", ("include",), "../../../beside/secret.yaml"),
    ),
    Known(
        "imports",
        "traceback 70 ValueError benchbench/store/files.py:encode_json",
        IMPORT,
        Twice(RESULTS, ("configs", "toy_quiz", "metric_list", 0, "metric"), float("nan")),
    ),
    Known(
        "imports",
        "traceback 70 TypeError benchbench/extensions/interchange/__init__.py:_without_twins",
        IMPORT,
        Copy(RESULTS, (), ("benchbench", "step")),
    ),
    Known(
        "live",
        "traceback 70 ZeroDivisionError benchbench/stats/scores.py:_step",
        SCRIPTED,
        Twice(QUIZ_LIVE, (0, "scores", "acc"), 16038508.0),
    ),
    Known(
        "live",
        "traceback 70 UnicodeEncodeError benchbench/store/table.py:encode_part",
        SCRIPTED,
        Twice(QUIZ_LIVE, (0, "task"), Raw('"\\ud800"', 1, "", "")),
    ),
    Known(
        "parquet",
        "traceback 70 TypeError benchbench/leaderboard/site/docs_page.py:page_of_docs",
        SITE,
        Column(QUIZ_PART, "doc_id", "bytes"),
    ),
    Known(
        "parquet",
        "traceback 70 TypeError benchbench/core/format.py:number",
        SITE,
        Column(QUIZ_PART, "acc", "path"),
    ),
    Known(
        "sweep",
        "hang runner/sweep/find.py:read_list",
        f"sweep --backend scripted --model toy --checkpoints list.jsonl --tasks toy_write {TASKS} --name series",
        Instead("list.jsonl", "fifo"),
    ),
    Known(
        "tokenizer",
        "traceback 70 PanicException benchbench/cli/tasks_view.py:count",
        COUNT,
        Copy("model/tokenizer.json", ("version",), ("post_processor", "single", 0, "SpecialToken", "id")),
    ),
    Known(
        "rows",
        "hang tasks/data_root.py:count",
        "data ls --data-root hub",
        Instead("hub/toy/quiz/default/train.jsonl", "fifo"),
    ),
    Known(
        "rows",
        "traceback RuntimeError tasks/documents.py:_beside",
        CHECK,
        Instead("tasks/pack/own.jsonl", "loop"),
    ),
    Known(
        "sweep",
        "traceback TypeError tasks/task.py:prompt",
        "sweep resume latest",
        Put("sweep-0/sweep.json", ("settings", "run", "prompt"), {}),
    ),
    Known(
        "record",
        "traceback RecursionError store/files.py:read_json",
        "results ls",
        Put("run-0/run.json", (), DEEP),
    ),
    Known("record", "read store/files.py:read_json open", "results ls", Instead("run-0/run.json", "outside")),
    Known("live", "hang store/lines.py:read_lines", SCRIPTED, Instead(QUIZ_LIVE, "fifo")),
    Known("live", "traceback TypeError store/folder.py:live", SCRIPTED, Put(QUIZ_LIVE, (0, "doc_id"), "x")),
    Known(
        "live",
        "traceback ArrowTypeError store/table.py:encode_part",
        SCRIPTED,
        Put(QUIZ_LIVE, (0, "doc_hash"), ["x"]),
    ),
    Known(
        "live",
        "traceback RecursionError store/lines.py:_whole",
        SCRIPTED,
        Twice(QUIZ_LIVE, (0, "task"), DEEP),
    ),
    Known(
        "live",
        "read store/lines.py:read_lines open",
        SCRIPTED,
        Instead(QUIZ_LIVE, "outside"),
    ),
    Known(
        "live",
        "traceback TypeError store/table.py:_number",
        SCRIPTED,
        Put(QUIZ_LIVE, (2, "scores", "acc"), []),
    ),
    Known(
        "sweep",
        "traceback ValueError cli/console.py:print_json",
        "sweep status --json",
        Put("sweep-0/units/series@10/done.json", ("loglikelihood",), float("nan")),
    ),
    Known(
        "sweep",
        "traceback OSError store/folder.py:finished",
        "sweep status",
        Put("sweep-0/units/series@10/done.json", ("run",), "x" * 300),
    ),
    Known(
        "sweep",
        "traceback RecursionError runner/sweep/find.py:<listcomp>",
        "sweep status",
        Twice("list.jsonl", (0, "step"), DEEP),
    ),
    Known(
        "sweep",
        "read store/files.py:read_json open",
        "sweep status",
        Instead("sweep-0/sweep.json", "outside"),
    ),
    Known(
        "parquet",
        "traceback KeyError store/table.py:<dictcomp>",
        "results items run-0 --task toy_quiz",
        Column(QUIZ_PART, "task", "alone"),
    ),
    Known(
        "imports",
        "traceback OverflowError store/table.py:encode_part",
        IMPORT,
        Put(SAMPLES, (0, "doc_id"), 10**40),
    ),
    Known(
        "imports",
        "traceback ArrowTypeError store/table.py:encode_part",
        IMPORT,
        Copy(SAMPLES, (), (2, "benchbench", "targets")),
    ),
    Known(
        "imports",
        "traceback RecursionError extensions/interchange/lm_eval_items.py:_lines",
        IMPORT,
        Write(SAMPLES, b"[", 200000),
    ),
    Known(
        "server",
        "traceback RecursionError backends/api/client.py:_once",
        f"{WORDS} {ADDRESS} --tasks toy_quiz,toy_write",
        Write("answer-1.json", b"[", 200000),
    ),
    Known(
        "gguf",
        "hang backends/models/formats/gguf.py:read_header",
        "doctor model.gguf",
        Instead("model.gguf", "fifo"),
    ),
    Known(
        "safetensors",
        "traceback SafetensorError backends/models/loaded.py:from_pretrained",
        HF_MODEL,
        Put("model/model.safetensors", ("lm_head.weight", "dtype"), {}),
    ),
    Known(
        "safetensors",
        "traceback RecursionError backends/models/files.py:safetensors_header",
        HF_MODEL,
        Twice("model/model.safetensors", ("lm_head.weight", "dtype"), DEEP),
    ),
    Known(
        "tokenizer",
        "traceback Exception backends/models/tokenizer.py:load_tokenizer",
        HF_MODEL,
        Drop("model/tokenizer.json", ("model", "merges")),
    ),
    Known(
        "tokenizer",
        "hang backends/models/files.py:read_json",
        RENDER,
        Instead("model/tokenizer_config.json", "fifo"),
    ),
    Known(
        "tokenizer",
        "traceback RecursionError backends/models/files.py:read_json",
        HF_MODEL,
        Write("model/tokenizer_config.json", b"[", 200000),
    ),
    Known(
        "tokenizer",
        "traceback TypeError backends/encode.py:_encode",
        HF_MODEL,
        Put("model/tokenizer_config.json", ("model_max_length",), {}),
    ),
    Known(
        "tokenizer",
        "traceback TypeError cli/tasks_view.py:count",
        COUNT,
        Put("model/tokenizer_config.json", ("model_max_length",), {}),
    ),
    Known(
        "config",
        "traceback RecursionError backends/models/files.py:read_json",
        HF_ANY,
        Put("gpt2/config.json", (), DEEP),
    ),
    Known(
        "config",
        "traceback ZeroDivisionError backends/models/config.py:config_object",
        HF_ANY,
        Put("llama/config.json", ("num_attention_heads",), 0),
    ),
    Known(
        "config",
        "hang backends/models/loaded.py:from_pretrained",
        HF_ANY,
        Put("llama/config.json", ("num_hidden_layers",), 200000),
    ),
    Known(
        "config",
        "traceback IndexError backends/hf/seq2seq.py:_write_batch",
        HF_ANY,
        Put("t5/generation_config.json", ("decoder_start_token_id",), 10**9),
    ),
    Known(
        "config",
        "traceback TypeError backends/hf/encoder_decoder.py:decoder_inputs",
        HF_ANY,
        Put("t5/config.json", ("decoder_start_token_id",), {}),
    ),
    Known(
        "config",
        "hang backends/models/formats/folder.py:load",
        HF_ANY,
        Instead("mistral/generation_config.json", "fifo"),
    ),
)
"""An open one is a strict expected failure: once it is mended, its test fails until the reason is deleted."""

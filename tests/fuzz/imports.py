"""`python -m tests.fuzz.imports [--tries N] [--seed S]`: result files of others, damaged, and the numbers that come in.

A file of each kind is mutated at one place. What is imported must then be a number of the mutated file, of the task and
metric under which it stands there; what is gone from the file or is no number must be gone; no traceback. The reader of
the truth below knows nothing of the importer's code.
"""

from __future__ import annotations

import argparse
import copy
import csv
import io
import json
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchbench.core.errors import BenchbenchError
from benchbench.extensions.interchange import find_imports
from benchbench.extensions.interchange.record import write_imported
from benchbench.extensions.interchange.table import Mapped

Numbers = dict[tuple[str, str], float]
"""(task, metric) → value."""
ODD = (
    *(None, True, False, "", "N/A", "0.5", "nan", [], [0.5], {}, {"a": 1}, -1, 0, 1, 2, 10**30, -(10**400), 1e308),
    *(float("nan"), float("inf"), "x" * 300, "\ud800", "\u202e", "é", "a,b", "../../x", "|", " "),
)
"""Values that stand where others were expected."""


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of result file."""

    name: str
    files: dict[str, Any]
    """Path → content: JSON (`.json`), a list of lines (`.jsonl`) or of rows (`.csv`)."""
    target: str
    """The file whose numbers are compared."""
    truth: Callable[[Any], Numbers]
    """The numbers of the target, read without the importer."""


def lm_eval_numbers(content: Any) -> Numbers:
    """Of lm-eval's results: 0.3 (`acc`) and 0.4 (`acc,none`)."""
    found = {}
    for task, scores in content["results"].items():
        for key, value in scores.items():
            name, _, end = key.partition(",")
            if (
                is_number(value)
                and not name.endswith("_stderr")
                and key not in ("alias", "name", "sample_len", "samples")
            ):
                found[task, name if end in ("", "none") else key] = value
    return found


def lighteval_numbers(content: Any) -> Numbers:
    """Of lighteval's results, with the shots taken out of the names."""
    return {
        (task.rpartition("|")[0] or task, name): value
        for task, scores in content["results"].items()
        for name, value in scores.items()
        if is_number(value) and not name.endswith("_stderr")
    }


def helm_numbers(content: Any) -> Numbers:
    """Of HELM's statistics."""
    return {("mmlu:subject=anatomy", one["name"]["name"]): one["mean"] for one in content if is_number(one.get("mean"))}


def euroeval_numbers(content: Any) -> Numbers:
    """Of EuroEval's lines."""
    return {
        (line["dataset"], f"{key.removeprefix('test_')}_percent"): value
        for line in content
        for key, value in line["results"]["total"].items()
        if key.startswith("test_") and not key.endswith("_se") and is_number(value)
    }


def table_numbers(content: Any) -> Numbers:
    """Of a table's rows."""
    return {(str(row["task"]), str(row["metric"])): float(row["value"]) for row in content if row["value"] is not None}


def is_number(value: object) -> bool:
    """A number that is none of Python's truth values."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _scores(n: int) -> dict[str, Any]:
    return {
        "acc,none": n / 7,
        "acc_stderr,none": 0.01 + n / 1000,
        "acc_norm,none": n / 9,
        "acc_norm_stderr,none": "N/A",
    }


def _sample(n: int) -> dict[str, Any]:
    pair = {f"gen_args_{i}": {"arg_0": f"Q{n}", "arg_1": f" {i}"} for i in range(2)}
    return {
        "doc_id": n,
        "doc": {"q": n},
        "target": "1",
        "arguments": pair,
        "resps": [[["-1.0", "True"]], [["-2", "False"]]],
        "filtered_resps": [["-1.0", "True"], ["-2", "False"]],
        "filter": "none",
        "metrics": ["acc"],
        "acc": n % 2,
        "doc_hash": f"{n:064x}",
        "prompt_hash": f"{n + 99:064x}",
        "target_hash": "t",
    }


LM_EVAL = {
    "results": {"a": {"alias": "a", **_scores(1)}, "b": _scores(2), "mid": _scores(3), "top": _scores(4)},
    "groups": {"mid": _scores(3), "top": _scores(4)},
    "group_subtasks": {"top": ["mid"], "mid": ["a", "b"]},
    "configs": {"a": {"task": "a", "output_type": "multiple_choice"}},
    "versions": {"a": 1.0, "b": 2},
    "n-shot": {"a": 5, "b": 0},
    "higher_is_better": {"a": {"acc": True}},
    "n-samples": {"a": {"original": 4, "effective": 4}},
    "config": {"model": "hf", "model_args": "pretrained=org/m,dtype=float16,revision=step1000", "limit": None},
    "chat_template": "{{ x }}",
    "date": 1767225600.0,
    "model_name": "org/m",
}
OLD = {
    "results": {"arc": {"acc": 0.25, "acc_stderr": 0.01}, "lambada": {"ppl": 20.5, "ppl_stderr": 0.5}},
    "versions": {"arc": 0, "lambada": 0},
    "config": {"model": "hf-causal", "model_args": "pretrained=org/m", "num_fewshot": 5, "limit": None},
}
LIGHTEVAL = {
    "config_general": {"model_name": "org/m", "model_sha": "abc", "model_dtype": "torch.bfloat16"},
    "results": {
        "leaderboard|arc:challenge|25": {"acc": 0.5, "acc_stderr": 0.01},
        "lighteval|gsm8k|0": {"em": 0.25, "em_stderr": 0.02, "maj@8": 0.125},
        "all": {"acc": 0.5, "acc_stderr": 0.01},
    },
    "versions": {"leaderboard|arc:challenge|25": 0},
    "config_tasks": {"lighteval|gsm8k": {"name": "gsm8k", "effective_num_docs": 8, "metric": [{"metric_name": "em"}]}},
}
HELM_SPEC = {
    "name": "mmlu:subject=anatomy,model=org_m",
    "adapter_spec": {"model": "org/m", "max_train_instances": 5, "model_deployment": "huggingface/m"},
}
HELM = [
    {"name": {"name": name, "split": "test"}, "count": 3, "sum": 1.5, "mean": mean, "stddev": 0.1}
    for name, mean in (("exact_match", 0.5), ("f1_score", 0.75))
]
EUROEVAL = [
    {
        "dataset": dataset,
        "task": "knowledge",
        "model": "org/m",
        "results": {
            "raw": [{"test_mcc": 10.5}],
            "total": {"test_mcc": 10.5 + n, "test_mcc_se": 1.5, "test_accuracy": 30.25},
        },
        "num_model_parameters": 1000,
        "few_shot": True,
        "euroeval_version": "16.0.0",
    }
    for n, dataset in enumerate(("one", "two"))
]
TABLE = [
    {
        "model": "m",
        "step": 10,
        "task": task,
        "metric": "acc",
        "value": value,
        "stderr": 0.01,
        "n": 100,
        "num_fewshot": 0,
    }
    for task, value in (("a", 0.125), ("b", 0.375), ("c", 0.625))
]
TIME = "2026-01-01T00-00-00.000000"
SOURCES = (
    Source(
        "lm-eval 0.4",
        {f"results_{TIME}.json": LM_EVAL, f"samples_a_{TIME}.jsonl": [_sample(n) for n in range(4)]},
        f"results_{TIME}.json",
        lm_eval_numbers,
    ),
    Source("lm-eval 0.3", {"old.json": OLD}, "old.json", lm_eval_numbers),
    Source("lighteval", {f"results_{TIME}.json": LIGHTEVAL}, f"results_{TIME}.json", lighteval_numbers),
    Source("helm", {"stats.json": HELM, "run_spec.json": HELM_SPEC}, "stats.json", helm_numbers),
    Source(
        "euroeval", {"euroeval_benchmark_results.jsonl": EUROEVAL}, "euroeval_benchmark_results.jsonl", euroeval_numbers
    ),
    Source("csv", {"table.csv": TABLE}, "table.csv", table_numbers),
    Source("json", {"table.json": TABLE}, "table.json", table_numbers),
    Source("json lines", {"table.jsonl": TABLE}, "table.jsonl", table_numbers),
)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    yield at
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*at, key))


def mutated(content: Any, draw: random.Random) -> tuple[Any, str]:
    """The content with one change, and what it was."""
    changed = copy.deepcopy(content)
    at = draw.choice([place for place in places(changed) if place])
    where = changed
    for key in at[:-1]:
        where = where[key]
    what = draw.choice(("odd", "odd", "drop", "number", "rename", "twice"))
    if what == "drop":
        del where[at[-1]]
    elif what == "rename" and isinstance(where, dict):
        where[draw.choice(("x", "", "acc", "results", "a b", "é"))] = where.pop(at[-1])
    elif what == "twice" and isinstance(where, list):
        where.append(copy.deepcopy(where[at[-1]]))
    elif what == "number":
        where[at[-1]] = draw.choice((0.3, 0.999, 17, 1e-12, 12345.678, draw.random()))
    else:
        where[at[-1]] = copy.deepcopy(draw.choice(ODD))
    return changed, f"{what} at {at}"


def encoded(path: str, content: Any) -> bytes:
    """The content as a file holds it."""
    if path.endswith(".json"):
        text = json.dumps(content)
    elif path.endswith(".jsonl"):
        text = "".join(json.dumps(line) + "\n" for line in content)
    else:
        out = io.StringIO()
        rows = [row for row in content if isinstance(row, dict)]
        writer = csv.DictWriter(out, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
        text = out.getvalue()
    return text.encode("utf-8", "replace")


def damaged(data: bytes, draw: random.Random) -> bytes:
    """The bytes cut short, or with one of them changed."""
    at = draw.randrange(len(data))
    return data[:at] if draw.random() < 0.5 else data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :]


LONGEST = 60
"""Seconds of one try."""


class HangError(BaseException):
    """A try does not end; no part of the importer may catch it."""


def _stop(*_: object) -> None:
    raise HangError


def one_try(source: Source, seed: int, folder: Path) -> list[str]:
    """What is wrong after one mutation; a sentence each."""
    draw = random.Random(seed)
    file = draw.choice([source.target, *source.files])
    content, what = mutated(source.files[file], draw)
    contents = {**source.files, file: content}
    written = {path: encoded(path, value) for path, value in contents.items()}
    is_whole = draw.random() < 0.85
    if not is_whole:
        written[file] = damaged(encoded(file, source.files[file]), draw)
        what = "bytes"
    for path, data in written.items():
        (folder / path).write_bytes(data)
    where = f"{source.name}, seed {seed}, {file}: {what}"
    signal.alarm(LONGEST)
    try:
        found = find_imports(folder, Mapped(), lambda task: None)
        runs = [write_imported(run, folder / "out").folder.record() for run in found.runs]
    except HangError:
        return [f"{where}: no end after {LONGEST} s"]
    except BenchbenchError as error:
        return [] if str(error).strip() else [f"{where}: an error without a sentence"]
    except Exception:  # noqa: BLE001 - what is looked for
        return [f"{where}: {traceback.format_exc()[-1500:]}"]
    finally:
        signal.alarm(0)
    if not is_whole and file == source.target:
        return []
    rows = [row for run in runs for row in run.rows if row.value is not None]
    return [f"{where}: {problem}" for problem in _differences(source, contents[source.target], rows)]


def _differences(source: Source, content: Any, rows: list[Any]) -> Iterator[str]:
    """Values that came in and do not stand in the file, under their task and metric."""
    try:
        truth = source.truth(content)
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError):
        truth = None  # no longer such a file as a whole; each number must still be one of it
    known = set(_all_numbers(content))
    for row in rows:
        if truth is not None and (row.task, row.metric) in truth:
            expected = float(truth[row.task, row.metric])
            if row.value != expected and not (source.name in ("json", "json lines") and row.value in known):
                yield f"{row.task} {row.metric} is {row.value!r}, the file says {expected!r}"
        elif row.value not in known:
            yield f"{row.task} {row.metric} is {row.value!r}, which stands nowhere in the file"


def _all_numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _all_numbers(inner)
    elif isinstance(value, str | bool | int | float):
        try:
            yield float(value)
        except (ValueError, OverflowError):
            return


def search(tries: int, seed: int) -> list[str]:
    """So many tries over all kinds in turn."""
    found = []
    signal.signal(signal.SIGALRM, _stop)
    with tempfile.TemporaryDirectory(prefix="import-fuzz-") as base:
        for number in range(tries):
            folder = Path(base) / "in"
            folder.mkdir()
            found += one_try(SOURCES[number % len(SOURCES)], seed + number, folder)
            shutil.rmtree(folder)
    return found


def main() -> None:
    """Prints what was found; exits with 1 if anything was."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.imports", description=__doc__)
    parser.add_argument("--tries", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    found = search(options.tries, options.seed)
    for one in found:
        print(f"FOUND {one}")
    print(
        f"{len(found)} findings in {options.tries} mutated files of {len(SOURCES)} kinds,"
        f" {time.monotonic() - began:.0f} s"
    )
    sys.exit(bool(found))


if __name__ == "__main__":
    main()

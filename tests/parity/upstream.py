"""The lm-eval side: its own task files, fed with rows from a data root instead of the Hub.

`load` builds lm-eval's `ConfigurableTask` from the YAML that lm_eval 0.4.13 ships (its `process_docs` and
`process_results` included); only `datasets.load_dataset` is replaced while the task is made.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from benchbench.core.chat import ChatSettings
from tests.parity.tasks import lm_evals_file, ours_for_lm_eval

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("LMEVAL_LOG_LEVEL", "ERROR")

VERSION = "0.4.13"
SEED = 1234
SPLIT_KEYS = ("training_split", "validation_split", "test_split", "fewshot_split")
HERE = Path(__file__).resolve().parent

FROM_THE_HUB = "rouge1"
"""A metric whose code FrenchBench's aggregation fetches from the Hub; ours is held against rouge-score itself."""

OTHER_CONFIGS = {"wikitext": "wikitext-2-v1"}
"""Configuration to take where the data root lacks the one that the task names."""


@dataclass(frozen=True)
class Source:
    """Where lm-eval's rows come from, and which keys of its file are replaced (on both sides)."""

    data_root: Path
    overrides: Mapping[str, Any] = field(default_factory=dict)


def file_of(name: str) -> Path | None:
    """Path of the YAML that defines `name` for lm-eval; None if it has no such task."""
    import lm_eval.tasks

    if name == "cs_hellaswag":  # not in lm-eval: the definition of BenCzechMark's fork, in lm-eval's dialect
        return HERE / "cs_hellaswag.yaml"
    found = lm_evals_file(name)
    return None if found is None else Path(lm_eval.tasks.__file__).parent / found


def config_of(name: str) -> dict[str, Any]:
    """lm-eval's own definition of `name`, includes merged, Python functions resolved; ours if it has none."""
    from lm_eval.tasks._yaml_loader import load_yaml

    path = file_of(name)
    if path is None:
        return ours_for_lm_eval(name)
    with code_eval_instead_of_hub():
        return load_yaml(path)


@contextlib.contextmanager
def code_eval_instead_of_hub() -> Iterator[None]:
    """While open, `evaluate.load` gives something that runs no program: lm-eval loads it with its tasks of programs."""
    import evaluate

    class Nothing:
        def compute(self, **_: Any) -> tuple[dict[str, float], dict[str, Any]]:
            return {"pass@1": 0.0}, {}

    original = evaluate.load
    evaluate.load = lambda *_, **__: Nothing()
    try:
        yield
    finally:
        evaluate.load = original


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file, as they are."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def superglue_boolq(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of google/boolq in the layout of aps/super_glue, which lm-eval loads."""
    return {"question": row["question"], "passage": row["passage"], "label": int(row["answer"])}


def folder_of(data_root: Path, path: str, name: str | None) -> Path:
    """Folder of a data set's splits under the data root."""
    if path == "facebook/flores":
        return data_root / "openlanguagedata/flores_plus/eng_Latn"
    path = {"orange_sum": "EdinburghNLP/orange_sum", "aps/super_glue": "google/boolq"}.get(path, path)
    return data_root / path / ("default" if path == "google/boolq" else name or "default")


def flores_all(data_root: Path) -> dict[str, list[dict[str, Any]]]:
    """Rows of facebook/flores, config `all` (a script that no longer loads), from those of flores_plus by language."""
    folders = sorted((data_root / "openlanguagedata/flores_plus").iterdir())
    splits: dict[str, list[dict[str, Any]]] = {}
    for split in {file.stem for folder in folders for file in folder.glob("*.jsonl")}:
        texts = {f"sentence_{folder.name}": rows_of(folder / f"{split}.jsonl") for folder in folders}
        splits[split] = [
            {name: row["text"] for name, row in zip(texts, rows, strict=True)}
            for rows in zip(*texts.values(), strict=True)
        ]
    return splits


def fitted(name: str, data_root: Path) -> Source:
    """The data root with the keys that must change because it lacks a configuration or a split of this task.

    A split that is missing is dropped, so that both sides fall back to the next one, as lm-eval does.
    """
    config = config_of(name)
    overrides: dict[str, Any] = {}
    folder = folder_of(data_root, config["dataset_path"], config.get("dataset_name"))
    if not folder.exists() and name in OTHER_CONFIGS:
        overrides["dataset_name"] = OTHER_CONFIGS[name]
        folder = folder_of(data_root, config["dataset_path"], OTHER_CONFIGS[name])
    read = SPLIT_KEYS if config.get("fewshot_split") is None else ("test_split", "fewshot_split")
    missing = [key for key in read if config.get(key) and not (folder / f"{config[key]}.jsonl").exists()]
    return Source(data_root, overrides | dict.fromkeys(missing))


@contextlib.contextmanager
def rows_instead_of_hub(data_root: Path) -> Iterator[None]:
    """While open, `datasets.load_dataset` reads `<data_root>/<path>/<name>/<split>.jsonl`."""
    import datasets

    def load(path: str, name: str | None = None, **_: Any) -> Any:
        if path == "facebook/flores":
            return datasets.DatasetDict({k: datasets.Dataset.from_list(v) for k, v in flores_all(data_root).items()})
        folder = folder_of(data_root, path, name)
        adapt = superglue_boolq if path == "aps/super_glue" else dict
        splits = {f.stem: datasets.Dataset.from_list([adapt(r) for r in rows_of(f)]) for f in folder.glob("*.jsonl")}
        if not splits:
            raise FileNotFoundError(f"no rows for {path} {name or 'default'}: {folder} is empty or missing")
        return datasets.DatasetDict(splits)

    original = datasets.load_dataset
    datasets.load_dataset = load
    try:
        yield
    finally:
        datasets.load_dataset = original


def load(name: str, source: Source, num_fewshot: int) -> Any:
    """lm-eval's task object for `name` with that many shots, few-shot seed set as its command does."""
    from lm_eval.api.task import ConfigurableTask

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    config = config_of(name) | dict(source.overrides)
    with rows_instead_of_hub(source.data_root):
        task = ConfigurableTask(config=config)
    task.set_config(key="num_fewshot", value=num_fewshot)
    task.set_fewshot_seed(seed=SEED)
    return task


@dataclass(frozen=True)
class Chat:
    """A model whose chat template lm-eval applies, and how."""

    model: str
    settings: ChatSettings


def alternating(apply: Any, messages: list[dict[str, str]], **kwargs: Any) -> str:
    """lm-eval's template on turns that alternate: it makes a user's turn of its own of a shot without an answer."""
    turns: list[dict[str, str]] = []
    for message in messages:
        if turns and turns[-1]["role"] == message["role"]:
            turns[-1] = {"role": message["role"], "content": turns[-1]["content"] + message["content"]}
        else:
            turns.append(message)
    return str(apply(turns, **kwargs))


def build(task: Any, limit: int | None, chat: Chat | None = None) -> list[list[Any]]:
    """lm-eval's `Instance`s of the first `limit` docs, one list per doc, in doc order."""
    said: dict[str, Any] = {}
    if chat is not None:
        engine = templates(chat.model)
        said = {
            "system_instruction": chat.settings.system,
            "apply_chat_template": True,
            "fewshot_as_multiturn": chat.settings.multiturn,
            "chat_template": partial(alternating, engine.apply_chat_template),
            "tokenizer_name": engine.tokenizer_name,
        }
    with contextlib.redirect_stderr(io.StringIO()):
        task.build_all_requests(limit=limit, **said)
    if chat is not None and task.OUTPUT_TYPE == "loglikelihood":
        for instance in task.instances:  # the space that its multiple choice leaves out, its loglikelihood leaves in
            instance.arguments = (instance.arguments[0], instance.arguments[1].lstrip(" "))
    docs: dict[int, list[Any]] = {}
    for instance in task.instances:
        docs.setdefault(instance.doc_id, []).append(instance)
    return [sorted(docs[i], key=lambda r: r.idx) for i in sorted(docs)]


def answer(model: str, docs: list[list[Any]], batch_size: int, trust_remote_code: bool = False) -> None:
    """Score the instances with lm-eval's HF backend in fp32 on the CPU; the responses go into the instances."""
    requests = [instance for doc in docs for instance in doc]
    kind = requests[0].request_type
    with contextlib.redirect_stderr(io.StringIO()):
        responses = getattr(backend(model, batch_size, trust_remote_code), kind)(requests)
    for instance, response in zip(requests, responses, strict=True):
        instance.resps.append(response)


def answer_with_exact_softmax(
    model: str, instances: list[Any], batch_size: int, trust_remote_code: bool
) -> list[float]:
    """Log-likelihoods by lm-eval's backend with its option `softmax_dtype=float64`; the model itself stays in fp32.

    torch's fp32 log-softmax on the CPU is about 1e-5 too high per token of a large vocabulary: it adds tens of
    thousands of small terms one after another. Over a hundred tokens that is more than the tolerance.
    """
    import torch

    engine = backend(model, batch_size, trust_remote_code)
    usual, engine.softmax_dtype = engine.softmax_dtype, torch.float64
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            found = getattr(engine, instances[0].request_type)(instances)
    finally:
        engine.softmax_dtype = usual
    return [value if isinstance(value, float) else value[0] for value in found]


@cache
def templates(model: str) -> Any:
    """lm-eval's HFLM around a model's tokenizer, for its chat template alone."""
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer

    engine = HFLM.__new__(HFLM)
    engine.tokenizer = AutoTokenizer.from_pretrained(model)
    engine.chat_template_args = {}
    return engine


@cache
def backend(model: str, batch_size: int, trust_remote_code: bool) -> Any:
    """lm-eval's HFLM for a model folder, made once per process. `logits_cache` is off: it returns wrong rows.

    Without it every one-token choice of a doc is a forward pass of its own over the same tokens. Rows of a batch that
    are the same, token for token and pad for pad, go through the model once here; all else is lm-eval's.
    """
    import torch
    from lm_eval.models.huggingface import HFLM

    class SameRowsOnce(HFLM):
        def _model_call(self, inps: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            if any(value is not None for value in (*args, *kwargs.values())):  # an encoder's mask and labels
                return super()._model_call(inps, *args, **kwargs)
            rows, places = torch.unique(inps, dim=0, return_inverse=True)
            return super()._model_call(inps) if len(rows) == len(inps) else super()._model_call(rows)[places]

    return SameRowsOnce(
        pretrained=model,
        dtype="float32",
        device="cpu",
        batch_size=batch_size,
        trust_remote_code=trust_remote_code,
        logits_cache=False,
    )


def metrics(task: Any, docs: list[list[Any]]) -> dict[tuple[str, str], float]:
    """(metric, filter) → value, by lm-eval's own filters, `process_results` and aggregation."""
    task.apply_filters()
    found: dict[tuple[str, str], list[Any]] = {}
    for pipeline in docs[0][0].filtered_resps:
        for doc in docs:
            results = task.process_results(doc[0].doc, [instance.filtered_resps[pipeline] for instance in doc])
            for metric, value in results.items():
                found.setdefault((metric, pipeline), []).append(value)
    aggregation = task.aggregation()
    return {key: float(aggregation[key[0]](values)) for key, values in found.items() if key[0] != FROM_THE_HUB}

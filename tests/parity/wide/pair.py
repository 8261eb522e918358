"""One task asked by lm-eval and as `lm_eval:NAME` here: requests to the byte, every metric under every filter."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchbench.backends.engines import ModelOptions
from benchbench.core.errors import BenchbenchError
from benchbench.core.settings import changed
from benchbench.core.types import GenerateRequest, LoglikelihoodRequest, Request
from benchbench.runner.events import ignore
from benchbench.runner.plan import Plan, make_plan
from benchbench.runner.run import run_plan
from benchbench.runner.settings import RunSettings
from tests.extensions.lm_eval.conftest import Figures, our_figures
from tests.extensions.lm_eval.engines import Answers, Ours, theirs

Asked = dict[tuple[str, int], list[tuple[object, ...]]]
"""(task, doc) → what is asked, sorted."""
Outcome = Literal["equal", "differs", "refused by both", "refused here", "refused there"]


@dataclass(frozen=True)
class Pair:
    """What became of a task."""

    name: str
    outcome: Outcome
    requests: int = 0
    figures: int = 0
    said: str = ""
    """What differs, or the sentence of who refuses."""


@contextlib.contextmanager
def rows_in_files(root: Path) -> Iterator[None]:
    """While open, `load_dataset` reads a data root through the cache of files that lm-eval rests on."""
    import datasets

    load = datasets.load_dataset

    def from_root(path: str, name: str | None = None, **kwargs: Any) -> Any:
        files = kwargs.get("data_files")
        if path in ("json", "csv"):
            places = {split: str(file).replace("hf://datasets", str(root)) for split, file in files.items()}
            return load(path, data_files=places)
        found = {file.stem: file for file in sorted((root / path / (name or "default")).glob("*.jsonl"))}
        if not found:
            raise FileNotFoundError(f"no rows for {path} {name or 'default'}")
        rows = {split: load("json", data_files={"x": str(file)}, split="x") for split, file in found.items()
                if file.stat().st_size}  # fmt: skip
        first = next(iter(rows.values()))
        return datasets.DatasetDict({split: rows.get(split, first.select([])) for split in found})

    datasets.load_dataset = from_root
    try:
        yield
    finally:
        datasets.load_dataset = load


@dataclass(frozen=True)
class Sides:
    """Where rows and task files lie, and how both sides are asked."""

    root: Path
    files: Path
    output: Path
    num_fewshot: int | None = None
    limit: int | None = None

    def pair(self, name: str, entry: str | None = None) -> Pair:
        """The task on both sides; `entry` names it here where that is a file."""
        answers = Answers()
        plan = self._plan(entry or f"lm_eval:{name}")
        if isinstance(plan, Plan):
            answers.right = _right(plan)
        asked, figures = self._theirs(name, answers)
        if isinstance(plan, str) or isinstance(figures, str):
            return _refused(name, plan, asked, figures)
        said = _difference(_ours_asked(plan), asked)
        if not said:
            rows = run_plan(plan, self._settings(entry or f"lm_eval:{name}"), Ours(answers)).rows
            said = _apart(our_figures(rows, figures), figures)
        requests = sum(map(len, asked.values()))
        return Pair(name, "differs" if said else "equal", requests, len(figures), said)

    def _settings(self, entry: str) -> RunSettings:
        return changed(
            RunSettings(ModelOptions("hash", backend="scripted")),
            tasks=entry,
            data_root=self.root,
            output=self.output / entry.replace("/", "_"),
            trust_task_code=True,
            num_fewshot=self.num_fewshot,
            limit=self.limit,
        )

    def _plan(self, entry: str) -> Plan | str:
        try:
            return make_plan(self._settings(entry), ignore)
        except BenchbenchError as error:
            return str(error)

    def _theirs(self, name: str, answers: Answers) -> tuple[Asked, Figures | str]:
        """What lm-eval asks, and its figures, or what it fails with."""
        # Imported before `rows_in_files`, whose loader would stay in what is first imported while it is open.
        from lm_eval.evaluator import simple_evaluate
        from lm_eval.tasks import TaskManager

        from benchbench.extensions.lm_eval.library import _registry

        logging.getLogger("lm_eval").setLevel(logging.CRITICAL)
        _forget_python()
        manager = TaskManager(include_defaults=False, include_path=str(self.files))
        manager._index |= _registry(None)
        model, asked = _listening(theirs(answers))
        silent = io.StringIO()
        with rows_in_files(self.root), contextlib.redirect_stderr(silent), contextlib.redirect_stdout(silent):
            try:
                found = simple_evaluate(
                    model=model,
                    tasks=[name],
                    num_fewshot=self.num_fewshot,
                    limit=self.limit,
                    task_manager=manager,
                    bootstrap_iters=0,
                    confirm_run_unsafe_code=False,
                )
            except Exception as error:  # noqa: BLE001 - lm-eval fails with whatever its tasks raise
                return _sorted(asked), f"{type(error).__name__}: {error}"
        figures = {
            (task, key): float(value)
            for task, values in found["results"].items()
            for key, value in values.items()
            if "," in key and "_stderr," not in key
        }
        return _sorted(asked), figures


def _sorted(asked: Asked) -> Asked:
    return {key: sorted(values, key=repr) for key, values in asked.items()}


def _forget_python() -> None:
    """Has the tasks' Python run anew: lm-eval alone in its process finds nothing in its variables."""
    for name, module in [*sys.modules.items()]:
        if hasattr(module, "__mtime__"):
            del sys.modules[name]


def _listening(model: Any) -> tuple[Any, Asked]:
    """The model of lm-eval's side, and what it is asked, filled as it is."""
    asked: Asked = {}

    def heard(method: Any) -> Any:
        def ask(requests: Any) -> Any:
            for one in requests:
                asked.setdefault((one.task_name, one.doc_id), []).append(_their_request(one))
            return method(requests)

        return ask

    for name in ("loglikelihood", "loglikelihood_rolling", "generate_until"):
        setattr(model, name, heard(getattr(model, name)))
    return model, asked


def _their_request(instance: Any) -> tuple[object, ...]:
    if instance.request_type != "generate_until":
        return (instance.request_type, *instance.args)
    prompt, options = instance.args
    until = options.get("until") or []
    lengths = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
    most = next((options[name] for name in lengths if name in options), 256)
    return "generate_until", prompt, tuple([until] if isinstance(until, str) else until), most


def _our_request(request: Request) -> tuple[object, ...]:
    if isinstance(request, LoglikelihoodRequest):
        return "loglikelihood", request.prompt.text, request.continuation
    if isinstance(request, GenerateRequest):
        return "generate_until", request.prompt.text, request.params.until, request.params.max_gen_toks
    return "loglikelihood_rolling", request.text


def _ours_asked(plan: Plan) -> Asked:
    return {
        (prepared.task.name.removeprefix("lm_eval:"), doc.doc.id): sorted(map(_our_request, doc.requests), key=repr)
        for prepared in plan.tasks
        for doc in prepared.docs
    }


def _right(plan: Plan) -> dict[str, str]:
    return {
        request.prompt.text: doc.targets[0].rpartition("#### ")[2]
        for prepared in plan.tasks
        for doc in prepared.docs
        for request in doc.requests
        if isinstance(request, GenerateRequest) and doc.targets
    }


def _difference(ours: Asked, asked: Asked) -> str:
    if ours.keys() != asked.keys():
        return f"other docs: {sorted(ours.keys() ^ asked.keys())[:4]}"
    bad = [key for key in asked if ours[key] != asked[key]]
    if not bad:
        return ""
    one, two = next((a, b) for a, b in zip(ours[bad[0]], asked[bad[0]], strict=False) if a != b)
    return f"{len(bad)} of {len(asked)} docs are asked otherwise, e.g. {bad[0]}: {str(one)[-160:]} | {str(two)[-160:]}"


def _apart(ours: Mapping[tuple[str, str], float | None], figures: Figures) -> str:
    def same(one: float | None, two: float) -> bool:
        return (one is None and two != two) or (one is not None and abs(one - two) <= 1e-9 * max(1.0, abs(two)))

    bad = {key: (ours[key], value) for key, value in figures.items() if not same(ours[key], value)}
    return f"other figures: {dict(list(bad.items())[:3])}" if bad else ""


def _refused(name: str, plan: Plan | str, asked: Asked, found: Figures | str) -> Pair:
    """`asked` is what lm-eval asked before it failed, if it came so far."""
    ours, others = plan if isinstance(plan, str) else "", found if isinstance(found, str) else ""
    outcome: Outcome = "refused by both" if ours and others else "refused here" if ours else "refused there"
    if asked and isinstance(plan, Plan):
        others += f" | {_difference(_ours_asked(plan), asked) or 'all requests are equal'}"
    requests = sum(map(len, asked.values()))
    return Pair(name, outcome, requests, said=" | ".join(text[:400] for text in (ours, others) if text))


def counts(pairs: Sequence[Pair]) -> dict[str, int]:
    """Outcome → number of tasks."""
    found: dict[str, int] = {}
    for pair in pairs:
        found[pair.outcome] = found.get(pair.outcome, 0) + 1
    return found

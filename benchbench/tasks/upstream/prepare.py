"""A task of lm-eval's → requests: lm-eval loads, draws the shots and writes the prompts; we only ask and count."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchbench.core.errors import ArgumentError, BenchbenchError, TaskError
from benchbench.core.ids import content_hash
from benchbench.core.types import (
    Doc,
    FilterSpec,
    GenerateRequest,
    Json,
    LoglikelihoodRequest,
    MetricSpec,
    Prompt,
    RenderedDoc,
    Request,
    RollingRequest,
    ScoringSpec,
)
from benchbench.tasks.prepare import PreparedTask, RenderSettings
from benchbench.tasks.readers import DATA_ENV, plain
from benchbench.tasks.upstream.data import Loaded, rows_from
from benchbench.tasks.upstream.definition import ALLOW, UNSAFE, UpstreamTask, as_json, with_python
from benchbench.tasks.upstream.generation import params_of
from benchbench.tasks.upstream.judge import UpstreamJudge
from benchbench.tasks.upstream.library import inside, seed_as_lm_eval


@dataclass(frozen=True)
class _Built:
    """lm-eval's task with its requests."""

    task: Any
    docs: Mapping[int, Sequence[Any]]
    """Doc number → its `Instance`s, in order."""
    loaded: Loaded
    notes: tuple[str, ...]


def prepare_upstream(task: UpstreamTask, settings: RenderSettings) -> PreparedTask:
    """See `tasks.prepare.prepare`. TaskError for Python without leave, DataError for data that are not there."""
    _check_settings(task, settings)
    check_python(task, trusted=settings.trust_task_code)
    built = _build(task, settings)
    places: dict[int, list[int]] = {}
    rendered = []
    for number, instances in built.docs.items():
        requests, places[number] = _requests(task, number, instances, settings.seed)
        rendered.append(_rendered(task, built.task, number, instances, requests))
    shots = _shots(task, built.task)
    prompts = [[_text(request) for request in doc.requests] for doc in rendered] if shots else []
    finished = replace(task, scoring=_scoring(task, built.task, rendered))
    return PreparedTask(
        task=finished,
        docs=tuple(rendered),
        num_fewshot=shots,
        prompt_hash=content_hash({"task": finished.resolved(), "shots": shots, "seed": settings.seed}, digits=8),
        data_hash=content_hash([[doc.doc.hash for doc in rendered], prompts]),
        data_revision=", ".join(dict.fromkeys(built.loaded.revisions)) or None,
        data_path=", ".join(dict.fromkeys(built.loaded.places)),
        notes=built.notes,
        judge=UpstreamJudge(built.task, built.docs, places),
    )


def _check_settings(task: UpstreamTask, settings: RenderSettings) -> None:
    """What lm-eval's tasks cannot be asked for."""
    if settings.limit is not None and settings.limit < 1:
        raise ArgumentError(f"--limit {settings.limit}: at least 1 document has to be evaluated.")
    if settings.num_fewshot is not None and settings.num_fewshot < 0:
        raise ArgumentError(f"--num-fewshot {settings.num_fewshot}: a number of shots cannot be negative.")
    given = {
        "--split": settings.split is not None,
        "--fewshot-split": settings.fewshot_split is not None,
        "--prompt": settings.prompt != "default",
        "--fewshot-mode per_doc": settings.fewshot_mode == "per_doc",
        "--apply-chat-template": settings.chat is not None,
    }
    if wrong := [option for option, is_given in given.items() if is_given]:
        raise ArgumentError(
            f"{task.name} is lm-eval's, which chooses its splits, prompt and shots itself: leave {wrong[0]} away."
        )


def check_python(task: UpstreamTask, *, trusted: bool) -> None:
    """Refuses what would run Python that came with a task, or that a model wrote, without leave."""
    from lm_eval.api.metrics import mean  # noqa: F401 - fills the registry
    from lm_eval.api.registry import METRIC_REGISTRY

    found = [f"`{key}` is the function {reference}" for key, reference in task.python()]
    metrics = task.config.get("metric_list") or []
    if not isinstance(metrics, list):
        raise TaskError(
            f"{task.where('metric_list')} is of type {type(metrics).__name__}; a list of metrics was expected."
        )
    for metric in metrics:
        name = metric.get("metric") if isinstance(metric, Mapping) else None
        if isinstance(name, str) and (metric.get("hf_evaluate") or name not in METRIC_REGISTRY):
            found.append(f"the metric {name!r} is code that `evaluate` fetches from the Hub")
    if found and not trusted:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise TaskError(
            f"{task.name} ({task.path}) brings Python: {found[0]}{more}. "
            f"Read it; {ALLOW} allows lm-eval's tasks to run theirs."
        )
    if task.config.get("unsafe_code") and os.environ.get(UNSAFE) != "1":
        raise TaskError(
            f"{task.name} runs the programs that a model writes, on this machine and in no sandbox. "
            f"{ALLOW} and {UNSAFE}=1 in the environment allow it."
        )
    if task.config.get("doc_to_image") or task.config.get("doc_to_audio"):
        raise TaskError(f"{task.name} asks about images or sound; the backends here read text.")


def _build(task: UpstreamTask, settings: RenderSettings) -> _Built:
    root = settings.data_root or (Path(os.environ[DATA_ENV]) if os.environ.get(DATA_ENV) else None)
    notes: list[str] = []
    shots = settings.num_fewshot if settings.num_fewshot is not None else task.config.get("num_fewshot")
    spare = task.shot_split() if not shots and task.shot_split() != task.eval_split() else None
    with inside(), rows_from(root, task.name, spare) as loaded:
        seed_as_lm_eval()
        try:
            theirs = _construct(with_python(dict(task.config)))
            _set_shots(theirs, settings.num_fewshot, notes)
            theirs.set_fewshot_seed(seed=settings.seed)
            theirs.build_all_requests(limit=settings.limit)
        except BenchbenchError:
            raise
        except Exception as error:
            raise TaskError(
                f"{task.name} ({task.path}): lm-eval cannot build it: {type(error).__name__}: {error}"
            ) from error
    docs: dict[int, list[Any]] = {}
    for instance in theirs.instances:
        docs.setdefault(int(instance.doc_id), []).append(instance)
    return _Built(theirs, {i: sorted(docs[i], key=lambda one: one.idx) for i in sorted(docs)}, loaded, tuple(notes))


def _construct(config: dict[str, Any]) -> Any:
    """As lm-eval's factory does."""
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks._factory import _ctor_accepts_config

    if "class" not in config:
        return ConfigurableTask(config=config)
    made = config["class"](config=config) if _ctor_accepts_config(config["class"]) else config["class"]()
    if hasattr(getattr(made, "config", None), "task"):
        made.config.task = config["task"]
    return made


def _set_shots(theirs: Any, asked: int | None, notes: list[str]) -> None:
    """lm-eval's rule: a task whose file says 0 shots keeps them, whatever is asked for."""
    stated = theirs.get_config("num_fewshot")
    if asked is None or stated == 0:
        if asked:
            notes.append(f"Its file says 0 shots, which lm-eval never changes: the {asked} asked for were not used.")
        if stated is None:
            theirs.set_config(key="num_fewshot", value=0)
    else:
        theirs.set_config(key="num_fewshot", value=asked)


def _shots(task: UpstreamTask, theirs: Any) -> int:
    return 0 if task.output_type == "loglikelihood_rolling" else int(theirs.get_config("num_fewshot") or 0)


def _requests(
    task: UpstreamTask, number: int, instances: Sequence[Any], seed: int
) -> tuple[tuple[Request, ...], list[int]]:
    """A doc's requests, log-likelihoods first, and for each the place of its instance; texts as often as it repeats."""
    order = sorted(range(len(instances)), key=lambda place: instances[place].request_type == "generate_until")
    requests: list[Request] = []
    places: list[int] = []
    for place in order:
        instance = instances[place]
        again = int(instance.repeats or 1) if instance.request_type == "generate_until" else 1
        for _ in range(again):
            requests.append(_request(task, number, len(requests), instance, seed))
            places.append(place)
    return tuple(requests), places


def _request(task: UpstreamTask, number: int, index: int, instance: Any, seed: int) -> Request:
    args = instance.args
    match instance.request_type:
        case "loglikelihood":
            return LoglikelihoodRequest(task.name, number, index, _prompt(args[0]), str(args[1]))
        case "loglikelihood_rolling":
            return RollingRequest(task.name, number, index, str(args[0]))
        case "generate_until":
            params = params_of(args[1], task.where("generation_kwargs"), seed)
            return GenerateRequest(task.name, number, index, _prompt(args[0]), params)
    raise TaskError(f"{task.name}: document {number} asks for {instance.request_type!r}, which no backend here knows.")


def _prompt(text: Any) -> Prompt:
    """lm-eval gives the prompt in one piece; too long ones are cut on the left."""
    return Prompt("", (), str(text), "truncate_left")


def _text(request: Request) -> str:
    return request.text if isinstance(request, RollingRequest) else request.prompt.text


def _rendered(
    task: UpstreamTask, theirs: Any, number: int, instances: Sequence[Any], requests: tuple[Request, ...]
) -> RenderedDoc:
    source = instances[0].doc
    fields = plain(source) if isinstance(source, Mapping) else {"doc": plain(source)}
    doc = Doc(number, fields, content_hash(fields))
    with inside():
        choices = _choices(theirs, source) if task.output_type == "multiple_choice" else ()
        target = _asked(theirs, "doc_to_text" if getattr(theirs, "multiple_input", 0) else "doc_to_target", source)
    parts = [*target] if isinstance(target, (list, tuple)) else [] if target is None else [target]
    gold = tuple(_gold(parts, choices))
    targets = () if choices else tuple(str(part) for part in parts)
    return RenderedDoc(task.name, doc, requests, choices, gold, targets)


def _choices(theirs: Any, doc: Any) -> tuple[str, ...]:
    found = _asked(theirs, "doc_to_choice", doc)
    return tuple(str(choice) for choice in found) if isinstance(found, (list, tuple)) else ()


def _asked(theirs: Any, method: str, doc: Any) -> Any:
    """What a task says of a doc, for the item table only; None where its class does not say."""
    try:
        return getattr(theirs, method)(doc)
    except Exception:  # noqa: BLE001 - a stranger's method; scoring does not rest on it
        return None


def _gold(parts: Sequence[Any], choices: Sequence[str]) -> Iterator[int]:
    for part in parts:
        if isinstance(part, int) and 0 <= part < len(choices):
            yield int(part)
        elif isinstance(part, str) and part in choices:
            yield choices.index(part)


def _scoring(task: UpstreamTask, theirs: Any, docs: Sequence[RenderedDoc]) -> ScoringSpec:
    """The names of what is scored, for readers of the record; the judge does the rest."""
    judge = UpstreamJudge(theirs, {}, {})
    better, pipelines = theirs.higher_is_better(), getattr(theirs, "_filters", ())
    metrics = tuple(
        MetricSpec(name, judge.aggregation(f"{name},*" if len(pipelines) > 1 else name), bool(better.get(name, True)))
        for name in theirs.aggregation()
    )
    stated = {entry["name"]: entry.get("filter") or [] for entry in task.config.get("filter_list") or ()}
    filters = tuple(FilterSpec(one.name, tuple(map(_step, stated.get(one.name, ())))) for one in pipelines)
    sizes = {len(doc.choices) for doc in docs} - {0}
    chance = 1 / sizes.pop() if len(sizes) == 1 else None
    return ScoringSpec(task.name, task.output_type, metrics, filters, chance)


def _step(step: Mapping[str, Any]) -> tuple[str, dict[str, Json]]:
    return str(step["function"]), {key: as_json(value) for key, value in step.items() if key != "function"}

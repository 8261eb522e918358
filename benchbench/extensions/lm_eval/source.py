"""lm-eval as a source of tasks: `lm_eval:NAME` → tasks and the groups whose rows are shown; a task → requests.

lm-eval loads, draws the shots and writes the prompts; we only ask and count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, cast, get_args

from benchbench.core.chat import ChatSettings, Conversation, GivenTurns, Message, Role
from benchbench.core.errors import ArgumentError, BenchbenchError, TaskError
from benchbench.core.ids import content_hash
from benchbench.core.task_scoring import Group, GroupMetric
from benchbench.core.types import (
    Doc,
    FilterSpec,
    GenerateRequest,
    GenerationParams,
    Json,
    LoglikelihoodRequest,
    MetricSpec,
    Prompt,
    RenderedDoc,
    Request,
    RollingRequest,
    ScoringSpec,
)
from benchbench.extensions.lm_eval import PREFIX
from benchbench.extensions.lm_eval.data import Loaded, mapped_once, rows_from
from benchbench.extensions.lm_eval.library import VERSION, Definition, definitions, inside, load, seed_as_lm_eval
from benchbench.extensions.lm_eval.names import find, matching
from benchbench.extensions.lm_eval.task import UpstreamTask, as_json, check_bounds, check_python, forget, with_python
from benchbench.tasks.rows import plain, plain_row, root_or_env
from benchbench.tasks.settings import LENGTHS, RenderSettings, docs_of, generation_params
from benchbench.tasks.sources import SourceEntry
from benchbench.tasks.task import PreparedTask

if TYPE_CHECKING:
    from benchbench.extensions.lm_eval.results import UpstreamResults


class LmEvalTasks:
    """See `tasks.sources.TaskSource`."""

    title = "lm-eval"

    def entries(self, pattern: str) -> list[SourceEntry]:
        """See TaskSource: names, groups and tags, from the heads of lm-eval's files."""
        found = matching(pattern.removeprefix(PREFIX))
        return [SourceEntry(PREFIX + one.name, one.kind, one.path, one.members) for one in found]

    def select(self, entry: str) -> tuple[list[UpstreamTask], list[Group]]:
        """See TaskSource: the tasks of a name, glob, tag, group or YAML file."""
        tasks: dict[str, UpstreamTask] = {}
        groups: dict[str, Group] = {}
        for named in find(entry.removeprefix(PREFIX)):
            read = load(named)
            for definition in definitions(read.tree):
                tasks[definition.task_name] = UpstreamTask.of(definition, _remarks(named.name, definition, read.made))
            groups |= {group.name: group for group in _groups(read.tree)}
        if not tasks:
            raise TaskError(f"{entry} holds no task.")
        return [*tasks.values()], [*groups.values()]

    def prepare(self, task: UpstreamTask, settings: RenderSettings) -> PreparedTask:
        """See TaskSource. TaskError for Python without permission."""
        # numpy and the statistics only where docs are scored
        from benchbench.extensions.lm_eval.results import UpstreamResults
        from benchbench.extensions.lm_eval.upstream_scoring import UpstreamScoring

        _check_settings(task, settings)
        task = task.with_metadata(dict(settings.metadata)) if settings.metadata else task
        check_python(task, trusted=settings.trust_task_code)
        check_bounds(task)
        built = _build(task, settings)
        places: dict[int, list[int]] = {}
        rendered = []
        for number, instances in built.docs.items():
            requests, places[number] = _requests(task, number, instances, settings.seed)
            rendered.append(_rendered(task, built.task, number, instances, requests))
        shots = _shots(task, built.task)
        prompts = [[_text(request) for request in doc.requests] for doc in rendered] if shots else []
        results = UpstreamResults(built.task, built.docs, places)
        finished = replace(task, scoring=_scoring(task, built.task, results, rendered))
        return PreparedTask(
            task=finished,
            docs=tuple(rendered),
            num_fewshot=shots,
            fewshot_mode="lm_eval",
            prompt_hash=_prompt_hash(finished, shots, settings),
            data_hash=content_hash([[doc.doc.hash for doc in rendered], prompts]),
            data_revision=", ".join(dict.fromkeys(built.loaded.revisions)) or None,
            data_path=", ".join(dict.fromkeys(built.loaded.places)),
            notes=built.notes,
            own_scoring=UpstreamScoring(finished.scoring, results, rendered),
        )


def _prompt_hash(task: UpstreamTask, shots: int, settings: RenderSettings) -> str:
    identity: dict[str, Json] = {"task": task.resolved(), "shots": shots, "seed": settings.seed}
    if settings.chat is not None:
        identity["chat"] = asdict(settings.chat)
    return content_hash(identity, digits=8)


def _remarks(name: str, kept: Definition, made: Sequence[Definition]) -> tuple[str, ...]:
    """That a task took the place of others of a group, where lm-eval gives all of them one name."""
    others = [one for one in made if one.task_name == kept.task_name and _data_of(one) != _data_of(kept)]
    if not others:
        return ()
    count = len({_data_of(one) for one in others}) + 1
    return (
        f"{PREFIX}{name} gives {count} tasks the one name {PREFIX}{kept.task_name}; lm-eval {VERSION} keeps the last, "
        f"and so it is here: it reads {' '.join(filter(None, _data_of(kept)))} alone, in every row of a group, too. "
        f"`--tasks {PREFIX}{kept.task_name}` by itself has all of them.",
    )


def _data_of(definition: Definition) -> tuple[str, str]:
    config = definition.config
    return str(config.get("dataset_path") or ""), str(config.get("dataset_name") or "")


def _groups(loaded: Any) -> Iterator[Group]:
    """A group and those below it, the inner ones first; those that aggregate nothing are left out."""
    if isinstance(loaded, (Definition, list)):
        return
    for child in loaded:
        yield from _groups(child)
    if loaded.has_aggregation:
        tasks = tuple(PREFIX + definition.task_name for definition in definitions(loaded))
        metrics = tuple(_metric(stated) for stated in loaded.aggregate_metric_list)
        by_size = all(one.weight_by_size for one in metrics)
        yield Group(PREFIX + loaded.name, tasks, by_size, metrics, _own_aggregation(loaded))


def _own_aggregation(loaded: Any) -> str | None:
    """What to say of a group whose file brings a function of its own."""
    own = [stated.aggregation for stated in loaded.aggregate_metric_list if stated.aggregation != "mean"]
    return f"its file names {own[0]}, which lm-eval {VERSION} never calls: this is the mean, as there" if own else None


def _metric(stated: Any) -> GroupMetric:
    filters = stated.filter_list
    names = None if filters is None else (filters,) if isinstance(filters, str) else tuple(map(str, filters))
    return GroupMetric(str(stated.metric), names, bool(stated.weight_by_size))


@dataclass(frozen=True)
class _Built:
    """lm-eval's task with its requests."""

    task: Any
    docs: Mapping[int, Sequence[Any]]
    """Doc number → its `Instance`s, in order."""
    loaded: Loaded
    notes: tuple[str, ...]


def _check_settings(task: UpstreamTask, settings: RenderSettings) -> None:
    """Refuses settings that lm-eval's tasks do not have."""
    given = {
        "--split": settings.split is not None,
        "--fewshot-split": settings.fewshot_split is not None,
        "--prompt": settings.prompt != "default",
        "--fewshot-mode per_doc": settings.fewshot_mode == "per_doc",
        "--random-docs": settings.random_docs,
    }
    if wrong := [option for option, is_given in given.items() if is_given]:
        raise ArgumentError(
            f"{task.name} is lm-eval's, which chooses its splits, prompt and shots itself: leave {wrong[0]} away."
        )


def _build(task: UpstreamTask, settings: RenderSettings) -> _Built:
    root = root_or_env(settings.data_root)
    shots = settings.num_fewshot if settings.num_fewshot is not None else task.config.get("num_fewshot")
    spare = task.shot_split() if not shots and task.shot_split() != task.eval_split() else None
    trusted = settings.trust_task_code
    forget(task.config)
    rows = rows_from(root, task.name, spare, file=task.path, trusted=trusted)
    with inside(), mapped_once(), rows as loaded:
        seed_as_lm_eval()
        try:
            upstream = _construct(with_python(dict(task.config)))
            notes = _set_shots(upstream, settings.num_fewshot)
            upstream.set_fewshot_seed(seed=settings.seed)
            count = None if settings.limit is None else docs_of(settings.limit, len(upstream.eval_docs))
            upstream.build_all_requests(limit=count, **_chat(settings.chat))
        except BenchbenchError:
            raise
        except Exception as error:
            raise TaskError(
                f"{task.name} ({task.path}): lm-eval cannot build it: {type(error).__name__}: {error}"
            ) from error
    docs: dict[int, list[Any]] = {}
    for instance in upstream.instances:
        docs.setdefault(int(instance.doc_id), []).append(instance)
    return _Built(upstream, {i: sorted(docs[i], key=lambda one: one.idx) for i in sorted(docs)}, loaded, notes)


def _chat(chat: ChatSettings | None) -> dict[str, Any]:
    """How lm-eval is asked for conversations; its template keeps the turns, because a model's is not known yet."""
    if chat is None:
        return {}
    return {
        "apply_chat_template": True,
        "chat_template": _Turns.of,
        "fewshot_as_multiturn": chat.multiturn,
        "system_instruction": chat.system,
    }


class _Turns(str):
    """The text of a conversation, with its turns."""

    __slots__ = ("turns",)
    turns: tuple[Message, ...]

    @classmethod
    def of(cls, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool = True) -> _Turns:
        """Stands where lm-eval has a model's template. The last message tells whether the answer goes on with it."""
        turns = tuple(Message(_role(one["role"]), one["content"]) for one in messages)
        found = cls("".join(turn.content for turn in turns))
        found.turns = turns
        return found

    def __add__(self, more: str) -> str:
        raise TaskError(f"its Python adds {more[:40]!r} to a conversation, where only the model's template may write.")


def _role(role: str) -> Role:
    for known in get_args(Role):
        if known == role:
            return cast(Role, known)
    raise TaskError(f"its conversation has a turn of {role!r}; there are {', '.join(get_args(Role))}.")


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


def _set_shots(upstream: Any, asked: int | None) -> tuple[str, ...]:
    """lm-eval's rule: a task whose file says 0 shots keeps them, whatever is asked for; a note where that is not 0."""
    stated = upstream.get_config("num_fewshot")
    if asked is not None and stated != 0:
        upstream.set_config(key="num_fewshot", value=asked)
        return ()
    if stated is None:
        upstream.set_config(key="num_fewshot", value=0)
    if not asked:
        return ()
    return (f"Its file says 0 shots, which lm-eval never changes: the {asked} asked for were not used.",)


def _shots(task: UpstreamTask, upstream: Any) -> int:
    return 0 if task.output_type == "loglikelihood_rolling" else int(upstream.get_config("num_fewshot") or 0)


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
            continuation = _one_text(task, number, args[1])
            return LoglikelihoodRequest(task.name, number, index, _prompt(args[0]), continuation)
        case "loglikelihood_rolling":
            return RollingRequest(task.name, number, index, _one_text(task, number, args[0]))
        case "generate_until":
            params = params_of(args[1], task.where("generation_kwargs"), seed)
            return GenerateRequest(task.name, number, index, _prompt(args[0]), params)
    raise TaskError(f"{task.name}: document {number} asks for {instance.request_type!r}, which no backend here knows.")


def _one_text(task: UpstreamTask, number: int, value: object) -> str:
    """The text whose likelihood is asked. TaskError for anything else, on which lm-eval's models stumble later."""
    if isinstance(value, str):
        return value
    raise TaskError(
        f"{task.where('doc_to_target')}: document {number} gives a {type(value).__name__}, {str(value)[:60]}; "
        "one text is expected, whose likelihood is asked."
    )


def _prompt(text: Any) -> Prompt | Conversation:
    """lm-eval gives the prompt in one piece; too long ones are cut on the left."""
    if isinstance(text, _Turns):
        return GivenTurns.of(text.turns)
    return Prompt("", (), str(text), "truncate_left")


def _text(request: Request) -> str:
    return request.text if isinstance(request, RollingRequest) else request.prompt.text


def _rendered(
    task: UpstreamTask, upstream: Any, number: int, instances: Sequence[Any], requests: tuple[Request, ...]
) -> RenderedDoc:
    source = instances[0].doc
    fields = plain_row(source) if isinstance(source, Mapping) else {"doc": plain(source)}
    doc = Doc(number, fields, content_hash(fields))
    with inside():
        choices = _choices(upstream, source) if task.output_type == "multiple_choice" else ()
        target = _value_of(
            upstream, "doc_to_text" if getattr(upstream, "multiple_input", 0) else "doc_to_target", source
        )
    parts = [*target] if isinstance(target, (list, tuple)) else [] if target is None else [target]
    gold = tuple(_gold(parts, choices))
    targets = () if choices else tuple(str(part) for part in parts)
    return RenderedDoc(task.name, doc, requests, choices, gold, targets)


def _choices(upstream: Any, doc: Any) -> tuple[str, ...]:
    found = _value_of(upstream, "doc_to_choice", doc)
    return tuple(str(choice) for choice in found) if isinstance(found, (list, tuple)) else ()


def _value_of(upstream: Any, method: str, doc: Any) -> Any:
    """What a task says of a doc, for the item table only; None where its class does not say."""
    try:
        return getattr(upstream, method)(doc)
    except Exception:  # noqa: BLE001 - a stranger's method; scoring does not rest on it
        return None


def _gold(parts: Sequence[Any], choices: Sequence[str]) -> Iterator[int]:
    for part in parts:
        if isinstance(part, int) and 0 <= part < len(choices):
            yield int(part)
        elif isinstance(part, str) and part in choices:
            yield choices.index(part)


def _scoring(task: UpstreamTask, upstream: Any, results: UpstreamResults, docs: Sequence[RenderedDoc]) -> ScoringSpec:
    """The names of what is scored, for readers of the record; `UpstreamScoring` does the rest."""
    better, pipelines = upstream.higher_is_better(), getattr(upstream, "_filters", ())
    metrics = tuple(
        MetricSpec(name, results.aggregation(f"{name},*" if len(pipelines) > 1 else name), bool(better.get(name, True)))
        for name in upstream.aggregation()
    )
    stated = {entry["name"]: entry.get("filter") or [] for entry in task.config.get("filter_list") or ()}
    filters = tuple(FilterSpec(one.name, tuple(map(_step, stated.get(one.name, ())))) for one in pipelines)
    sizes = {len(doc.choices) for doc in docs} - {0}
    chance = 1 / sizes.pop() if len(sizes) == 1 else None
    return ScoringSpec(task.name, task.output_type, metrics, filters, chance)


def _step(step: Mapping[str, Any]) -> tuple[str, dict[str, Json]]:
    return str(step["function"]), {key: as_json(value) for key, value in step.items() if key != "function"}


OTHERS = ("top_k", "top_p", "num_beams", "length_penalty", "repetition_penalty", "no_repeat_ngram_size")
WITHOUT_EFFECT = ("do_sample", "temperature", "until", "seed", "use_cache", "early_stopping", "pad_token_id")


def params_of(kwargs: Mapping[str, Any], where: str, seed: int) -> GenerationParams:
    """Settings of one request. Without a length 256 tokens; greedy unless it samples at a temperature above 0.

    Raises:
        TaskError: an option that our backends do not have, or a value that is no number.
    """
    until = kwargs.get("until") or ()
    unknown = [name for name in kwargs if name not in (*LENGTHS, *OTHERS, *WITHOUT_EFFECT)]
    if unknown:
        raise TaskError(f"{where} has {unknown[0]!r}, which no backend here knows.")
    known = (*OTHERS, *LENGTHS, "temperature")
    given = {name: kwargs[name] for name in known if kwargs.get(name) is not None}
    wanted = kwargs.get("do_sample")
    try:
        sampled = float(kwargs.get("temperature") or 0.0) > 0 and (wanted is None or bool(wanted))
        stops = (until,) if isinstance(until, str) else tuple(str(stop) for stop in until)
        return generation_params(given, stops, sampled=sampled, seed=seed)
    except (TypeError, ValueError) as error:
        raise TaskError(f"{where}: {error}.") from error

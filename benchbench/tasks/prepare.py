"""Task → requests: load the documents, choose the shots, render, and name the result by its content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache

from benchbench.core.chat import ChatSettings, Shot
from benchbench.core.errors import ArgumentError, DataError, TaskError
from benchbench.core.ids import content_hash
from benchbench.core.types import Doc, Json
from benchbench.tasks import shots
from benchbench.tasks.config import FewshotConfig, PromptVariant
from benchbench.tasks.documents import DataSource, open_rows
from benchbench.tasks.render import Block, PromptRenderer
from benchbench.tasks.rows import Row
from benchbench.tasks.settings import RenderSettings
from benchbench.tasks.sources import source_of
from benchbench.tasks.task import AnyTask, PreparedTask, Task


def prepare(task: AnyTask, settings: RenderSettings) -> PreparedTask:
    """Load, draw and render.

    Raises:
        DataError: data set, split or documents are missing, or too few for the shots.
        TaskError: a template or a gold answer fails on a document; the sentence names both.
        ArgumentError: settings that make no sense.
    """
    if settings.gen_kwargs and task.output_type == "generate_until":
        task = task.with_gen_kwargs(settings.gen_kwargs)
    if isinstance(task, Task):
        return _prepare(task, settings)
    source = source_of(task.name)
    if source is None:
        raise TaskError(f"{task.name} is no task of ours, and no source of tasks has the prefix of its name.")
    return source.prepare(task, settings)


MAX_REQUESTS = 20_000_000
"""Of one task: each is an object in memory before the first is asked."""


def _prepare(stated: Task, settings: RenderSettings) -> PreparedTask:
    task, count = _with_splits(stated, settings), _num_fewshot(stated, settings)
    source = open_rows(task, settings.data_root, trusted=settings.trust_task_code)
    rows = source.rows(str(task.config.eval_split), settings.limit)
    if len(rows) * task.config.repeats > MAX_REQUESTS:
        raise TaskError(
            f"{task.where('repeats')}: {len(rows):,} docs asked {task.config.repeats:,} times are more than "
            f"{MAX_REQUESTS:,} requests; use --limit."
        )
    renderer = PromptRenderer(
        task,
        prompt=settings.prompt,
        first_row=rows[0],
        overflow="truncate_left" if settings.fewshot_mode == "lm_eval" else "drop_shots",
        seed=settings.seed,
        chat=_chat(task, settings),
    )
    docs = [renderer.doc(row, number) for number, row in enumerate(rows)]
    renderer.learn_inputs(docs[0])
    drawn = _draw(renderer, docs, source, count, settings)
    return PreparedTask(
        task=task,
        docs=tuple(renderer.render(doc, block) for doc, block in zip(docs, drawn.blocks, strict=True)),
        num_fewshot=count,
        fewshot_mode=settings.fewshot_mode,
        prompt_hash=prompt_hash(task, settings, count),
        data_hash=content_hash([[doc.hash for doc in docs], drawn.hashes]),
        data_revision=source.revision,
        data_path=source.path,
        notes=tuple(_notes(stated, settings, drawn, len(docs))),
    )


def _with_splits(task: Task, settings: RenderSettings) -> Task:
    """The task as if its file named the splits that the settings name; so they are part of every fingerprint."""
    config = task.config
    update: dict[str, object] = {}
    if settings.split is not None and settings.split != config.eval_split:
        update["test_split"] = settings.split
    if settings.fewshot_split is not None:
        update["fewshot_split"] = settings.fewshot_split
        if config.fewshot_config is not None:
            update["fewshot_config"] = config.fewshot_config.model_copy(update={"split": None})
    return replace(task, config=config.model_copy(update=update)) if update else task


def _wanted_shots(task: Task, settings: RenderSettings) -> int:
    """Shots by the settings, else by the task, whether or not they apply."""
    return task.config.num_fewshot or 0 if settings.num_fewshot is None else settings.num_fewshot


def _num_fewshot(task: Task, settings: RenderSettings) -> int:
    wanted = _wanted_shots(task, settings)
    if task.output_type == "loglikelihood_rolling" or (wanted and _is_translation(task, settings)):
        return 0
    return wanted


def _is_translation(task: Task, settings: RenderSettings) -> bool:
    """The prompt is a bare sentence for a translation model."""
    return task.prompt(settings.prompt).tgt_lang is not None


def _chat(task: Task, settings: RenderSettings) -> ChatSettings | None:
    return None if task.output_type == "loglikelihood_rolling" else settings.chat


def _notes(stated: Task, settings: RenderSettings, drawn: _Drawn, docs: int) -> Iterator[str]:
    """What a reader of the results should know: settings that changed the task, or did not apply to it."""
    is_rolling = stated.output_type == "loglikelihood_rolling"
    if settings.split is not None and settings.split != stated.config.eval_split:
        yield f"Evaluated on the split {settings.split!r} instead of {stated.config.eval_split!r}, as asked."
    if _wanted_shots(stated, settings):
        if is_rolling:
            yield "Texts are scored whole: shots do not apply and were left out."
        elif _is_translation(stated, settings):
            yield f"The prompt {settings.prompt!r} is for translation models: shots do not apply and were left out."
    if settings.chat is not None and is_rolling:
        yield "Texts are scored whole: the chat template does not apply."
    if drawn.moved:
        yield f"{drawn.moved} of {docs} documents are among the shots and were given the next candidate instead."


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The shots of all documents."""

    blocks: list[Block]
    """Per document; equal ones are one object."""
    hashes: list[str]
    """Of the documents used as shots."""
    moved: int = 0
    """Documents that are themselves shots of the common block, and got others."""


def _draw(
    renderer: PromptRenderer, docs: Sequence[Doc], source: DataSource, count: int, settings: RenderSettings
) -> _Drawn:
    if count == 0:
        return _Drawn([Block()] * len(docs), [])
    name, rows, in_order = _pool_rows(renderer.task, source)

    @cache
    def shot(index: int) -> Shot:
        doc = renderer.deriver.doc(rows[index], index, keep=name == SAMPLES)
        return renderer.shot(doc, f"shot {index}")

    pool = shots.Pool(renderer.task.name, name, tuple(content_hash(row) for row in rows), in_order)
    pick = _picker(renderer.task, pool, count, settings)
    picks = [pick(doc) for doc in docs]
    texts: dict[tuple[int, ...], Block] = {}
    for chosen in picks:
        if chosen not in texts:
            texts[chosen] = Block([shot(index) for index in chosen])
    moved = len(docs) - picks.count(picks[-1]) if settings.fewshot_mode == "fixed" else 0
    return _Drawn([texts[chosen] for chosen in picks], shots.used(pool.hashes, picks), moved)


SAMPLES = "fewshot_config.samples"


def _pool_rows(task: Task, source: DataSource) -> tuple[str, list[Row], bool]:
    """The pool's name, its rows, and whether the task wants the first ones."""
    config = task.config
    shot_config = config.fewshot_config or FewshotConfig()
    first = shot_config.sampler == "first_n"
    split = config.shot_split
    if split is None and shot_config.samples is not None:
        return SAMPLES, [dict(sample) for sample in shot_config.samples], True
    try:
        return f"split {split!r}", source.rows(str(split)), first
    except DataError as error:
        raise DataError(
            f"{error} Shots of {task.name} come from there; name another with --fewshot-split, or use --num-fewshot 0."
        ) from error


def _picker(task: Task, pool: shots.Pool, count: int, settings: RenderSettings) -> shots.Picker:
    match settings.fewshot_mode:
        case "fixed":
            return shots.fixed(pool, count, settings.seed)
        case "per_doc":
            return shots.per_doc(pool, count, settings.seed)
        case "lm_eval":
            config = task.config
            split = (config.fewshot_config.split if config.fewshot_config else None) or config.fewshot_split
            first_n = config.fewshot_config is not None and config.fewshot_config.sampler == "first_n"
            as_lm_eval = shots.Pool(pool.task, pool.name, pool.hashes, first_n)
            return shots.lm_eval(as_lm_eval, count, settings.seed, drop_doc=split == config.test_split)
    raise ArgumentError(f"No few-shot mode {settings.fewshot_mode!r}: fixed, per_doc or lm_eval.")


HASHED_KEYS = ("output_type", "doc", "doc_to_length", "fewshot_config", "fewshot_split", "generation_kwargs", "repeats")
"""Keys beside those of the prompt; only where they are set, so that a new key moves no old fingerprint."""


def prompt_hash(task: Task, settings: RenderSettings, num_fewshot: int) -> str:
    """8 hex digits over everything that shapes a prompt besides the documents."""
    config: Mapping[str, Json] = task.config.model_dump(mode="json", exclude_defaults=True)
    prompt: PromptVariant = task.prompt(settings.prompt)
    identity: dict[str, Json] = {
        "prompt": prompt.model_dump(mode="json", exclude_none=True),
        "variables": dict(task.variables),
        "num_fewshot": num_fewshot,
        **{key: config[key] for key in HASHED_KEYS if key in config},
    }
    if num_fewshot:
        identity |= {"fewshot_mode": settings.fewshot_mode, "seed": settings.seed}
    if (chat := _chat(task, settings)) is not None:
        identity["chat"] = asdict(chat)
    return content_hash(identity, digits=8)

"""Task → requests: load the documents, choose the shots, render, and name the result by its content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from benchbench.core.chat import ChatSettings, Overflow, Shot
from benchbench.core.errors import ArgumentError, DataError
from benchbench.core.ids import content_hash
from benchbench.core.judge import Judge
from benchbench.core.types import Doc, RenderedDoc
from benchbench.tasks import shots
from benchbench.tasks.config import FewshotConfig, PromptVariant
from benchbench.tasks.documents import DataSource, open_rows
from benchbench.tasks.gen_kwargs import GenKwargs, with_gen_kwargs
from benchbench.tasks.readers import Row
from benchbench.tasks.render import Block, Renderer
from benchbench.tasks.shots import FewshotMode
from benchbench.tasks.task import Task
from benchbench.tasks.upstream.definition import UpstreamTask


@dataclass(frozen=True)
class RenderSettings:
    """How a task is to be rendered; everything that may change a prompt without touching the task."""

    num_fewshot: int | None = None
    """Shots; None: as many as the task says."""
    fewshot_mode: FewshotMode = "fixed"
    seed: int = 1234
    limit: int | None = None
    """Only the first so many documents."""
    prompt: str = "default"
    data_root: Path | None = None
    split: str | None = None
    """Evaluate this split instead of the task's own."""
    fewshot_split: str | None = None
    """Draw shots from this split instead of the task's own."""
    chat: ChatSettings | None = None
    """Make conversations of the prompts, for a model's chat template."""
    trust_task_code: bool = False
    """Python that comes with lm-eval's tasks may run."""
    gen_kwargs: GenKwargs = ()
    """Generation settings that replace the tasks' own."""


@dataclass(frozen=True)
class PreparedTask:
    """A task's documents as requests, with the fingerprints that its scores will carry."""

    task: Task | UpstreamTask
    docs: tuple[RenderedDoc, ...]
    num_fewshot: int
    prompt_hash: str
    """8 hex digits over templates and rendering settings, not over data."""
    data_hash: str
    """16 hex digits over the evaluated documents and those used as shots."""
    data_revision: str | None
    """The Hub's commit, of a data root by its lock file; None where it is not known."""
    data_path: str
    notes: tuple[str, ...] = ()
    """Sentences a reader of the results should know."""
    judge: Judge | None = None
    """Who turns answers into values, where it is not our scoring (lm-eval's tasks)."""


def prepare(task: Task | UpstreamTask, settings: RenderSettings) -> PreparedTask:
    """Load, draw and render.

    Raises:
        DataError: data set, split or documents are missing, or too few for the shots.
        TaskError: a template or a gold answer fails on a document; the sentence names both.
        ArgumentError: settings that make no sense.
    """
    task = with_gen_kwargs(task, settings.gen_kwargs)
    if isinstance(task, UpstreamTask):
        from benchbench.tasks.upstream.prepare import prepare_upstream

        return prepare_upstream(task, settings)
    if settings.limit is not None and settings.limit < 1:
        raise ArgumentError(f"--limit {settings.limit}: at least 1 document has to be evaluated.")
    notes: list[str] = []
    task = _with_splits(task, settings, notes)
    count = _num_fewshot(task, settings, notes)
    source = open_rows(task, settings.data_root)
    rows = source.rows(str(task.config.eval_split), settings.limit)
    overflow: Overflow = "truncate_left" if settings.fewshot_mode == "lm_eval" else "drop_shots"
    chat = _chat(task, settings, notes)
    renderer = Renderer(
        task, prompt=settings.prompt, first_row=rows[0], overflow=overflow, seed=settings.seed, chat=chat
    )
    docs = [renderer.doc(row, number) for number, row in enumerate(rows)]
    renderer.look_at(docs[0])
    blocks, shot_hashes = _blocks(renderer, docs, source, count, settings, notes)
    rendered = tuple(renderer.render(doc, block) for doc, block in zip(docs, blocks, strict=True))
    return PreparedTask(
        task=task,
        docs=rendered,
        num_fewshot=count,
        prompt_hash=prompt_hash(task, settings, count),
        data_hash=content_hash([[doc.hash for doc in docs], shot_hashes]),
        data_revision=source.revision,
        data_path=source.path,
        notes=tuple(notes),
    )


def _with_splits(task: Task, settings: RenderSettings, notes: list[str]) -> Task:
    """The task as if its file named the splits that were asked for; so they are part of every fingerprint."""
    config = task.config
    update: dict[str, Any] = {}
    if settings.split is not None and settings.split != config.eval_split:
        notes.append(f"Evaluated on the split {settings.split!r} instead of {config.eval_split!r}, as asked.")
        update["test_split"] = settings.split
    if settings.fewshot_split is not None:
        update["fewshot_split"] = settings.fewshot_split
        if config.fewshot_config is not None:
            update["fewshot_config"] = config.fewshot_config.model_copy(update={"split": None})
    return replace(task, config=config.model_copy(update=update)) if update else task


def _num_fewshot(task: Task, settings: RenderSettings, notes: list[str]) -> int:
    asked = settings.num_fewshot
    if asked is not None and asked < 0:
        raise ArgumentError(f"--num-fewshot {asked}: a number of shots cannot be negative.")
    count = asked if asked is not None else task.config.num_fewshot or 0
    if count and task.output_type == "loglikelihood_rolling":
        notes.append("Texts are scored whole: shots do not apply and were left out.")
        return 0
    if count and task.prompt(settings.prompt).tgt_lang is not None:
        notes.append(f"The prompt {settings.prompt!r} is for translation models: shots do not apply and were left out.")
        return 0
    return count


def _chat(task: Task, settings: RenderSettings, notes: list[str] | None = None) -> ChatSettings | None:
    if settings.chat is not None and task.output_type == "loglikelihood_rolling":
        if notes is not None:
            notes.append("Texts are scored whole: the chat template does not apply.")
        return None
    return settings.chat


def _blocks(
    renderer: Renderer, docs: Sequence[Doc], source: DataSource, count: int, settings: RenderSettings, notes: list[str]
) -> tuple[list[Block], list[str]]:
    """The shots' texts per document (one tuple object per block) and the hashes of the documents used."""
    if count == 0:
        return [()] * len(docs), []
    name, rows, in_order = _pool_rows(renderer.task, source)
    pool_docs = _PoolDocs(renderer, rows, samples=name == SAMPLES)
    pool = shots.Pool(renderer.task.name, name, tuple(content_hash(row) for row in rows), in_order)
    pick = _picker(renderer.task, pool, count, settings)
    picks = [pick(doc) for doc in docs]
    texts: dict[tuple[int, ...], Block] = {}
    for chosen in picks:
        if chosen not in texts:
            texts[chosen] = cast(Block, tuple(pool_docs.shot(index) for index in chosen))
    moved = len(docs) - picks.count(picks[-1]) if settings.fewshot_mode == "fixed" else 0
    if moved:
        notes.append(f"{moved} of {len(docs)} documents are among the shots and were given the next candidate instead.")
    return [texts[chosen] for chosen in picks], shots.used(pool.hashes, picks)


SAMPLES = "fewshot_config.samples"


class _PoolDocs:
    """Shots rendered when first needed, then kept."""

    def __init__(self, renderer: Renderer, rows: Sequence[Row], *, samples: bool) -> None:
        self._renderer, self._rows, self._samples = renderer, rows, samples
        self._shots: dict[int, str | Shot] = {}

    def shot(self, index: int) -> str | Shot:
        if index not in self._shots:
            doc = self._renderer.deriver.doc(self._rows[index], index, keep=self._samples)
            self._shots[index] = self._renderer.shot(doc, f"shot {index}")
        return self._shots[index]


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
    config: Mapping[str, Any] = task.config.model_dump(mode="json", exclude_defaults=True)
    prompt: PromptVariant = task.prompt(settings.prompt)
    identity: dict[str, Any] = {
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

"""Task → requests: load the documents, choose the shots, render, and name the result by its content."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from itertools import chain

from benchbench.core.chat import ChatSettings, Shot
from benchbench.core.errors import ArgumentError, DataError, TaskError
from benchbench.core.ids import DataHash, content_hash
from benchbench.core.types import Doc, Json, RenderedDoc
from benchbench.tasks import shots
from benchbench.tasks.config import FewshotConfig, PromptVariant
from benchbench.tasks.documents import DataSource, open_rows
from benchbench.tasks.render import Block, PromptRenderer
from benchbench.tasks.rows import Row
from benchbench.tasks.settings import RenderSettings, docs_of
from benchbench.tasks.sources import source_of
from benchbench.tasks.spool import held
from benchbench.tasks.task import AnyTask, AskedCounter, PreparedTask, Task


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
        repeats = settings.repeats if task.output_type == "generate_until" else None
        return _prepare(task if repeats is None else task.with_repeats(repeats), settings)
    source = source_of(task.name)
    if source is None:
        raise TaskError(f"{task.name} is no task of ours, and no source of tasks has the prefix of its name.")
    return source.prepare(task, settings)


MAX_REQUESTS = 20_000_000
"""Of one task that repeats them."""


def _prepare(stated: Task, settings: RenderSettings) -> PreparedTask:
    task, count = _with_splits(stated, settings), _num_fewshot(stated, settings)
    source = open_rows(task, settings.data_root, trusted=settings.trust_task_code)
    chosen = _Chosen(source, task, settings)
    rows: Iterator[NumberedRow] = chosen.rows()
    if task.config.repeats > 1:
        rows = _not_too_many(rows, task)
    first = next(rows)
    renderer = PromptRenderer(
        task,
        prompt=settings.prompt,
        first_row=first[1],
        overflow="truncate_left" if settings.fewshot_mode == "lm_eval" else "drop_shots",
        seed=settings.seed,
        chat=_chat(task, settings),
    )
    renderer.learn_inputs(renderer.doc(first[1], first[0]))
    shots_of, hashed, counter = _shots(renderer, source, count, settings), DataHash(), AskedCounter()
    docs = held(counter.over(_rendered(chain((first,), rows), renderer, shots_of, hashed)))
    return PreparedTask(
        task=task,
        docs=docs,
        num_fewshot=count,
        fewshot_mode=settings.fewshot_mode,
        prompt_hash=prompt_hash(task, settings, count),
        data_hash=hashed.of_all(shots_of.used()),
        data_revision=source.revision,
        data_path=source.path,
        notes=(*_notes(stated, settings, shots_of.moved(), len(docs)), *chosen.note),
        counted=counter.result(),
    )


NumberedRow = tuple[int, Row]
"""A row and where it stands in its split, from 0."""


class _Chosen:
    """The rows that a limit leaves; for a share of them, and to draw some at random, all are counted first."""

    def __init__(self, source: DataSource, task: Task, settings: RenderSettings) -> None:
        self._source, self._split = source, str(task.config.eval_split)
        self._limit, self._of = settings.limit, 0
        self._drawn: frozenset[int] | None = None
        is_random = settings.random_docs and settings.limit is not None
        if is_random or isinstance(settings.limit, float):
            self._of = sum(1 for _ in source.each(self._split))
            self._limit = docs_of(settings.limit or 1, self._of)
        if is_random and self._limit is not None:
            self._drawn = frozenset(random_order(self._of, settings.seed)[: int(self._limit)])

    def rows(self) -> Iterator[NumberedRow]:
        """In the order of the split."""
        if self._drawn is None:
            return enumerate(self._source.each(self._split, None if self._limit is None else int(self._limit)))
        return ((number, row) for number, row in enumerate(self._source.each(self._split)) if number in self._drawn)

    @property
    def note(self) -> tuple[str, ...]:
        """That not all docs were asked, where some were drawn."""
        if self._drawn is None or len(self._drawn) >= self._of:
            return ()
        return (f"{len(self._drawn)} of {self._of} docs, drawn at random; without --limit the others are asked, too.",)


def random_order(count: int, seed: int) -> list[int]:
    """The numbers from 0 in the order in which docs are drawn: more docs begin with those that fewer are."""
    numbers = list(range(count))
    random.Random(seed).shuffle(numbers)  # noqa: S311 - no secret
    return numbers


def _not_too_many(rows: Iterator[NumberedRow], task: Task) -> Iterator[NumberedRow]:
    """The rows of a task that repeats its requests. TaskError for more of these than MAX_REQUESTS."""
    held_rows = list(rows)
    if len(held_rows) * task.config.repeats > MAX_REQUESTS:
        raise TaskError(
            f"{task.where('repeats')}: {len(held_rows):,} docs asked {task.config.repeats:,} times are more than "
            f"{MAX_REQUESTS:,} requests; use --limit."
        )
    return iter(held_rows)


def _rendered(
    rows: Iterable[NumberedRow], renderer: PromptRenderer, shots_of: NoShots, hashed: DataHash
) -> Iterator[RenderedDoc]:
    for number, row in rows:
        doc = renderer.doc(row, number)
        hashed.add(doc.hash)
        yield renderer.render(doc, shots_of.block(doc))


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
    if task.output_type == "loglikelihood_rolling" or task.config.turns is not None:
        return 0
    if wanted and _is_translation(task, settings):
        return 0
    return wanted


def _is_translation(task: Task, settings: RenderSettings) -> bool:
    """The prompt is a bare sentence for a translation model."""
    return task.prompt(settings.prompt).tgt_lang is not None


def _chat(task: Task, settings: RenderSettings) -> ChatSettings | None:
    return None if task.output_type == "loglikelihood_rolling" else settings.chat


def _notes(stated: Task, settings: RenderSettings, moved: int, docs: int) -> Iterator[str]:
    """What a reader of the results should know: settings that changed the task, or did not apply to it."""
    is_rolling = stated.output_type == "loglikelihood_rolling"
    if settings.split is not None and settings.split != stated.config.eval_split:
        yield f"Evaluated on the split {settings.split!r} instead of {stated.config.eval_split!r}, as asked."
    if _wanted_shots(stated, settings):
        if is_rolling:
            yield "Texts are scored whole: shots do not apply and were left out."
        elif stated.config.turns is not None:
            yield "The docs are conversations: shots do not apply and were left out."
        elif _is_translation(stated, settings):
            yield f"The prompt {settings.prompt!r} is for translation models: shots do not apply and were left out."
    if settings.chat is not None and is_rolling:
        yield "Texts are scored whole: the chat template does not apply."
    if stated.config.turns is not None and settings.chat is None:
        yield (
            "Conversations are asked as plain text, without the model's chat template; --apply-chat-template asks them "
            "as turns."
        )
    if moved:
        yield f"{moved} of {docs} documents are among the shots and were given the next candidate instead."


class NoShots:
    """The shots of a task that shows none."""

    _block = Block()

    def block(self, doc: Doc) -> Block:
        """Those of `doc`. To be called once per document, in order."""
        return self._block

    def used(self) -> list[str]:
        """Hashes of the pool's documents that served as shots so far, sorted."""
        return []

    def moved(self) -> int:
        """Documents so far that are themselves shots of the common block, and got others."""
        return 0


MOST_SHOTS = 4096
"""Shots, and blocks of them, that are kept ready: of a larger pool some are rendered again."""


class DrawnShots(NoShots):
    """Shots from a pool, as `--fewshot-mode` says. Documents with the same shots get the same object."""

    def __init__(self, renderer: PromptRenderer, pool: shots.Pool, rows: Sequence[Row], pick: shots.Picker) -> None:
        self._renderer, self._pool, self._rows, self._pick = renderer, pool, rows, pick
        self._shot = lru_cache(MOST_SHOTS)(self._render)
        self._made = lru_cache(MOST_SHOTS)(lambda chosen: Block([self._shot(index) for index in chosen]))
        self._used: set[int] = set()
        self._last: tuple[int, ...] = ()

    def block(self, doc: Doc) -> Block:
        """See NoShots."""
        chosen = self._last = self._pick(doc)
        self._used.update(chosen)
        return self._made(chosen)

    def used(self) -> list[str]:
        """See NoShots."""
        return sorted({self._pool.hashes[index] for index in self._used})

    def _render(self, index: int) -> Shot:
        doc = self._renderer.deriver.doc(self._rows[index], index, keep=self._pool.name == SAMPLES)
        return self._renderer.shot(doc, f"shot {index}")


class FixedShots(DrawnShots):
    """One block for all documents but those that are in it."""

    def __init__(self, renderer: PromptRenderer, pool: shots.Pool, rows: Sequence[Row], pick: shots.Picker) -> None:
        super().__init__(renderer, pool, rows, pick)
        self._picks: Counter[tuple[int, ...]] = Counter()

    def block(self, doc: Doc) -> Block:
        """See NoShots."""
        made = super().block(doc)
        self._picks[self._last] += 1
        return made

    def moved(self) -> int:
        """See NoShots."""
        return self._picks.total() - self._picks[self._last]


def _shots(renderer: PromptRenderer, source: DataSource, count: int, settings: RenderSettings) -> NoShots:
    if count == 0:
        return NoShots()
    name, rows, in_order = _pool_rows(renderer.task, source)
    pool = shots.Pool(renderer.task.name, name, shots.Hashes(content_hash(row) for row in rows), in_order)
    kind = FixedShots if settings.fewshot_mode == "fixed" else DrawnShots
    return kind(renderer, pool, rows, _picker(renderer.task, pool, count, settings))


SAMPLES = "fewshot_config.samples"


def _pool_rows(task: Task, source: DataSource) -> tuple[str, Sequence[Row], bool]:
    """The pool's name, its rows, and whether the task wants the first ones."""
    config = task.config
    shot_config = config.fewshot_config or FewshotConfig()
    first = shot_config.sampler == "first_n"
    split = config.shot_split
    if split is None and shot_config.samples is not None:
        return SAMPLES, [dict(sample) for sample in shot_config.samples], True
    try:
        return f"split {split!r}", held(source.each(str(split)), block=1), first
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


HASHED_KEYS = (
    "output_type",
    "doc",
    "doc_to_length",
    "fewshot_config",
    "fewshot_split",
    "generation_kwargs",
    "repeats",
    "turns",
    "doc_to_temperature",
)
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

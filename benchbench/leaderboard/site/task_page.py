"""A task's page: scores, duels, prompt, for each way in which it was asked; and the list of all tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from benchbench.core.format import between, decimals, name, number, several, shown, whole_number
from benchbench.leaderboard.chart import StripScale, axis_of, strip
from benchbench.leaderboard.duels import Duels, TaskDuels
from benchbench.leaderboard.records import Cell, Entry, Variant
from benchbench.leaderboard.site.parts import (
    Column,
    Drawing,
    Link,
    ListingPage,
    RowGroup,
    Table,
    Text,
    Value,
    key,
    labels,
    link,
    listing,
    markup,
    row,
    slug,
    task_page,
    value,
)
from benchbench.store.reported import ReportedSource

SHOWN_DUELS = 16
LONGEST_PROMPT = 20_000
_TEMPLATE = ("description", "doc_to_text", "doc_to_choice", "doc_to_target", "target_delimiter", "fewshot_delimiter")
_OUTCOMES = ("unanswered", "truncated", "failed")


@dataclass(frozen=True, slots=True)
class DuelCell:
    """A model against another."""

    kind: str
    """`up`, `down`, `open`, or `self`."""
    raw: str | None
    """The difference in full; None against itself."""
    title: str
    text: str
    sign: str


@dataclass(frozen=True, slots=True)
class DuelRow:
    """A model against all others."""

    label: str
    cells: tuple[DuelCell, ...]


@dataclass(frozen=True, slots=True)
class DuelTable:
    """All models against one another."""

    docs: int
    pairs: int
    names: tuple[str, ...]
    rows: tuple[DuelRow, ...]
    more: str
    """That some models are left out."""


@dataclass(frozen=True, slots=True)
class PromptExample:
    """A prompt as a model saw it."""

    text: str
    continuations: tuple[str, ...]
    about: str


@dataclass(frozen=True, slots=True)
class AskedAlike:
    """A task as it was asked in one way, with the models that were asked so."""

    id: str
    title: str
    lead: str
    facts: tuple[tuple[str, str], ...]
    scores: Table
    note: str
    duels: DuelTable | None
    docs: str | None
    """The page of docs and answers."""
    prompt: PromptExample | None
    templates: tuple[tuple[str, str], ...]
    """Of the prompt."""


@dataclass(frozen=True, slots=True)
class ReportedValue:
    """A published number."""

    model: str
    value: Value
    metric: str
    source: str


@dataclass(frozen=True, slots=True)
class TaskPage:
    """A task's page."""

    template: ClassVar[str] = "task.html"
    variants: tuple[AskedAlike, ...]
    reported: tuple[ReportedValue, ...]


def page_of_task(
    task: str, entries: Sequence[Entry], duels: Duels, docs: Mapping[Variant, str], reported: Sequence[ReportedSource]
) -> TaskPage:
    """A task's page. `docs`: the pages of docs and answers."""
    found: dict[Variant, list[Entry]] = {}
    for entry in entries:
        for variant in entry.cells:
            if variant.task == task:
                found.setdefault(variant, []).append(entry)
    order = sorted(found, key=lambda variant: (-len(found[variant]), variant))
    titles = labels(order)
    parts = tuple(_variant(v, titles[v], found[v], duels, docs.get(v)) for v in order)
    return TaskPage(parts, tuple(_reported(task, reported)))


def _variant(variant: Variant, title: str, entries: Sequence[Entry], duels: Duels, docs: str | None) -> AskedAlike:
    cells = [entry.cells[variant] for entry in entries]
    first = cells[0]
    better = first.metric.higher_is_better
    ordered = sorted(entries, key=lambda e: _place(e.cells[variant], better=better))
    task_duels = duels.of(variant)
    templates = ((k, v) for k in _TEMPLATE if (v := first.task_record.resolved.get(k)))
    return AskedAlike(
        id=slug("|".join(key(variant))),
        title=title,
        lead=_lead(variant, cells),
        facts=_facts(variant, first),
        scores=_scores(variant, title, entries, ordered, task_duels),
        note=_note(first, task_duels, cells),
        duels=None if task_duels is None else _duels(task_duels, ordered, decimals(cell.value for cell in cells)),
        docs=docs,
        prompt=_prompt(first),
        templates=tuple((label, shown(text)) for label, text in templates),
    )


def _place(cell: Cell, *, better: bool) -> tuple[float, str]:
    if cell.value is None:
        return (float("inf"), cell.run.name)
    return (-cell.value if better else cell.value, cell.run.name)


def _lead(variant: Variant, cells: Sequence[Cell]) -> str:
    kind = variant.kind
    origin = "" if not kind else ", imported" if kind == "imported" else f", imported ({kind})"
    better = "higher" if cells[0].metric.higher_is_better else "lower"
    return f"{several(len(cells), 'model')}{origin}. {variant.metric}, {better} is better."


def _facts(variant: Variant, cell: Cell) -> tuple[tuple[str, str], ...]:
    task, clusters = cell.task_record, cell.row.n_clusters
    facts = [
        ("Shots", "not known" if variant.num_fewshot == "?" else variant.num_fewshot),
        ("Docs", whole_number(cell.row.n)),
        ("Clusters of docs", "" if clusters is None else whole_number(clusters)),
        ("Chance", "" if task.scoring.chance is None else number(task.scoring.chance)),
        ("Task version", "" if variant.version == "?" else variant.version),
        ("Output", task.output_type or ""),
        ("Documents", " ".join(filter(None, [_public(task.data_path), task.data_revision]))),
        ("Hashes", "" if variant.data_hash == "?" else f"docs {variant.data_hash}, prompt {variant.prompt_hash}"),
    ]
    return tuple((label, shown(text, 300)) for label, text in facts if text)


@dataclass(frozen=True, slots=True)
class _Scored:
    """A model that was asked the task, and what the rows of the table share."""

    entry: Entry
    cell: Cell
    task_duels: TaskDuels | None
    scale: StripScale | None
    mark: float | None
    """Where guessing is, for metrics with a best score."""
    places: int
    """Decimals."""


def _scores(
    variant: Variant, title: str, entries: Sequence[Entry], ordered: Sequence[Entry], task_duels: TaskDuels | None
) -> Table:
    """The table of scores, best first."""
    cells = [entry.cells[variant] for entry in entries]
    scale = axis_of(x for cell in cells for x in (cell.value, *_ends(cell)))
    mark = cells[0].metric.floor if cells[0].range is not None else None
    places = decimals(cell.value for cell in cells)
    others = dict.fromkeys(one.metric for cell in cells for one in cell.rows[1:])
    columns = (
        MODEL,
        Column("value", variant.metric, lambda line: value(line.cell.value, line.places), sort="n"),
        *FIGURES,
        *(DUELS if task_duels is not None else ()),
        OUTCOMES,
        *map(_other, others),
    )
    lines = (_Scored(entry, entry.cells[variant], task_duels, scale, mark, places) for entry in ordered)
    rows = RowGroup(tuple(row(columns, line) for line in lines))
    return Table(f"t-{slug('|'.join(key(variant)))}", f"Scores on {title}", "scores", columns, (rows,))


def _ends(cell: Cell) -> tuple[float | None, float | None]:
    return cell.row.ci_low, cell.row.ci_high


def _balance(place: int) -> Callable[[_Scored], Value]:
    """How many models it beats, or is beaten by."""

    def cell(line: _Scored) -> Value:
        task_duels = line.task_duels
        if task_duels is None or id(line.entry) not in task_duels.places:
            return value(None)
        return value(task_duels.balance(line.entry)[place])

    return cell


def _other(metric: str) -> Column[_Scored]:
    """The column of a further metric."""

    def cell(line: _Scored) -> Value:
        found = next((one.value for one in reversed(line.cell.rows) if one.metric == metric), None)
        return value(found, decimals([found]))

    return Column(f"m-{slug(metric)}", metric, cell, sort="n", optional=True)


def _outcomes(line: _Scored) -> Text:
    counts = line.cell.task_record.counts
    found = [(getattr(counts, kind), kind) for kind in (*_OUTCOMES, "ties", "shortened")]
    return Text(", ".join(f"{count} {kind}" for count, kind in found if count))


def _drawing(line: _Scored) -> Drawing:
    return Drawing(markup(strip(line.scale, line.cell.value, *_ends(line.cell), line.mark)))


MODEL: Column[_Scored] = Column("model", "Model", lambda line: link(line.entry))
FIGURES: tuple[Column[_Scored], ...] = (
    Column("drawn", "95 %", _drawing, sort="none", css="drawn"),
    Column(
        "interval",
        "Interval",
        lambda line: Text(between(*_ends(line.cell), line.places)),
        sort="none",
        right=True,
        small=True,
    ),
    Column("stderr", "SE", lambda line: value(line.cell.stderr, line.places), sort="n", small=True),
    Column("n", "n", lambda line: value(line.cell.row.n), sort="n", small=True),
)
DUELS: tuple[Column[_Scored], ...] = (
    Column("beats", "Beats", _balance(0), sort="n"),
    Column("loses", "Beaten by", _balance(1), sort="n"),
)
OUTCOMES: Column[_Scored] = Column("outcomes", "Outcomes", _outcomes, sort="none", small=True)


def _public(path: str | None) -> str:
    """The name of a data set; a folder on somebody's disk says nothing to a reader."""
    text = path or ""
    return "" if text.startswith(("/", "~", "\\")) or text[1:3] == ":\\" else text


def _note(cell: Cell, task_duels: TaskDuels | None, cells: Sequence[Cell]) -> str:
    parts = []
    if cell.range is None:
        parts.append("This metric has no best possible score and is in no mean.")
    elif cell.task_record.output_type == "multiple_choice" and cell.task_record.scoring.chance is None:
        parts.append("Chance is not known for this task and counts as 0.")
    if len(cells) > 1 and task_duels is None:
        parts.append(
            "There are no items to compare doc by doc, so no duels: two intervals that overlap decide nothing."
        )
    if task_duels is not None:
        parts.append("Beats and beaten by: models on the docs that all have, p < 0.05 after Holm over all pairs.")
        if task_duels.dropped:
            parts.append(f"{task_duels.dropped} docs without a score of some model are left out of the duels.")
        if len(task_duels.entries) < len(cells):
            parts.append(f"{len(cells) - len(task_duels.entries)} models have no items and no duels.")
    return " ".join(parts)


def _duels(task_duels: TaskDuels, ordered: Sequence[Entry], places: int) -> DuelTable:
    chosen = [entry for entry in ordered if id(entry) in task_duels.places][:SHOWN_DUELS]
    at = [task_duels.places[id(entry)] for entry in chosen]
    m = len(task_duels.entries)
    return DuelTable(
        docs=task_duels.num_docs,
        pairs=m * (m - 1) // 2,
        names=tuple(name(entry.name) for entry in chosen),
        rows=tuple(
            DuelRow(name(entry.name), tuple(_duel(task_duels, i, j, places) for j in at))
            for entry, i in zip(chosen, at, strict=True)
        ),
        more=f" The {len(chosen)} best of {m} models are shown; the counts above are over all."
        if m > len(chosen)
        else "",
    )


def _duel(task_duels: TaskDuels, i: int, j: int, places: int) -> DuelCell:
    if i == j:
        return DuelCell("self", None, "", "", "")
    matrix = task_duels.matrix
    difference, p = float(matrix.difference[i, j]), float(matrix.p_adjusted[i, j])
    kind, sign = ("up", "▲") if task_duels.wins[i, j] else ("down", "▼") if task_duels.wins[j, i] else ("open", "·")
    title = f"p {p:.4g} (Holm), SE {number(float(matrix.stderr[i, j]), places)}"
    return DuelCell(kind, repr(difference), title, number(difference, places, sign=True), sign)


def _prompt(cell: Cell) -> PromptExample | None:
    example = cell.task_record.example
    if example is None:
        return None
    return PromptExample(
        text=shown(example.prompt, LONGEST_PROMPT),
        continuations=tuple(shown(text, 600) for text in example.continuations[:12]),
        about=f"As the model saw it, for doc {example.doc_id}.",
    )


def _reported(task: str, sources: Sequence[ReportedSource]) -> Iterator[ReportedValue]:
    for source in sources:
        for table in source.tables:
            for place, column in enumerate(table.columns):
                for one in table.rows if column.task == task else ():
                    printed = one.values[place]
                    if printed is not None:
                        yield ReportedValue(
                            model=name(one.model),
                            value=value(printed, decimals([printed])),
                            metric=f"{column.metric}{' (%)' if column.unit == 'percent' else ''}",
                            source=name(f"{source.source}, {source.date}"),
                        )


@dataclass(frozen=True, slots=True)
class _Asked:
    """A task, with the cells of all models that were asked it."""

    task: str
    cells: tuple[Cell, ...]


TASKS: tuple[Column[_Asked], ...] = (
    Column("c1", "Task", lambda asked: Link(task_page(asked.task), name(asked.task))),
    Column("c2", "Metric", lambda asked: Text(name(" / ".join(sorted({c.variant.metric for c in asked.cells}))))),
    Column(
        "c3", "Docs", lambda asked: value(max((cell.row.n or 0 for cell in asked.cells), default=0) or None), sort="n"
    ),
    Column("c4", "Shots", lambda asked: Text(", ".join(sorted({cell.variant.num_fewshot for cell in asked.cells})))),
    Column("c5", "Models", lambda asked: value(len(asked.cells)), sort="n"),
    Column("c6", "Ways asked", lambda a: value(len({cell.variant for cell in a.cells})), sort="n"),
)


def tasks_page(entries: Sequence[Entry]) -> ListingPage:
    """The list of all tasks."""
    found: dict[str, list[Cell]] = {}
    for entry in entries:
        for variant, cell in entry.cells.items():
            found.setdefault(variant.task, []).append(cell)
    lead = f"{several(len(found), 'task')}. What was asked in several ways (shots, prompts, docs) is shown in each."
    return ListingPage(lead, listing("Tasks", TASKS, [_Asked(task, tuple(c)) for task, c in sorted(found.items())]))

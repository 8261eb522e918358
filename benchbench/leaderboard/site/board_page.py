"""The overview and the pages of suites: boards as tables, and as data files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchbench.core.format import between, magnitude, name, several, visible
from benchbench.leaderboard.answers import best_of
from benchbench.leaderboard.board import Board, Coverage, Standing
from benchbench.leaderboard.chart import StripScale, axis_of, rank_strip, strip
from benchbench.leaderboard.duels import Duels
from benchbench.leaderboard.records import Variant
from benchbench.leaderboard.site.parts import (
    Column,
    Drawing,
    Field,
    Link,
    Places,
    RowGroup,
    Table,
    TableRow,
    Text,
    Value,
    embedded,
    key,
    labels,
    link,
    markup,
    row,
    slug,
    suite_page,
    task_page,
    value,
)

if TYPE_CHECKING:
    from markupsafe import Markup

HEAT_MODELS, HEAT_TASKS = 30, 24
FEW_TASKS = 10
"""Up to so many tasks stand as columns of their own; of more, a reader picks some."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A model on a board."""

    group: Coverage
    standing: Standing
    scale: StripScale | None = None
    """What the intervals of the board are drawn on."""

    @property
    def mean(self) -> float:
        """In percent."""
        return 100 * self.standing.mean

    @property
    def ends(self) -> tuple[float | None, float | None]:
        """Of the mean's interval, in percent."""
        interval = self.standing.interval
        return (None, None) if interval is None else (100 * interval.low, 100 * interval.high)

    @property
    def places(self) -> tuple[int | None, int | None]:
        """The best and the worst place that the model may hold."""
        return self.standing.rank or (None, None)

    @property
    def stderr(self) -> float | None:
        """In percent."""
        return _percent(self.standing.stderr)


def _places(ranked: Ranked) -> Places:
    low, high = ranked.places
    if low is None or high is None:
        return Places(None)
    text = str(low) if low == high else f"{low}–{high}"
    return Places(low, high, text, markup(rank_strip(low, high, len(ranked.group.standings))))


def _parameters(ranked: Ranked) -> Value:
    number = ranked.standing.entry.num_parameters
    return Value(str(number), magnitude(number, 3)) if number else value(number)


POOL_MARK = "†"


def _figure(
    key: str,
    label: str,
    of: Callable[[Ranked], float | None],
    places: int,
    field: str,
    *,
    mark: str = "",
    optional: bool = True,
) -> Column[Ranked]:
    """A number that the data files have, too; with a mark one that depends on the models listed."""
    about = "Depends on the models listed" if mark else ""
    fields = (Field(field, "Float64" if places else "Int64", of),)
    return Column(
        key, label, lambda r: value(of(r), places), "n", optional=optional, help=about, mark=mark, fields=fields
    )


FIRST: tuple[Column[Ranked], ...] = (
    Column(
        "rank",
        "Rank",
        _places,
        sort="rank",
        css="rank",
        fields=(Field("rank_low", "Int64", lambda r: r.places[0]), Field("rank_high", "Int64", lambda r: r.places[1])),
    ),
    Column(
        "model",
        "Model",
        lambda r: link(r.standing.entry),
        fields=(Field("model", "string", lambda r: r.standing.entry.name),),
    ),
    _figure("mean", "Mean", lambda r: r.mean, 2, "mean", optional=False),
    Column("drawn", "95 %", lambda r: Drawing(markup(strip(r.scale, r.mean, *r.ends, 0.0))), sort="none", css="drawn"),
    Column(
        "interval",
        "Interval",
        lambda r: Text(between(*r.ends, 2)),
        sort="none",
        right=True,
        small=True,
        fields=(Field("ci_low", "Float64", lambda r: r.ends[0]), Field("ci_high", "Float64", lambda r: r.ends[1])),
    ),
)
"""Before the suites and tasks."""
LAST: tuple[Column[Ranked], ...] = (
    _figure("tasks", "Tasks", lambda r: len(r.group.variants), 0, "num_tasks"),
    _figure("se", "SE", lambda r: r.stderr, 2, "stderr"),
    _figure("duels", "Duels won", lambda r: r.standing.duel_wins, 3, "duels_won", mark=POOL_MARK),
    _figure("wins", "Win rate", lambda r: r.standing.win_rate, 3, "win_rate", mark=POOL_MARK),
    Column("params", "Parameters", _parameters, sort="n", optional=True),
)
"""After the suites and tasks; those that depend on the models listed only where there are several."""
ORDER = ["model", "mean", "stderr", "ci_low", "ci_high", "rank_low", "rank_high", "duels_won", "win_rate", "num_tasks"]
"""Of the fields of the data files, so that those who read them by position find them; new ones come behind."""


def board_fields() -> tuple[Field[Ranked], ...]:
    """What the data files hold of each model on a board."""
    found = [field for column in (*FIRST, *LAST) for field in column.fields]
    return tuple(sorted(found, key=lambda field: ORDER.index(field.name) if field.name in ORDER else len(ORDER)))


def ranked_models(board: Board, scale: StripScale | None = None) -> Iterable[tuple[int, Ranked]]:
    """(number of the group, model), in the order of the board."""
    for number, group in enumerate(board.groups):
        for standing in group.standings:
            yield number, Ranked(group, standing, scale)


def suite_column(suite: str, board: Board) -> Column[Ranked]:
    """Its means, for the overview; models that lack a task of the suite have none."""
    whole = max((len(group.variants) for group in board.groups), default=0)
    means = {
        id(standing.entry): 100 * standing.mean
        for group in board.groups
        if len(group.variants) == whole
        for standing in group.standings
    }
    here = len(board.tasks)
    label = name(f"{suite} ({here} of {here + len(board.missing)} tasks)" if board.missing else suite)
    href = suite_page(suite)
    return Column(f"suite-{slug(label)}", label, lambda r: value(means.get(id(r.standing.entry)), 2), "n", href=href)


def _task(place: int, variant: Variant, title: str) -> Column[Ranked]:
    return Column(
        f"task-{place}",
        title,
        lambda ranked: value(_percent(ranked.standing.normalised.get(variant)), 2),
        sort="n",
        href=task_page(variant.task),
    )


@dataclass(frozen=True, slots=True)
class HeatCell:
    """A normalised score on the grid of models and tasks."""

    raw: str | None
    text: str
    shade: int
    """0 to 5."""
    mark: str
    """`●` not told apart from the best model, `▼` worse, empty: nothing to compare by."""


@dataclass(frozen=True, slots=True)
class HeatRow:
    """A model on the grid."""

    link: Link
    cells: tuple[HeatCell, ...]


@dataclass(frozen=True, slots=True)
class Heat:
    """The grid of models and tasks."""

    columns: tuple[Link, ...]
    rows: tuple[HeatRow, ...]


def heat_of(group: Coverage, duels: Duels, titles: dict[Variant, str]) -> Heat | None:
    """Models × tasks: is a model told apart from the best of those shown on this task?"""
    standings, variants = group.standings[:HEAT_MODELS], group.variants[:HEAT_TASKS]
    if len(standings) < 2 or len(variants) < 2:
        return None
    worse = duels.worse_than_best([standing.entry for standing in standings], variants)
    rows = tuple(
        HeatRow(link(one.entry), tuple(map(_heat_cell, [one.normalised[v] for v in variants], own)))
        for one, own in zip(standings, worse, strict=True)
    )
    return Heat(tuple(Link(task_page(v.task), titles[v]) for v in variants), rows)


def _heat_cell(normalised: float, is_worse: bool | None) -> HeatCell:
    shown = value(100 * normalised, 1)
    mark = "" if is_worse is None else "▼" if is_worse else "●"
    return HeatCell(shown.raw, shown.text, int(min(5, max(0, normalised * 6))), mark)


@dataclass(frozen=True, slots=True)
class WeightRow:
    """How much a task counts in a mean."""

    href: str
    label: str
    weight: Value
    floor: Value
    """Score of a guesser."""
    ceiling: Value
    clusters: str


@dataclass(frozen=True, slots=True)
class GroupWeights:
    """The weights of the models' tasks in one group of a board."""

    title: str
    rows: tuple[WeightRow, ...]


@dataclass(frozen=True, slots=True)
class Download:
    """A data file of the site."""

    href: str
    label: str
    what: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A sentence that answers what people come with."""

    topic: Link
    """What it is about: a suite or a training."""
    subject: Link | None
    """The model that the sentence begins with."""
    text: str


def best_model(topic: Link, board: Board) -> list[Answer]:
    """Who leads the board and how sure that is; nothing where it has no models."""
    found = best_of(board)
    return [] if found is None else [Answer(topic, link(found.leader.entry), found.sentence)]


@dataclass(frozen=True, slots=True)
class BoardPage:
    """The overview, or the page of a suite."""

    template: ClassVar[str] = "index.html"
    board: Table
    depends: bool
    """Some columns depend on the models listed."""
    weights: tuple[GroupWeights, ...]
    heat: Heat | None
    on_demand: Markup | None
    """JSON of the tasks' columns that a reader may ask for, as markup; None where all are shown."""
    lead: str = ""
    answers: tuple[Answer, ...] = ()
    notes: tuple[str, ...] = ()
    """What is in no mean."""
    has_series: bool = False
    downloads: tuple[Download, ...] = ()
    skipped: tuple[str, ...] = ()
    """Runs that were not taken, and remarks."""


def board_page(board: Board, duels: Duels, *, suites: Sequence[Column[Ranked]] = ()) -> BoardPage:
    """The board, without what stands around it."""
    variants = sorted({variant for group in board.groups for variant in group.variants})
    titles = labels(variants)
    own = variants if len(variants) <= FEW_TASKS else []
    many = sum(len(group.standings) for group in board.groups) > 1
    columns = (
        *FIRST,
        *suites,
        *(_task(place, variant, titles[variant]) for place, variant in enumerate(own)),
        *(column for column in LAST if many or not column.mark),
    )
    return BoardPage(
        board=Table("board", "Models by mean score", "board", columns, _groups(board, columns)),
        depends=many,
        weights=tuple(_weights(group, number, board, titles) for number, group in enumerate(board.groups)),
        heat=heat_of(board.groups[0], duels, titles) if board.groups else None,
        on_demand=None if own else _on_demand(board, variants, titles),
    )


def _groups(board: Board, columns: Sequence[Column[Ranked]]) -> tuple[RowGroup, ...]:
    scale = axis_of(x for _, ranked in ranked_models(board) for x in (ranked.mean, *ranked.ends))
    rows: list[list[TableRow]] = [[] for _ in board.groups]
    for place, (number, ranked) in enumerate(ranked_models(board, scale)):
        rows[number].append(row(columns, ranked, id=place))
    return tuple(
        RowGroup(tuple(rows[number]), _group_title(group, number, board), group.ranked_by)
        for number, group in enumerate(board.groups)
    )


def _group_title(group: Coverage, number: int, board: Board) -> str:
    models = len(group.standings)
    alike = "asked alike" if models > 1 else "that no other model was asked alike" if len(board.groups) > 1 else ""
    title = f"{several(models, 'model')} on {several(len(group.variants), 'task')} {alike}".rstrip()
    return title if len(board.groups) == 1 else f"Group {number + 1}: {title}"


def _percent(x: float | None) -> float | None:
    return None if x is None else 100 * x


def _weights(group: Coverage, number: int, board: Board, titles: dict[Variant, str]) -> GroupWeights:
    entry = group.standings[0].entry
    rows = []
    for variant in group.variants:
        cell = entry.cells[variant]
        floor, ceiling = cell.range or (None, None)
        clusters = cell.row.n_clusters
        rows.append(
            WeightRow(
                href=task_page(variant.task),
                label=titles[variant],
                weight=value(group.weights[variant]),
                floor=value(floor),
                ceiling=value(ceiling, 0),
                clusters="–" if clusters is None else f"{clusters} of {cell.row.n} docs",
            )
        )
    return GroupWeights(_group_title(group, number, board), tuple(rows))


def _on_demand(board: Board, variants: Sequence[Variant], titles: dict[Variant, str]) -> Markup:
    """Normalised scores of every task in the order of the rows, for columns that a reader asks for."""
    rows = [ranked.standing for _, ranked in ranked_models(board)]
    tasks = {
        slug("|".join(key(variant))): {
            "label": visible(titles[variant]),
            "values": [None if (x := row.normalised.get(variant)) is None else round(100 * x, 4) for row in rows],
        }
        for variant in variants
    }
    return markup(embedded(tasks))

"""The overview and the pages of suites: boards as tables, and as data files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchbench.core.format import between, magnitude, name, several
from benchbench.leaderboard.board import Board, Coverage, Standing
from benchbench.leaderboard.chart import StripScale, axis_of, rank_strip, strip
from benchbench.leaderboard.duels import Duels
from benchbench.leaderboard.records import Variant
from benchbench.leaderboard.site.grid import Heat, heat_of
from benchbench.leaderboard.site.parts import (
    Column,
    Drawing,
    Field,
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

FEW_TASKS = 10
"""Up to so many tasks stand as columns of their own; of more, a reader picks some."""


@dataclass(frozen=True, slots=True)
class SuiteColumn:
    """A suite as a column of the overview."""

    suite: str
    label: str
    means: dict[int, float]
    """id(entry) → mean, in percent."""


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
    if ranked.standing.rank is None:
        return Places(None)
    low, high = ranked.standing.rank
    text = str(low) if low == high else f"{low}–{high}"
    return Places(low, high, text, markup(rank_strip(low, high, len(ranked.group.standings))))


def _parameters(ranked: Ranked) -> Value:
    number = ranked.standing.entry.num_parameters
    return Value(str(number), magnitude(number, 3)) if number else value(number)


DEPENDS = "Depends on the models listed"
POOL_MARK = "†"
FIRST: tuple[Column[Ranked], ...] = (
    Column(
        "rank",
        "Rank",
        _places,
        sort="rank",
        css="rank",
        fields=(
            Field("rank_low", "Int64", lambda ranked: ranked.places[0]),
            Field("rank_high", "Int64", lambda ranked: ranked.places[1]),
        ),
    ),
    Column(
        "model",
        "Model",
        lambda ranked: link(ranked.standing.entry),
        fields=(Field("model", "string", lambda ranked: ranked.standing.entry.name),),
    ),
    Column(
        "mean",
        "Mean",
        lambda ranked: value(ranked.mean, 2),
        sort="n",
        numeric=True,
        fields=(Field("mean", "Float64", lambda ranked: ranked.mean),),
    ),
    Column(
        "drawn",
        "95 %",
        lambda ranked: Drawing(markup(strip(ranked.scale, ranked.mean, *ranked.ends, 0.0))),
        sort="none",
        css="drawn",
    ),
    Column(
        "interval",
        "Interval",
        lambda ranked: Text(between(*ranked.ends, 2)),
        sort="none",
        numeric=True,
        small=True,
        fields=(
            Field("ci_low", "Float64", lambda ranked: ranked.ends[0]),
            Field("ci_high", "Float64", lambda ranked: ranked.ends[1]),
        ),
    ),
)
"""Before the suites and tasks."""
LAST: tuple[Column[Ranked], ...] = (
    Column(
        "tasks",
        "Tasks",
        lambda ranked: value(len(ranked.group.variants)),
        sort="n",
        numeric=True,
        optional=True,
        fields=(Field("num_tasks", "Int64", lambda ranked: len(ranked.group.variants)),),
    ),
    Column(
        "se",
        "SE",
        lambda ranked: value(ranked.stderr, 2),
        sort="n",
        numeric=True,
        optional=True,
        fields=(Field("stderr", "Float64", lambda ranked: ranked.stderr),),
    ),
    Column(
        "duels",
        "Duels won",
        lambda ranked: value(ranked.standing.duel_wins, 3),
        sort="n",
        numeric=True,
        optional=True,
        help=DEPENDS,
        mark=POOL_MARK,
        fields=(Field("duels_won", "Float64", lambda ranked: ranked.standing.duel_wins),),
    ),
    Column(
        "wins",
        "Win rate",
        lambda ranked: value(ranked.standing.win_rate, 3),
        sort="n",
        numeric=True,
        optional=True,
        help=DEPENDS,
        mark=POOL_MARK,
        fields=(Field("win_rate", "Float64", lambda ranked: ranked.standing.win_rate),),
    ),
    Column("params", "Parameters", _parameters, sort="n", numeric=True, optional=True),
)
"""After the suites and tasks; those that depend on the models listed only where there are several."""
ORDER = (
    *("model", "mean", "stderr", "ci_low", "ci_high", "rank_low", "rank_high", "duels_won", "win_rate", "num_tasks"),
)
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


def _suite(suite: SuiteColumn) -> Column[Ranked]:
    return Column(
        f"suite-{slug(suite.label)}",
        suite.label,
        lambda ranked: value(suite.means.get(id(ranked.standing.entry)), 2),
        sort="n",
        numeric=True,
        href=suite_page(suite.suite),
    )


def _task(place: int, variant: Variant, title: str) -> Column[Ranked]:
    return Column(
        f"task-{place}",
        title,
        lambda ranked: value(_percent(ranked.standing.normalised.get(variant)), 2),
        sort="n",
        numeric=True,
        href=task_page(variant.task),
    )


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
    notes: tuple[str, ...] = ()
    """What is in no mean."""
    has_series: bool = False
    downloads: tuple[Download, ...] = ()
    skipped: tuple[str, ...] = ()
    """Runs that were not taken, and remarks."""


def board_page(board: Board, duels: Duels, *, suites: Sequence[SuiteColumn] = ()) -> BoardPage:
    """The board, without what stands around it."""
    variants = sorted({variant for group in board.groups for variant in group.variants})
    titles = labels(variants)
    own = variants if len(variants) <= FEW_TASKS else []
    many = sum(len(group.standings) for group in board.groups) > 1
    columns = (
        *FIRST,
        *map(_suite, suites),
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
            "label": titles[variant],
            "values": [None if (x := row.normalised.get(variant)) is None else round(100 * x, 4) for row in rows],
        }
        for variant in variants
    }
    return markup(embedded(tasks))


def suite_column(suite: str, board: Board) -> SuiteColumn:
    """Its means, for the overview; models that lack a task of the suite have none."""
    whole = max((len(group.variants) for group in board.groups), default=0)
    means = {
        id(standing.entry): 100 * standing.mean
        for group in board.groups
        if len(group.variants) == whole
        for standing in group.standings
    }
    here = len({variant.task for group in board.groups for variant in group.variants})
    label = f"{suite} ({here} of {here + len(board.missing)} tasks)" if board.missing else suite
    return SuiteColumn(suite, name(label), means)

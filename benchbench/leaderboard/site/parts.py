"""Pieces that pages are made of (cells, columns, tables, links, addresses), and how a page is rendered."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import Field as DataclassField
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeAlias, TypeVar

from benchbench.core import __version__
from benchbench.core.errors import StoreError
from benchbench.core.format import name, number, shown, visible, whole_number
from benchbench.core.ids import content_hash
from benchbench.leaderboard.records import Entry, Variant
from benchbench.store.names import same_weights

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


Line = TypeVar("Line")
"""What a row of a table is about, such as a model with its rank."""


@dataclass(frozen=True, slots=True)
class Value:
    """A number in a table: as it is, and as it is shown."""

    kind: ClassVar[str] = "number"
    raw: str | None
    """The number in full; None where there is none."""
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """Words in a table."""

    kind: ClassVar[str] = "text"
    text: str
    element: Literal["", "bdi", "code"] = ""
    """The element around it: `bdi` for names, which may run from right to left."""


@dataclass(frozen=True, slots=True)
class Link:
    """A name and its page, as the heading of a row."""

    kind: ClassVar[str] = "link"
    href: str | None
    """From the folder of the site; None: no page."""
    label: str
    badge: str = ""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawing of our own, whose numbers stand beside it."""

    kind: ClassVar[str] = "drawing"
    svg: Markup


@dataclass(frozen=True, slots=True)
class Places:
    """The places that a model may hold."""

    kind: ClassVar[str] = "rank"
    low: int | None
    """The best of them; None where there is no rank."""
    high: int | None = None
    text: str = ""
    drawing: Markup | Literal[""] = ""


TableCell: TypeAlias = Value | Text | Link | Drawing | Places


@dataclass(frozen=True, slots=True)
class Field(Generic[Line]):
    """A column of a data file."""

    name: str
    dtype: str
    """Of pandas."""
    value: Callable[[Line], object]


@dataclass(frozen=True, slots=True)
class Column(Generic[Line]):
    """A column of a table: everything about it."""

    key: str
    """What the address of a page calls it, where a reader sorted by it or chose it."""
    label: str
    cell: Callable[[Line], TableCell]
    sort: Literal["", "n", "rank", "none"] = ""
    """By text, by number, by places, or not at all."""
    right: bool = False
    """Aligned right though it is not sorted as a number."""
    small: bool = False
    css: str = ""
    """A further class of its cells."""
    optional: bool = False
    """Hidden until a reader asks for it."""
    help: str = ""
    href: str | None = None
    """The page that its heading leads to, from the folder of the site."""
    mark: str = ""
    """Behind the heading, for a note below the table."""
    fields: tuple[Field[Line], ...] = ()
    """The same in the data files."""
    classes: str = field(init=False)
    """Of its cells."""

    def __post_init__(self) -> None:
        classes = " ".join(filter(None, ["n" * self.numeric, "small" * self.small, self.css]))
        object.__setattr__(self, "classes", classes)

    @property
    def numeric(self) -> bool:
        """Aligned right."""
        return self.right or self.sort == "n"


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row as it is shown."""

    cells: tuple[tuple[str, TableCell], ...]
    """(classes, cell) of each column."""
    id: int | None = None
    """Where its values stand in the data of columns that a reader asks for."""
    css: str = ""


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Rows that are sorted among themselves."""

    rows: tuple[TableRow, ...]
    title: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that readers can sort, filter and download."""

    id: str
    label: str
    """What a screen reader calls it."""
    name: str
    """Of the file that a reader downloads."""
    columns: tuple[Column[Any], ...]
    groups: tuple[RowGroup, ...]


@dataclass(frozen=True, slots=True)
class ListingPage:
    """A page that is one table."""

    template: ClassVar[str] = "listing.html"
    lead: str
    table: Table


def listing(label: str, columns: Sequence[Column[Line]], lines: Iterable[Line]) -> Table:
    """The table of a page that is one table."""
    rows = RowGroup(tuple(row(columns, line) for line in lines))
    return Table("listing", label, "listing", tuple(columns), (rows,))


def row(columns: Sequence[Column[Line]], line: Line, *, id: int | None = None, css: str = "") -> TableRow:  # noqa: A002
    """The row of what `line` is about."""
    return TableRow(tuple((column.classes, column.cell(line)) for column in columns), id, css)


def value(x: float | int | None, places: int = 4, *, sign: bool = False) -> Value:
    """A cell of this number; missing and non-finite ones are `–`."""
    if x is None or not math.isfinite(x):
        return Value(None, "–")
    if isinstance(x, int):
        return Value(str(x), whole_number(x))
    return Value(repr(x), number(x, places, sign=sign))


def markup(svg: str) -> Markup:
    """A drawing of our own as markup. Its texts were escaped when it was drawn."""
    from markupsafe import Markup

    return Markup(svg)  # noqa: S704


def task_page(task: str) -> str:
    """Where a task's page lies."""
    return f"tasks/{slug(task)}.html"


def model_page(entry: Entry) -> str:
    """Where a model's page lies."""
    return f"models/{slug(entry.name)}.html"


def sweep_page(series: str) -> str:
    """Where a sweep's page lies."""
    return f"sweeps/{slug(series)}.html"


def suite_page(suite: str) -> str:
    """Where a suite's page lies."""
    return f"suites/{slug(suite)}.html"


def docs_page(variant: Variant) -> str:
    """Where the docs and answers of a variant lie."""
    return f"docs/{slug('|'.join(map(str, key(variant))))}.html"


def key(variant: Variant) -> tuple[str, ...]:
    """All that tells variants apart."""
    fields = (variant.task, variant.num_fewshot, variant.version, variant.prompt_hash, variant.data_hash)
    return (*fields, variant.metric, variant.metric_hash, variant.kind)


def link(entry: Entry) -> Link:
    """To a model's page."""
    badge = "imported" if entry.is_imported else shown(same_weights(entry.twins), 200)
    return Link(model_page(entry), name(entry.name), badge)


def labels(variants: Iterable[Variant]) -> dict[Variant, str]:
    """Short titles: the task's name, and behind it what tells its variants apart."""
    found: dict[str, list[Variant]] = {}
    for variant in variants:
        found.setdefault(variant.task, []).append(variant)
    made: dict[Variant, str] = {}
    for task, members in found.items():
        for variant in members:
            extra = [part for part in _differing(variant, members) if part]
            made[variant] = " · ".join([name(task), *extra])
    return made


def _differing(variant: Variant, members: list[Variant]) -> Iterable[str]:
    if len({one.num_fewshot for one in members}) > 1:
        yield f"{variant.num_fewshot} shots"
    if len({one.version for one in members}) > 1:
        yield f"version {variant.version}"
    if len({one.metric for one in members}) > 1:
        yield variant.metric
    if len({one.kind for one in members}) > 1:
        yield variant.kind or "measured"
    counts = list(dict.fromkeys(one.num_docs for one in sorted(members, key=lambda one: one.num_docs)))
    if len(counts) > 1:
        most = max((int(count) for count in counts if count.isdigit()), default=0)
        whole = variant.num_docs == str(most)
        yield f"{variant.num_docs} docs" if whole or not most else f"{variant.num_docs} of {most} docs"
    for hash_of, what in (("data_hash", "docs"), ("prompt_hash", "prompt"), ("metric_hash", "scoring")):
        alike = [one for one in members if (one.kind, one.num_docs) == (variant.kind, variant.num_docs)]
        known = sorted({getattr(one, hash_of) for one in alike})
        if len(known) > 1:
            yield f"{what} {_letter(known.index(getattr(variant, hash_of)))}"


def _letter(place: int) -> str:
    """A, B, … Z, then numbers: names for what only a hash tells apart."""
    return chr(ord("A") + place) if place < 26 else str(place + 1)


def slug(value: str) -> str:
    """A file name of ASCII letters for any text; two texts never share one, not even where case does not count.

    >>> slug("arc_easy"), slug("BUT-FIT/csmpt7b")[:16]
    ('arc_easy', 'but-fit_csmpt7b-')
    """
    plain = re.sub(r"[^a-z0-9._-]+", "_", value.lower()).strip("._-")[:60]
    return plain if plain == value and plain else f"{plain or 'x'}-{content_hash(value, digits=8)}"


def packaged_site() -> Path:
    """Templates and static files: `benchbench/_leaderboard` in a wheel, `leaderboard/` in a checkout."""
    package = Path(__file__).parents[2]
    inside = package / "_leaderboard"
    return inside if inside.is_dir() else package.parent / "leaderboard"


def embedded(value: object) -> str:
    """JSON that can stand in a script element whatever it holds."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


class Page(Protocol):
    """What a template needs, as fields of a dataclass."""

    template: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, DataclassField[Any]]]


class PageRenderer:
    """Fills the templates. Every value is escaped; only our own drawings, styles and scripts are markup."""

    def __init__(self, title: str, nav: tuple[tuple[str, str], ...]) -> None:
        self._folder = packaged_site()
        self._title = title
        self._nav = nav

    @cached_property
    def _environment(self) -> Environment:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        return Environment(
            loader=FileSystemLoader(self._folder / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_safe,
        )

    def render(self, page: Page, path: str, heading: str) -> str:
        """One page. `path` is where it will lie, from the site's folder."""
        from markupsafe import Markup

        css = self._static("site.css")
        js = self._static("docs.js" if page.template == "docs.html" else "site.js")
        policy = (
            f"default-src 'none'; script-src '{_hash(js)}'; style-src '{_hash(css)}'; img-src data:;"
            " base-uri 'none'; form-action 'none'"
        )
        return self._environment.get_template(page.template).render(
            {
                **{one.name: getattr(page, one.name) for one in fields(page)},
                "policy": Markup(policy),  # noqa: S704 - our own text
                "css": Markup(css),  # noqa: S704
                "js": Markup(js),  # noqa: S704
                "site_title": self._title,
                "nav": self._nav,
                "heading": heading,
                "here": path,
                "root": "../" * path.count("/"),
                "version": __version__,
            }
        )

    def _static(self, name: str) -> str:
        path = self._folder / "static" / name
        try:
            return path.read_text(encoding="utf-8")
        except OSError as error:
            raise StoreError(f"{path} of the installation is missing; install benchbench again.") from error


def _safe(value: object) -> object:
    """The last gate before a page: texts lose what is invisible, whatever page made them."""
    if not isinstance(value, str) or value.isprintable() or hasattr(value, "__html__"):
        return value
    return visible(value)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"

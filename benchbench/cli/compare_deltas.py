"""`benchbench compare --deltas`: percentage points per benchmark, as papers print them: table, Markdown or LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from benchbench.cli.console import cell, figure_table, print_table, tell
from benchbench.core.errors import ArgumentError, did_you_mean
from benchbench.core.format import clean_lines, several
from benchbench.core.format import number as page_number
from benchbench.core.json_record import as_json
from benchbench.core.types import Json

if TYPE_CHECKING:
    from benchbench.leaderboard.deltas import Delta, Deltas

HEADER = ("benchmark", "docs", "A", "B", "B − A", "95%")


def show_deltas(found: Sequence[Deltas], form: str) -> None:
    """Prints the tables on stdout in one of FORMS. ArgumentError for another form."""
    check_form(form)
    for one in found:
        FORMS[form](one)


def deltas_json(found: Sequence[Deltas]) -> list[Json]:
    """The same as values."""
    return [
        {
            "a": [model.name for model in one.a.models],
            "b": [model.name for model in one.b.models],
            "rows": as_json(one.rows),
            "left_out": [*one.left_out],
        }
        for one in found
    ]


def check_form(form: str) -> None:
    """ArgumentError for a form that there is not."""
    if form not in FORMS:
        raise ArgumentError(f"--deltas is {form!r}; it is {', '.join(FORMS)}.{did_you_mean(form, FORMS)}")


def _cells(row: Delta) -> list[str]:
    """Benchmark, docs, both scores, difference and interval."""
    places = 2
    scores = [page_number(value, places) for value in (row.a, row.b)]
    ends = "" if row.interval is None else ", ".join(page_number(end, places, sign=True) for end in row.interval)
    name = row.benchmark + ("" if row.higher_is_better else " ↓")
    return [
        name,
        f"{row.num_docs:,}",
        *scores,
        page_number(row.difference, places, sign=True),
        f"[{ends}]" if ends else "",
    ]


def _table(found: Deltas) -> None:
    tell(f"B = {found.b.name}  against  A = {found.a.name}", "bold")
    table = figure_table(*HEADER)
    for row in found.rows:
        table.add_row(*map(cell, _cells(row)))
    print_table(table)
    for line in _remarks(found):
        tell(line)


def _markdown(found: Deltas) -> None:
    lines = [f"| {' | '.join(HEADER)} |", "|:--|" + "--:|" * (len(HEADER) - 1)]
    lines += [f"| {' | '.join(text.replace('|', chr(92) + '|') for text in _cells(row))} |" for row in found.rows]
    _print(["", *lines, "", *(f"{line}  " for line in [_sides(found), *_remarks(found)])])


_TEX: Mapping[str, str] = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$", "±": r"$\pm$",
    "↓": r"$\downarrow$",
}  # fmt: skip


def _latex(found: Deltas) -> None:
    """A `tabular` that needs booktabs."""
    lines = [r"\begin{tabular}{lrrrrr}", r"\toprule", _tex_line(HEADER), r"\midrule"]
    lines += [_tex_line(_cells(row)) for row in found.rows]
    lines += [r"\bottomrule", r"\end{tabular}", *(f"% {line}" for line in [_sides(found), *_remarks(found)])]
    _print(lines)


def _tex_line(texts: Sequence[str]) -> str:
    return " & ".join("".join(_TEX.get(sign, sign) for sign in text) for text in texts) + r" \\"


def _print(lines: Sequence[str]) -> None:
    typer.echo("\n".join(clean_lines(line) for line in lines))


def _sides(found: Deltas) -> str:
    return f"A: {found.a.name}. B: {found.b.name}."


def _remarks(found: Deltas) -> Iterator[str]:
    """What a reader must know."""
    if any(row.is_percent for row in found.rows):
        own = "" if all(row.is_percent for row in found.rows) else "; of metrics beyond 1 the metric's own unit"
        yield f"Scores in percent, B − A in percentage points{own}. 95 % intervals, paired by doc."
    counts = [len(side.models) for side in (found.a, found.b)]
    if max(counts) > 1:
        alone = f" of the one of {'A' if counts[0] == 1 else 'B'} that is not known" if min(counts) == 1 else ""
        yield (
            f"Means over {several(counts[0], 'training')} of A and {counts[1]} of B; how trainings differ is part of"
            f" the interval{',' if alone else ''}{alone}."
        )
    for row in found.rows:
        if row.dropped:
            yield f"{row.benchmark}: {several(row.dropped, 'doc')} left out that a model has no score for."
    metrics = dict.fromkeys(f"{row.benchmark} {row.metric}" for row in found.rows)
    yield f"Metrics: {', '.join(metrics)}."
    yield from (f"Left out: {text}." for text in found.left_out)


FORMS: Mapping[str, Callable[[Deltas], None]] = {"table": _table, "markdown": _markdown, "latex": _latex}
"""Name → what prints one table so."""

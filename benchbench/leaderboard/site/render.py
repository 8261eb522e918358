"""Templates → files: escaping, content policy with hashes, and writing only what the pages are made of."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbench.core.errors import StoreError
from benchbench.core.version import __version__
from benchbench.leaderboard.board import Board
from benchbench.leaderboard.records import Records
from benchbench.leaderboard.site.parts import visible
from benchbench.store.frames import RUN_COLUMNS, mark_current, run_rows

if TYPE_CHECKING:
    from jinja2 import Environment


def packaged_site() -> Path:
    """Templates and static files: `benchbench/_leaderboard` in a wheel, `leaderboard/` in a checkout."""
    package = Path(__file__).parents[2]
    inside = package / "_leaderboard"
    return inside if inside.is_dir() else package.parent / "leaderboard"


def embedded(value: Any) -> str:
    """JSON that can stand in a script element whatever it holds."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


class Renderer:
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

    def page(self, template: str, path: str, heading: str, context: Mapping[str, Any]) -> str:
        """One page. `path` is where it will lie, from the site's folder."""
        from markupsafe import Markup

        css = self._static("site.css")
        js = self._static("samples.js" if template == "samples.html" else "site.js")
        policy = (
            f"default-src 'none'; script-src '{_hash(js)}'; style-src '{_hash(css)}'; img-src data:;"
            " base-uri 'none'; form-action 'none'"
        )
        return self._environment.get_template(template).render(
            {
                **context,
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
        return _read(self._folder / "static" / name)


def _safe(value: Any) -> Any:
    """The last gate before a page: texts lose what is invisible, whatever page made them."""
    if not isinstance(value, str) or value.isprintable() or hasattr(value, "__html__"):
        return value
    return visible(value)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{path} of the installation is missing; install benchbench again.") from error


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


BOARD_COLUMNS = {
    "board": "string",
    "group": "Int64",
    "model": "string",
    "mean": "Float64",
    "stderr": "Float64",
    "ci_low": "Float64",
    "ci_high": "Float64",
    "rank_low": "Int64",
    "rank_high": "Int64",
    "duels_won": "Float64",
    "win_rate": "Float64",
    "num_tasks": "Int64",
}


def data_files(records: Records, boards: Mapping[str, Board]) -> dict[str, bytes]:
    """Path → content: runs and board, each as CSV, JSON and parquet."""
    found = {run.name: run for entry in records.entries for run in entry.runs}
    named = [(name, row) for name, run in sorted(found.items()) for row in run_rows(run.folder, run.record)]
    mark_current([row for _, row in named])
    runs = [{**row, "run": name} for name, row in named]
    return {**_files("runs", runs, RUN_COLUMNS), **_files("board", _board_rows(boards), BOARD_COLUMNS)}


def _board_rows(boards: Mapping[str, Board]) -> list[dict[str, Any]]:
    return [
        {
            "board": title,
            "group": number,
            "model": standing.entry.name,
            "mean": 100 * standing.mean,
            "stderr": None if standing.stderr is None else 100 * standing.stderr,
            "ci_low": None if standing.interval is None else 100 * standing.interval.low,
            "ci_high": None if standing.interval is None else 100 * standing.interval.high,
            "rank_low": None if standing.rank is None else standing.rank[0],
            "rank_high": None if standing.rank is None else standing.rank[1],
            "duels_won": standing.duel_wins,
            "win_rate": standing.win_rate,
            "num_tasks": len(group.variants),
        }
        for title, board in boards.items()
        for number, group in enumerate(board.groups, 1)
        for standing in group.standings
    ]


def _files(name: str, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> dict[str, bytes]:
    import pandas as pd

    frame = pd.DataFrame(list(rows), columns=list(columns)).astype(dict(columns))
    plain = frame.astype(object).where(frame.notna(), None).to_dict("records")
    lines = ",\n".join(json.dumps(row, ensure_ascii=False, allow_nan=False) for row in plain)
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return {
        f"data/{name}.csv": frame.to_csv(index=False).encode("utf-8", errors="replace"),
        f"data/{name}.json": f"[\n{lines}\n]\n".encode("utf-8", errors="replace"),
        f"data/{name}.parquet": buffer.getvalue(),
    }

"""The site's data as files: the same rows as `load_runs`, and the board's."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from benchbench.leaderboard.board import Board
from benchbench.leaderboard.records import Records, finite
from benchbench.store.frames import RUN_COLUMNS, mark_current, run_rows

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
    sources = {source.name: source for entry in records.entries for source in entry.sources}
    named = [(name, row) for name, s in sorted(sources.items()) for row in run_rows(s.folder, s.record)]
    mark_current([row for _, row in named])
    runs = [
        {key: _clean(value, RUN_COLUMNS.get(key)) for key, value in {**row, "run": name}.items()} for name, row in named
    ]
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


def _clean(value: Any, kind: str | None) -> Any:
    """A damaged record's text where a number belongs, NaN and infinity are missing values."""
    number = finite(value)
    if kind == "Float64":
        return number
    return (None if number is None or number != int(number) else int(number)) if kind == "Int64" else value


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

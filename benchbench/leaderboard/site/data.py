"""The data files of the site: runs and boards, each as CSV, JSON and parquet."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence

from benchbench.leaderboard.board import Board
from benchbench.leaderboard.records import Records
from benchbench.leaderboard.site.board_page import board_fields, ranked_models
from benchbench.store.frames import RUN_COLUMNS, mark_current, run_rows

KINDS = ("csv", "json", "parquet")


def data_files(records: Records, boards: Mapping[str, Board]) -> dict[str, bytes]:
    """Path → content: runs and board, each as CSV, JSON and parquet."""
    found = {run.name: run for entry in records.entries for run in entry.runs}
    named = [(name, row) for name, run in sorted(found.items()) for row in run_rows(run.folder, run.record)]
    mark_current([row for _, row in named])
    runs = [{**row, "run": name} for name, row in named]
    columns = {"board": "string", "group": "Int64", **{field.name: field.dtype for field in board_fields()}}
    return {**_files("runs", runs, RUN_COLUMNS), **_files("board", _board_rows(boards), columns)}


def _board_rows(boards: Mapping[str, Board]) -> list[dict[str, object]]:
    return [
        {"board": title, "group": number + 1, **{field.name: field.value(ranked) for field in board_fields()}}
        for title, board in boards.items()
        for number, ranked in ranked_models(board)
    ]


def _files(name: str, rows: Sequence[Mapping[str, object]], columns: Mapping[str, str]) -> dict[str, bytes]:
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

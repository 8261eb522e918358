"""Data files and the data inside pages hold nothing that an editor or a browser obeys."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from benchbench.leaderboard.site.build import build_site
from benchbench.leaderboard.site.parts import embedded
from tests.leaderboard.site.synthetic import write_run
from tests.leaderboard.site.test_names import scores

OBEYED = "\u202e\u2066\u200f\u2028\x85\x9b\x7f"


def test_data_of_scripts_and_files_has_escapes() -> None:
    text = embedded({"a": f"x{OBEYED}\ud800</script>"})
    assert not any(sign in text for sign in f"{OBEYED}<>\ud800")
    assert json.loads(text) == {"a": f"x{OBEYED}?</script>"}


def test_names_of_strangers_are_escaped_in_every_data_file_and_on_every_page(tmp_path: Path) -> None:
    model, tasks = f"m{OBEYED}", (f"quiz{OBEYED}", "talk")
    for i, name in enumerate((model, "=other")):
        write_run(tmp_path / "results", name, scores(i, tasks=tasks), run_id=f"r{i}")
    build_site([tmp_path / "results"], tmp_path / "site")
    for path in tmp_path.joinpath("site").rglob("*"):
        if path.suffix in (".html", ".json"):
            text = path.read_text(encoding="utf-8")
            assert not [hex(ord(sign)) for sign in OBEYED if sign in text], path.name
    rows = json.loads((tmp_path / "site" / "data" / "runs.json").read_bytes())
    assert {row["model"] for row in rows} == {model, "=other"}
    assert {row["task"] for row in rows} == set(tasks)
    models = pd.read_csv(tmp_path / "site" / "data" / "runs.csv")["model"]
    assert set(models) == {model, "'=other"}

"""Arenas stand on a page of their own, each marked with its judge."""

from __future__ import annotations

import json
from pathlib import Path

from benchbench.leaderboard.site.build import build_site
from benchbench.store.arena import ArenaRecord, ArenaStanding, read_arenas, write_arena


def record(judge: str = "judge-1", name: str = "able") -> ArenaRecord:
    standings = (
        ArenaStanding(model=name, strength=0.5, low=0.3, high=0.7, rank_low=1, rank_high=1, wins=0.62, comparisons=80),
        ArenaStanding(model="poor", strength=-0.5, low=-0.7, high=-0.3, rank_low=2, rank_high=2, comparisons=80),
    )
    return ArenaRecord(
        task="mt_bench_en",
        judge=judge,
        identity={"judges": [judge]},
        standings=standings,
        matches=80,
        possible=80,
        questions=80,
        ties=0.25,
        consistent=0.75,
        position=(0.1, 0.02, 0.18),
        remarks=("the judge is strict",),
    )


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = write_arena(tmp_path, record())
    assert write_arena(tmp_path, record()) == path
    assert write_arena(tmp_path, record("judge-2")) != path
    found, problems = read_arenas([tmp_path])
    assert [one.judge for one in found] == ["judge-1", "judge-2"]
    assert found[0].standings == record().standings
    assert problems == []


def test_the_page_names_judge_models_and_biases(tmp_path: Path) -> None:
    write_arena(tmp_path, record(name="<b>able</b>"))
    built = build_site([tmp_path], tmp_path / "site")
    page = (tmp_path / "site" / "arena.html").read_text(encoding="utf-8")
    assert "judge: <bdi>judge-1</bdi>" in page
    assert "&lt;b&gt;able&lt;/b&gt;" in page
    assert "<b>able" not in page
    assert "+0.100 [+0.020, +0.180]" in page
    assert "1087" in page
    assert built.skipped == ()
    assert 'href="arena.html"' in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")


def test_a_torn_file_is_named_and_stops_nothing(tmp_path: Path) -> None:
    path = write_arena(tmp_path, record())
    path.write_text(json.dumps({"task": "x"}))
    built = build_site([tmp_path], tmp_path / "site")
    assert len(built.skipped) == 1
    assert path.name in built.skipped[0]
    assert not (tmp_path / "site" / "arena.html").exists()

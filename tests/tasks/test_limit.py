"""`--limit`: a number of docs, or a share of each task's docs."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchbench.backends.engines import ModelOptions
from benchbench.core.errors import ArgumentError
from benchbench.core.ids import content_hash
from benchbench.runner.run import run
from benchbench.runner.settings import RunSettings
from benchbench.store.folder import RunFolder
from benchbench.tasks.settings import RenderSettings, docs_of, parse_limit
from tests.runner.toy import make_world


@pytest.mark.parametrize(
    ("limit", "total", "docs"),
    [
        (0.1, 62, 7),
        (0.1, 1000, 100),
        (0.07, 100, 7),
        (0.29, 100, 29),
        (1e-9, 5, 1),
        (0.999, 5, 5),
        (7, 5, 5),
        (3, 5, 3),
    ],
)
def test_a_share_is_reckoned_as_it_is_written(limit: float, total: int, docs: int) -> None:
    """In floating point 0.07 · 100 is more than 7."""
    assert docs_of(limit, total) == docs


@pytest.mark.parametrize("typed", ["0", "-1", "1.0", "1.5", "nan", "inf", "-0.1", "0.0", "ten", "10%", ""])
def test_anything_else_is_refused_with_what_was_typed(typed: str) -> None:
    """What could mean one doc or all docs, too."""
    with pytest.raises(ArgumentError, match=r"--limit is .*it must be 1 or more docs.*or a share"):
        parse_limit(typed)


def _run(world: Path, limit: float | None) -> RunFolder:
    settings = RunSettings(
        ModelOptions("hash", "scripted"),
        tasks="toy",
        include_paths=(world / "tasks",),
        render=RenderSettings(limit=limit, data_root=world / "hub"),
        output=world / "results",
    )
    return RunFolder(run(settings).path)


def test_a_share_takes_the_first_docs_is_recorded_as_typed_and_is_found_again(tmp_path: Path) -> None:
    """The same command finds the same run; another limit is another run, whose answers are taken over."""
    world = make_world(tmp_path)
    whole, share = _run(world, None), _run(world, 0.3)
    for task, known in whole.record().tasks.items():
        wanted = docs_of(0.3, known.counts.n)
        taken = [item.doc_id for item in share.items(task)]
        assert taken == list(range(wanted))
        assert wanted < known.counts.n
    assert share.record().settings["limit"] == 0.3
    assert _run(world, 0.3).path == share.path != whole.path
    assert share.record().provenance.reused == sum(task.counts.n for task in share.record().tasks.values())
    assert content_hash(share.record().settings) != content_hash(whole.record().settings)

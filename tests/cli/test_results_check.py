"""Damage of every kind to a finished store is found, named and repaired: single bits, cuts, missing files."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchbench.backends.engines import ModelOptions
from benchbench.cli.results import app
from benchbench.core.settings import changed
from benchbench.extensions.rescore.score import score
from benchbench.extensions.rescore.settings import ScoreSettings
from benchbench.runner.run import run
from benchbench.runner.settings import SweepSettings
from benchbench.runner.sweep import sweep
from benchbench.store.folder import RunFolder
from tests.runner.toy import make_world, settings


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A store with a run that was scored again, and a sweep of two checkpoints."""
    world = make_world(tmp_path_factory.mktemp("world"), quiz=8, write=4)
    first = run(settings(world))
    score(RunFolder(first.path), ScoreSettings(("f1", "bleu"), tasks="toy_write"))
    (world / "list.yaml").write_text(json.dumps([{"step": n, "path": f"hash,salt={n}"} for n in (10, 20)]))
    asked = settings(world, tasks="toy_write")
    swept = SweepSettings(
        run=changed(asked, model=ModelOptions("", backend="scripted")),
        models=("toy",),
        listed=world / "list.yaml",
        task_groups=("toy_write",),
    )
    sweep(swept)
    return world


@pytest.fixture
def world(made, tmp_path) -> Path:
    """A copy of the store beside its tasks and data."""
    shutil.copytree(made / "results", tmp_path / "results")
    return tmp_path


def files(store: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file()}


def checked(store: Path, *more: str) -> tuple[int, dict]:
    done = CliRunner().invoke(app, ["check", str(store), "--json", *more], catch_exceptions=False)
    return done.exit_code, json.loads(done.stdout)


def flip(data: bytes, draw: random.Random) -> bytes:
    damaged = bytearray(data)
    damaged[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(damaged)


def cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def damage_and_repair(store: Path, flips: int, cuts: int, seed: int) -> int:
    """Each damage is found and named; the repair gives the bytes of every file back. How many were tried."""
    sound, draw = files(store), random.Random(seed)
    for how in [flip] * flips + [cut] * cuts:
        path = draw.choice(sorted(sound))
        path.write_bytes(how(sound[path], draw))
        status, found = checked(store)
        named = {Path(one["path"]) for one in found["damaged"]}
        assert status == 1, path
        assert named == {path}, path
        status, found = checked(store, "--repair")
        assert (status, found["left"]) == (0, 0), path
        assert files(store) == sound, path
    return flips + cuts


def test_a_sound_store_has_no_damage(world):
    status, found = checked(world / "results")
    assert (status, found) == (0, {"runs": 3, "sweeps": 1, "damaged": [], "left": 0, "without_checksum": []})


def test_flipped_bits_and_cuts_are_found_named_and_repaired(world):
    assert damage_and_repair(world / "results", flips=8, cuts=4, seed=1) == 12


@pytest.mark.slow
def test_300_flipped_bits_and_50_cuts_are_found_named_and_repaired(world):
    assert damage_and_repair(world / "results", flips=300, cuts=50, seed=2) == 350

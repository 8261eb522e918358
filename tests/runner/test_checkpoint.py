import os
import shutil

import pytest

from benchbench.runner.checkpoint import OLD, Checkpoint, Readiness
from tests import models
from tests.composer import composer_file, composer_shards


@pytest.fixture(scope="module")
def mpt(tmp_path_factory):
    return models.tiny_mpt(tmp_path_factory.mktemp("mpt") / "step5")


@pytest.fixture
def folder(mpt, tmp_path):
    return shutil.copytree(mpt, tmp_path / "step5")


class Clock:
    """A clock that is set by hand; it starts at the newest file's time."""

    def __init__(self, path):
        files = [path] if path.is_file() else path.iterdir()
        self.now = max(file.stat().st_mtime for file in files)

    def __call__(self):
        return self.now


class Looking:
    """Looks at one checkpoint as time goes by."""

    def __init__(self, path):
        self.clock, self.checkpoint = Clock(path), Checkpoint("s", 5, str(path))
        self.seconds = 0.0
        self.readiness = Readiness(clock=self.clock, timer=lambda: self.seconds)

    def __call__(self, seconds=0.0):
        self.clock.now += seconds
        self.seconds += seconds
        return self.readiness.look(self.checkpoint)


def test_a_whole_checkpoint_is_ready_once_it_has_settled(folder):
    look = Looking(folder)
    assert look().state == "settling"
    assert look(1.0).state == "settling"
    assert look(1.5).state == "ready"


def test_an_old_checkpoint_is_ready_at_once(folder):
    look = Looking(folder)
    assert look(OLD + 1).state == "ready"


def test_every_change_starts_the_wait_anew_and_changes_the_stamp(folder):
    look = Looking(folder)
    look()
    before = look(3.0)
    with (folder / "optimizer.pt").open("w") as file:
        file.write("more")
    after = look(0.0)
    assert (before.state, after.state) == ("ready", "settling")
    assert before.stamp != after.stamp
    assert look(3.0).state == "ready"


def test_a_clock_that_is_set_back_makes_nobody_wait(folder):
    look = Looking(folder)
    assert look().state == "settling"
    look.clock.now -= 365 * 24 * 3600.0
    assert look(1.0).state == "settling"
    assert look(1.5).state == "ready"


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_what_is_not_all_there_is_waited_for_and_given_up_after_ten_minutes(folder, missing):
    (folder / missing).unlink()
    look = Looking(folder)
    first = look(5.0)
    assert first.state == "incomplete"
    assert missing in first.why
    assert look(300.0).state == "incomplete"
    assert look(301.0).state == "broken"


def test_a_file_that_grows_is_never_given_up(folder):
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    look = Looking(folder)
    for size in (1000, 2000, 3000):
        file.write_bytes(whole[:size])
        os.utime(file, (look.clock.now, look.clock.now))
        assert look().state == "incomplete"
        assert look(500.0).state == "incomplete"
    file.write_bytes(whole)
    os.utime(file, (look.clock.now, look.clock.now))
    assert look().state == "settling"
    assert look(3.0).state == "ready"


def test_composer_files_and_shards_are_ready_when_their_end_is_there(mpt, tmp_path):
    file = composer_file(mpt, tmp_path / "ep0-ba5-rank0.pt", batch=5)
    whole = file.read_bytes()
    assert Looking(file)(OLD + 1).state == "ready"
    file.write_bytes(whole[: len(whole) // 2])
    cut = Looking(file)(OLD + 1)
    assert (cut.state, "truncated, corrupt or still being written" in cut.why) == ("incomplete", True)
    shards = composer_shards(mpt, tmp_path / "ep0-ba6", batch=6)
    assert Looking(shards)(OLD + 1).state == "ready"
    (shards / ".metadata").rename(tmp_path / "kept")
    assert "no .metadata, which is written last" in Looking(shards)(OLD + 1).why


def test_a_missing_shard_names_itself(folder):
    index = '{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}'
    (folder / "model.safetensors.index.json").write_text(index)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    assert "lacks model-00002-of-00002.safetensors" in Looking(folder)(5.0).why


def test_a_folder_that_is_not_there_yet_is_waited_for(tmp_path):
    readiness = Readiness(clock=lambda: 1e9)
    look = readiness.look(Checkpoint("s", 5, str(tmp_path / "none")))
    assert (look.state, look.why) == ("incomplete", f"there is no checkpoint at {tmp_path / 'none'}.")


def test_what_lies_on_the_hub_is_ready():
    assert Readiness().look(Checkpoint("s", 5, "org/name", "step5")).state == "ready"

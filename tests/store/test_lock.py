import os
import subprocess
import sys
import threading

import pytest

from benchbench.core.errors import StoreError
from benchbench.store.lock import LOCK_NAME, RunLock, remove_left, shortly

HOLD = "import sys, time; from pathlib import Path; from benchbench.store.lock import RunLock\n"
HOLD += "lock = RunLock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"


def test_the_second_process_is_told_who_holds_the_run(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(StoreError, match=rf"being written by process {holder.pid} on .*, since 20\d\d-"):
            RunLock(tmp_path)
    finally:
        holder.kill()
        holder.communicate()
    with RunLock(tmp_path):  # the kernel let go when the holder was killed
        assert str(os.getpid()) in (tmp_path / LOCK_NAME).read_text()


def test_nothing_stays_when_the_lock_is_given_back(tmp_path):
    RunLock(tmp_path).close()
    assert list(tmp_path.iterdir()) == []
    RunLock(tmp_path).close()


def test_two_locks_in_one_process_exclude_each_other(tmp_path):
    with RunLock(tmp_path), pytest.raises(StoreError, match="--fresh"):
        RunLock(tmp_path)


def test_who_wants_a_lock_for_a_moment_waits_for_others_but_not_for_ever(tmp_path):
    lock = RunLock(tmp_path)
    with pytest.raises(StoreError, match="is being written"), shortly(tmp_path, seconds=0.05):
        pass
    given_back = threading.Event()
    threading.Timer(0.2, lambda: (given_back.set(), lock.close())).start()
    with shortly(tmp_path, seconds=600):
        assert given_back.is_set()
        assert (tmp_path / LOCK_NAME).exists()


def test_a_file_system_without_locks_is_a_sentence(tmp_path, monkeypatch):
    import fcntl

    def refuse(fd: int, operation: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StoreError, match="no file locks"):
        RunLock(tmp_path)


def test_a_lock_that_a_killed_process_left_is_removed_and_one_that_is_held_is_not(tmp_path):
    (tmp_path / LOCK_NAME).write_text("{}")
    remove_left(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with RunLock(tmp_path):
        remove_left(tmp_path)
        assert (tmp_path / LOCK_NAME).exists()

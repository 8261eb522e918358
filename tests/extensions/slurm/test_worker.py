import signal

import pytest

from benchbench.core.errors import ArgumentError
from benchbench.extensions.slurm import worker
from benchbench.extensions.slurm.cluster import Cluster
from benchbench.extensions.slurm.engine import submit
from benchbench.extensions.slurm.worker import Signals, work
from benchbench.runner.events import ignore
from benchbench.store.lock import RunLock
from tests.runner.sweep.series import impatient, on_list, scripted_list
from tests.runner.toy import make_world


@pytest.fixture
def array(slurm, tmp_path):
    settings = on_list(make_world(tmp_path / "world"), scripted_list(tmp_path, 1), tmp_path / "results")
    (one,) = submit(settings, Cluster(), readiness=impatient()).arrays
    return one


@pytest.fixture
def signals():
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM)}
    yield Signals()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_unit_that_a_lost_worker_still_holds_is_waited_for(array, signals, monkeypatch):
    monkeypatch.setattr(worker, "LOOK_AGAIN", 0.01)
    unit = array.sweep.unit_folder(array.units[0])
    unit.mkdir(parents=True)
    lock, said = RunLock(unit), []

    def hear(text):
        said.append(text)
        lock.close()

    assert work(array.path, 0, signals, ignore, hear) == "done"
    assert [text.partition(" by ")[0] for text in said] == [f"Waiting: the run {unit} is being written"]
    assert array.sweep.done(array.units[0]) is not None


def test_a_turn_that_scored_nothing_does_not_go_round_for_ever(array, signals, monkeypatch, slurm):
    said = []
    monkeypatch.setattr(worker, "_do", lambda *_: signal.raise_signal(signal.SIGUSR1))
    assert work(array.path, 0, signals, ignore, said.append) == "stopped"
    assert said == ["The time limit is near and nothing was scored; give more `time` in the cluster file."]
    assert not [call for call in slurm.asked("scontrol") if call.startswith("requeue")]


def test_a_unit_that_is_not_there_is_a_sentence(array, signals):
    with pytest.raises(ArgumentError, match=r"--unit is 1; .* has units 0 to 0"):
        work(array.path, 1, signals, ignore, print)

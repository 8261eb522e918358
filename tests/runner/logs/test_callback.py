import pytest

from benchbench.callbacks import EvalCallback
from benchbench.core.errors import ArgumentError
from benchbench.runner.logs import loggers
from benchbench.store.folder import RunFolder
from tests import models
from tests.runner.logs.fake import FakeLogger
from tests.runner.logs.test_follow import expected, held
from tests.runner.sweep.series import base
from tests.runner.toy import make_world
from tests.test_callbacks import train


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(loggers, "LOGGERS", {"fake": "tests.runner.logs.fake:FakeLogger"})
    return FakeLogger.reset()


def test_a_training_draws_each_step_that_it_scores(fake, tmp_path):
    world = make_world(tmp_path / "world")
    start = models.tiny_llama(tmp_path / "start" / "model", bos=False)
    callback = EvalCallback("toy", every=3, settings=base(world, tmp_path / "results"), log="fake")
    train(start, tmp_path / "tiny", callback)
    assert held(fake) == expected([RunFolder(result.path) for result in callback.results])
    assert {step for _, step, _ in held(fake)} == {3, 6}
    assert [batch.series for batch in fake.batches] == ["tiny", "tiny"]


def test_a_logger_that_cannot_work_ends_the_training_before_it_begins(fake, tmp_path):
    world = make_world(tmp_path / "world")
    start = models.tiny_llama(tmp_path / "start" / "model", bos=False)
    callback = EvalCallback("toy", every=3, settings=base(world, tmp_path / "results"), log=["fake", "nothing"])
    with pytest.raises(ArgumentError, match="no logger named 'nothing'"):
        train(start, tmp_path / "tiny", callback)
    assert not (tmp_path / "results").exists()

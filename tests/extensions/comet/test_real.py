"""A tiny model, made here, through unbabel-comet itself: in process here, in a process of its own there; no network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchbench.core.errors import BackendError, ModelError
from benchbench.extensions.comet import Segment
from benchbench.extensions.comet.process import PYTHON_ENV, CometOptions, CometProcess
from benchbench.extensions.rescore.score import score
from tests.cli.command import benchbench
from tests.conftest import REPO
from tests.extensions.rescore.world import PAIRS, comet, finished, own_bytes, world

pytestmark = pytest.mark.comet
MT = "toy_cs-fr"
MAKE = Path(__file__).with_name("make_checkpoint.py")
SEGMENTS = [
    Segment(cs, text, fr) for (cs, fr), text in zip(PAIRS, ["", "Il", "Il pleut.", "é" * 90, "a b", "?"], strict=True)
]
DIRECT = """
import json, sys
from comet import load_from_checkpoint
rows = json.load(open(sys.argv[2]))
found = load_from_checkpoint(sys.argv[1], local_files_only=True).predict(
    rows, batch_size=16, gpus=0, num_workers=0, progress_bar=False)
json.dump([found.scores, found.system_score], open(sys.argv[3], "w"))
"""
NO_NETWORK = """#!{python}
import runpy, socket, sys
def refuse(*arguments, **more):
    open({log!r}, "a").write(repr(arguments) + "\\n")
    raise OSError("this test has no network")
socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = refuse
sys.argv = sys.argv[1:] if sys.argv[1] != "-u" else sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="session")
def python() -> Path:
    """The python of COMET's environment; skips the test where there is none."""
    path = Path(os.environ.get(PYTHON_ENV) or REPO / ".venv-comet" / "bin" / "python")
    if not path.is_file():
        pytest.skip("needs COMET's environment: make env-comet")
    return path.absolute()


def in_comet(python: Path, *arguments: object) -> None:
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    done = subprocess.run([str(python), *map(str, arguments)], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="session")
def tiny(python, tmp_path_factory) -> Path:
    """A reference-based model."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    in_comet(python, MAKE, folder, "regression_metric")
    return folder


def direct(python: Path, model: Path, folder: Path, rows: list[dict[str, str]]) -> tuple[list[float], float]:
    """unbabel-comet called as its documentation does."""
    asked, answer = folder / "rows.json", folder / "scores.json"
    asked.write_text(json.dumps(rows))
    in_comet(python, "-c", DIRECT, model / "checkpoints" / "model.ckpt", asked, answer)
    scores, system = json.loads(answer.read_text())
    return scores, system


def offline(python: Path, folder: Path) -> tuple[Path, Path]:
    """A python without a network, and the file where it notes what tried to use one."""
    log = folder / "network"
    path = folder / "python"
    path.write_text(NO_NETWORK.format(python=python, log=str(log)))
    path.chmod(0o755)
    return path, log


def test_a_run_scores_as_comet_does_when_called_directly_and_offline(python, tiny, tmp_path):
    place = world(tmp_path)
    run = finished(place, tasks=MT)
    before = own_bytes(run)
    blocked, log = offline(python, tmp_path)
    result = score(run, comet(place, blocked, model=str(tiny)))
    items = run.items(MT)
    rows = [{"src": cs, "mt": item.prediction, "ref": fr} for (cs, fr), item in zip(PAIRS, items, strict=True)]
    scores, system = direct(python, tiny, tmp_path, rows)
    assert [item.scores["comet:tiny"] for item in items] == pytest.approx(scores, abs=1e-6)
    assert len({round(value, 4) for value in scores}) == len(scores), "the model tells the docs apart"
    (row,) = result.scored[0].rows
    assert row.value == pytest.approx(system, abs=1e-6)
    assert row.ci_low < row.value < row.ci_high
    assert "|comet:2.2.7|model:tiny|sha256:" in row.signature
    for name in ("setuptools:", "torch:", "transformers:", "entmax:", "layer_transformation:softmax"):
        assert f"|{name}" in row.signature
    assert own_bytes(run) == before
    assert not log.exists(), log.read_text()


def test_the_process_answers_again_and_keeps_the_order(python, tiny):
    with CometProcess(CometOptions(str(tiny), python, batch_size=2, timeout=300)) as process:
        assert process.model.reads_reference
        first = process.score(SEGMENTS)
        assert process.score(SEGMENTS[::-1])[::-1] == pytest.approx(first, abs=1e-6)
        assert len(set(first)) == len(first)


@pytest.mark.parametrize("kind", ["referenceless_regression_metric", "unified_metric"])
def test_a_model_that_needs_no_reference_gets_none(python, tmp_path, kind):
    in_comet(python, MAKE, tmp_path / "kiwi", kind)
    with CometProcess(CometOptions(str(tmp_path / "kiwi"), python, timeout=300)) as process:
        assert not process.model.reads_reference
        rows = [{"src": one.source, "mt": one.translation} for one in SEGMENTS]
        found = process.score([Segment(one.source, one.translation) for one in SEGMENTS])
    scores, _ = direct(python, tmp_path / "kiwi", tmp_path, rows)
    assert found == pytest.approx(scores, abs=1e-6)


def test_a_broken_checkpoint_is_a_sentence(python, tiny, tmp_path):
    broken = tmp_path / "broken"
    (broken / "checkpoints").mkdir(parents=True)
    (broken / "hparams.yaml").write_text((tiny / "hparams.yaml").read_text())
    (broken / "checkpoints" / "model.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match=r"model\.ckpt cannot be loaded"):
        CometProcess(CometOptions(str(broken), python, timeout=300))
    with pytest.raises(ModelError, match=r"no file or folder /nowhere. --comet-model takes"):
        CometProcess(CometOptions("/nowhere", python, timeout=300))
    with pytest.raises(ModelError, match=r"Unbabel/wmt22-comet-da is not in the Hub's cache .*HF_HUB_OFFLINE"):
        CometProcess(CometOptions(python=python, timeout=300))


def test_a_gpu_that_is_not_there_is_a_sentence(python, tiny):
    line = [str(python), "-c", "import torch; print(torch.cuda.is_available())"]
    asked = subprocess.run(line, capture_output=True, check=False)
    if asked.stdout.strip() == b"True":
        pytest.skip("there is a GPU")
    with pytest.raises(BackendError, match=r"torch sees no GPU in COMET's environment. --device cpu"):
        CometProcess(CometOptions(str(tiny), python, device="cuda", timeout=300))


def test_the_command_prints_the_row_and_the_second_time_takes_it_from_disk(python, tiny, tmp_path):
    place = world(tmp_path)
    run = finished(place, tasks=MT)
    line = ["score", run.path, "--metric", "comet,ter", "--comet-model", tiny, "--comet-python", python]
    first = benchbench(*line, "--include-path", place / "tasks")
    assert first.returncode == 0, first.stderr
    assert "comet:tiny" in first.stdout
    again = benchbench(*line, "--include-path", place / "tasks", "--json")
    states = {one["metric"]: one["state"] for one in json.loads(again.stdout)["scored"]}
    assert states == {"comet:tiny": "kept", "ter": "replaced"}
    assert sys.executable != str(python)

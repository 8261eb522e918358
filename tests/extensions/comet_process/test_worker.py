"""What of the worker needs no COMET."""

import io
import json
from pathlib import Path

import pytest

from benchbench.extensions.comet import worker
from benchbench.extensions.comet.worker import RefusedError


def answers(*lines: bytes) -> list[dict]:
    out = io.BytesIO()
    worker.serve(io.BytesIO(b"\n".join(lines)), out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_that_is_no_json_is_answered_and_the_next_one_too():
    torn, early, strange = answers(b"{", b'{"do": "score", "rows": []}', b"[]")
    assert torn["error"] == "bad_request"
    assert early == {"error": "no_model", "message": "no model was loaded."}
    assert (strange["error"], strange["message"][:9]) == ("failed", "TypeError")


def test_a_model_is_a_file_or_a_folder_that_holds_one(tmp_path):
    folder = tmp_path / "tiny" / "checkpoints"
    folder.mkdir(parents=True)
    with pytest.raises(RefusedError, match=r"should hold one checkpoints/.*found: none"):
        worker._checkpoint(str(tmp_path / "tiny"), offline=True)
    (folder / "model.ckpt").write_bytes(b"")
    assert worker._checkpoint(str(tmp_path / "tiny"), offline=True) == folder / "model.ckpt"
    assert worker._checkpoint(str(folder / "model.ckpt"), offline=True) == folder / "model.ckpt"
    (folder / "last.ckpt").write_bytes(b"")
    with pytest.raises(RefusedError, match=r"found: last.ckpt, model.ckpt"):
        worker._checkpoint(str(tmp_path / "tiny"), offline=True)
    for name in ("./nowhere", "/nowhere", "nowhere.ckpt"):
        with pytest.raises(RefusedError, match="no file or folder"):
            worker._checkpoint(name, offline=False)


def test_a_checkpoint_needs_the_file_that_names_its_class(tmp_path):
    path = tmp_path / "checkpoints" / "model.ckpt"
    path.parent.mkdir()
    path.write_bytes(b"")
    with pytest.raises(RefusedError, match=r"has no hparams.yaml in the folder above it"):
        worker._hparams(path)
    (tmp_path / "hparams.yaml").write_text("layer: mix")
    with pytest.raises(RefusedError, match="does not name a class_identifier"):
        worker._hparams(path)
    (tmp_path / "hparams.yaml").write_text("class_identifier: regression_metric")
    assert worker._hparams(path) == {"class_identifier": "regression_metric"}


def test_a_model_that_would_silently_score_otherwise_is_refused(tmp_path, monkeypatch):
    (tmp_path / "checkpoints").mkdir()
    hparams = "class_identifier: regression_metric\nlayer_transformation: sparsemax_patch"
    (tmp_path / "hparams.yaml").write_text(hparams)
    monkeypatch.setattr(worker.util, "find_spec", lambda name: None)
    with pytest.raises(RefusedError, match="gets other scores, silently, where pkg_resources is missing"):
        worker._hparams(tmp_path / "checkpoints" / "model.ckpt")


def test_the_worker_imports_nothing_of_benchbench():
    text = Path(worker.__file__).read_text(encoding="utf-8")
    assert "from benchbench" not in text
    assert "import benchbench" not in text

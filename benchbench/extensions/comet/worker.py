"""The process that scores with unbabel-comet: a JSON line in, a JSON line out, until its input ends.

    {"do": "load", "model": "Unbabel/wmt22-comet-da", "device": "auto", "offline": false}  →  {"facts": {…}}
    {"do": "score", "rows": [{"src": …, "mt": …, "ref": …}], "batch_size": 16}             →  {"scores": […]}

What goes wrong is answered too: {"error": kind, "message": sentence}. This file is run by the python of COMET's
environment, which has no benchbench and older libraries: it imports the standard library, and comet when asked.
Whatever a library prints goes to stderr; the lines have the first stdout to themselves.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from importlib import metadata, util
from pathlib import Path
from typing import Any, BinaryIO

PACKAGES = {
    "comet": "unbabel-comet",
    "entmax": "entmax",
    "setuptools": "setuptools",
    "torch": "torch",
    "transformers": "transformers",
}
"""Everything that was seen to move a score."""


class RefusedError(Exception):
    """A request that cannot be met: `kind` for programs, the message for people."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Worker:
    """Holds one model at a time."""

    def __init__(self) -> None:
        self._model: Any = None
        self._gpus = 0

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """What to write back."""
        try:
            if request["do"] == "load":
                return {"facts": self._load(request)}
            return {"scores": self._score(request)}
        except RefusedError as error:
            return {"error": error.kind, "message": str(error)}
        except Exception as error:  # noqa: BLE001 - the other side gets to know it, in its next line
            return {"error": "failed", "message": f"{type(error).__name__}: {error}"}

    def _load(self, request: dict[str, Any]) -> dict[str, Any]:
        offline = bool(request.get("offline"))
        if offline:
            os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
        if util.find_spec("comet") is None:
            raise RefusedError("no_comet", f"{sys.executable} has no unbabel-comet.")
        checkpoint = _checkpoint(request["model"], offline)
        hparams = _hparams(checkpoint)
        from comet import load_from_checkpoint

        self._model = _loaded(load_from_checkpoint, checkpoint, offline)
        self._gpus = _gpus(request.get("device", "auto"))
        return {
            "checkpoint": str(checkpoint),
            "sha256": _sha256(checkpoint),
            "class": hparams["class_identifier"],
            "reads_reference": self._reads_reference(),
            "layer_transformation": hparams.get("layer_transformation"),
            "encoder": hparams.get("pretrained_model"),
            "device": "cuda" if self._gpus else "cpu",
            "versions": {name: version for name in PACKAGES if (version := _version(PACKAGES[name]))},
        }

    def _reads_reference(self) -> bool:
        """Models that also work without a reference say that they need none, but score better with one."""
        segments = getattr(self._model.hparams, "input_segments", None)
        return bool(self._model.requires_references()) or bool(segments and "ref" in segments)

    def _score(self, request: dict[str, Any]) -> list[float]:
        if self._model is None:
            raise RefusedError("no_model", "no model was loaded.")
        found = self._model.predict(
            request["rows"],
            batch_size=int(request.get("batch_size", 16)),
            gpus=self._gpus,
            num_workers=0,
            progress_bar=False,
        )
        return [float(score) for score in found["scores"]]


def _checkpoint(model: str, offline: bool) -> Path:
    """The checkpoint file that a path or a name means."""
    path = Path(model)
    if path.is_file():
        return path
    if path.is_dir():
        return _in_folder(path)
    if path.is_absolute() or model.startswith((".", "~")) or model.endswith(".ckpt"):
        raise RefusedError("no_checkpoint", f"there is no file or folder {model}.")
    from comet import download_model

    try:
        return Path(download_model(model, local_files_only=offline))
    except Exception as error:
        if offline:
            message = f"{model} is not in the Hub's cache here, and HF_HUB_OFFLINE forbids to fetch it."
            raise RefusedError("no_checkpoint", message) from error
        older = error.__context__  # COMET asks an older server after the Hub, and tells only of that
        hub = error if older is None or older.__context__ is None else older.__context__
        lines = str(hub).strip().splitlines() or ["no reason given"]
        message = f"{model} could not be fetched from the Hub ({type(hub).__name__}: {lines[0][:200]})."
        raise RefusedError("no_checkpoint", message) from error


def _in_folder(folder: Path) -> Path:
    found = sorted(folder.glob("checkpoints/*.ckpt")) or sorted(folder.glob("*.ckpt"))
    if len(found) != 1:
        listed = ", ".join(path.name for path in found[:4]) or "none"
        raise RefusedError("no_checkpoint", f"{folder} should hold one checkpoints/*.ckpt; found: {listed}.")
    return found[0]


def _hparams(checkpoint: Path) -> dict[str, Any]:
    """The file that says which class the checkpoint is of; it stands beside the checkpoint's folder."""
    import yaml

    path = checkpoint.resolve().parents[1] / "hparams.yaml"
    if not path.is_file():
        path = checkpoint.absolute().parents[1] / "hparams.yaml"
    if not path.is_file():
        raise RefusedError("no_checkpoint", f"{checkpoint} has no hparams.yaml in the folder above it.")
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or "class_identifier" not in found:
        raise RefusedError("no_checkpoint", f"{path} does not name a class_identifier.")
    if found.get("layer_transformation") == "sparsemax_patch" and util.find_spec("pkg_resources") is None:
        raise RefusedError(
            "no_pkg_resources",
            "this model (layer_transformation: sparsemax_patch) gets other scores, silently, where pkg_resources is "
            "missing, as it is since setuptools 81.",
        )
    return found


def _loaded(load: Any, checkpoint: Path, offline: bool) -> Any:
    """Files of this machine first: where all are there, nobody is asked for newer ones."""
    try:
        return load(str(checkpoint), local_files_only=True)
    except Exception as error:
        if offline:
            raise RefusedError("not_loaded_offline", _why(checkpoint, error)) from error
    try:
        return load(str(checkpoint))
    except Exception as error:
        raise RefusedError("not_loaded", _why(checkpoint, error)) from error


def _why(checkpoint: Path, error: Exception) -> str:
    lines = str(error).strip().splitlines() or ["no reason given"]
    return f"{checkpoint} cannot be loaded ({type(error).__name__}: {lines[0][:300]})."


def _gpus(device: str) -> int:
    import torch

    there = torch.cuda.is_available()
    if device.startswith("cuda") and not there:
        raise RefusedError("no_gpu", f"--device {device} was asked for, but torch sees no GPU in COMET's environment.")
    return int(there and device != "cpu")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def serve(lines: BinaryIO, out: BinaryIO) -> None:
    """Answers line by line."""
    worker = Worker()
    for line in lines:
        try:
            request = json.loads(line)
        except ValueError as error:
            answer = {"error": "bad_request", "message": f"not JSON: {error}"}
        else:
            answer = worker.answer(request)
        out.write(json.dumps(answer).encode("ascii") + b"\n")
        out.flush()


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, answers)

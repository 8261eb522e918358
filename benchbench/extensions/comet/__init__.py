"""COMET, by unbabel-comet, in a process of its own: its environment and ours cannot be one.

`worker.py` runs there and knows nothing of benchbench; `process.py` starts it and asks. Here: which model scores, and
what it says of itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchbench.core.json_record import text
from benchbench.core.types import Json

DEFAULT_MODEL = "Unbabel/wmt22-comet-da"
METRIC = "comet"


@dataclass(frozen=True, slots=True)
class Segment:
    """One translation to score."""

    source: str
    translation: str
    reference: str | None = None
    """None for models that read none."""

    def row(self) -> dict[str, str]:
        """As unbabel-comet names the three."""
        row = {"src": self.source, "mt": self.translation}
        return row if self.reference is None else {**row, "ref": self.reference}


@dataclass(frozen=True, slots=True)
class CometModel:
    """A loaded model, as its process describes it: everything that was seen to move a score."""

    name: str
    """Short: the last part of its hub name, or its folder's name."""
    sha256: str
    """Of the checkpoint file."""
    kind: str
    """COMET's `class_identifier`."""
    reads_reference: bool
    layer_transformation: str | None
    encoder: str | None
    device: str
    versions: Mapping[str, str]
    """Of comet, entmax, setuptools, torch and transformers in COMET's environment."""

    @classmethod
    def of(cls, asked: str, facts: Mapping[str, Json]) -> CometModel:
        """What the process answered to `load`. KeyError or TypeError if it is not that."""
        versions = facts["versions"]
        if not isinstance(versions, dict):
            raise TypeError("versions")
        return cls(
            name=short_name(asked),
            sha256=str(facts["sha256"]),
            kind=str(facts["class"]),
            reads_reference=bool(facts["reads_reference"]),
            layer_transformation=text(facts["layer_transformation"]),
            encoder=text(facts["encoder"]),
            device=str(facts["device"]),
            versions={str(name): str(version) for name, version in versions.items()},
        )

    @property
    def metric(self) -> str:
        """Name of the metric. Scores of two models are two metrics, so the model is in it."""
        return f"{METRIC}:{self.name}"

    @property
    def identity(self) -> dict[str, Json]:
        """What must be equal for two models' scores to be compared."""
        return {
            "sha256": self.sha256,
            "class": self.kind,
            "encoder": self.encoder,
            "layer_transformation": self.layer_transformation,
            "comet": self.versions.get("comet"),
        }

    @property
    def facts(self) -> dict[str, Json]:
        """The identity, and the rest that was seen to move a score; where they are equal, a score may be kept."""
        return {**self.identity, "versions": {name: self.versions[name] for name in sorted(self.versions)}}

    @property
    def signature(self) -> str:
        """All of it in one line: `comet:2.2.7|model:…|sha256:…|layer_transformation:…|setuptools:…|…`."""
        versions = [f"{name}:{version}" for name, version in self.versions.items() if name != "comet"]
        layers = [f"layer_transformation:{self.layer_transformation}"] if self.layer_transformation else []
        named = [f"comet:{self.versions.get('comet')}", f"model:{self.name}", f"sha256:{self.sha256[:12]}"]
        return "|".join([*named, *layers, *versions])


def short_name(model: str) -> str:
    """What to call a model in a column: hub names and folders by their last part, files by their model's folder.

    >>> short_name("Unbabel/wmt22-comet-da"), short_name("/models/wmt22-comet-da/checkpoints/model.ckpt")
    ('wmt22-comet-da', 'wmt22-comet-da')
    """
    path = Path(model)
    if path.suffix == ".ckpt":
        folder = path.absolute().parent
        path = folder.parent if folder.name == "checkpoints" else path.with_suffix("")
    if path.parent.name == "snapshots" and "--" in path.parent.parent.name:  # in the Hub's cache
        path = Path(path.parent.parent.name.rpartition("--")[2])
    return re.sub(r"[^\w.+-]+", "_", path.name or path.absolute().name) or "model"

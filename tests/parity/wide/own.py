"""Task files of our own making in lm-eval's dialect, one for each way of saying a thing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

Keys = dict[str, Any]
OWN: dict[str, Keys] = {}


def write_files(folder: Path) -> Path:
    """Writes them; returns the folder."""
    folder.mkdir(parents=True)
    for name, keys in OWN.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"task": name, **keys}, sort_keys=False))
    return folder

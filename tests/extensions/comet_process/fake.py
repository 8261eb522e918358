"""Stands in for the python of COMET's environment: it speaks the worker's lines and scores by counting letters."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

FACTS: dict[str, Any] = {
    "checkpoint": "/fake/checkpoints/model.ckpt",
    "sha256": "ab" * 32,
    "class": "regression_metric",
    "reads_reference": True,
    "layer_transformation": "softmax",
    "encoder": "fake",
    "device": "cpu",
    "versions": {"comet": "2.2.7", "torch": "1"},
}

GOOD = """
import json, sys
log = open({log!r}, "a")
def score(row):
    log.write(json.dumps(row) + "\\n"); log.flush()
    return len(row["mt"]) / 100 + len(row.get("ref", "")) / 10000 + len(row["src"]) / 1000000
for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == "load":
        answer = {{"facts": {facts!r}}}
    else:
        answer = {{"scores": [score(row) for row in request["rows"]]}}
    print(json.dumps(answer), flush=True)
"""


def fake_python(folder: Path, code: str) -> Path:
    """An executable that runs `code`, whatever file it is asked to run."""
    path = folder / "python"
    path.write_text(f"#!{sys.executable} -S\n{textwrap.dedent(code)}", encoding="utf-8")
    path.chmod(0o755)
    return path


def good_python(folder: Path, **facts: Any) -> Path:
    """One that answers; every row that it judges is a line in `folder/judged`."""
    return fake_python(folder, GOOD.format(log=str(folder / "judged"), facts={**FACTS, **facts}))


def expected(source: str, translation: str, reference: str | None) -> float:
    """What `good_python` answers."""
    return len(translation) / 100 + len(reference or "") / 10000 + len(source) / 1000000

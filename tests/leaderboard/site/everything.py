"""A store with one of each thing that a page can show: for pages that are compared whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchbench.core import __version__
from benchbench.core.types import Item
from benchbench.store.files import read_json, sha256_of, write_json
from benchbench.store.folder import PART
from benchbench.store.table import encode_part
from tests.leaderboard.world import choice, rolling, write_run
from tests.store.make import item

GROUPS = [
    {"name": "pair", "tasks": ["pair_cs", "pair_fr"], "weight_by_size": True},
    {"name": "trio", "tasks": ["ends", "gaps", "unasked"], "weight_by_size": False},
]
FILES = {"pair_cs": "pair/pair.yaml", "pair_fr": "pair/pair.yaml"}
CHANCE = {"pair_cs": 0.5, "pair_fr": 0.5, "single": 0.25, "guess": None, "ends": 0.5, "gaps": 0.0}
SIZES = {"pair_cs": 40, "pair_fr": 25, "single": 30, "guess": 12, "ends": 16, "gaps": 12}
STEPS = (100, 200, 300, 400, 500, 10_000)
EXAMPLE = {"doc_id": 3, "prompt": "Kolik je 1 + 1?\n", "continuations": [f" {i}" for i in range(14)]}
REPORTED = """
source: A paper
url: https://example.org/paper
date: "2024"
known: {shots: "5", harness: ours}
unknown: [prompts, docs]
note: Read from a figure.
tables:
  - title: Choices
    columns:
      - {name: "Single", metric: accuracy, task: single}
      - {name: "Percent", metric: accuracy, task: pair_cs, unit: percent}
      - {name: "Avg", metric: mean}
    note: Without France.
    rows:
      - {model: one, values: [0.25, 61.5, 0.3333], known: {shots: "0"}}
      - {model: two, values: [0.5, null, 12345.678]}
"""


def everything(root: Path) -> Path:
    """Writes the store: a training by steps and one by tokens, models alone, twins, another way of asking, imports."""
    for rank, step in enumerate(STEPS):
        _write(root, f"run@step{step}", rank, series="run", step=step, tokens_seen=None)
    for rank, tokens in enumerate((1_000, 3_000)):
        name = f"tok@{tokens}B"
        _write(root, name, 3 * rank, ("single", "ends"), _bare, series="tok", step=None, tokens_seen=tokens * 10**9)
    _write(root, "alone", 4, change=_large)
    _write(root, "twin", 4, ("single",), _like("alone"))
    _write(root, "asked", 3, ("single", "pair_cs"), _asked_otherwise)
    _write(root, "broken", 2, ("single", "gaps"), _failed)
    _write(root, "published", 5, ("single", "guess"), _imported)
    _write(root, "lonely", 1, ("nobody",))
    (root / "reported").mkdir()
    (root / "reported" / "paper.yaml").write_text(REPORTED, encoding="utf-8")
    return root


def _write(root: Path, name: str, rank: int, tasks: Any = None, change: Any = None, **more: Any) -> None:
    known = {"series": name, "step": None, "tokens_seen": None, **more}
    made = {task: _items(task, rank, name) for task in tasks or (*SIZES, "texts")}
    folder = write_run(root, name, made, groups=_groups(made), chance=CHANCE, files=FILES, **known)
    values = read_json(folder.path / "run.json")
    values["versions"] = {"benchbench": __version__}
    values["provenance"]["finished"] = f"2026-01-{10 + rank:02}"
    if change is not None:
        change(values, folder.path)
    write_json(folder.path / "run.json", values)


def _groups(made: dict[str, list[Item]]) -> list[dict[str, Any]]:
    return [group for group in GROUPS if set(group["tasks"]) <= {*made, "unasked"} and "unasked" not in group["tasks"]]


def _items(task: str, rank: int, name: str) -> list[Item]:
    rng = np.random.default_rng([rank, len(task), len(name)])
    if task == "texts":
        return rolling(task, 4 - 0.1 * rank + 0.2 * rng.normal(size=20))
    n = SIZES.get(task, 10)
    ease = np.random.default_rng(len(task)).normal(size=n)
    right = (ease + 0.7 * rng.normal(size=n) < 0.2 * rank - 0.3).astype(float)
    if task == "ends":
        right[:] = float(rank > 2)
    clusters = [f"q{i}" for i in range(n)] if task in FILES else [f"c{i // 4}" for i in range(n)]
    return choice(task, right, clusters if task in (*FILES, "gaps") else None)


def _bare(values: dict[str, Any], folder: Path) -> None:
    """Without items: numbers and standard errors alone."""
    _import(values)
    for path in sorted(folder.rglob(PART)):
        path.unlink()


def _import(values: dict[str, Any], kind: str = "lm-eval") -> None:
    values["origin"] = {"kind": kind, "file": "table.json", "sha256": "0" * 16}
    values["backend"]["model_identity"] = f"unknown weights of {values['model']}"


def _large(values: dict[str, Any], folder: Path) -> None:
    """All that a model's page and a prompt can say."""
    more = {"version": "2.1", "num_parameters": 7_242_000_000, "revision": "main", "device": "cuda"}
    values["backend"] |= more
    values["tokens_seen"] = 1_500_000_000_000
    task = values["tasks"]["single"]
    task |= {"example": EXAMPLE, "data_path": "org/single", "data_revision": "r1"}
    task["resolved"] = {"doc_to_text": "{{ question }}", "target_delimiter": " ", "description": ""}
    values["tasks"]["ends"]["data_path"] = "/home/me/ends"
    values["rows"][0] |= {"note": "a note", "signature": "pair_cs.v1|shots:0"}


def _like(model: str) -> Callable[[dict[str, Any], Path], None]:
    def change(values: dict[str, Any], folder: Path) -> None:
        values["backend"]["model_identity"] = f"weights of {model}"

    return change


def _asked_otherwise(values: dict[str, Any], folder: Path) -> None:
    """Five shots for one task, another prompt for the other."""
    values["tasks"]["single"] |= {"num_fewshot": 5, "version": 2}
    values["tasks"]["pair_cs"] |= {"prompt_hash": "p2"}
    for row in values["rows"]:
        row["num_fewshot"] = 5 if row["task"] == "single" else 0


def _failed(values: dict[str, Any], folder: Path) -> None:
    """Docs of each outcome, and texts instead of choices."""
    outcomes = ("failed", "unanswered", "truncated", "answered", "answered")
    made = [
        item(i, task="gaps", outcome=outcomes[i % 5], prediction=None, targets=("le chat", "un chat"), gold="0",
             loglikelihoods=(), is_greedy=(), num_tokens=(4,), prompt_tokens=(9,), texts=(f"chat {i}",),
             finish_reasons=("stop",), failure="timeout: too slow" if i % 5 == 0 else None, tie=i == 3,
             scores={} if i % 5 == 0 else {"acc": (0.0, 1.0, 0.5, 0.25)[i % 4]})
        for i in range(SIZES["gaps"])
    ]  # fmt: skip
    part = folder / "items" / "gaps" / PART
    part.write_bytes(encode_part(made))
    values["provenance"]["parts"]["gaps"] = sha256_of(part)
    counts = {"answered": 5, "unanswered": 2, "truncated": 2, "failed": 3, "ties": 1, "shortened": 2}
    values["tasks"]["gaps"] |= {"counts": {"n": 12, **counts}, "output_type": "generate_until"}


def _imported(values: dict[str, Any], folder: Path) -> None:
    """A table's numbers, of which one has no standard error."""
    _bare(values, folder)
    values["origin"]["kind"] = "table"
    for task in values["tasks"].values():
        task |= {"data_hash": None, "prompt_hash": None, "version": None, "num_fewshot": None}
    for row in values["rows"]:
        if row["task"] == "single":
            row.update(stderr=None, ci_low=None, ci_high=None)

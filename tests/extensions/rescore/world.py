"""A finished run with translations, answers and choices in it, and what to score it with."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import yaml

from benchbench.backends.engines import ModelOptions
from benchbench.extensions.comet.process import CometOptions
from benchbench.extensions.rescore.settings import ScoreSettings
from benchbench.runner.run import run
from benchbench.runner.settings import RunSettings
from benchbench.store.folder import RunFolder
from tests.runner.toy import make_world, settings, write_rows

TRANSLATE: dict[str, Any] = {
    "task": "toy_{{ source }}-{{ target }}",
    "version": 1,
    "group": "toy_mt",
    "matrix": [{"source": "cs", "target": "fr"}, {"source": "fr", "target": "cs"}],
    "dataset_path": "toy/mt",
    "test_split": "test",
    "output_type": "generate_until",
    "doc_to_text": "{{ text[source] }} =",
    "doc_to_target": "{{ text[target] }}",
    "doc_to_source": "{{ text[source] }}",
    "cluster": "page",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8},
    "metric_list": [{"metric": "bleu"}, {"metric": "chrf"}],
}
PAIRS = [
    ("Pes spí.", "Le chien dort."),
    ("Kočka pije mléko.", "Le chat boit du lait."),
    ("Prší.", "Il pleut."),
    ("Jdeme domů.", "Nous rentrons."),
    ("Kolik je hodin?", "Quelle heure est-il ?"),
    ("Mám hlad.", "J'ai faim."),
]


def world(folder: Path, **changes: Any) -> Path:
    """Toy tasks with the translation task among them; `changes` are keys of its file, None takes one away."""
    make_world(folder, quiz=6, write=4)
    task = {key: value for key, value in {**TRANSLATE, **changes}.items() if value is not None}
    (folder / "tasks" / "toy_mt.yaml").write_text(yaml.safe_dump(task, allow_unicode=True), encoding="utf-8")
    rows = [{"text": {"cs": cs, "fr": fr}, "page": f"p{n // 2}"} for n, (cs, fr) in enumerate(PAIRS)]
    write_rows(folder / "hub/toy/mt/default/test.jsonl", rows)
    return folder


def run_settings(folder: Path, model: str = "hash", **changes: Any) -> RunSettings:
    """All toy tasks, the translations as a group."""
    return settings(folder, model, **{"tasks": "toy_mt,toy", **changes})


def finished(folder: Path, model: str = "hash", **changes: Any) -> RunFolder:
    """The run, finished."""
    return RunFolder(run(run_settings(folder, model, **changes)).path)


def comet(folder: Path, python: Path, *metrics: str, model: str = "org/tiny", **changes: Any) -> ScoreSettings:
    """Score with this COMET; `metrics` beside it."""
    options = CometOptions(model, python, timeout=300.0)
    chosen: dict[str, Any] = {"metrics": ("comet", *metrics), "comet": options, "include_paths": (folder / "tasks",)}
    return ScoreSettings(**{**chosen, **changes})


def own_bytes(run: RunFolder) -> dict[str, str]:
    """sha256 of every file of the run but those of added metrics."""
    files = [path for path in sorted(run.path.rglob("*")) if path.is_file() and "scores" not in path.parts]
    return {str(path.relative_to(run.path)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


__all__ = ["ModelOptions", "comet", "finished", "own_bytes", "run_settings", "world"]

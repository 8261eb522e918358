"""Sound worlds, made once: each is a folder with all that a command needs, to be copied and then damaged."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from tests import models
from tests.fuzz.watch import SECRET, call
from tests.runner.toy import QUIZ, WRITE, quiz_rows, write_rows

BOX = "@BOX@"
"""Stands in a sound world for its own absolute path."""
TASKS = "--include-path tasks --data-root hub"
SCRIPTED = f"run --backend scripted --tasks toy_quiz,toy_write {TASKS}"
OWN = {
    "task": "toy_own",
    "version": 1,
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "own.jsonl", "train": "own.jsonl"}},
    "test_split": "test",
    "fewshot_split": "train",
    "num_fewshot": 1,
    "output_type": "generate_until",
    "doc_to_text": "{% if q %}{{ q | trim }}{% endif %} ->",
    "doc_to_target": "a",
    "description": "Write.\n",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8, "temperature": 0.0},
    "filter_list": [
        {
            "name": "first",
            "filter": [
                {"function": "regex", "regex_pattern": "(\\w+)", "group_select": 0},
                {"function": "take_first"},
            ],
        }
    ],
    "repeats": 1,
    "metric_list": [{"metric": "exact_match", "ignore_case": True, "regexes_to_ignore": ["[,.]"]}, {"metric": "chrf"}],
}


def make(name: str, place: Path) -> Path:
    """The world of that name in `place`, made if it is not there yet."""
    folder = place / f"sound-{name}"
    if not folder.is_dir():
        beginning = place / f"making-{name}"
        shutil.rmtree(beginning, ignore_errors=True)
        beginning.mkdir(parents=True)
        make_beside(place / "beside")
        WORLDS[name](beginning)
        for path in beginning.glob("results/sweeps/*/sweep.json"):
            path.write_text(path.read_text().replace(str(beginning), BOX))
        beginning.rename(folder)
    return folder


def copy(world: Path, box: Path) -> None:
    """A copy of a sound world that knows its own place."""
    shutil.copytree(world, box, symlinks=True)
    for path in box.glob("results/sweeps/*/sweep.json"):
        path.write_text(path.read_text().replace(BOX, str(box)))


def make_beside(folder: Path) -> None:
    """Files that nothing may reach, in the formats that the product reads."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True)
    row = json.dumps({"q": SECRET, "a": SECRET, "question": SECRET, "answer": SECRET})
    for name in ("secret", "secret.json", "secret.jsonl", "secret.txt"):
        (folder / name).write_text(row + "\n")
    (folder / "secret.csv").write_text(f"q,a,question,answer\n{SECRET},{SECRET},{SECRET},{SECRET}\n")
    (folder / "secret.yaml").write_text(json.dumps({"task": "secret", "description": SECRET}))
    (folder / "secret.jinja").write_text(SECRET)


def tasks(folder: Path) -> None:
    """Three tasks, one with data of its own, a group, and rows."""
    (folder / "tasks/pack").mkdir(parents=True)
    for task in (QUIZ, WRITE):
        (folder / "tasks" / f"{task['task']}.yaml").write_text(json.dumps(task))
    write_rows(folder / "hub/toy/quiz/default/test.jsonl", quiz_rows(4))
    write_rows(folder / "hub/toy/quiz/default/train.jsonl", quiz_rows(6)[4:])
    rows = [{"question": f"slovo {n}", "answer": f"slovo {n}"} for n in range(3)]
    write_rows(folder / "hub/toy/write/default/test.jsonl", rows)
    (folder / "tasks/pack/own.yaml").write_text(json.dumps(OWN))
    write_rows(folder / "tasks/pack/own.jsonl", [{"q": f"word {n}", "a": f"w{n}"} for n in range(3)])


def results(folder: Path) -> None:
    """Two finished runs, one with a metric added later, and a sweep of two checkpoints."""
    tasks(folder)
    for model in ("hash", "hash,salt=2"):
        sound(folder, f"{SCRIPTED} --model {model}")
    sound(folder, f"score {runs(folder)[0]} --metric f1,chrf")
    (folder / "list.jsonl").write_text(
        "".join(json.dumps({"step": n, "path": f"hash,salt={n}"}) + "\n" for n in (10, 20))
    )
    sweep = "sweep --backend scripted --model toy --checkpoints list.jsonl --tasks toy_write --name series"
    sound(folder, f"{sweep} {TASKS}")
    fixed_names(folder)


def live(folder: Path) -> None:
    """A run that was stopped before its first task was sealed, with all of its lines written."""
    tasks(folder)

    def stops(real: Callable[..., Any]) -> Callable[..., Any]:
        def rename(*args: Any, **kwargs: Any) -> Any:
            if Path(args[1]).name.startswith("part-"):
                raise KeyboardInterrupt
            return real(*args, **kwargs)

        return rename

    patches = [mock.patch.object(place, name, stops(getattr(place, name))) for place, name in RENAMES]
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        call(folder, *f"{SCRIPTED} --model hash".split())
    if len(list(folder.glob("results/*/*/items/*/live.jsonl"))) != 1:
        raise RuntimeError("the run was not stopped where it should be")
    fixed_names(folder)


RENAMES = ((Path, "rename"), (Path, "replace"), (os, "rename"), (os, "replace"))
"""Ways to give a finished part its name."""


def runs(folder: Path) -> list[Path]:
    """Run folders, from the world."""
    return sorted(path.parent.relative_to(folder) for path in folder.glob("results/*/*/plan.json"))


def fixed_names(folder: Path) -> None:
    """`run-0`, `run-1`, … and `sweep-0` link to the folders, whose names hold hashes."""
    for n, run in enumerate(runs(folder)):
        (folder / f"run-{n}").symlink_to(run)
    for n, path in enumerate(sorted(folder.glob("results/sweeps/*"))):
        (folder / f"sweep-{n}").symlink_to(path.relative_to(folder))


def model(folder: Path) -> None:
    """Tasks, a Llama with a chat template, and that as a GGUF file."""
    tasks(folder)
    models.tiny_llama(folder / "model")
    models.with_chat_template(folder / "model")
    models.tiny_gguf(folder / "model.gguf", folder / "model", bos=True, chat=True)


def families(folder: Path) -> None:
    """Tasks and a model of each kind: absolute and relative positions, ALiBi, windows, encoder and decoder."""
    tasks(folder)
    for name in ("llama", "gpt2", "mpt", "t5", "qwen2", "mistral"):
        getattr(models, f"tiny_{name}")(folder / name)
    index = {"metadata": {}, "weight_map": dict.fromkeys(_tensor_names(folder / "mistral"), "model.safetensors")}
    (folder / "mistral/model.safetensors.index.json").write_text(json.dumps(index))


def _tensor_names(folder: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "np") as file:
        return list(file.keys())


def imports(folder: Path) -> None:
    """What other programs leave: a table, JSON lines, and lm-eval's results with samples."""
    results(folder)
    sound(folder, "results export --format lm-eval --to theirs")
    sound(folder, "results export --to table.csv")
    rows = [
        {"model": f"m{n}", "task": "toy_quiz", "metric": "acc", "value": n / 4, "n": 4, "step": n} for n in range(3)
    ]
    write_rows(folder / "table.jsonl", rows)
    shutil.rmtree(folder / "results")
    for file in folder.glob("theirs/*/*.json*"):
        file.rename(file.with_name(re.sub(r"_\d{4}-[^_]*(?=\.json)", "_2026-01-01T00-00-00.000000", file.name)))


def sound(folder: Path, command: str) -> None:
    """A command that must do its work without a fault."""
    status, said, faults = call(folder, *command.split())
    if status or faults:
        raise RuntimeError(f"{command}: {status}\n{said}\n{faults}")


WORLDS: dict[str, Callable[[Path], None]] = {
    "tasks": tasks, "results": results, "live": live, "model": model, "families": families, "imports": imports,
}  # fmt: skip

"""For authors of tasks: the first files of a new one, and the page that lists every task that ships."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchbench.core.errors import ArgumentError, did_you_mean
from benchbench.tasks import index as task_index
from benchbench.tasks.dialect import TaskVariant

_HEAD = """\
# Check it:   benchbench tasks check {name} --include-path .
# Look at it: benchbench tasks render {name} --include-path . --doc 1 --num-fewshot 1
# Every key is explained in tasks/README.md; lines that start with # may go.
task: {name}
version: 1                     # raise it whenever a prompt or a score changes
dataset_path: json             # or organisation/name of a data set on the Hub, with dataset_name: its configuration
dataset_kwargs: {{data_files: {{test: items.jsonl}}}}
test_split: test               # what is evaluated; shots come from it too, unless there is a training_split
output_type: {kind}
"""
_CHOICE = """\
doc:                           # fields made of others, in Jinja
  choices: "{{{{ [right] + wrong }}}}"
doc_to_text: "Question: {{{{ question }}}}\\nAnswer:"
doc_to_choice: choices         # a field that holds a list of texts
doc_to_target: 0               # which of them is right, counted from 0
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""
_GENERATE = """\
doc_to_text: "Question: {{{{ question }}}}\\nAnswer:"
doc_to_target: "{{{{ answers }}}}"  # one right text, or a list of them
generation_kwargs: {{until: ["\\n"], max_gen_toks: 32}}
filter_list:
  - {{name: strip, filter: [{{function: remove_whitespace}}, {{function: take_first}}]}}
metric_list:
  - {{metric: exact_match, ignore_case: true, ignore_punctuation: true}}
"""
_TAIL = """\
# cluster: passage             # docs that share a text or a source: standard errors then respect it
# num_fewshot: 3
# prompts: {{short: {{doc_to_text: "{{{{ question }}}}"}}}}   # picked by --prompt short
chance: {chance}                   # score of guessing
licence: to be filled in
citation: to be filled in
"""
_README = """\
# {name}

What it measures, in one or two sentences.

| | |
|---|---|
| data | where the documents come from, how many, which split |
| licence | |
| paper | |
| prompt | who wrote it; equal to which other harness's, if any |
| chance | {chance} |
| read | which metric, at how many shots |

## Known flaws
- What a reader of its numbers should know.
"""
_COUNTRIES: Sequence[tuple[str, str, tuple[str, str]]] = (
    ("What is the capital of France?", "Paris", ("Lyon", "Nice")),
    ("What is the capital of Czechia?", "Prague", ("Brno", "Ostrava")),
    ("What is the capital of Slovakia?", "Bratislava", ("Nitra", "Prešov")),
)
_KINDS: Mapping[str, tuple[str, str]] = {"multiple_choice": (_CHOICE, "0.33"), "generate_until": (_GENERATE, "0.0")}


def write_starter(name: str, kind: str, folder: Path) -> list[Path]:
    """Write the files into `folder/name`; their paths, the task first.

    Raises:
        ArgumentError: no name for a task, no such kind, or the folder is there already.
    """
    if not re.fullmatch(r"[\w.:@+-]+", name) or name.startswith((".", "_")):
        raise ArgumentError(f"{name!r} is no name for a task: use letters, digits and _ . : @ + -.")
    if kind not in _KINDS:
        raise ArgumentError(f"No starter of the kind {kind!r}.{did_you_mean(kind, _KINDS)} Kinds: {', '.join(_KINDS)}.")
    target = folder / name
    if target.exists():
        raise ArgumentError(f"{target} is there already; nothing was written.")
    body, chance = _KINDS[kind]
    task = (_HEAD + body + _TAIL).format(name=name, kind=kind, chance=chance)
    readme = _README.format(name=name, chance=chance)
    files = {f"{name}.yaml": task, "items.jsonl": _example_rows(kind), "README.md": readme}
    target.mkdir(parents=True)
    for file, text in files.items():
        (target / file).write_text(text, encoding="utf-8")
    return [target / file for file in files]


def _example_rows(kind: str) -> str:
    lines = []
    for question, right, wrong in _COUNTRIES:
        answer = {"right": right, "wrong": wrong} if kind == "multiple_choice" else {"answers": [right]}
        lines.append(json.dumps({"question": question, **answer}, ensure_ascii=False) + "\n")
    return "".join(lines)


_PAGE_HEAD = """\
# All tasks

Written by `benchbench tasks page --to tasks/TASKS.md`; a test holds it against the task files. One row per file: a file
with a matrix makes many tasks. Documents are those of the evaluated split, per task or from the smallest to the
largest; where the table has none, the file states no number, and `benchbench tasks check` counts them.

"""


def render_page(index: task_index.TaskIndex) -> str:
    """The page in Markdown, for the tasks that ship: a table of tasks and one of suites."""
    root = task_index.packaged_tasks()
    files: dict[Path, list[TaskVariant]] = {}
    for variant in index.variants.values():
        if variant.path.is_relative_to(root):
            files.setdefault(variant.path, []).append(variant)
    header = ("tasks", "number", "kind", "shots", "documents", "metrics", "data", "licence")
    lines = [_PAGE_HEAD, *_table(header, [_page_row(index, root, path, variants) for path, variants in files.items()])]
    lines += ["\n## Suites\n\n"]
    suites = [(f"`{s.name}`", str(len(index.names(s.name))), s.description) for s in index.suites.values()]
    return "".join([*lines, *_table(("suite", "tasks", ""), suites)])


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |\n|{'---|' * len(header)}\n"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |\n"


def _page_row(index: task_index.TaskIndex, root: Path, path: Path, variants: Sequence[TaskVariant]) -> tuple[str, ...]:
    names = [variant.name for variant in variants]
    shown = names if len(names) <= 4 else [names[0], "…", names[-1]]
    task = index.task(names[0])
    folder = path.parent.relative_to(root).as_posix()
    return (
        f"[{folder}]({folder}/README.md): " + ", ".join(name if name == "…" else f"`{name}`" for name in shown),
        f"{len(names):,}",
        task.output_type,
        str(task.config.num_fewshot or 0),
        _documents(variants),
        ", ".join(f"`{metric.name}`" for metric in task.scoring.metrics),
        _joined_values([str(variant.raw["dataset_path"]) for variant in variants]),
        _joined_values([str(variant.raw.get("licence") or "none stated") for variant in variants]),
    )


def _documents(variants: Sequence[TaskVariant]) -> str:
    stated = [variant.raw.get("metadata") for variant in variants]
    found = {one.get("documents") if isinstance(one, dict) else None for one in stated}
    counts = {count for count in found if isinstance(count, int)}
    if not counts:
        return ""
    shown = f"{min(counts):,}" if len(counts) == 1 else f"{min(counts):,} to {max(counts):,}"
    return shown if counts == found else f"{shown}; not stated for all"


def _joined_values(values: Sequence[str]) -> str:
    different = [*dict.fromkeys(values)]
    return ", ".join(different) if len(different) <= 3 else f"{different[0]}, … ({len(different)})"

"""What is damaged, and which commands meet it: one entry per kind of file that a stranger may bring."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import strategies as st

from tests.fuzz import worlds
from tests.fuzz.damage import byte_edits, file_edits, tree_edits, whole_edits
from tests.fuzz.edits import Edit, Number, Put, Splice, apply, beside
from tests.fuzz.gguf_fields import fields
from tests.fuzz.parquet import column_edits
from tests.fuzz.server import HEAD, MODELS, Answers, serving
from tests.fuzz.values import ANSWER_KEYS, HEADS, MODEL_KEYS, RECORD_KEYS, TASK_KEYS, TEXTS
from tests.fuzz.watch import Fault, call
from tests.fuzz.worlds import TASKS

ADDRESS, MODEL = "@ADDRESS@", "@MODEL@"
"""In commands: options that lead to the server; the folder of the first file that is damaged."""
LINKS = ("tasks/", "run-", "sweep-")
"""Folders out of which no link may lead. Models (the Hub's cache), data roots and lists are the user's own."""
BIG = (0, -1, 1, 10**9, 2**31, 2**32 - 1, 2**63, 2**64 - 1)


@dataclass(frozen=True, slots=True)
class Case:
    """One try: a command on a sound world after these edits."""

    command: str
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """What is damaged and which commands then read it."""

    name: str
    world: str
    files: tuple[str, ...]
    """Patterns of the files that are damaged, from the world."""
    commands: tuple[str, ...]
    more: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Values that mean something for a key of that name."""
    head: int | None = None
    """So many bytes at the beginning are damaged more often."""

    def cases(self, place: Path) -> st.SearchStrategy[Case]:
        """What is tried; the sound world lies in `place`."""
        edits = self._edits(worlds.make(self.world, place))
        some = st.lists(edits, min_size=1, max_size=3).map(tuple)
        return st.builds(Case, st.sampled_from(self.commands), some)

    def _edits(self, world: Path) -> st.SearchStrategy[Edit]:
        if self.name == "server":
            return server_edits()
        found = [self._edits_of(world, str(path.relative_to(world))) for path in self._targets(world)]
        return st.integers(0, len(found) - 1).flatmap(found.__getitem__)

    def _targets(self, world: Path) -> list[Path]:
        return sorted({path for pattern in self.files for path in world.glob(pattern) if path.is_file()})

    def _edits_of(self, world: Path, file: str) -> st.SearchStrategy[Edit]:
        data = (world / file).read_bytes()
        usual = file_edits(file, data, self.more, head=self.head, links=file.startswith(LINKS))
        if file.endswith(".gguf"):
            return st.one_of(numbers(file, tuple(fields(data))), numbers(file, tuple(fields(data))), usual)
        if file.endswith(".parquet"):
            return st.one_of(column_edits(file, data), usual)
        return usual


def numbers(file: str, spots: tuple[tuple[int, int], ...]) -> st.SearchStrategy[Edit]:
    """Another integer at one of the (offset, width)."""
    value = st.one_of(st.sampled_from(BIG), st.integers(0, 300))
    return st.tuples(st.sampled_from(spots), value).map(lambda drawn: Number(file, *drawn[0], drawn[1]))


@st.composite
def server_edits(draw: st.DrawFn) -> Edit:
    """An edit of the list of models, of answers, or of their heads, from some answer on."""
    since = draw(st.sampled_from((1, 1, 2, 4, 6, 8, 9)))
    what = draw(st.sampled_from(("answer", "answer", "answer", "error", "head", "status", "models")))
    if what == "models":
        return draw(file_edits("models.json", json.dumps(MODELS).encode()))
    if what == "status":
        first = HEAD.index(b"\n") + 1
        return Splice(f"head-{since}", 0, first, draw(st.sampled_from(HEADS)))
    if what == "head":
        return draw(byte_edits(f"head-{since}", HEAD))
    name = f"answer-{since}.json"
    answer = {
        "choices": [ANSWER],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
        "model": "words",
        "id": "x",
    }
    if what == "error":
        return Put(
            name,
            ("error",),
            draw(
                st.one_of(st.sampled_from(TEXTS), st.sampled_from(({"message": "Bearer @KEY@"}, {"code": 1}, [], None)))
            ),
        )
    data = json.dumps(answer).encode()
    return draw(st.one_of(*[tree_edits(name, answer, ANSWER_KEYS)] * 4, byte_edits(name, data), whole_edits(name)))


ANSWER = {
    "index": 0,
    "text": "w",
    "message": {"role": "assistant", "content": "w"},
    "finish_reason": "length",
    "logprobs": {
        "tokens": ["w", "x"],
        "token_logprobs": [None, -1.0],
        "text_offset": [0, 1],
        "top_logprobs": [None, {"w": -1.0}],
    },
}
SCRIPTED = f"run --backend scripted --model hash --tasks toy_quiz,toy_write {TASKS}"
HF = f"run --backend hf --device cpu --tasks toy_quiz,toy_write --limit 1 {TASKS}"
WORDS = f"run --backend api --model words {TASKS} --model-args"
CHAT = f"{TASKS} --apply-chat-template"
READ_RUN = (
    "results ls", "results ls --json", "results show run-0", "results show run-0 --json", "results prompts",
    "results items run-0 --task toy_write", "results items run-0 --task toy_quiz --json", "results export",
    "results export --format lm-eval --to theirs", "results export --format parquet --to x.parquet",
    "leaderboard --results results --out site", "leaderboard --results results --out site", "compare run-0 run-1",
    "compare hash hash,salt=2 --json --metric all", "score run-0 --metric f1", "score run-0 --metric bleu,acc,chrf",
    SCRIPTED, f"run --backend scripted --model hash --tasks toy_quiz {TASKS}",
)  # fmt: skip
SWEEP = (
    "sweep status", "sweep status --json", "sweep show", "sweep show --json", "sweep resume latest",
    f"sweep --backend scripted --model toy --checkpoints list.jsonl --tasks toy_write {TASKS} --name series",
    "leaderboard --results results --out site",
)  # fmt: skip

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "yaml",
            "tasks",
            ("tasks/**/*.yaml",),
            (
                SCRIPTED,
                "run --backend scripted --model hash --tasks toy_own --include-path tasks",
                f"tasks check toy_quiz,toy_write,toy_own {TASKS}",
                "tasks show toy_own --include-path tasks",
                "tasks ls --include-path tasks",
                f"tasks render toy_own {TASKS}",
                f"tasks render toy_quiz {TASKS}",
            ),
            TASK_KEYS,
        ),
        Kind(
            "rows",
            "tasks",
            ("hub/**/*.jsonl", "tasks/**/*.jsonl"),
            (SCRIPTED, f"tasks check toy_quiz,toy_write,toy_own {TASKS}", "data ls --data-root hub"),
        ),
        Kind("record", "results", ("run-0/run.json",), READ_RUN, RECORD_KEYS),
        Kind(
            "folder", "results", ("run-0/plan.json", "run-0/log.jsonl", "run-0/scores/*/*.json"), READ_RUN, RECORD_KEYS
        ),
        Kind(
            "sweep",
            "results",
            ("sweep-0/*.json", "sweep-0/units/*/*.json", "list.jsonl"),
            SWEEP,
            RECORD_KEYS,
        ),
        Kind(
            "live",
            "live",
            ("run-0/items/*/live.jsonl",),
            (SCRIPTED, SCRIPTED, "results items run-0 --json", "results ls"),
            RECORD_KEYS,
        ),
        Kind("parquet", "results", ("run-0/items/*/*.parquet", "run-0/scores/*/*.parquet"), READ_RUN, head=300),
        Kind(
            "imports",
            "imports",
            ("table.*", "theirs/*/*.json*"),
            tuple(f"results import {what} --output new" for what in ("table.csv", "table.jsonl", "theirs")),
            RECORD_KEYS,
        ),
        Kind(
            "server",
            "tasks",
            (),
            (
                f"{WORDS} {ADDRESS} --tasks toy_quiz,toy_write",
                f"{WORDS} {ADDRESS},endpoint=chat --tasks toy_write",
            ),
        ),
        Kind(
            "gguf",
            "model",
            ("model.gguf",),
            (f"{HF} --model model.gguf", "doctor model.gguf", f"tasks render toy_write {CHAT} --model model.gguf"),
            head=16000,
        ),
        Kind(
            "safetensors",
            "model",
            ("model/model.safetensors",),
            (f"{HF} --model model", f"{HF} --model model", "doctor model"),
            MODEL_KEYS,
            head=3000,
        ),
        Kind(
            "tokenizer",
            "model",
            ("model/tokenizer.json", "model/tokenizer_config.json", "model/chat_template.jinja"),
            (
                f"{HF} --model model",
                f"run --backend hf --device cpu --tasks toy_write --limit 1 {CHAT} --model model",
                f"tasks render toy_write {CHAT} --model model",
                "doctor model",
                f"tasks check toy_write {TASKS} --tokenizer model",
            ),
            MODEL_KEYS,
        ),
        Kind(
            "config",
            "families",
            ("*/config.json", "*/generation_config.json", "*/model.safetensors.index.json"),
            (f"{HF} --model {MODEL}", f"{HF} --model {MODEL}", f"doctor {MODEL}"),
            MODEL_KEYS,
        ),
    )
}

_count = itertools.count()


def look(kind: Kind, case: Case, place: Path) -> list[Fault]:
    """The faults of one try; the box is gone afterwards."""
    box = place / f"box-{next(_count)}"
    try:
        worlds.copy(worlds.make(kind.world, place), box)
        with _served(case, box) if kind.name == "server" else contextlib.nullcontext("") as url:
            for edit in case.edits:
                if kind.name != "server":
                    apply(edit, box)
            options = f"base_url={url},timeout=1,retries=1,concurrency=2"
            model = case.edits[0].file.split("/")[0] if case.edits else ""
            command = case.command.replace(ADDRESS, options).replace(MODEL, model)
            return call(box, *command.split())[2] + changed_beside(beside(box))
    finally:
        shutil.rmtree(box, ignore_errors=True)


@contextlib.contextmanager
def _served(case: Case, box: Path) -> Iterator[str]:
    """The address of a server that answers as the case says. Asking it again takes no time."""
    soon = mock.patch("benchbench.backends.api.client.FIRST_WAIT", 0.02)
    with soon, serving(Answers(case.edits, box)) as url:
        yield url


def changed_beside(folder: Path) -> list[Fault]:
    """A fault where a file beside the box is not as it was; what is wrong is put right."""
    now = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
    before = _beside.setdefault(folder, now)
    if now == before and len(before) == len(list(folder.iterdir())):
        return []
    shutil.rmtree(folder)
    worlds.make_beside(folder)
    return [Fault("write", "beside the box", f"{sorted(before)} became {sorted(now)}")]


_beside: dict[Path, dict[str, bytes]] = {}

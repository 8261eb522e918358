"""Docs of tasks looked for in a corpus: in parallel, in bounded memory, going on where it was stopped.

<results>/leaks/<name>/progress-<hash>.jsonl   a line per piece of the corpus that was searched
                       <task>.jsonl            a line per doc: its n-grams, and how many the corpus holds
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

from benchbench.core.errors import ArgumentError
from benchbench.core.ids import content_hash
from benchbench.core.types import RenderedDoc
from benchbench.extensions.leaks.corpus import Broken, Piece, blocks_of, files_of, pieces_of
from benchbench.extensions.leaks.ngrams import Wanted, grams_of
from benchbench.store.files import make_folder, write_whole
from benchbench.store.lines import LineLog, read_lines
from benchbench.store.lock import RunLock

WORDS = 13
"""Words of an n-gram."""
IN_MANY = 10
"""An n-gram of as many docs of a task is its instruction, and tells nothing of any."""
AHEAD = 4
"""Pieces per process that wait to be searched."""


@dataclass(frozen=True, slots=True)
class DocFlag:
    """What the corpus holds of one doc."""

    doc_id: int
    doc_hash: str
    grams: int
    """n-grams that were looked for; 0: the doc has fewer words, and nothing is known of it."""
    found: int
    """Of these, in the corpus, whatever capitals and punctuation."""
    exact: int
    """Of these, byte for byte."""

    @property
    def is_leaked(self) -> bool:
        """At least one n-gram is in the corpus."""
        return self.found > 0


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The flags of all tasks, and what could not be read."""

    folder: Path
    flags: Mapping[str, tuple[DocFlag, ...]]
    bytes_searched: int
    pieces: int
    resumed: int
    """Pieces that an earlier call had searched."""
    broken_lines: int
    broken_files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How docs are looked for. ArgumentError for a length that makes no sense."""

    words: int = WORDS
    field: str = "text"
    """Of a line of JSON: where its text is."""
    processes: int = 1

    def __post_init__(self) -> None:
        if not 3 <= self.words <= 100:
            raise ArgumentError(f"--words is {self.words}; n-grams have 3 to 100 words, by custom 13.")
        if self.processes < 1:
            raise ArgumentError(f"--processes is {self.processes}; it must be 1 or more.")


def text_of(doc: RenderedDoc) -> str:
    """What a doc asks and its right answer, without shots: what would have been learned."""
    right = [doc.choices[place] for place in doc.gold if place < len(doc.choices)] or list(doc.targets[:1])
    return "\n".join([doc.question, *right])


def search(
    tasks: Mapping[str, Sequence[RenderedDoc]], corpus: Sequence[Path], folder: Path, options: SearchOptions
) -> SearchResult:
    """Looks for every doc in every file; writes a flag per doc. ArgumentError for a corpus without files."""
    grams_by_doc = {name: [grams_of(text_of(doc), options.words) for doc in docs] for name, docs in tasks.items()}
    known = {name: _own(by_doc) for name, by_doc in grams_by_doc.items()}
    wanted = Wanted.of(
        {
            n: pair
            for name, docs in grams_by_doc.items()
            for grams in docs
            for n, pair in grams.items()
            if n in known[name]
        },
        options.words,
    )
    files = files_of(corpus)
    make_folder(folder)
    digest = content_hash([options.words, options.field, wanted.numbers.tolist()], digits=12)
    path = folder / f"progress-{digest}.jsonl"
    with RunLock(folder), LineLog(path) as log:
        done = _searched(path)
        resumed = len(done)
        for one in _work(wanted, [piece for piece in pieces_of(files) if piece.key not in done], options):
            log.append(asdict(one))
            done[one.key] = one
    pieces = [done[piece.key] for piece in pieces_of(files) if piece.key in done]
    found = {place for one in pieces for place in one.found}
    exact = {place for one in pieces for place in one.exact}
    numbers = wanted.numbers.tolist()
    hit, same = {numbers[place] for place in found}, {numbers[place] for place in exact}
    flags = {
        name: tuple(
            DocFlag(doc.doc.id, doc.doc.hash, len(own), len(own & hit), len(own & same))
            for doc, grams in zip(docs, grams_by_doc[name], strict=True)
            for own in [grams.keys() & known[name]]
        )
        for name, docs in tasks.items()
    }
    for name, rows in flags.items():
        lines = "".join(json.dumps(asdict(row)) + "\n" for row in rows)
        write_whole(folder / f"{name.replace('/', '--')}.jsonl", lines.encode())
    size = sum(path.stat().st_size for path in files)
    broken = tuple(dict.fromkeys(one.broken_file for one in pieces if one.broken_file is not None))
    return SearchResult(
        folder, flags, size, len(pieces), min(resumed, len(pieces)), sum(one.broken_lines for one in pieces), broken
    )


def _own(by_doc: Sequence[Mapping[int, object]]) -> set[int]:
    """n-grams that are no part of what all docs of the task say."""
    counts = Counter(number for grams in by_doc for number in grams)
    most = max(IN_MANY, len(by_doc) // 10)
    return {number for number, count in counts.items() if count < most}


@dataclass(frozen=True, slots=True)
class _Searched:
    key: str
    found: list[int]
    exact: list[int]
    broken_lines: int = 0
    broken_file: str | None = None


def _searched(path: Path) -> dict[str, _Searched]:
    """What was searched before, by key."""
    found = {}
    for line in read_lines(path):
        with suppress(TypeError):  # a line of another version
            one = _Searched(**cast("dict[str, Any]", line))
            found[one.key] = one
    return found


_wanted: list[tuple[Wanted, str]] = []


def _hold(wanted: Wanted, field: str) -> None:
    _wanted[:] = [(wanted, field)]


def _search_piece(piece: Piece) -> _Searched:
    wanted, field = _wanted[0]
    found, exact, broken = set[int](), set[int](), Broken()
    for block in blocks_of(piece, field, broken):
        wanted.find(block, found, exact)
    return _Searched(piece.key, sorted(found), sorted(exact), broken.lines, broken.file)


def _work(wanted: Wanted, pieces: Sequence[Piece], options: SearchOptions) -> Iterator[_Searched]:
    if options.processes == 1:
        _hold(wanted, options.field)
        yield from map(_search_piece, pieces)
        return
    with ProcessPoolExecutor(options.processes, initializer=_hold, initargs=(wanted, options.field)) as pool:
        waiting = iter(pieces)
        while some := list(islice(waiting, AHEAD * options.processes)):
            yield from pool.map(_search_piece, some)

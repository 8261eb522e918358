"""`python -m tests.bench.leaks`: how fast docs are looked for in a corpus, in how much memory, and how fast grep is."""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import tempfile
import time
from pathlib import Path

from benchbench.core.types import Doc, LoglikelihoodRequest, Prompt, RenderedDoc
from benchbench.extensions.leaks.search import SearchOptions, search, text_of

TASKS, DOCS = 20, 1000


def _words(rng: random.Random) -> list[str]:
    return ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(20_000)]


def _docs(task: str, words: list[str], rng: random.Random) -> list[RenderedDoc]:
    found = []
    for number in range(DOCS):
        text = " ".join(rng.choices(words, k=30))
        request = LoglikelihoodRequest(task, number, 0, Prompt("", (), text, "drop_shots"), " yes")
        found.append(RenderedDoc(task, Doc(number, {}, f"{task}{number}", None), (request,), ("yes", "no"), (0,)))
    return found


def main() -> None:
    """Makes the corpus, plants a doc of each task, searches, and prints."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.leaks", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--processes", type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(1)
    words = _words(rng)
    tasks = {f"task{k}": _docs(f"task{k}", words, rng) for k in range(TASKS)}
    with tempfile.TemporaryDirectory() as folder:
        corpus, patterns = Path(folder) / "corpus.txt", Path(folder) / "patterns"
        lines = [" ".join(rng.choices(words, k=15)) + "\n" for _ in range(50_000)]
        with corpus.open("w") as file:
            for docs in tasks.values():
                file.write(text_of(docs[0]) + "\n")
            while file.tell() < args.megabytes * 1_000_000:
                rng.shuffle(lines)
                file.writelines(lines)
        size = corpus.stat().st_size / 1e6
        start = time.monotonic()
        found = search(tasks, [corpus], Path(folder) / "out", SearchOptions(processes=args.processes))
        seconds = time.monotonic() - start
        leaked = sum(flag.is_leaked for flags in found.flags.values() for flag in flags)
        kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        memory = max(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1024
        print(f"{size:.0f} MB, {TASKS} tasks of {DOCS} docs: {leaked} of {TASKS} planted docs found")
        print(f"benchbench: {size / seconds:.0f} MB/s in {args.processes} process(es), at most {memory:.0f} MiB in one")
        patterns.write_text(
            "".join(text_of(doc).splitlines()[0] + "\n" for docs in tasks.values() for doc in docs[:50])
        )
        start = time.monotonic()
        subprocess.run(
            ["grep", "-c", "-F", "-f", patterns, corpus], capture_output=True, check=False, env={"LC_ALL": "C"}
        )
        print(f"grep -F of {50 * TASKS} of the docs, whole and exact: {size / (time.monotonic() - start):.0f} MB/s")


if __name__ == "__main__":
    main()

"""`python -m tests.fuzz [--tries N] [--only KIND] [--seed S]`: damaged files and answers against every command.

Each kind is tried in a process of its own, so that a crash of a library is found as well. Exits with 1 if there is a
finding; each is printed with the edits that lead to it, ready for `tests/fuzz/known.py`.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import REPO

HARD_BOUND = 240
"""Seconds after which a case that cannot be interrupted ends its process."""
MEMORY = Path("/dev/shm")
CRASHES = 25
"""How many processes of one kind may die before the rest is given up."""


def main() -> None:
    """Tries every kind, one after the other, and says what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--tries", type=int, default=5000, help="tries of each kind")
    parser.add_argument("--only", action="append", help="a kind; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--skip", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ |= {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
    }
    if options.place:
        _work(options)
        return
    kinds = options.only or json.loads(
        _python("import json; from tests.fuzz.kinds import KINDS; print(json.dumps([*KINDS]))")
    )
    found = [finding for kind in kinds for finding in try_kind(kind, options.tries, options.seed)]
    print(f"{len(found)} findings in {options.tries} tries of each of {len(kinds)} kinds")
    sys.exit(bool(found))


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=REPO).stdout


def try_kind(kind: str, tries: int, seed: int) -> list[dict[str, str]]:
    """Findings of one kind; where its process dies, another one goes on."""
    found: list[dict[str, str]] = []
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        place = Path(folder)
        for life in range(CRASHES):
            status = _live(kind, place, tries, seed + 1000 * life)
            if status == 0:
                break
            found.append(
                {
                    "kind": kind,
                    "fault": f"crash {status}",
                    "case": _read(place / "current"),
                    "text": _read(place / "stderr")[-3000:],
                }
            )
            _say(found[-1])
        found = _findings(place) + found
        done = _read(place / "tried")
    print(f"{kind}: {len(found)} findings in {done or 0} tries, {time.monotonic() - begun:.0f} s", flush=True)
    return found


def _live(kind: str, place: Path, tries: int, seed: int) -> int:
    """Status of a process that tries what is left."""
    done = int(_read(place / "tried") or 0)
    command = [
        sys.executable,
        "-m",
        "tests.fuzz",
        "--only",
        kind,
        "--tries",
        str(tries),
        "--skip",
        str(done),
        "--seed",
        str(seed),
    ]
    with (place / "stderr").open("wb") as stderr:
        home = {"HF_HOME": str(place / "home")}
        return subprocess.run(
            [*command, "--place", str(place)], stderr=stderr, env=os.environ | home, cwd=REPO, check=False
        ).returncode


def _findings(place: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in _read(place / "findings").splitlines()]


def _read(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.is_file() else ""


def _say(finding: dict[str, str]) -> None:
    last = (finding["text"].strip().splitlines() or [""])[-1]
    print(f"FOUND {finding['kind']}: {finding['fault']}\n    {finding['case'][:1500]}\n    {last[:300]}", flush=True)


def _work(options: argparse.Namespace) -> None:
    """One process: tries a kind and writes what it finds, and where it is, into `--place`."""
    from tests.fuzz.kinds import KINDS, Case
    from tests.fuzz.known import KNOWN
    from tests.fuzz.search import Search

    def begun(case: Case) -> None:
        (options.place / "current").write_text(repr(case), "utf-8", "backslashreplace")
        (options.place / "tried").write_text(str(options.skip + search.tried))
        faulthandler.dump_traceback_later(HARD_BOUND, exit=True)

    kind = KINDS[options.only[0]]
    passed_over = {one["fault"] for one in _findings(options.place)} | {one.fault for one in KNOWN if one.open}
    search = Search(kind, options.place, passed_over, begun)
    count = 0
    for n in range(1, 10**6):  # a few at a time, so that what is found is written down soon
        search.run(min(options.tries - options.skip, 100 * n), start=options.seed + n)
        for one in search.findings[count:]:
            line = {"kind": one.kind, "fault": one.fault.name, "case": repr(one.case), "text": one.fault.text}
            with (options.place / "findings").open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(json.dumps(line) + "\n")
            _say(line)
        count = len(search.findings)
        if search.tried >= options.tries - options.skip:
            break
    (options.place / "tried").write_text(str(options.skip + search.tried))
    faulthandler.cancel_dump_traceback_later()
    os._exit(0)  # threads of damaged runs are not waited for


if __name__ == "__main__":
    main()

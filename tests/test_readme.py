"""Every command block in the guides is run, or says why it is not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import REPO

DOCS = sorted((REPO / "docs").rglob("*.md"))
GUIDES = [
    *(
        REPO / name
        for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "results/README.md", "leaderboard/README.md")
    ),
    *DOCS,
]
BLOCK = re.compile(
    r"(?:<!-- (?P<mark>[^>]*?) -->\n)?```(?P<language>console|python|sh|bash)\n(?P<text>.*?)^```",
    re.MULTILINE | re.DOTALL,
)
FILE = re.compile(r"<!-- file (?P<name>[^>]*?) -->\n```\w+\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of commands and the mark above it: `run`, `run slow`, `file NAME` or `not run: reason`."""

    guide: Path
    line: int
    mark: str | None
    language: str
    text: str

    @property
    def commands(self) -> list[tuple[str, list[str]]]:
        """Shell lines to type, in order, each with the lines of output that the guide shows after it."""
        found: list[tuple[str, list[str]]] = []
        for line in self.text.splitlines() if self.language != "python" else []:
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif found and line.strip():
                found[-1][1].append(line.rstrip())
        return found


def blocks(guide: Path, text: str) -> list[Block]:
    """All command blocks of a guide."""
    return [
        Block(guide, text.count("\n", 0, match.start()) + 1, match["mark"], match["language"], match["text"])
        for match in BLOCK.finditer(text)
    ]


def write_files(guide: Path, folder: Path) -> None:
    """The files that the guide tells its reader to make."""
    for match in FILE.finditer(guide.read_text(encoding="utf-8")):
        path = folder / match["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(match["text"], encoding="utf-8")


ALL = [block for guide in GUIDES if guide.exists() for block in blocks(guide, guide.read_text(encoding="utf-8"))]
RUNNABLE = [
    pytest.param(
        block,
        marks=[pytest.mark.slow] if block.mark == "run slow" else [],
        id=f"{block.guide.relative_to(REPO)}:{block.line}",
    )
    for block in ALL
    if block.mark in ("run", "run slow")
]


@pytest.mark.parametrize("block", ALL, ids=lambda block: f"{block.guide.name}:{block.line}")
def test_a_block_is_run_or_says_why_not(block: Block) -> None:
    assert re.fullmatch(r"run|run slow|file \S+|not run: .{5,}", block.mark or ""), block.mark


@pytest.mark.parametrize("block", RUNNABLE)
def test_the_guide_is_true(block: Block, tmp_path: Path) -> None:
    here = Path(sys.executable).parent
    env = {**os.environ, "PATH": f"{here}:{os.environ['PATH']}", "PYTHONPATH": str(REPO)}
    if block.language == "python":
        lines = [([sys.executable, "-c", block.text], list[str]())]
    else:
        lines = [(["bash", "-c", _callable(command)], shown) for command, shown in block.commands]
    assert lines, "a console block has lines that start with `$ `"
    (tmp_path / "results").mkdir()
    write_files(block.guide, tmp_path)
    for line, shown in lines:
        done = subprocess.run(line, check=False, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{line[-1]}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        printed = {text.rstrip() for text in done.stdout.splitlines()}
        assert [text for text in shown if text not in printed] == [], f"{line[-1]}\n{done.stdout[-2000:]}"


def _callable(command: str) -> str:
    """The command for an environment in which benchbench is on the path but perhaps not installed.

    What it installs goes into the folder that it runs in, which `python -m` looks into, never into the environment.
    """
    pip = f"{sys.executable} -m pip install -q --no-deps --no-index --no-build-isolation --target . "
    command = re.sub(r"^(\.venv/bin/)?pip install (?=\.)", pip, command)
    return re.sub(r"^(\.venv/bin/)?benchbench\b", f"{sys.executable} -m benchbench", command)


def test_the_readme_says_what_how_and_shows_a_run_early() -> None:
    lines = (REPO / "README.md").read_text(encoding="utf-8").splitlines()
    early = "\n".join(lines[:25])
    assert "$ make demo" in early
    assert "acc" in early, "real output belongs in the first 25 lines"
    assert any("Read the code in this order" in line for line in lines)


def test_paths_named_in_the_guides_exist() -> None:
    named = re.compile(
        r"`((?:benchbench|docs|tests|tasks|leaderboard|results|\.ci|\.github)/[\w./-]*)`|\]\((?!http)([^)#]+)\)"
    )
    found = [
        (guide, match[1] or match[2])
        for guide in GUIDES
        if guide.exists()
        for match in named.finditer(guide.read_text(encoding="utf-8"))
    ]
    missing = [
        f"{guide.name}: {path}"
        for guide, path in found
        if "NAME" not in path and not (REPO / path).exists() and not (guide.parent / path).exists()
    ]
    assert len(found) > 80
    assert missing == []


def test_files_named_in_the_package_exist() -> None:
    rooms = [REPO / name for name in ("benchbench", "leaderboard", "tests")]
    there = {path.name for room in rooms for path in room.rglob("*") if path.suffix in (".py", ".html")}
    missing = [
        f"{file.relative_to(REPO)}: {name}"
        for file in sorted((REPO / "benchbench").rglob("*.py"))
        for name in re.findall(r"`([\w./-]+\.(?:py|html))`", file.read_text(encoding="utf-8"))
        if name.rpartition("/")[2] not in there
    ]
    assert missing == []


def test_every_test_that_a_document_names_exists() -> None:
    named = {
        (guide.name, name) for guide in DOCS for name in re.findall(r"`(test_\w+)`", guide.read_text(encoding="utf-8"))
    }
    tests = "".join(path.read_text(encoding="utf-8") for path in (REPO / "tests").rglob("test_*.py"))
    assert len(named) > 40
    assert [pair for pair in sorted(named) if f"def {pair[1]}(" not in tests] == []

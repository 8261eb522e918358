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

GUIDES = [REPO / name for name in ("README.md", "CONTRIBUTING.md", "results/README.md", "leaderboard/README.md")]
BLOCK = re.compile(
    r"(?:<!-- (?P<mark>[^>]*?) -->\n)?```(?P<language>console|python|sh|bash)\n(?P<text>.*?)^```",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block of commands and the mark above it: `run`, `run slow` or `not run: reason`."""

    guide: Path
    line: int
    mark: str | None
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """Shell lines to type, in order; output lines are left out."""
        if self.language == "python":
            return []
        return [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]


def blocks(guide: Path, text: str) -> list[Block]:
    """All command blocks of a guide."""
    return [
        Block(guide, text.count("\n", 0, match.start()) + 1, match["mark"], match["language"], match["text"])
        for match in BLOCK.finditer(text)
    ]


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
    assert block.mark in ("run", "run slow") or re.fullmatch(r"not run: .{5,}", block.mark or ""), block.mark


@pytest.mark.parametrize("block", RUNNABLE)
def test_the_guide_is_true(block: Block, tmp_path: Path) -> None:
    here = Path(sys.executable).parent
    env = {**os.environ, "PATH": f"{here}:{os.environ['PATH']}", "PYTHONPATH": str(REPO)}
    if block.language == "python":
        lines = [[sys.executable, "-c", block.text]]
    else:
        lines = [["bash", "-c", _callable(command)] for command in block.commands]
    assert lines, "a console block has lines that start with `$ `"
    (tmp_path / "results").mkdir()
    for line in lines:
        done = subprocess.run(line, check=False, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{line[-1]}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def _callable(command: str) -> str:
    """The command for an environment in which benchbench is on the path but perhaps not installed."""
    return re.sub(r"^(\.venv/bin/)?benchbench\b", f"{sys.executable} -m benchbench", command)


def test_the_readme_says_what_how_and_shows_a_run_early() -> None:
    lines = (REPO / "README.md").read_text(encoding="utf-8").splitlines()
    early = "\n".join(lines[:25])
    assert "$ make demo" in early
    assert "acc" in early, "real output belongs in the first 25 lines"
    assert any("Read the code in this order" in line for line in lines)


def test_paths_named_in_the_guides_exist() -> None:
    named = re.compile(
        r"`((?:benchbench|tests|tasks|leaderboard|results)/[\w./]+\.(?:py|md|yaml))`|\]\((?!http)([^)#]+)\)"
    )
    missing = [
        f"{guide.name}: {path}"
        for guide in GUIDES
        if guide.exists()
        for match in named.finditer(guide.read_text(encoding="utf-8"))
        if not (REPO / (path := match[1] or match[2])).exists() and not (guide.parent / path).exists()
    ]
    assert missing == []

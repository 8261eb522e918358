"""`python -m tests.supply licences`: writes docs/licences.md, what the installed packages say of their licence."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.supply.pins import REPO, locked, name_of, version_of

PAGE = REPO / "docs" / "licences.md"
PIP_LICENSES = Path(sys.executable).with_name("pip-licenses")
NOT_PERMISSIVE = ("GPL", "MPL", "Mozilla", "Proprietary", "not named")
"""Words of licences that ask for more than a notice, or that say nothing."""


@dataclass(frozen=True, slots=True)
class Part:
    """Packages that are installed together."""

    title: str
    files: tuple[str, ...]
    """Names in locked/."""


ENVIRONMENTS = (".venv", ".venv-vllm", ".venv-comet")
PARTS = (
    Part("With the package", ("torch-cpu", "run")),
    Part("For tests and development, besides", ("build", "dev", "weights")),
    Part("With llama.cpp, besides", ("gguf", "llama-cpp")),
    Part("In the environment of vLLM", ("torch-cpu", "vllm", "weights")),
    Part("In the environment of COMET", ("torch-cpu", "comet")),
)
BEGINNING = """\
# Licences

Written by `make licences` from what the installed packages say of themselves; nobody has compared that with their
sources. A test holds packages and versions against `locked/`.

## What ships

The wheel and the source archive hold the code, the site's style and script, the task files and the rows of
`tasks/demo`, under Apache-2.0 (`LICENSE`). Prompts follow those of lm-eval (MIT) and of the papers that each task's
README names. The packages below are not in them: pip installs those, each under its own terms.

Rows of other data sets are not shipped. [tasks/TASKS.md](../tasks/TASKS.md) names the licence of each. Where it says
*none stated*, nobody has said that documents of that data set may be shown: build the site with `--docs 0`.

Where pip finds no build of torch for CPUs, torch for Linux brings CUDA libraries: in `locked/torch.txt` the names that
begin with `nvidia` and `cuda`, under NVIDIA's own, proprietary terms. The tests run with the build for CPUs.
"""
ELSEWHERE = ("darwin", "emscripten", "pypy")
Row = tuple[str, str, str]
"""Package, version, licence."""


def installed(environment: str) -> dict[tuple[str, str], str]:
    """What each package of an environment, by name and version, says of its licence."""
    python = REPO / environment / "bin" / "python"
    command = [str(PIP_LICENSES), "--python", str(python), "--with-system", "--from=mixed", "--format=json"]
    command += ["--with-license-file", "--no-license-path"]
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return {(name_of(row["Name"]), row["Version"]): stated(row["License"], row["LicenseText"]) for row in found}


def rows_of(part: Part, known: Mapping[tuple[str, str], str]) -> list[Row]:
    """The rows of a part. Exits if what is locked is not what is installed."""
    wanted = [(name, version_of(entry)) for name, entry in sorted(locked(*part.files).items()) if not elsewhere(entry)]
    if missing := [f"{name} {version}" for name, version in wanted if (name, version) not in known]:
        sys.exit(f"not installed, so not known: {', '.join(missing)}. First: make env env-gguf env-vllm env-comet")
    return [(name, version, known[name, version]) for name, version in wanted]


def stated(licence: str, text: str) -> str:
    """The name of a licence; some packages give its whole text there, and some nothing but the text in a file."""
    name = licence.strip().splitlines()[0]
    return name if name != "UNKNOWN" else f"not named; the text begins: {text.strip().splitlines()[0].strip()[:60]}"


def section(part: Part, rows: Sequence[Row]) -> str:
    """The table of one part."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"## {part.title}", "", "| package | version | licence |", "|---|---|---|", *lines, ""])


def attention(rows: Sequence[Row]) -> str:
    """The packages whose licence asks for more than a notice."""
    odd = sorted({(name, licence) for name, _, licence in rows if any(word in licence for word in NOT_PERMISSIVE)})
    listed = [f"- {name}: {licence}" for name, licence in odd]
    return "\n".join(["## Not permissive, or not stated", "", *listed, ""])


def elsewhere(entry: str) -> bool:
    """Whether an entry is for a platform other than Linux, or another Python than CPython."""
    marker = entry.partition(";")[2].partition("\\")[0]
    return any(f"{name}'" in marker for name in ELSEWHERE) and "!=" not in marker


def write() -> None:
    """Writes the page."""
    known = {key: licence for environment in ENVIRONMENTS for key, licence in installed(environment).items()}
    tables = {part: rows_of(part, known) for part in PARTS}
    every = [row for rows in tables.values() for row in rows]
    sections = [section(part, rows) for part, rows in tables.items()]
    PAGE.write_text("\n".join([BEGINNING, attention(every), *sections]), encoding="utf-8")
    print(f"{PAGE.relative_to(REPO)}: {len(every)} packages in {len(PARTS)} parts")

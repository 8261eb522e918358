"""`python -m tests.gpu`: what only a GPU can show, in under 8 minutes, with figures at the end.

Each part is a process of its own with its own time, so that one that fails or hangs does not stop the others. Nothing
is fetched: models and texts are made here. A package that is missing skips the parts that need it; what all parts need
may lie as wheels in a folder, `--wheels DIR`. Exits with 1 if a part failed, with 0 if there is no GPU.

BENCHBENCH_GPU_CHECK_DEVICE=cpu runs the same parts, small, on the processor: a check of the check.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata, util
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

REPO = Path(__file__).resolve().parents[2]
DEVICE_ENV = "BENCHBENCH_GPU_CHECK_DEVICE"
SECONDS = 450
"""For everything together."""
SLOWER = 4
"""How many times as long a part may take on a processor."""
ALL_NEED = (
    "torch", "transformers", "tokenizers", "safetensors", "numpy", "scipy", "jinja2", "yaml", "pydantic",
    "pydantic_core", "annotated_types", "typing_inspection",
)  # fmt: skip
VERSIONS = ("torch", "transformers", "vllm", "ray", "lm_eval", "numpy", "tokenizers")
CONTRACT = ("tests/backends/test_contract.py",)


@dataclass(frozen=True)
class Part:
    """One process."""

    name: str
    what: str
    seconds: int
    """It may take so long, and what those before it left over."""
    needs: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    """Arguments of pytest; without them `tests.gpu.parts` has a function of the part's name."""


PARTS = (
    Part("contract", "contract suite, hf", 60, ("pytest", "hypothesis"), (*CONTRACT, "-k", "hf")),
    Part("bf16", "hf in bfloat16: shared prefixes against single texts, and against float32", 50),
    Part("pool", "two engines on one device, half of it each", 60),
    Part("speed", "speed against lm-eval", 80),
    Part(
        "vllm_contract",
        "contract suite, vLLM",
        60,
        ("pytest", "hypothesis", "vllm"),
        (*CONTRACT, "-k", "vllm and not api"),
    ),
    Part(
        "vllm",
        "vLLM: cached scoring, and MPT",
        80,
        ("pytest", "hypothesis", "vllm"),
        ("tests/backends/vllm/test_scoring.py", "tests/backends/vllm/test_mpt.py", "-k", "500"),
    ),
    Part("vllm_pool", "two vLLM engines on one device, half of its memory each", 60, ("vllm", "ray")),
)
State = Literal["passed", "failed", "skipped", "out of time"]


@dataclass
class Outcome:
    """What became of a part."""

    part: str
    what: str
    state: State
    seconds: float = 0.0
    why: str = ""
    figures: dict[str, float | int | str | bool] = field(default_factory=dict)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, read."""
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    parser.add_argument("--parts", default=",".join(names), help=f"of {', '.join(names)}; separated by commas")
    parser.add_argument(
        "--wheels", type=Path, help="folder of wheels of what is missing here; the Python stays as it is"
    )
    parser.add_argument("--json", type=Path, help="write the report here as well")
    args = parser.parse_args(argv)
    args.parts = args.parts.split(",")
    if unknown := [name for name in args.parts if name not in names]:
        parser.error(f"no part named {unknown[0]}; there are {', '.join(names)}")
    if args.wheels is not None and not any(args.wheels.glob("*.whl")):
        parser.error(f"--wheels {args.wheels} holds no wheels")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the parts that were asked for, and prints what they found."""
    args = arguments(argv)
    begin = time.monotonic()
    device = os.environ.get(DEVICE_ENV, "cuda")
    slower = 1 if device == "cuda" else SLOWER
    with tempfile.TemporaryDirectory(prefix="benchbench-gpu-") as folder:
        place = Path(folder)
        if args.wheels is not None:
            install(args.wheels, place / "site")
        if (why := obstacle(device)) is not None:
            print(why)
            return 0 if "GPU" in why else 2
        outcomes, asked = [], [part for part in PARTS if part.name in args.parts]
        for number, part in enumerate(asked, start=1):
            later = sum(one.seconds for one in asked[number:] if not lacking(one))
            left = (SECONDS - later) * slower - (time.monotonic() - begin)
            outcomes.append(run(part, device, left, place))
            print(line(outcomes[-1]), flush=True)
    report = {"device": device_name(device), **versions(), "seconds": round(time.monotonic() - begin, 1)}
    if args.json is not None:
        args.json.write_text(json.dumps({**report, "parts": [asdict(one) for one in outcomes]}, indent=1) + "\n")
    print(f"\n{table(outcomes)}\n\n" + "\n".join(f"{name}: {value}" for name, value in report.items()))
    return int(any(one.state in ("failed", "out of time") for one in outcomes))


def install(wheels: Path, site: Path) -> None:
    """Unpacks the wheels where this process and the parts find them, before what is installed."""
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "install", "--no-index", "--no-deps"]
    found = sorted(map(str, wheels.glob("*.whl")))
    subprocess.run([*pip, "--no-compile", "--target", str(site), *found], check=True)
    sys.path.insert(0, str(site))
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(site) if before is None else f"{site}{os.pathsep}{before}"


def obstacle(device: str) -> str | None:
    """Why nothing can be checked here, as a sentence."""
    missing = [name for name in ALL_NEED if util.find_spec(name) is None]
    if missing:
        return (
            f"Nothing was checked: {sys.executable} lacks {', '.join(missing)}. Put their wheels into a folder and "
            "name it: make test-gpu GPU_WHEELS=folder"
        )
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        return f"Skipped: torch sees no GPU here. {DEVICE_ENV}=cpu runs the same parts, small, on the processor."
    return None


def lacking(part: Part) -> list[str]:
    """The packages that the part needs and this Python does not have."""
    return [name for name in part.needs if util.find_spec(name) is None]


def run(part: Part, device: str, limit: float, folder: Path) -> Outcome:
    """One part in its own process, which may take `limit` seconds."""
    if missing := lacking(part):
        return Outcome(part.name, part.what, "skipped", why=f"not installed: {', '.join(missing)}")
    if limit < 5:
        return Outcome(part.name, part.what, "out of time", why="the parts before it took all of it")
    figures, log = folder / f"{part.name}.figures", folder / f"{part.name}.log"
    begin = time.monotonic()
    code = ended(command(part, figures), environment(device), log, limit)
    seconds = round(time.monotonic() - begin, 1)
    text = log.read_text(encoding="utf-8", errors="replace")
    if code is None:
        return Outcome(part.name, part.what, "out of time", seconds, f"stopped after {limit:.0f} s:{tail(text)}")
    found = (counts if part.tests else read)(figures)
    if code == 0:
        return Outcome(part.name, part.what, "passed", seconds, figures=found)
    return Outcome(part.name, part.what, "failed", seconds, f"exit code {code}:{tail(text)}", found)


def command(part: Part, figures: Path) -> list[str]:
    """What the process runs."""
    if not part.tests:
        return [sys.executable, "-m", "tests.gpu.parts", part.name, str(figures)]
    return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={figures}", *part.tests]


def environment(device: str) -> dict[str, str]:
    """Of a part: our code first, no network, the device."""
    paths = [str(REPO), *filter(None, [os.environ.get("PYTHONPATH")])]
    quiet = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    more = {"TRANSFORMERS_VERBOSITY": "error", "PYTHONUNBUFFERED": "1", "BENCHBENCH_TEST_DEVICE": device}
    return {**os.environ, **quiet, **more, "PYTHONPATH": os.pathsep.join(paths)}


def ended(asked: list[str], variables: dict[str, str], log: Path, limit: float) -> int | None:
    """The exit code; None where the process, with all that it started, had to be stopped."""
    with log.open("wb") as out:
        process = subprocess.Popen(asked, cwd=REPO, env=variables, stdout=out, stderr=out, start_new_session=True)
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # also what it left running
            process.wait()


def read(figures: Path) -> dict[str, float | int | str | bool]:
    """What a part wrote down; as much as it came to where it failed."""
    return json.loads(figures.read_text()) if figures.is_file() else {}


def counts(figures: Path) -> dict[str, float | int | str | bool]:
    """How many tests passed, failed and were skipped."""
    if not figures.is_file():
        return {}
    suite = next(ElementTree.parse(figures).getroot().iter("testsuite"))
    asked = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    failed = asked["failures"] + asked["errors"]
    return {"passed": asked["tests"] - failed - asked["skipped"], "failed": failed, "skipped": asked["skipped"]}


def tail(text: str, lines: int = 25) -> str:
    """The end of a log, each line set in."""
    return "".join(f"\n    {one}" for one in text.strip().splitlines()[-lines:])


def line(outcome: Outcome) -> str:
    """What is said as soon as a part has ended."""
    why = f": {outcome.why}" if outcome.why else ""
    return f"{outcome.part} ({outcome.what}) {outcome.state} after {outcome.seconds:.1f} s{why}"


def table(outcomes: Sequence[Outcome]) -> str:
    """All parts and their figures."""
    rows = ["| part | state | seconds | figures |", "|---|---|---:|---|"]
    for one in outcomes:
        found = "; ".join(f"{name} {value}" for name, value in one.figures.items())
        rows.append(f"| {one.what} | {one.state} | {one.seconds:.1f} | {found} |")
    return "\n".join(rows)


def device_name(device: str) -> str:
    """The GPU's name and memory, or the processor's."""
    import torch

    if device != "cuda":
        return f"{device} ({platform.machine()}, {os.cpu_count()} cores): a check of the check, not of a GPU"
    about = torch.cuda.get_device_properties(0)
    return f"{about.name}, {about.total_memory / 2**30:.0f} GiB"


def versions() -> dict[str, str]:
    """Of what the figures depend on."""
    found = {"python": platform.python_version()}
    for name in VERSIONS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.supply audit`: which locked packages have a known fault, by pip-audit.

Where no database of faults answers there is nothing to say but that. Whether one does is found out by asking for a
version whose fault is known.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.supply.pins import LOCKED

PIP_AUDIT = (str(Path(sys.executable).with_name("pip-audit")), "--progress-spinner", "off", "--format", "json")
SERVICES = (("--vulnerability-service", "pypi"), ("--vulnerability-service", "osv"))
ENVIRONMENTS = {
    ".venv": ("torch", "run", "build", "dev", "gguf", "llama-cpp", "weights"),
    ".venv-vllm": ("vllm",),
    ".venv-comet": ("comet",),
    ".venv-composer": ("composer",),
    ".venv-tools": ("tools",),
}
FAULTY = "jinja2==2.4.1"
"""CVE-2014-1402 and later ones: a database that knows no fault of it has not answered."""


def asked(files: Sequence[Path], pip_audit: Sequence[str]) -> list[dict]:
    """What pip-audit says of each package in requirements `files`; nothing if it could not ask."""
    arguments = [part for file in files for part in ("--requirement", str(file))]
    done = subprocess.run(
        [*pip_audit, "--disable-pip", "--no-deps", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return []


def answers(pip_audit: Sequence[str]) -> bool:
    """Whether the database that `pip_audit` asks knows a fault that everybody knows."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "faulty.txt")
        file.write_text(f"{FAULTY}\n", encoding="utf-8")
        return any(found.get("vulns") for found in asked([file], pip_audit))


def sentences(environment: str, found: Sequence[dict]) -> list[str]:
    """One per fault, one if packages could not be looked up, and one where there is neither."""
    faults = [
        f"{package['name']} {package['version']} has {fault['id']}, "
        + (f"mended in {', '.join(fault['fix_versions'])}" if fault["fix_versions"] else "not mended yet")
        for package in found
        for fault in package.get("vulns", ())
    ]
    unknown = sum("vulns" not in package for package in found)
    if unknown or not found:
        faults.append(f"{unknown} of {len(found)} packages could not be looked up")
    return [f"{environment}: {said}" for said in faults or [f"no known fault in {len(found)} packages"]]


def audit(pip_audit: Sequence[str] = PIP_AUDIT, services: Sequence[Sequence[str]] = SERVICES) -> int:
    """Prints each known fault; 1 if there is one. 0, with a sentence, if no database answers."""
    service = next((options for options in services if answers([*pip_audit, *options])), None)
    if service is None:
        print("No database of known faults can be reached from here: nothing was audited.")
        return 0
    faulty = False
    for environment, files in ENVIRONMENTS.items():
        found = asked([LOCKED / f"{file}.txt" for file in files], [*pip_audit, *service])
        faulty |= any(package.get("vulns") for package in found)
        print("\n".join(sentences(environment, found)))
    return int(faulty)

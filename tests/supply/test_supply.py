"""What is installed is what was tested, to the byte; its licences are listed and known faults in it are told."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from tests.conftest import REPO
from tests.supply import audit, licences
from tests.supply.pins import LOCKED, locked, name_of, pins, version_of

HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")
DEVELOPMENT = ("run", "build", "dev", "gguf", "llama-cpp", "weights")


def constraints(file: str) -> dict[str, str]:
    entries = pins((REPO / file).read_text(encoding="utf-8"))
    return {name: version_of(entry) for name, entry in entries.items()}


@pytest.mark.parametrize("file", sorted(path.stem for path in LOCKED.glob("*.txt")))
def test_every_locked_package_has_one_version_and_hashes(file: str) -> None:
    entries = locked(file)
    assert entries
    assert [name for name, entry in entries.items() if not HASH.search(entry) or not version_of(entry)] == []


def test_the_development_environment_is_locked_at_the_versions_of_the_constraints() -> None:
    held = {name: version_of(entry) for name, entry in locked(*DEVELOPMENT, "torch").items()}
    tested = constraints("constraints.txt")
    assert {name: held.get(name) for name in tested} == tested
    assert version_of(locked("torch-cpu")["torch"]) == f"{tested['torch']}+cpu"


def test_no_package_stands_in_two_files_of_the_development_environment() -> None:
    names = [name for file in (*DEVELOPMENT, "torch") for name in locked(file)]
    assert len(names) > 100
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("environment", ["vllm", "comet"])
def test_an_environment_of_its_own_is_locked_at_its_constraints(environment: str) -> None:
    held = {name: version_of(entry) for name, entry in locked(environment).items()}
    tested = constraints(f"constraints-{environment}.txt")
    left_out = set(tested) - set(held)
    assert held == {name: version for name, version in tested.items() if name not in left_out}
    assert left_out <= {"torch", "torchaudio", "torchcodec", "torchvision", "triton"}
    assert tested["torch"] == version_of(locked("torch")["torch"])


def test_every_install_of_the_makefile_but_the_project_and_what_was_compiled_here_checks_hashes() -> None:
    text = (REPO / "Makefile").read_text(encoding="utf-8")
    assert "LOCKED  := $(INSTALL) --require-hashes" in text
    lines = [line.strip() for line in text.splitlines() if re.search(r"\$\(INSTALL\)|pip .*(?:install|wheel) ", line)]
    unchecked = [line for line in lines if "--require-hashes" not in line]
    assert len(lines) >= 5
    assert [line.partition(" -m ")[0].partition(" $(INSTALL)")[0] for line in unchecked] == [
        "INSTALL :=", "PROJECT :=", "$(BIN)/python",
    ]  # fmt: skip
    assert "--no-index --find-links $(WHEELS)" in unchecked[-1]


def test_the_page_of_licences_holds_what_is_locked() -> None:
    text = licences.PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\S+) \| (\S+) \| (.+) \|$", text, re.MULTILINE)
    held = {(name, version) for name, version, _ in rows if name not in ("package", "---")}
    wanted = {
        (name, version_of(entry))
        for part in licences.PARTS
        for name, entry in locked(*part.files).items()
        if not licences.elsewhere(entry)
    }
    assert held == wanted, "make licences"
    assert len(wanted) > 200


def test_a_licence_without_a_name_shows_how_its_text_begins() -> None:
    assert licences.stated("The MIT License (MIT)\n\nCopyright", "") == "The MIT License (MIT)"
    assert licences.stated("UNKNOWN", "\n  Apache License\n") == "not named; the text begins: Apache License"


def stand_in(folder: Path, faults: dict[str, list], *, reachable: bool = True) -> list[str]:
    """A command that answers as pip-audit does, for the packages in the files that it is given."""
    script = folder / "pip_audit.py"
    script.write_text(
        "import json, re, sys\n"
        f"faults, reachable = json.loads({json.dumps(faults)!r}), {reachable!r}\n"
        "if 'osv' in sys.argv: sys.exit('ConnectionError')\n"
        "files = [sys.argv[i + 1] for i, word in enumerate(sys.argv) if word == '--requirement']\n"
        "lines = [line for file in files for line in open(file) if re.match(r'\\w.*==', line)]\n"
        "names = [re.split(r'[=;\\s\\\\]+', line)[:2] for line in lines]\n"
        "found = [{'name': n, 'version': v, 'vulns': faults.get(n, [])} for n, v in names]\n"
        "found = found if reachable else [{'name': n, 'skip_reason': 'not found'} for n, v in names]\n"
        "print(json.dumps({'dependencies': found}))\n",
        encoding="utf-8",
    )
    return [sys.executable, str(script)]


KNOWN = {"jinja2": [{"id": "CVE-2014-1402", "fix_versions": ["2.7.2"]}]}


def test_an_audit_without_a_database_says_so_and_ends_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.audit(stand_in(tmp_path, KNOWN, reachable=False)) == 0
    assert capsys.readouterr().out == "No database of known faults can be reached from here: nothing was audited.\n"


def test_a_database_that_knows_no_fault_of_a_faulty_version_has_not_answered(tmp_path: Path) -> None:
    assert not audit.answers(stand_in(tmp_path, {}))
    assert audit.answers(stand_in(tmp_path, KNOWN))


def test_an_audit_names_package_version_fault_and_where_it_is_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = KNOWN | {"pyarrow": [{"id": "PYSEC-1", "fix_versions": []}]}
    assert audit.audit(stand_in(tmp_path, faults)) == 1
    said = capsys.readouterr().out
    assert f".venv: pyarrow {version_of(locked('run')['pyarrow'])} has PYSEC-1, not mended yet" in said
    assert f".venv-vllm: jinja2 {version_of(locked('vllm')['jinja2'])} has CVE-2014-1402, mended in 2.7.2" in said
    assert f".venv-tools: no known fault in {len(locked('tools'))} packages" in said


def test_an_audit_counts_what_could_not_be_looked_up() -> None:
    found = [{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}]
    assert audit.sentences(".venv", found) == [".venv: 1 of 2 packages could not be looked up"]
    assert audit.sentences(".venv", []) == [".venv: 0 of 0 packages could not be looked up"]


def test_names_are_normalised() -> None:
    assert [name_of(text) for text in ("PyYAML>=6", "typing_extensions==4.16.0 ; x", "a.b[c]")] == [
        "pyyaml", "typing-extensions", "a-b",
    ]  # fmt: skip

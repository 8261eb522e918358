"""The project as a whole: how fast it starts, what the wheel holds, and that its files agree with each other."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import benchbench
from tests.conftest import REPO

COMMAND = [sys.executable, "-m", "benchbench"]
ENGINES = ("torch", "transformers", "datasets", "pandas", "pyarrow", "numpy")
"""What takes seconds to import, and what no command needs that only looks something up."""


def run(*arguments: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """What the command prints; fails the test with its error text where it fails."""
    done = subprocess.run(arguments, check=False, capture_output=True, text=True, cwd=cwd, env=env)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def processor_seconds(*arguments: str, cache: Path) -> float:
    """Processor time of a command, also the system's for it. Byte code is kept in `cache`, as where it is installed."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(*arguments, env={**env, "PYTHONPYCACHEPREFIX": str(cache)})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.fixture(scope="module")
def project() -> dict[str, dict]:
    return tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def constraints() -> dict[str, str]:
    lines = (REPO / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.lower().replace("_", "-").split("==") for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize(("arguments", "starts"), [(["--help"], 20), (["tasks", "ls"], 100)])
def test_a_command_that_only_looks_up_starts_fast(arguments: list[str], starts: int, tmp_path: Path) -> None:
    """In starts of a bare Python, measured in turn: a busy machine slows both. On a quiet one they are 7 and 40."""
    ours, bare = [], []
    for _ in range(6):  # the first fills the cache
        ours.append(processor_seconds(*COMMAND, *arguments, cache=tmp_path))
        bare.append(processor_seconds(sys.executable, "-c", "pass", cache=tmp_path))
    assert min(ours) < starts * min(bare)


@pytest.mark.parametrize(
    ("arguments", "heavy", "most"),
    [(["--help"], (*ENGINES, "pydantic", "rich", "jinja2", "yaml"), 250), (["tasks", "ls"], ENGINES, 600)],
)
def test_a_command_that_only_looks_up_imports_nothing_heavy(arguments: list[str], heavy: tuple, most: int) -> None:
    code = (
        f"import sys\nfrom benchbench.cli.main import main\nsys.argv = ['benchbench', *{arguments!r}]\n"
        "try: main()\nexcept SystemExit as stop: assert not stop.code, stop.code\n"
        f"print(len(sys.modules), *sorted({set(heavy)!r} & set(sys.modules)))"
    )
    count, *loaded = run(sys.executable, "-c", code).splitlines()[-1].split()
    assert loaded == []
    assert 50 < int(count) < most


def test_constraints_pin_every_dependency(project: dict, constraints: dict[str, str]) -> None:
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["project"]["dependencies"], *extras["lm-eval"], *extras["test"], *extras["dev"]]
    names = {re.split(r"[\[><=~]", line)[0].lower().replace("_", "-") for line in wanted} - {"benchbench-eval"}
    assert names - set(constraints) == set()
    assert constraints["torch"] == "2.13.0"
    assert constraints["lm-eval"] == "0.4.13"


def test_lm_eval_is_pinned_to_the_version_we_compare_with(project: dict) -> None:
    assert "lm_eval==0.4.13" in project["project"]["optional-dependencies"]["lm-eval"]


def test_the_changelog_knows_this_version_and_what_moved_scores() -> None:
    text = (REPO / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{benchbench.__version__}]" in text
    assert "### Scores changed" in text


def test_changelog_citation_and_package_name_one_version() -> None:
    changelog = (REPO / "CHANGELOG.md").read_text(encoding="utf-8")
    citation = yaml.safe_load((REPO / "CITATION.cff").read_text(encoding="utf-8"))
    newest = re.search(r"^## \[(\d[^\]]*)\]", changelog, re.MULTILINE)
    assert newest is not None
    assert (newest[1], citation["version"]) == (benchbench.__version__, benchbench.__version__)


def test_ci_runs_what_people_run() -> None:
    script = (REPO / ".ci" / "run").read_text(encoding="utf-8")
    parts = {
        name for line in re.findall(r"^(?:part|in_background \w+) (.*)", script, re.MULTILINE) for name in line.split()
    }
    rules = re.findall(r"^(lint|test[\w-]*):", (REPO / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rules) >= 8
    assert set(rules) <= parts
    jobs = yaml.safe_load((REPO / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
    assert [job["steps"][-1].get("run") for job in jobs.values()] == [".ci/run"]
    assert all(job["timeout-minutes"] <= 90 for job in jobs.values())


def test_the_source_archive_holds_what_the_guides_link_to(project: dict[str, dict]) -> None:
    patterns = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    held = {path.resolve() for pattern in patterns for path in REPO.glob(pattern.lstrip("/"))}
    guides = [REPO / "README.md", REPO / "CONTRIBUTING.md", *(REPO / "docs").rglob("*.md")]
    linked = {
        (guide.parent / target).resolve()
        for guide in guides
        for target in re.findall(r"\]\((?!http)([^)#]+)", guide.read_text(encoding="utf-8"))
    }
    assert len(linked) > 20
    assert [path for path in sorted(linked) if not held & {path, *path.parents}] == []


def test_built_in_metrics_and_filters_are_listed_by_name() -> None:
    from benchbench.core.registry import FILTERS, METRICS

    assert {"acc", "acc_norm", "bpb_gold", "exact_match", "bleu"} <= set(METRICS)
    assert "take_first" in FILTERS


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the project's own build backend."""
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(out), str(REPO))
    (found,) = out.glob("*.whl")
    return found


@pytest.mark.slow
def test_the_wheel_holds_tasks_and_nothing_stray(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    shipped = {name.removeprefix("benchbench/_tasks/") for name in names if name.startswith("benchbench/_tasks/")}
    listed = run("git", "ls-files", "-co", "--exclude-standard", "tasks", cwd=REPO).split()
    assert shipped == {name.removeprefix("tasks/") for name in listed}
    assert {name.split("/")[0] for name in names} == {
        "benchbench",
        f"benchbench_eval-{benchbench.__version__}.dist-info",
    }
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".parquet"))]


@pytest.mark.slow
def test_the_installed_wheel_works_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    """Only the wheel goes into the new environment; what it depends on comes from this one."""
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", str(venv))
    run(str(venv / "bin" / "python"), "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    env = {**os.environ, "PYTHONPATH": str(_dependencies_only(tmp_path))}
    command = str(venv / "bin" / "benchbench")

    assert "hellaswag" in run(command, "tasks", "ls", cwd=elsewhere, env=env)
    where = run(
        str(venv / "bin" / "python"), "-c", "import benchbench; print(benchbench.__file__)", cwd=elsewhere, env=env
    )
    assert where.startswith(str(venv)), "the test ran the checkout, not the wheel"
    assert run(command, "tasks", "check", "demo", cwd=elsewhere, env=env)


def _dependencies_only(folder: Path) -> Path:
    """A folder that shows every installed package but benchbench itself."""
    here = Path(sysconfig.get_paths()["purelib"])
    links = folder / "site"
    links.mkdir()
    for entry in here.iterdir():
        if "benchbench" not in entry.name.lower() and not entry.name.endswith(".pth"):
            (links / entry.name).symlink_to(entry)
    return links


def test_the_command_reports_its_version() -> None:
    assert benchbench.__version__ in run(*COMMAND, "--version")

import subprocess
import sys

import pytest

from benchbench import __version__
from benchbench.cli.main import VERBS
from tests.cli.command import benchbench


def test_help_lists_every_verb():
    done = benchbench("--help")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.split("Commands:\n")[1].splitlines()] == list(VERBS)


def test_the_version_is_printed():
    assert benchbench("--version").stdout == f"benchbench {__version__}\n"


@pytest.mark.parametrize("verb", ["run", "results"])
def test_every_verb_has_help(verb):
    done = benchbench(verb, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: benchbench {verb} ")
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_misspelt_verb_is_answered_with_the_nearest():
    done = benchbench("resluts")
    assert done.returncode == 2
    assert "Did you mean 'results'?" in done.stderr


def test_a_reader_that_has_seen_enough_ends_the_command_quietly(tmp_path):
    from tests.store.make import finished_run

    for number in range(200):
        finished_run(tmp_path / "m" / f"run{number}", count=1)
    line = f"{sys.executable} -m benchbench results ls --json --output {tmp_path} | head -1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("run", "--model is missing."),
        ("run -m x --limt 3", "there is no option --limt. Did you mean --limit or --split?"),
        ("run -m x --max-failed abc", "--max-failed is 'abc'; it should be a valid number."),
        ("leaderboard --docs -1", "--docs is '-1'; it should be greater than or equal to 0."),
        ("leaderboard --weights x", "--weights: 'x' is not one of 'benchmarks', 'tasks'."),
        ("tasks show", "T is missing."),
        ("tasks shw", "no such command 'shw'. Did you mean 'show'?"),
        ("runn", "no such command 'runn'. Did you mean 'run'?"),
        ("run -m x y", "got unexpected extra argument(s) (y)."),
    ],
)
def test_a_command_line_that_is_wrong_has_one_style_of_error(line, words):
    """What was typed, what was expected, where to look; no usage in front of it."""
    done = benchbench(*line.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {words} `benchbench")
    assert done.stderr.endswith(" -h` shows what there is.\n")
    assert done.stderr.count("\n") == 1

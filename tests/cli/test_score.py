import json

import pytest

from tests.cli.command import World
from tests.cli.command import benchbench as command
from tests.extensions.comet_process.fake import good_python


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A finished run, with a stand-in for COMET's process."""
    world = World(tmp_path_factory.mktemp("world"))
    assert world.run().returncode == 0
    good_python(world.path)
    return world


def ask(world, *more, run="latest"):
    options = ["--include-path", world.path / "tasks", "--output", world.results]
    return command("score", run, *more, *options)


def test_metrics_are_added_and_shown_with_the_run(world):
    done = ask(world, "--metric", "chrf,exact_match")
    assert done.returncode == 0, done.stderr
    assert "toy_write chrf: added." in done.stdout
    assert "toy_write exact_match: the run's own value came out again." in done.stdout
    assert "chrf" in world.ask("show").stdout
    assert "replaced what was added before" in ask(world, "--metric", "chrf").stdout


def test_comet_is_asked_in_its_own_process(world):
    comet = ["--metric", "comet", "--source", "{{ question }}", "--comet-model", "org/tiny"]
    done = ask(world, *comet, "--comet-python", world.path / "python", "--json")
    assert done.returncode == 0, done.stderr
    (scored,) = json.loads(done.stdout)["scored"]
    assert (scored["task"], scored["metric"], scored["state"]) == ("toy_write", "comet:tiny", "added")
    assert "toy_write comet:tiny: 6 segments" in done.stderr
    (line,) = [line for line in world.ask("show").stdout.splitlines() if " comet:tiny " in line]
    assert line.split()[-2:] == ["6", "0"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--metric", "blue"], "there is no metric 'blue'. Did you mean bleu"),
        (["--metric", "comet"], "toy_write has no `doc_to_source`"),
        (["--metric", "comet", "--source", "x", "--comet-python", "/nowhere"], "`make env-comet` makes"),
        (["--metric", "chrf", "--batch-size", "0"], "--batch-size is 0; it must be 1 or more"),
        (["--metric", "chrf", "--comet-timeout", "0"], "--comet-timeout is 0"),
        (["--metric", "chrf", "--device", "gpu"], "--device is 'gpu'; it is auto, cpu or cuda"),
    ],
)
def test_bad_input_is_a_sentence_and_exit_code_2(world, options, said):
    done = ask(world, *options)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert said in done.stderr


def test_a_run_that_is_not_there_is_a_sentence(world):
    done = ask(world, "--metric", "chrf", run="nonesuch")
    assert done.returncode == 2
    assert "no run 'nonesuch'" in done.stderr

import json
import os
import re
import socket
import xml.etree.ElementTree as ET

import pytest

from tests.cli.command import World, benchbench
from tests.extensions.slurm.fake import FakeSlurm
from tests.runner.sweep.series import scripted_list


class Sweeps(World):
    """Toy tasks and a list of scripted models at steps 10, 20, …"""

    def __init__(self, folder, steps=4):
        super().__init__(folder)
        self.listed = scripted_list(folder, steps)

    def sweep(self, *more, tasks="toy"):
        """`benchbench sweep` over the list."""
        options = ["--tasks", tasks, "--include-path", self.path / "tasks", "--data-root", self.path / "hub"]
        place = ["--checkpoints", self.listed, "--backend", "scripted", "--output", self.results]
        return benchbench("sweep", *place, *options, *more)

    def about(self, verb, *more):
        """`benchbench sweep VERB`."""
        return benchbench("sweep", verb, *more, "--output", self.results)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    world = Sweeps(tmp_path_factory.mktemp("swept"))
    world.first = world.sweep()
    assert world.first.returncode == 0, world.first.stderr
    return world


def test_the_curves_fit_eighty_columns_and_end_in_a_verdict_per_task(swept):
    lines = swept.first.stdout.splitlines()
    assert max(map(len, lines[:-1])) <= 80
    assert lines[0] == "checkpoints  4 checkpoints, step 10 to 40"
    assert lines[1].split() == ["task", "metric", "curve", "first", "last", "95%", "n"]
    quiz = next(line for line in lines if line.startswith("toy_quiz")).split()
    assert (quiz[1], len(quiz[2]), quiz[-1]) == ("acc", 4, "12")
    text = " ".join(" ".join(lines).split())
    assert "toy_quiz acc (n=12): " in text
    assert lines[-1].startswith(f"Sweep in {swept.results}/sweeps/checkpoints-")


def test_each_checkpoint_gets_one_line_while_it_runs(swept):
    lines = [line[len("2026-11-29 12:00:00  ") :] for line in swept.first.stderr.splitlines()]
    assert lines[0] == "Preparing 2 tasks"
    assert lines[1].startswith("4 checkpoints. Stop at any time: the same command goes on.")
    done = [line for line in lines if "toy_quiz acc" in line]
    assert all(re.search(r", toy_quiz acc [01]\.\d+, toy_write exact_match [01]\.\d+ \(", line) for line in done)
    shown = [line.split(",")[0] for line in done]
    assert shown == [f"checkpoints@step{10 * n} ({5 - n} of 4)" for n in (4, 3, 2, 1)]
    assert len(lines) == 2 + len(done) + 1
    assert lines[-1].startswith("Done in 0:")


def test_json_has_every_curve_and_verdict(swept):
    value = json.loads(swept.about("show", "--json").stdout)
    curve = next(c for c in value["curves"] if (c["task"], c["metric"]) == ("toy_quiz", "acc"))
    assert [point["step"] for point in curve["points"]] == [10, 20, 30, 40]
    assert [point["tokens_seen"] for point in curve["points"]] == [1000, 2000, 3000, 4000]
    assert all(point["low"] <= point["value"] <= point["high"] for point in curve["points"])
    outcomes = {"improving", "plateau", "no detectable improvement", "regressed", "too little data"}
    assert {verdict["outcome"] for verdict in value["verdicts"]} <= outcomes


def test_status_says_what_is_done_and_what_is_new(swept, tmp_path):
    world = Sweeps(tmp_path, steps=2)
    assert world.sweep().returncode == 0
    with world.listed.open("a") as file:
        file.write(json.dumps({"step": 30, "path": "./not/there"}) + "\n")
    done = world.about("status")
    assert done.returncode == 0
    states = [line.split()[:4] for line in done.stdout.splitlines() if line.startswith("checkpoints ")]
    assert states[0][1:] == ["10", "1k", "done"]
    assert states[2][1:] == ["30", "being", "written"]
    assert "2 done, 1 being written" in done.stderr
    units = json.loads(world.about("status", "--json").stdout)["units"]
    assert [unit["state"] for unit in units] == ["done", "done", "being written"]
    assert list(units[0]["done"])[:3] == ["series", "checkpoint", "target"]  # the unit's file and no more
    assert "there is no checkpoint at" in units[2]["why"]
    again = world.about("resume")
    assert again.returncode == 0
    assert "is passed over: there is no checkpoint at" in again.stderr
    assert "2 of 3 units done before" in again.stderr


def test_a_plot_is_characters_or_a_picture(swept, tmp_path):
    text = swept.about("plot", "--task", "toy_quiz").stdout
    assert text.startswith("checkpoints  toy_quiz acc")
    assert text.count("●") == 4
    done = swept.about("plot", "--to", tmp_path / "curves.svg")
    assert done.returncode == 0, done.stderr
    picture = ET.parse(tmp_path / "curves.svg").getroot()
    titles = [e.text for e in picture.iter("{http://www.w3.org/2000/svg}text") if e.get("font-weight")]
    assert titles == ["toy_quiz acc", "toy_write exact_match"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plot", "--task", "toy_quizz"], "the sweep has no task 'toy_quizz'"),
        (["plot", "--metric", "blue"], "no task here has a metric 'blue'"),
        (["plot", "--to", "curves.gif"], "pictures are .svg or .png"),
        (["status", "nobody"], "no sweep 'nobody' in"),
        (["show", "--delta", "-1"], "--delta is a margin above 0"),
    ],
)
def test_a_wrong_question_about_a_sweep_is_a_sentence(swept, arguments, words):
    done = swept.about(*arguments)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "a sweep needs --model"),
        (["--model", "none"], "--model none is not a folder"),
        (["--model", ".", "--until", "5"], "--until says when watching ends"),
        (["--model", ".", "--cluster", "c.yaml"], "give it with --engine slurm"),
        (["--model", ".", "--watch", "--poll", "0"], "--poll is 0"),
        (["--model", ".", "--checkpoints", "a.csv", "--revisions", "s*"], "give one"),
        (["--model", ".", "--model", "b", "--checkpoints", "a.csv"], "sweep the others apart"),
        (["resume"], "there are no sweeps in results"),
    ],
)
def test_wrong_input_is_a_sentence_and_exit_code_2(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    done = benchbench("sweep", *arguments)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_dry_run_shows_units_and_sizes_and_leaves_nothing_behind(tmp_path):
    world = Sweeps(tmp_path)
    done = world.sweep("--dry-run")
    assert done.returncode == 0, done.stderr
    assert [line.split()[1:5] for line in done.stdout.splitlines()[1:5]] == [
        [str(n), f"{n // 10}k", "to", "do"] for n in (10, 20, 30, 40)
    ]
    assert "toy_write" in done.stdout
    assert "4 of 4 units are to be done" in done.stderr
    plan = world.sweep("--dry-run", "--json")
    assert plan.stderr == ""
    value = json.loads(plan.stdout)
    assert [(unit["step"], unit["group"], unit["state"]) for unit in value["units"]] == [
        (step, 0, "to do") for step in (10, 20, 30, 40)
    ]
    assert value["to_do"] == 4
    assert [task["task"] for task in value["groups"][0]["tasks"]] == ["toy_quiz", "toy_write"]
    assert not world.results.exists()


def test_an_unwritable_results_folder_is_a_sentence(tmp_path):
    world = Sweeps(tmp_path)
    world.results.write_text("a file")
    done = world.sweep()
    assert done.returncode == 2
    assert "cannot create" in done.stderr
    assert "--results" in done.stderr


def test_nothing_scored_is_exit_code_1(tmp_path):
    world = Sweeps(tmp_path)
    world.listed.write_text(json.dumps({"step": 1, "path": "hash,sald=1"}) + "\n")
    done = world.sweep()
    assert done.returncode == 1
    assert "passed over: the scripted model has no option 'sald'" in done.stderr
    assert "No checkpoint was scored." in done.stderr


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("partitoin: gpu", "unknown key 'partitoin'; keys are partition, account"),
        ("time: 0:02:00", "time is 0:02:00, which is 120 s"),
        ("partition: gpu", "there is no sinfo on this machine"),
    ],
)
def test_a_cluster_that_cannot_work_is_a_sentence(tmp_path, monkeypatch, file, words):
    monkeypatch.setenv("PATH", str(tmp_path))
    world = Sweeps(tmp_path)
    (tmp_path / "cluster.yaml").write_text(file)
    done = world.sweep("--engine", "slurm", "--cluster", tmp_path / "cluster.yaml")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert words in " ".join(done.stderr.split())
    assert not world.results.exists()


def test_a_sweep_on_slurm_is_submitted_shown_and_resumed(tmp_path, monkeypatch):
    slurm = FakeSlurm(tmp_path / "bin", socket.gethostname())
    monkeypatch.setenv("PATH", f"{slurm.folder}:{os.environ['PATH']}")
    world = Sweeps(tmp_path, steps=2)
    (tmp_path / "cluster.yaml").write_text("partition: gpu\nparallel: 4\n")
    on_slurm = ("--engine", "slurm", "--cluster", tmp_path / "cluster.yaml")
    dry = world.sweep(*on_slurm, "--dry-run")
    assert dry.stdout.startswith("#!/bin/bash\n#SBATCH --job-name=benchbench-")
    assert json.loads(world.sweep(*on_slurm, "--dry-run", "--json").stdout) == {"script": dry.stdout}
    first = world.sweep(*on_slurm)
    assert first.returncode == 0, first.stderr
    assert "Submitted job 101: 2 units, logs in" in first.stderr
    (script,) = world.results.glob("sweeps/*/slurm/1/job.sh")
    assert script.read_text() == dry.stdout
    name = dry.stdout.split("--job-name=")[1].split()[0]
    slurm.queue(f"101|0|{name}|RUNNING|n1|None", f"101|1|{name}|PENDING||Priority")
    status = world.about("status")
    assert "1 queued, 1 running" in status.stderr
    assert "job 101_1: Priority" in status.stdout
    slurm.queue(f"101|0|{name}|RUNNING|n1|None", f"101|1|{name}|NODE_FAIL|n2|None")
    again = world.about("resume")
    assert "Submitted job 102: 1 unit, " in again.stderr
    assert "1 in the queue before" in again.stderr
    slurm.write("squeue.fails", "Unable to contact slurm controller")
    blind = world.about("status")
    assert (blind.returncode, "What the queue says is not known: squeue refused" in blind.stderr) == (0, True)

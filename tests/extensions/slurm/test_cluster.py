import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchbench.core.errors import ArgumentError
from benchbench.extensions.slurm.cluster import Cluster, read_cluster, seconds
from benchbench.extensions.slurm.folder import job_script

WHOLE = """\
partition: gpu
account: project_465
time: 4:00:00
cpus: 8
mem: 64G
gpus: a100:2
parallel: 16
signal: 120
setup: |
  module load python
  export GREETING="hello   there"
sbatch:
  - --constraint=h100
  - "#SBATCH --exclude=n[1-2]"
python: apptainer exec image.sif python3
"""


@pytest.fixture
def read(tmp_path):
    def one(text):
        (tmp_path / "cluster.yaml").write_text(text)
        return read_cluster(tmp_path / "cluster.yaml")

    return one


def options(script):
    return [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH")]


def test_every_key_finds_its_place_in_the_script(read):
    script = job_script(read(WHOLE), "name", Path("/shared/sweep/slurm/1"), 5)
    assert options(script) == [
        "--job-name=name",
        "--array=0-4%16",
        "--output=/shared/sweep/slurm/1/%a.log",
        "--open-mode=append",
        "--requeue",
        "--signal=B:USR1@120",
        "--nodes=1",
        "--ntasks=1",
        "--cpus-per-task=8",
        "--partition=gpu",
        "--account=project_465",
        "--time=4:00:00",
        "--mem=64G",
        "--gres=gpu:a100:2",
        "--constraint=h100",
        "--exclude=n[1-2]",
    ]
    assert '\nmodule load python\nexport GREETING="hello   there"\n' in script
    assert "\nexec apptainer exec image.sif python3 -m benchbench sweep worker /shared/sweep/slurm/1 --unit" in script


def test_an_empty_file_asks_for_one_core_and_nothing_else(read):
    assert read("# nothing\n") == Cluster()
    script = job_script(Cluster(), "name", Path("/a b/100%"), 1)
    assert options(script)[1:3] == ["--array=0-0", '--output="/a b/100%%/%a.log"']
    assert f"exec {sys.executable} -m benchbench sweep worker '/a b/100%' --unit" in script
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_a_cluster_survives_the_way_over_disk(read):
    assert Cluster.from_json(read(WHOLE).to_json()) == read(WHOLE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30", 1800), ("5:30", 330), ("4:00:00", 14400), ("1-0", 86400), ("1-12:30", 131400), ("2-0:0:10", 172810)],
)
def test_time_limits_are_read_as_sbatch_reads_them(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("partitoin: gpu", "unknown key 'partitoin'; keys are partition, .* Did you mean partition"),
        ("time: 0:02:00", "time is 0:02:00, which is 120 s, .* up to 120 s before .* at least 3 minutes"),
        ("time: tomorrow", "time is 'tomorrow'; expected a limit such as 4:00:00"),
        ("time: 4:00:00\nsignal: 14300", "or a smaller signal"),
        ("mem: much", "mem is 'much'; expected an amount"),
        ("gpus: two", "gpus is 'two'; expected a number"),
        ("cpus: 0", "cpus is '0'; expected a whole number, 1 or more"),
        ("shared: perhaps", "shared is 'perhaps'; expected true or false"),
        ("partition: [a, b]", "partition is .*; expected one line of text"),
        ("sbatch: --array=1-3", "--array is set by the engine; leave it out"),
        ("sbatch: --partition=x", "say it with the key 'partition' instead"),
        ("sbatch: -p x", "expected long options such as --constraint=h100"),
        ("setup: {a: b}", "setup is .*; expected lines of text"),
        ("- gpu", "expected keys with values, such as `partition: gpu`"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_a_wrong_cluster_file_is_a_sentence(read, text, words):
    with pytest.raises(ArgumentError, match=rf"cluster.yaml.*{words}"):
        read(text)


def test_a_missing_cluster_file_is_a_sentence(tmp_path):
    with pytest.raises(ArgumentError, match=r"cannot read the cluster file .*no.yaml: No such file"):
        read_cluster(tmp_path / "no.yaml")


HURTFUL = [
    "a b", "it's", 'say "x"', "$(touch hurt)", "`touch hurt`", "-rf", "a;touch hurt", "a#b", "a\\b", "%j", "*",
    "x'$(touch hurt)'",
]  # fmt: skip


@pytest.mark.parametrize("name", HURTFUL)
def test_a_folder_cannot_leave_its_line_of_the_script(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "units.json").write_text("{}")
    script = job_script(Cluster(python="echo"), "n", folder, 1)
    assert len(script.splitlines()) == len(job_script(Cluster(python="echo"), "n", tmp_path, 1).splitlines())
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert str(folder) in done.stdout
    assert not list(tmp_path.rglob("hurt"))


@pytest.mark.parametrize("sign", ["\n", "\r", "\x0b", "\x1b", "\u2028", "\x85"])
def test_what_would_begin_a_new_line_is_refused(sign):
    with pytest.raises(ArgumentError, match="invisible character in its name"):
        job_script(Cluster(), "n", Path(f"/a{sign}#SBATCH --wrap=x"), 1)
    for key in ("partition", "account", "qos", "time", "mem", "gpus", "python"):
        with pytest.raises(ArgumentError, match=rf"{key} is .*; expected"):
            Cluster.from_json({**Cluster().to_json(), key: f"1{sign}#SBATCH --wrap=x"})
    with pytest.raises(ArgumentError, match="sbatch is"):
        Cluster(sbatch=(f"--comment=a{sign}#SBATCH --wrap=x",))


@pytest.mark.parametrize(
    ("key", "value"),
    [("cpus", "1\nrm -r x"), ("cpus", True), ("signal", -1), ("parallel", "2"), ("setup", 3), ("partition", 7)],
)
def test_what_a_sweeps_folder_keeps_is_checked_like_the_cluster_file(key, value):
    with pytest.raises(ArgumentError, match=f"{key} is"):
        Cluster.from_json({**Cluster().to_json(), key: value})


@pytest.mark.parametrize(
    "option", ["--comment=x --wrap=id", '--comment="a" --output=/x', "--comment=x -p gpu", "--c='"]
)
def test_options_behind_the_first_are_looked_at_too(option):
    with pytest.raises(ArgumentError, match="sbatch has"):
        Cluster(sbatch=(option,))
    assert Cluster(sbatch=('--comment="a b"',)).sbatch


def test_a_value_is_quoted_as_sbatch_reads_it():
    script = job_script(Cluster(partition='g"p u#\\'), "n", Path("/a"), 1)
    assert '#SBATCH --partition="g\\"p u#\\\\"' in script.splitlines()


def test_a_cluster_file_that_is_no_file_or_too_deep_is_a_sentence(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ArgumentError, match="a pipe"):
        read_cluster(tmp_path / "pipe.yaml")
    (tmp_path / "deep.yaml").write_text("a: " + "[" * 5_000)
    with pytest.raises(ArgumentError, match="YAML"):
        read_cluster(tmp_path / "deep.yaml")

import json

import pytest

from tests.cli.command import World


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_the_table_fits_eighty_columns_and_says_where_the_results_are(world):
    done = world.run()
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines[:-1])) <= 80
    assert lines[0] == "hash  float32 on cpu"
    assert lines[1].split() == ["task", "metric", "value", "95%", "n", "shots", "tokens"]
    quiz = next(line for line in lines if line.startswith("toy_quiz")).split()
    assert quiz[1] == "acc"
    assert 0 <= float(quiz[2]) <= 1
    assert quiz[-3:-1] == ["12", "0"]
    assert lines[-1].startswith(f"Results in {world.results}/hash/")
    assert "toy_quiz: 36 requests" in done.stderr


def test_json_is_one_object_with_a_row_per_metric(world):
    done = world.run("--json")
    value = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert (world.results / "hash") in world.path.__class__(value["run"]).parents
    row = next(row for row in value["rows"] if (row["task"], row["metric"]) == ("toy_quiz", "acc"))
    assert {"model", "value", "stderr", "ci_low", "ci_high", "n", "num_fewshot", "signature"} <= set(row)
    assert (row["model"], row["n"], row["num_fewshot"]) == ("hash", 12, 0)
    assert row["ci_low"] <= row["value"] <= row["ci_high"]
    assert value["counts"]["toy_write"]["n"] == 6


def test_a_finished_run_is_shown_at_once_and_said_so(world):
    first = json.loads(world.run("--json").stdout)
    done = world.run("--json")
    assert "already complete" in done.stderr
    again = json.loads(done.stdout)
    assert again["already_complete"]
    assert again["rows"] == first["rows"]
    fresh = json.loads(world.run("--json", "--fresh").stdout)
    assert fresh["run"] == first["run"] + "-2"
    assert fresh["rows"] == first["rows"]


def test_more_failures_than_allowed_end_in_exit_code_1_after_the_table(world):
    done = world.run(model="scripted:hash,fail=0.2")
    assert done.returncode == 1
    assert "toy_quiz" in done.stdout
    assert "failed: no score, and not counted as wrong" in done.stdout
    assert "more than --max-failed 1.0% allows" in done.stderr
    assert world.run("--max-failed", "0.9", model="scripted:hash,fail=0.2").returncode == 0


def test_a_dry_run_shows_sizes_and_leaves_nothing_behind(world):
    done = world.run("--dry-run", model="no/such-model")
    assert done.returncode == 0, done.stderr
    assert "toy_quiz" in done.stdout
    assert "tokens alone" in done.stderr
    assert not world.results.exists()
    tasks = json.loads(world.run("--dry-run", "--json").stdout)["tasks"]
    assert [(task["task"], task["docs"], task["requests"]) for task in tasks] == [
        ("toy_quiz", 12, 36),
        ("toy_write", 6, 6),
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--limit", "0"], "--limit is 0; it must be 1 or more"),
        (["--backend", "hff"], "no backend named 'hff'"),
        (["--model-args", "threads"], "'threads'; it is written name=value,name=value"),
        (["--model-args", "a=1,a=2"], "names a twice"),
        (["--model-args", "threads=2"], "'threads', which the backend scripted does not know; it takes none"),
        (["--tasks", "toy_quizz"], "Did you mean toy_quiz"),
        (["--num-fewshot", "500"], "500"),
        (["--data-root", "/no/such/folder"], "/no/such/folder"),
        (["--max-failed", "7"], "--max-failed is 7.0"),
        (["--model", "scripted:/no/table"], "cannot read the table of answers /no/table"),
        (["--model", "scripted:hash,sald=1"], "Did you mean salt"),
        (["--output", "/dev/null/x"], "--results"),
    ],
)
def test_wrong_input_is_a_sentence_and_exit_code_2(world, arguments, words):
    done = world.run(*arguments)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_model_name_cannot_write_to_the_terminal(world):
    table = world.path / "evil\x1b[2J[red]name.jsonl"
    table.write_text(json.dumps({"continuation": " 2", "loglikelihood": -1}) + "\n")
    done = world.run("--max-failed", "1", model=f"scripted:{table}")
    assert done.returncode == 1, "the table answers no doc of either task"
    assert "\x1b" not in done.stdout + done.stderr
    assert "evil[2J[red]name.jsonl" in done.stdout


def test_groups_come_first_and_show_one_row_per_member(world):
    text = world.run().stdout
    shown = [line.split()[0] for line in text.splitlines()[2:] if line and not line.startswith(" ")]
    names = [name for name in shown if name.startswith("toy")]
    assert names[-2:] == ["toy_quiz", "toy_write"]


def test_the_default_suite_is_named(tmp_path):
    from tests.cli.command import benchbench

    done = benchbench(
        "run", "--model", "scripted:hash", "--data-root", tmp_path, "--output", tmp_path / "r", "--dry-run"
    )
    assert "No --tasks given: running the default suite" in done.stderr

import io
import json
import re

import pandas as pd
import pytest

from tests.cli.command import World, benchbench


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Three models on the toy tasks; one of them also with shots."""
    world = World(tmp_path_factory.mktemp("world"))
    for model in ("scripted:hash", "scripted:hash,salt=2", "scripted:hash,salt=3"):
        assert world.run(model=model).returncode == 0
    assert world.run("--num-fewshot", 2, model="scripted:hash,salt=4", tasks="toy_quiz").returncode == 0
    return world


FIGURES = r" *[01]\.\d{4} +[01]\.\d{4} +[+−]\d\.\d{4} +\[[+−]\d\.\d{3}, [+−]\d\.\d{3}\] +[\d.]+ +\d+/\d+ "


def compare(world, *arguments):
    return benchbench("compare", *arguments, "--results", world.results)


def test_a_table_per_pair_with_what_to_know(world):
    done = compare(world, "hash", "hash,salt=2", "hash,salt=3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" against ") == 3
    lines = done.stdout.splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("toy_quiz acc  ("))
    assert re.match(FIGURES, lines[place + 1]), "80 columns: the task stands above its figures"
    assert "all tasks" in done.stdout
    assert "undecided" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if " against " not in line)


def test_wide_terminals_have_the_docs_and_figures_beside_the_task(world):
    done = benchbench("compare", "hash", "hash,salt=2", "--results", world.results, columns=140)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("toy_quiz acc"))
    assert re.match(rf"toy_quiz acc +\d+ {FIGURES}", line), line


def test_json_and_csv_hold_the_same_rows(world):
    done = compare(world, "hash", "hash,salt=2", "--json", "--metric", "all")
    value = json.loads(done.stdout)
    frame = pd.read_csv(io.StringIO(compare(world, "hash", "hash,salt=2", "--csv", "--metric", "all").stdout))
    assert value["models"] == ["hash", "hash,salt=2"]
    assert list(frame.columns) == list(value["rows"][0])
    assert frame.difference.tolist() == pytest.approx([row["difference"] for row in value["rows"]])
    assert {"acc", "acc_norm", "bpb_gold", "exact_match"} <= set(frame.metric)


def test_scores_on_all_docs_are_those_of_the_runs(world):
    rows = json.loads(compare(world, "hash", "hash,salt=2", "--json").stdout)["rows"]
    shown = json.loads(benchbench("results", "show", "hash/", "--output", world.results, "--json").stdout)["rows"]
    values = {(row["task"], row["metric"]): row["value"] for row in shown}
    compared = [row for row in rows if not row["is_group"]]
    assert {row["task"] for row in compared} == {"toy_quiz", "toy_write"}
    for row in compared:
        assert row["score_a"] == pytest.approx(values[row["task"], row["metric"]])


def test_a_margin_decides_what_is_equivalent(world):
    done = compare(world, "hash", "hash,salt=2", "--metric", "acc", "--delta", 0.99)
    assert "equivalent" in done.stdout
    assert "within ±0.99" in done.stdout


def test_what_differs_is_a_sentence_and_exit_code_2(world):
    done = compare(world, "hash", "hash,salt=4")
    assert done.returncode == 2
    assert "cannot be compared on toy_quiz: 0 shots against 2." in done.stderr
    for arguments, says in (
        (["hash"], "two models or more"),
        (["hash", "hush"], "no finished run or model 'hush'"),
        (["hash", "hash"], "the same run"),
        (["hash", "hash,salt=2", "--metric", "acc_nrm"], "Did you mean acc_norm"),
        (["hash", "hash,salt=2", "--delta", "-1"], "--delta"),
    ):
        done = compare(world, *arguments)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False)
        assert says in done.stderr


def test_a_task_that_only_some_share_is_told(world):
    done = compare(world, "hash", "hash,salt=2", "hash,salt=4")
    assert done.returncode == 0
    assert "Not compared: hash and hash,salt=4 on toy_quiz: 0 shots against 2." in done.stderr

"""Percentage points per benchmark, as papers print them."""

from __future__ import annotations

import json
import re

import pytest

from tests.cli.command import World, benchbench


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Four models on the toy tasks."""
    world = World(tmp_path_factory.mktemp("world"))
    for salt in ("", ",salt=2", ",salt=3", ",salt=4"):
        assert world.run(model=f"scripted:hash{salt}").returncode == 0
    return world


def compare(world, *arguments):
    return benchbench("compare", *arguments, "--results", world.results, columns=120)


def test_two_models_have_the_differences_of_compare_in_percentage_points(world):
    rows = json.loads(compare(world, "hash", "hash,salt=2", "--json").stdout)["rows"]
    (made,) = json.loads(compare(world, "hash", "hash,salt=2", "--deltas", "table", "--json").stdout)
    by_task = {row["task"]: row for row in rows}
    for row in made["rows"]:
        other = by_task[row["task"]]
        assert row["difference"] == pytest.approx(100 * other["difference"])
        assert row["interval"] == pytest.approx([100 * other["ci_low"], 100 * other["ci_high"]])
        assert (row["a"], row["b"]) == pytest.approx((100 * other["score_a"], 100 * other["score_b"]))
    assert made["rows"]


def test_the_table_names_both_sides_and_the_metrics(world):
    done = compare(world, "hash", "hash,salt=2", "--deltas", "table")
    assert done.returncode == 0, done.stderr
    assert "B = hash,salt=2  against  A = hash" in done.stdout
    assert re.search(
        r"toy_quiz +\d+ +\d+\.\d\d +\d+\.\d\d +[+−]\d+\.\d\d +\[[+−]\d+\.\d\d, [+−]\d+\.\d\d\]", done.stdout
    )
    assert "percentage points" in done.stdout


def test_markdown_and_latex(world):
    markdown = compare(world, "hash", "hash,salt=2", "--deltas", "markdown").stdout
    assert "| benchmark | docs | A | B | B − A | 95% |\n|:--|--:|--:|--:|--:|--:|\n| toy_" in markdown
    latex = compare(world, "hash", "hash,salt=2", "--deltas", "latex").stdout
    assert latex.startswith("\\begin{tabular}{lrrrrr}\n\\toprule\n")
    assert r"toy\_quiz &" in latex
    assert "−" not in latex.split("\\end{tabular}")[0]


def test_two_groups_of_trainings_are_compared_by_their_means(world):
    asked = ("hash", "hash,salt=2", "--against", "hash,salt=3", "--against", "hash,salt=4", "--deltas", "table")
    done = compare(world, *asked)
    assert "Means over 2 trainings of A and 2 of B; how trainings differ is part of the interval." in done.stdout
    (made,) = json.loads(compare(world, *asked, "--json").stdout)
    singles = {}
    for name in ("hash,salt=2", "hash,salt=3", "hash,salt=4"):
        (one,) = json.loads(compare(world, "hash", name, "--deltas", "table", "--json").stdout)
        singles["hash"] = {row["task"]: row["a"] for row in one["rows"]}
        singles[name] = {row["task"]: row["b"] for row in one["rows"]}
    for row in made["rows"]:
        assert row["a"] == pytest.approx(
            (singles["hash,salt=3"][row["task"]] + singles["hash,salt=4"][row["task"]]) / 2
        )
        assert row["b"] == pytest.approx((singles["hash"][row["task"]] + singles["hash,salt=2"][row["task"]]) / 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("hash", "hash,salt=2", "--deltas", "tex"), "--deltas is 'tex'; it is table, markdown, latex"),
        (("hash", "--deltas", "table"), "deltas need two models"),
        (("hash", "--against", "hash", "--deltas", "table"), "is named twice"),
        (("hash", "hash,salt=2", "--deltas", "table", "--csv"), "--deltas has no CSV"),
        (
            ("hash", "hash,salt=2", "--deltas", "table", "--tasks", "gsm8k"),
            "have no task in common that can be compared",
        ),
        (("hash", "hash,salt=2", "--deltas", "table", "--tasks", "gsm9k"), "gsm8k"),
    ],
)
def test_bad_input_is_a_sentence(world, arguments, said):
    done = compare(world, *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert said in done.stderr

import io
import json

import pandas as pd
import pytest

from tests.cli.command import World


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two finished runs and a broken one."""
    world = World(tmp_path_factory.mktemp("world"))
    for model in ("scripted:hash", "scripted:hash,salt=2"):
        assert world.run(model=model).returncode == 0
    (world.results / "broken" / "abc").mkdir(parents=True)
    (world.results / "broken" / "abc" / "run.json").write_text("{")
    return world


def test_ls_lists_runs_and_what_is_broken(world):
    done = world.ask("ls")
    assert done.returncode == 0
    assert done.stdout.count("finished") == 2
    assert "broken" in done.stdout
    facts = [json.loads(line) for line in world.ask("ls", "--json").stdout.splitlines()]
    assert {fact["state"] for fact in facts} == {"finished", "broken"}
    assert next(fact["docs"] for fact in facts if fact["model"] == "hash") == 18


def test_show_prints_every_row_with_its_signature(world):
    (path,) = (world.results / "hash").iterdir()
    for name in (path, path.name, path.name[:6], f"hash/{path.name}", f"hash/{path.name[:4]}"):
        done = world.ask("show", name)
        assert done.returncode == 0, done.stderr
        assert "toy_quiz.v1|shots:0|" in done.stdout
    record = json.loads((path / "run.json").read_text())
    assert json.loads(world.ask("show", path, "--json").stdout)["rows"] == record["rows"]
    assert all(row["metric"] in done.stdout for row in record["rows"])


def test_an_item_of_multiple_choice_is_a_line_with_numbers(world):
    done = world.ask("items", next((world.results / "hash").iterdir()), "--task", "toy_quiz", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["doc_id"] for line in lines] == list(range(12))
    for line in lines:
        assert line["gold"] == 1
        assert len(line["loglikelihoods"]) == 3
        assert line["prediction"] == line["loglikelihoods"].index(max(line["loglikelihoods"]))
        assert line["acc"] == float(line["prediction"] == 1)
        assert line["bpb_gold"] > 0


def test_an_item_of_generation_is_a_line_with_its_text(world):
    done = world.ask("items", next((world.results / "hash").iterdir()), "--task", "toy_write", "--json")
    line = json.loads(done.stdout.splitlines()[0])
    assert line["gold"] == "slovo 0"
    assert len(line["text"]) == 8
    assert line["exact_match"] == 0.0


def test_items_of_a_run_with_several_tasks_need_one_named(world):
    path = next((world.results / "hash").iterdir())
    assert "say which with --task: toy_quiz, toy_write" in world.ask("items", path).stderr
    done = world.ask("items", path, "--task", "toy_quis")
    assert done.returncode == 2
    assert "Did you mean toy_quiz" in done.stderr
    assert "gold" in world.ask("items", path, "--task", "toy_quiz").stdout


def test_export_writes_csv_and_parquet(world):
    done = world.ask("export")
    frame = pd.read_csv(io.StringIO(done.stdout))
    assert set(frame.model) == {"hash", "hash,salt=2"}
    assert done.stderr.startswith("warning: passed over")
    path = world.path / "rows.parquet"
    assert world.ask("export", "--format", "parquet", "--to", path).returncode == 0
    assert len(pd.read_parquet(path)) == len(frame)
    assert "--to FILE" in world.ask("export", "--format", "parquet").stderr


def test_export_for_lm_eval_has_its_layout(world):
    done = world.ask("export", next((world.results / "hash").iterdir()), "--format", "lm-eval")
    value = json.loads(done.stdout)
    assert 0 <= value["results"]["toy_quiz"]["acc,none"] <= 1
    assert "acc_stderr,none" in value["results"]["toy_quiz"]
    assert value["n-samples"]["toy_write"] == {"original": 6, "effective": 6}
    assert value["n-shot"] == {"toy_quiz": 0, "toy_write": 0}
    assert value["group_subtasks"]["toy"] == ["toy_quiz", "toy_write"]


def test_an_unknown_run_is_a_sentence(world):
    done = world.ask("show", "zzz")
    assert done.returncode == 2
    assert "no run 'zzz'" in done.stderr
    assert "Traceback" not in done.stderr


def test_characters_that_a_terminal_obeys_are_escaped_in_json(capsys):
    from benchbench.cli.console import print_json

    text = "a\x1b[2Jb\x9bc\u202ed\u2028e\x7f"
    print_json({"text": text})
    shown = capsys.readouterr().out
    assert json.loads(shown) == {"text": text}
    assert shown.rstrip("\n").isprintable()


def test_items_show_what_was_asked_one_doc_in_full_and_those_that_are_wrong(world):
    path = next((world.results / "hash").iterdir())
    lines = [json.loads(line) for line in world.ask("items", path, "--task", "toy_quiz", "--json").stdout.splitlines()]
    assert all("kolik je" in line["question"] for line in lines)
    one = world.ask("items", path, "--task", "toy_quiz", "--doc", lines[1]["doc_id"]).stdout
    assert lines[1]["question"] in one
    assert one.count("right") == one.count("taken") == 1
    wrong = world.ask("items", path, "--task", "toy_quiz", "--wrong", "--json").stdout.splitlines()
    assert [json.loads(line)["doc_id"] for line in wrong] == [line["doc_id"] for line in lines if line["acc"] != 1.0]
    assert "has no such doc" in world.ask("items", path, "--task", "toy_quiz", "--doc", 999).stderr

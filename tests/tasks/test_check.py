"""`benchbench tasks check`: nonsense that renders, right answers that cannot be right, texts that look alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchbench.cli.tasks import app
from benchbench.tasks.prepare import prepare
from benchbench.tasks.settings import RenderSettings
from tests.tasks.conftest import MakeIndex, MakeTask

WRITE = """
    task: t
    dataset_path: json
    dataset_kwargs: {data_files: {test: test.jsonl}}
    test_split: test
    output_type: generate_until
"""
CHOOSE = WRITE.replace("generate_until", "multiple_choice")
CITIES = [
    {"q": "Kde?", "a": "Praha", "al": ["Praha", "Prag"]},
    {"q": "A kde?", "a": "Brno", "al": ["Brno", "Br\u00fcnn"]},
]
STRIPPED = "    filter_list: [{name: s, filter: [{function: remove_whitespace}, {function: take_first}]}]\n"


def report(make_index: MakeIndex, tmp_path: Path, text: str, rows: list[dict[str, Any]], *more: str) -> dict[str, Any]:
    make_index({"t.yaml": text}, {"test": rows})
    result = CliRunner().invoke(app, ["check", "t", "--include-path", str(tmp_path / "tasks"), "--json", *more])
    found: dict[str, Any] = json.loads(result.output)
    assert result.exit_code == (2 if found["errors"] else 0)
    return found


def said(found: dict[str, Any]) -> str:
    return "\n".join([*found["errors"], *found["warnings"]])


def plain(text: str = "{{ q }}", target: str = "a", more: str = STRIPPED) -> str:
    return WRITE + f"    doc_to_text: {json.dumps(text)}\n    doc_to_target: {json.dumps(target)}\n" + more


def test_a_sound_task_has_nothing_to_say(make_index: MakeIndex, tmp_path: Path) -> None:
    found = report(make_index, tmp_path, plain(), CITIES)
    assert (found["errors"], found["warnings"]) == ([], [])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('doc_to_text: "{{ q }}"\n    doc_to_target: ["{{ a }}"]', "'{{ a }}' in a list is never rendered"),
        ('doc_to_text: "Q"\n    doc_to_target: a\n    target_delimiter: "{{ q }}"', "'{{ q }}' is never rendered"),
        ('doc_to_text: "{{ q }} {{ al }}"\n    doc_to_target: a', "`doc_to_text` prints a list, ['Praha', 'Prag']"),
        ('doc_to_text: "{{ q }}"\n    doc_to_target: " {{ al }}"', "`doc_to_target` prints a list"),
        ('doc_to_text: "{{ d.values }}"\n    doc_to_target: a', "`doc_to_text` prints a function"),
        ('doc_to_text: "{{ q }}"\n    doc_to_target: "{{ d.items }}"', "`doc_to_target` gives a function"),
        ('doc_to_text: "{{ q ~ d }}"\n    doc_to_target: a', "`doc_to_text` prints a dict"),
        ('doc_to_text: "{{ q }} {{ n }}"\n    doc_to_target: a', "`doc_to_text` prints nothing"),
        ('doc_to_text: "{{ q }}"\n    doc_to_target: "{{ n }}"', "`doc_to_target` gives nothing"),
        ('doc_to_text: "{{ q }}"\n    doc_to_target: "{{ [a, n] }}"', "`doc_to_target` gives nothing"),
        ('doc_to_text: "{{ q }}"\n    doc_to_target: d', "`doc_to_target` gives a dict"),
        ('doc_to_text: "{{ q }}"\n    doc_to_target: a\n    gen_prefix: "{{ al }}"', "`gen_prefix` prints a list"),
        ('doc_to_text: "{{ q }}"\n    doc_to_target: a\n    doc: {x: "{{ d.keys }}"}', "`doc.x` gives a function"),
    ],
)
def test_what_a_template_did_not_mean_is_an_error(
    make_index: MakeIndex, tmp_path: Path, more: str, message: str
) -> None:
    rows = [{**row, "d": {"values": "x", "items": "y", "keys": "z"}, "n": None} for row in CITIES]
    found = report(make_index, tmp_path, WRITE + f"    {more}\n" + STRIPPED, rows)
    assert message in "\n".join(found["errors"])


@pytest.mark.parametrize("choices", ['["{{ a }}", "{{ q }}"]', '{x: "{{ a }}", y: "{% if a %}b{% endif %}"}'])
def test_templates_in_a_list_of_choices_are_an_error(make_index: MakeIndex, tmp_path: Path, choices: str) -> None:
    text = CHOOSE + f'    doc_to_text: "{{{{ q }}}}"\n    doc_to_target: 0\n    doc_to_choice: {choices}\n'
    assert "in a list is never rendered" in "\n".join(report(make_index, tmp_path, text, CITIES)["errors"])


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("Q: {q}", "a", "all 2 documents have the same prompt, 'Q: {q}'"),
        ("Q: {q}", "a", "`doc_to_text`: {q} is plain text; the field is {{ q }}"),
        ("{{ q }}", "Praha", "all 2 documents have the same right answer, ('Praha',)"),
        ("{{ q }} {al}", "a", "{al} is plain text"),
    ],
)
def test_what_does_not_vary_is_a_warning(
    make_index: MakeIndex, tmp_path: Path, text: str, target: str, message: str
) -> None:
    found = report(make_index, tmp_path, plain(text, target), CITIES)
    assert message in "\n".join(found["warnings"])
    assert not found["errors"]


def test_braces_of_a_document_are_its_own(make_index: MakeIndex, tmp_path: Path) -> None:
    rows = [{**row, "q": f"{row['q']} {{{{ q }}}} {{% if %}} \\frac{{a}}{{q}}"} for row in CITIES]
    assert said(report(make_index, tmp_path, plain(), rows)) == ""


def test_a_right_answer_that_is_only_right_without_the_delimiter_is_told(make_index: MakeIndex, tmp_path: Path) -> None:
    found = report(make_index, tmp_path, plain(more=""), CITIES)
    assert not found["errors"]
    assert "2 right answers, written as in the shots" in found["warnings"][0]
    assert "' Praha' gets exact_match = 0.0" in found["warnings"][0]
    assert said(report(make_index, tmp_path, plain(more="    target_delimiter: ''\n"), CITIES)) == ""


@pytest.mark.parametrize(
    ("settings", "answer", "message"),
    [
        ('until: ["."]', "R.U.R.", "the stop string '.' cuts 'R.U.R.' to 'R'"),
        ('until: ["\\n"]', "a\nb", "cuts 'a\\nb' to 'a'"),
        ("max_gen_toks: 3", "one two three four", "takes 4 tokens or more, `max_gen_toks` is 3"),
    ],
)
def test_a_document_that_can_never_be_right_is_an_error(
    make_index: MakeIndex, tmp_path: Path, settings: str, answer: str, message: str
) -> None:
    text = plain(more=STRIPPED + f"    generation_kwargs: {{{settings}}}\n")
    found = report(make_index, tmp_path, text, [*CITIES, {"q": "Co?", "a": answer}])
    assert ["document 2" in error and message in error for error in found["errors"]] == [True]


def test_of_several_right_answers_one_is_enough(make_index: MakeIndex, tmp_path: Path) -> None:
    text = plain(target="al", more=STRIPPED + '    generation_kwargs: {until: ["."]}\n')
    rows = [{"q": "1", "al": ["R.U.R.", "RUR"]}, {"q": "2", "al": ["a.b", "c.d"]}]
    found = report(make_index, tmp_path, text, rows)
    assert [error.startswith("document 1: ") for error in found["errors"]] == [True]


def test_a_document_that_an_empty_answer_gets_right_is_an_error(make_index: MakeIndex, tmp_path: Path) -> None:
    metric = "    metric_list: [{metric: exact_match, ignore_punctuation: true}]\n"
    found = report(make_index, tmp_path, plain(more=STRIPPED + metric), [*CITIES, {"q": "Co?", "a": "---"}])
    assert found["errors"] == ["document 2: an empty answer gets exact_match = 1; the right one is '---'"]


def test_a_target_of_which_nothing_is_left_is_told(make_index: MakeIndex, tmp_path: Path) -> None:
    metric = "    metric_list: [{metric: f1, normalization: french}]\n"
    found = report(make_index, tmp_path, plain(more=STRIPPED + metric), [*CITIES, {"q": "Co?", "a": "Un"}])
    assert found["warnings"] == ["document 2: f1 leaves nothing of the right answer 'Un'; only the same text is right"]
    assert not found["errors"]


def test_a_metric_that_breaks_says_why(make_index: MakeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchbench.scoring.generation import TEXT_METRICS

    monkeypatch.setitem(TEXT_METRICS, "rouge1", lambda prediction, targets: {}["no dictionary"])
    metrics = "    metric_list: [{metric: exact_match}, {metric: rouge1}]\n"
    found = report(make_index, tmp_path, plain(more=STRIPPED + metrics), CITIES)
    assert "rouge1 = None, not 1: rouge1 raised KeyError: 'no dictionary'" in found["errors"][0]


@pytest.mark.parametrize(
    ("options", "answers", "message"),
    [
        ("", ["Karel \u010capek", "Brno"], "the gold answers get 0.00 of 100: 2 of 2 have fewer than four words"),
        (
            "",
            ["\u4eca\u5929\u5929\u6c14\u5f88\u597d", "\u6211\u5f88\u597d"],
            "knows no words of a script without spaces",
        ),
        (", tokenize: zh", ["\u4eca\u5929\u5929\u6c14\u5f88\u597d", "\u4f60\u597d\u5417\u670b\u53cb"], ""),
        ("", ["Karel \u010capek wrote the play R.U.R.", "It was in the year 1920."], ""),
    ],
)
def test_bleu_of_short_or_unspaced_texts_is_told(
    make_index: MakeIndex, tmp_path: Path, options: str, answers: list[str], message: str
) -> None:
    rows = [{"q": str(number), "a": answer} for number, answer in enumerate(answers)]
    found = report(make_index, tmp_path, plain(more=STRIPPED + f"    metric_list: [{{metric: bleu{options}}}]\n"), rows)
    assert [message in warning for warning in found["warnings"]] == ([True] if message else [])


def test_choices_that_look_alike_are_told(make_index: MakeIndex, tmp_path: Path) -> None:
    text = CHOOSE + '    doc_to_text: "{{ q }}"\n    doc_to_target: 0\n    doc_to_choice: c\n'
    rows = [
        {"q": "one", "c": ["\u010cas", "C\u030cas", "x"]},
        {"q": "two", "c": ["Ano", "ano ", "ne"]},
        {"q": "three", "c": ["a", "b"]},
    ]
    found = report(make_index, tmp_path, text, rows)
    assert found["errors"] == []
    assert [warning[:10] for warning in found["warnings"]] == ["document 0", "document 1"]
    assert "'Ano' and 'ano ' differ only in case, white space or Unicode form" in found["warnings"][1]


def test_a_question_under_another_id_is_told(make_index: MakeIndex, tmp_path: Path) -> None:
    rows = [{"id": 1, **CITIES[0]}, {"id": 2, **CITIES[1]}, {"id": 3, **CITIES[0], "q": " kde? ", "a": "Prag"}]
    found = report(make_index, tmp_path, plain(), rows)
    assert found["warnings"] == ["document 2: the same question as document 0, with another right answer"]
    shown = report(make_index, tmp_path, plain(), rows, "--num-fewshot", "2")
    assert "document 2: a shot is the same question, with its answer" in shown["warnings"]
    assert not any("document 1: a shot" in warning for warning in shown["warnings"])


def test_choices_may_be_a_list_that_is_written_as_text(make_task: MakeTask) -> None:
    text = CHOOSE + "    doc_to_text: q\n    doc_to_target: 1\n    doc_to_choice: \"['A', 'B']\"\n"
    assert prepare(make_task(text, {"test": CITIES}), RenderSettings()).docs[0].choices == ("A", "B")


def test_a_column_may_hold_a_list_as_text_and_be_shuffled(make_task: MakeTask) -> None:
    text = CHOOSE + (
        '    doc: {opts: "{{ raw | fromjson | shuffle(q) }}"}\n    doc_to_text: q\n    doc_to_choice: opts\n'
        '    doc_to_target: "{{ opts.index(a) }}"\n'
    )
    rows = [{"q": str(i), "a": "x", "raw": raw} for i, raw in enumerate(['["x", "y", "z"]', "['x', 'y', 'z']"] * 10)]
    docs = prepare(make_task(text, {"test": rows}), RenderSettings()).docs
    assert all(sorted(doc.choices) == ["x", "y", "z"] and doc.choices[doc.gold[0]] == "x" for doc in docs)
    assert len({doc.gold for doc in docs}) == 3


@pytest.mark.parametrize(
    ("choices", "target", "message"),
    [
        ("optoins", "0", "no column 'optoins'. Did you mean options? Columns: a, n, options, q"),
        ("options", "a", "\"{{ 'ABC'.index(a) }}\""),
        ("options", "n", "Positions count from 0. If it counts from 1, write {{ n - 1 }}."),
    ],
)
def test_a_label_that_is_no_index_says_how_it_becomes_one(
    make_index: MakeIndex, tmp_path: Path, choices: str, target: str, message: str
) -> None:
    text = CHOOSE + f"    doc_to_text: q\n    doc_to_target: {target}\n    doc_to_choice: {choices}\n"
    rows = [{"q": "1", "a": "B", "n": 3, "options": ["x", "y", "z"]}]
    assert message in report(make_index, tmp_path, text, rows)["errors"][0]


def test_show_and_render_take_a_file(make_index: MakeIndex, tmp_path: Path) -> None:
    make_index({"t.yaml": plain()}, {"test": CITIES})
    for verb in ("show", "render", "check"):
        result = CliRunner().invoke(app, [verb, str(tmp_path / "tasks" / "t.yaml")])
        assert result.exit_code == 0, result.output
        assert "t" in result.output


def test_a_skipped_file_is_named_and_stops_no_command(make_index: MakeIndex, tmp_path: Path) -> None:
    make_index(
        {"t.yaml": plain(), "compose.yaml": "services: {}\n", "p.yaml": "task: p\nx: !function u.f\n"}, {"test": CITIES}
    )
    folder = str(tmp_path / "tasks")
    for verb in (["ls"], ["ls", "t"], ["show", "t"], ["render", "t"], ["check", "t"]):
        result = CliRunner().invoke(app, [*verb, "--include-path", folder])
        assert result.exit_code == 0, result.output
        assert "compose.yaml: no `task` key" in result.output
        assert "never Python" in result.output
    result = CliRunner().invoke(app, ["check", "--all", "--include-path", folder])
    assert result.exit_code == 2
    assert "p.yaml: 1 error" in result.output
    assert "compose.yaml: 1 error" not in result.output


def test_what_many_documents_have_is_told_once(make_index: MakeIndex, tmp_path: Path) -> None:
    text = WRITE + "    doc_to_text: '{{ q }} {{ nothing }}'\n    doc_to_target: a\n" + STRIPPED
    make_index({"t.yaml": text}, {"test": [{"q": f"Kde je {n}?", "a": f"x{n}", "nothing": None} for n in range(9)]})
    told = CliRunner().invoke(app, ["check", "t", "--include-path", str(tmp_path / "tasks")])
    assert told.exit_code == 2
    assert "  error: documents 0, 1, 2, 3, 4 and 4 more: `doc_to_text` prints nothing\n" in told.stdout
    assert told.stdout.count("error:") == 1


def test_a_task_that_asks_nothing_says_so_unless_it_is_meant(make_index: MakeIndex, tmp_path: Path) -> None:
    rows = [{"c": ["a", "b"], "g": 0}, {"c": ["c", "d"], "g": 1}]
    text = CHOOSE + "    doc_to_choice: c\n    doc_to_target: g\n"
    make_index({"t.yaml": text, "u.yaml": text.replace("task: t", "task: u") + '    doc_to_text: ""\n'}, {"test": rows})
    told = CliRunner().invoke(app, ["check", "t,u", "--json", "--include-path", str(tmp_path / "tasks")]).stdout
    without, meant = map(json.loads, told.splitlines())
    assert [warning.partition(":")[0] for warning in without["warnings"]] == ["`doc_to_text` is missing"]
    assert meant["warnings"] == []


def test_white_space_on_both_sides_of_an_answer_is_told(make_index: MakeIndex, tmp_path: Path) -> None:
    rows = [{"q": "Kde? ", "c": ["a", "b"], "g": 0}, {"q": "Kdy?", "c": ["c", "d"], "g": 1}]
    text = CHOOSE + "    doc_to_text: q\n    doc_to_choice: c\n    doc_to_target: g\n"
    joined = text.replace("task: t", "task: u") + '    target_delimiter: ""\n'
    make_index({"t.yaml": text, "u.yaml": joined}, {"test": rows})
    told = CliRunner().invoke(app, ["check", "t,u", "--json", "--include-path", str(tmp_path / "tasks")]).stdout
    apart, together = map(json.loads, told.splitlines())
    assert apart["warnings"][0].startswith("1 prompts end with white space (document 0)")
    assert together["warnings"] == []


def test_a_filter_that_finds_no_right_answer_is_told_with_the_answer(make_index: MakeIndex, tmp_path: Path) -> None:
    steps = "[{function: regex, regex_pattern: 'A: (.*)'}, {function: take_first}]"
    text = WRITE + f"    doc_to_text: q\n    doc_to_target: a\n    filter_list: [{{name: x, filter: {steps}}}]\n"
    make_index({"t.yaml": text}, {"test": CITIES})
    told = CliRunner().invoke(app, ["check", "t", "--json", "--include-path", str(tmp_path / "tasks")]).stdout
    assert json.loads(told)["errors"] == [
        f"document {number}: the gold answer counts as unanswered: the filters find nothing in {city['a']!r}"
        for number, city in enumerate(CITIES)
    ]


@pytest.mark.parametrize(("lost", "stated", "kind"), [(1, True, "warnings"), (2, True, "errors"), (1, False, "errors")])
def test_documents_that_are_known_to_be_lost_are_warnings(
    make_index: MakeIndex, tmp_path: Path, lost: int, stated: bool, kind: str
) -> None:
    more = STRIPPED + '    generation_kwargs: {until: ["."]}\n'
    more += "    metadata: {unanswerable: stops at a full stop}\n" if stated else ""
    rows = [{"q": f"Hra {number}?", "a": "R.U.R." if number < lost else f"hra {number}"} for number in range(6)]
    found = report(make_index, tmp_path, plain(more=more), rows)
    assert [fault for fault in found[kind] if "the stop string '.' cuts 'R.U.R.' to 'R'" in fault]
    assert bool(found["errors"]) == (kind == "errors")

"""Folders of tasks as other people lay them out: each loads, or says in a sentence why not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchbench.cli.main import app
from benchbench.core.errors import BenchbenchError
from benchbench.core.types import RenderedDoc
from benchbench.tasks.index import TaskIndex
from benchbench.tasks.prepare import prepare
from benchbench.tasks.settings import RenderSettings
from tests.tasks.conftest import MakeIndex

FROM = (
    "dataset_path: json\ndataset_kwargs: {data_files: {test: items.jsonl}}\ntest_split: test\ndoc_to_text: '{{ q }}'\n"
)
GENERATE = f"{FROM}output_type: generate_until\ndoc_to_target: a\n"
CHOOSE = f"{FROM}output_type: multiple_choice\n"
ROWS = [
    {
        "q": "Kde je Praha?",
        "a": "Česko",
        "options": "['Česko', \"Polsko\"]",
        "json": '["Česko", "Polsko"]',
        "label": "A",
    },
    {"q": "Kde je Lyon?", "a": "Francie", "options": "['Itálie', 'Francie']", "json": '["x", "Francie"]', "label": "B"},
]
INDENTED = GENERATE.replace("\n", "\n    ").rstrip()
ARTICLE = {
    "title": "Praha",
    "paragraphs": [
        {"context": "Praha leží v Čechách.", "qas": [{"question": "Kde?", "answers": ["v Čechách"]}]},
        {
            "context": "Teče tudy Vltava.",
            "qas": [{"question": "Co teče?", "answers": ["Vltava"]}, {"question": "Kudy?", "answers": ["tudy"]}],
        },
    ],
}
SQUAD = (
    "task: t\ndataset_path: json\ndataset_kwargs: {data_files: {test: squad.json}, field: data}\ntest_split: test\n"
    "output_type: generate_until\nexplode: [paragraphs, qas]\n"
    "doc_to_text: '{{ title }}: {{ context }} {{ question }}'\ndoc_to_target: '{{ answers[0] }}'\n"
)


def docs_of(found: TaskIndex, name: str) -> list[RenderedDoc]:
    return [*prepare(found.task(name), RenderSettings()).docs]


LAYOUTS: list[tuple[dict[str, str], dict[str, tuple[int, tuple[str, ...]]]]] = [
    (  # a group file with tasks of its own, and names of others
        {
            "geo.yaml": f"group: geo\ntask:\n  - named\n  - task: inside\n    {INDENTED}\n",
            "named.yaml": f"task: named\n{GENERATE}",
        },
        {"named": (2, ("Česko",)), "inside": (2, ("Česko",))},
    ),
    (  # a template without the ending of YAML, included from a folder below
        {
            "_default_template_yaml": f"{GENERATE}description: 'Zeměpis.'\n",
            "one.yaml": "include: _default_template_yaml\ntask: one\n",
            "two.yaml": "include: [_default_template_yaml]\ntask: two\ntag: geo\n",
        },
        {"one": (2, ("Česko",)), "two": (2, ("Česko",))},
    ),
    (  # choices that are kept as text, and letters for labels
        {
            "json.yaml": f"task: t\n{CHOOSE}doc_to_choice: '{{{{ json|fromjson }}}}'\n"
            "doc_to_target: \"{{ 'AB'.index(label) }}\"\n",
            "list.yaml": f"task: u\n{CHOOSE}doc_to_choice: '{{{{ options|fromjson }}}}'\n"
            "doc_to_target: \"{{ 'AB'.index(label) }}\"\n",
            "letters.yaml": f"task: v\n{CHOOSE}doc_to_choice: \"['A', 'B']\"\ndoc_to_target: label\n",
        },
        {"t": (2, ("Česko",)), "u": (2, ("Česko",)), "v": (2, ("A",))},
    ),
    (  # one article, several questions
        {"t.yaml": SQUAD, "squad.json": json.dumps({"version": "1.1", "data": [ARTICLE]})},
        {"t": (3, ("v Čechách",))},
    ),
    (  # as many files as languages, a group over their tag
        {
            "_m_yaml": f"{CHOOSE}doc_to_choice: \"['A','B']\"\ndoc_to_target: label\n",
            "m_cs.yaml": "include: _m_yaml\ntask: m_cs\ntask_alias: čeština\ntag: m\n",
            "m_de.yaml": "include: _m_yaml\ntask: m_de\ntag: m\n",
            "m.yaml": "group: all_m\ntask: [m]\naggregate_metric_list: [{metric: acc, weight_by_size: false}]\n",
        },
        {"m_cs": (2, ("A",)), "m_de": (2, ("A",))},
    ),
    (  # folders below folders, with caches and environments among them
        {
            "a/b/t.yaml": f"task: t\n{GENERATE}".replace("items", "own"),
            "a/b/own.jsonl": json.dumps(ROWS[0]) + "\n",
            ".venv/lib/t.yaml": "task: [\n",
            "a/.ipynb_checkpoints/t-checkpoint.yaml": f"task: t\n{GENERATE}",
            ".git/config.yaml": "- 1\n",
        },
        {"t": (1, ("Česko",))},
    ),
]


@pytest.mark.parametrize(("files", "expected"), LAYOUTS)
def test_a_layout_of_others_loads(
    make_index: MakeIndex, files: Mapping[str, str], expected: Mapping[str, tuple[int, tuple[str, ...]]]
) -> None:
    found = make_index(files, {"items": ROWS})
    assert not found.skipped
    assert {*found.variants} == {*expected}
    for name, (count, right) in expected.items():
        docs = docs_of(found, name)
        first = tuple(docs[0].choices[index] for index in docs[0].gold) if docs[0].choices else docs[0].targets
        assert (len(docs), first) == (count, right)
    assert all(len(group.tasks) == 2 for group in found.groups.values())


FOREIGN = {
    "compose.yml": ("services: {a: {image: b}}\n", "no `task` key"),
    "euroeval.yaml": ("dataset: x\ntask: sentiment-classification\nlanguages: [da]\n", "a file of something else"),
    "helm/entries.yaml": ("entries: [{description: 'mmlu:model=x', priority: 1}]\n", "no `task` key"),
    "mkdocs.yml": ("a: !!python/name:x.y\n", "never Python"),
    "chart.yaml": ("a: {{ .Values.x }}\n", "chart.yaml:1: found unhashable key"),
    "empty.yaml": ("", "found nothing"),
    "several.yaml": ("a: 1\n---\nb: 2\n", "but found another document"),
    "list.yaml": ("- a\n", "found a list"),
    "python.yaml": (f"task: p\n{GENERATE}process_docs: !function utils.f\n", "--tasks lm_eval:FILE.yaml"),
    "class.yaml": ("task: c\nclass: !function task.C\n", "never Python"),
}


@pytest.mark.parametrize("most", [0, 500])
def test_what_lies_among_the_tasks_is_named_and_hides_none(
    make_index: MakeIndex, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchbench.tasks.index.READ_WHOLE", most)
    others = {
        "lighteval_task.py": "raise SystemExit(1)\n",
        "bigbench/task.json": '{"examples": []}',
        "utils.py": "1/0\n",
    }
    files = {name: text for name, (text, _) in FOREIGN.items()}
    found = make_index({"t.yaml": f"task: t\n{GENERATE}", **files, **others}, {"items": ROWS})
    assert [*found.variants] == ["t"]
    assert len(docs_of(found, "t")) == 2
    said = {path.name: str(reason) for path, reason in found.skipped.items()}
    assert {*said} == {Path(name).name for name in FOREIGN}
    for name, (_, reason) in FOREIGN.items():
        assert reason in said[Path(name).name]


LETTERS = f"{CHOOSE}doc_to_choice: [A, B]\n"
WRONG = [
    (
        "t.yaml",
        f"task: t\n{GENERATE}process_docs: utils.f\n",
        "names Python, which a task file never runs. Derive fields",
    ),
    ("t.yaml", f"task: t\n{CHOOSE}doc_to_choice: options\ndoc_to_target: 0\n", r"read by \{\{ options\|fromjson \}\}"),
    ("t.yaml", f"task: t\n{CHOOSE}doc_to_choice: q\ndoc_to_target: 0\n", "gives a str, not a list of choices.$"),
    ("t.yaml", f"task: t\n{GENERATE}metric_list: [{{metric: bleu_flores200}}]\n", "See `benchbench tasks metrics`"),
    (
        "t.yaml",
        f"task: t\n{GENERATE}fewshot_config: {{sampler: id_sampler}}\n",
        "'default' or 'first_n', given 'id_sampler'",
    ),
    (
        "t.yaml",
        f"task: t\n{GENERATE}metric_list: [bleu]\n",
        "'metric_list.0': input should be a mapping of keys to values",
    ),
    (
        "t.yaml",
        f"task: t\n{GENERATE}".replace("path: json", "path: ./items.jsonl"),
        "names a file.*{test: items.jsonl}",
    ),
    ("t.yaml", f"task: t\n{GENERATE}".replace("path: json", "path: rows.csv"), "names a file.*`dataset_path: csv`"),
    ("t.yaml", f"task: t\n{LETTERS}doc_to_target: Label\n", "There is no column 'Label'. Did you mean label"),
    ("t.yaml", f"task: t\n{LETTERS}doc_to_target: '({{{{ label }}}}).'\n", r"'AB'.index\(label.strip\("),
    ("t.yaml", f"task: t\n{LETTERS}doc_to_target: ' a'\n", "There is no column ' a'|differs from 'A' only in case"),
    ("t.yaml", f"task: t\n{GENERATE}explode: qs\n", "row 0 has no field 'qs'. Did you mean q"),
    ("t.yaml", f"task: t\n{GENERATE}explode: q\n", "row 0 has a str in 'q', not a list"),
]


@pytest.mark.parametrize(("name", "text", "said"), WRONG)
def test_what_cannot_be_read_says_what_to_write(make_index: MakeIndex, name: str, text: str, said: str) -> None:
    found = make_index({name: text}, {"items": ROWS})
    with pytest.raises(BenchbenchError, match=said):
        docs_of(found, "t")


FILES = [
    ("x.json", json.dumps({"1": {"q": "a", "a": "b"}, "2": {"q": "c", "a": "d"}}), "whose 2 fields are objects.*jq"),
    ("x.json", json.dumps({"test": [{"q": "a"}], "train": [{"q": "b"}]}), "field: test"),
    ("x.jsonl", json.dumps([{"q": "a", "a": "b"}], indent=1), "one JSON value over several lines: call it x.json"),
]


@pytest.mark.parametrize(("name", "text", "said"), FILES)
def test_a_file_of_another_shape_says_how_its_rows_are_found(
    make_index: MakeIndex, name: str, text: str, said: str
) -> None:
    found = make_index({"t.yaml": f"task: t\n{GENERATE}".replace("items.jsonl", name), name: text})
    with pytest.raises(BenchbenchError, match=said):
        docs_of(found, "t")


def test_one_object_is_one_row_and_bars_separate_columns(make_index: MakeIndex) -> None:
    one = json.dumps({"q": {"cs": "Kde?"}, "a": {"fr": "Ici"}})
    text = f"task: t\n{GENERATE}".replace("items.jsonl", "x.json").replace("'{{ q }}'", "'{{ q.cs }}'")
    assert len(docs_of(make_index({"t.yaml": text, "x.json": one}), "t")) == 1
    bars = f"task: t\n{GENERATE}".replace("path: json", "path: csv").replace("items.jsonl", "x.csv")
    assert docs_of(make_index({"t.yaml": bars, "x.csv": "q|a\nKde?|Praha, Brno\n"}), "t")[0].targets == ("Praha, Brno",)


def test_a_list_that_datasets_turned_into_columns_is_exploded_too(make_index: MakeIndex) -> None:
    rows = [{"s": "Praha", "turns": {"q": ["Kde?", "Co?"], "a": ["v Čechách", "město"]}}, {"s": "x", "turns": []}]
    text = f"task: t\n{GENERATE}explode: turns\nkeep: \"{{{{ q != 'Co?' }}}}\"\n".replace(
        "'{{ q }}'", "'{{ s }} {{ q }}'"
    )
    found = make_index({"t.yaml": text}, {"items": rows})
    assert [doc.targets for doc in docs_of(found, "t")] == [("v Čechách",)]
    assert "explode" in found.task("t").resolved()
    assert "explode" not in make_index({"t.yaml": f"task: t\n{GENERATE}"}).task("t").resolved()


def test_skipped_files_are_listed_on_demand(make_index: MakeIndex, tmp_path: Path) -> None:
    nameless = {f"{n}.yaml": f"n: {n}\n" for n in range(8)}
    wrong = {f"w{n}.yaml": f"include: gone{n}.yaml\ntask: w{n}\n" for n in range(6)}
    make_index({"t.yaml": f"task: t\n{GENERATE}", **nameless, **wrong}, {"items": ROWS})
    folder = str(tmp_path / "tasks")
    listed = CliRunner().invoke(app, ["tasks", "ls", "--include-path", folder])
    assert listed.exit_code == 0
    lines = listed.stderr.splitlines()
    assert (len(lines), lines[0].startswith(f"Skipped {folder}/0.yaml: no `task` key")) == (6, True)
    assert lines[0].endswith(" And 7 more for the same reason.")
    assert (
        lines[5] == "Skipped 2 more for other reasons. `benchbench tasks ls --skipped --include-path DIR` lists them."
    )
    every = CliRunner().invoke(app, ["tasks", "ls", "--skipped", "--include-path", folder])
    found = every.stdout.count("no `task` key"), every.stdout.count("gone"), every.stderr
    assert found == (8, 6, "")
    told = CliRunner().invoke(app, ["tasks", "ls", "--skipped", "--json", "--include-path", folder])
    assert [Path(json.loads(line)["file"]).name for line in told.stdout.splitlines()] == [*nameless, *wrong]

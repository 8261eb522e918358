"""Names, texts and records that want to do harm, or are simply broken: shown as text, named, passed over."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchbench.leaderboard.site.build import SiteOptions, build_site
from benchbench.leaderboard.site.parts import slug
from benchbench.store.folder import PART
from benchbench.store.table import encode_part
from tests.leaderboard.site.page import Page
from tests.leaderboard.site.synthetic import many, write_run
from tests.store.make import item

HOSTILE = (
    "<script>window.hacked=1</script>",
    "</script><script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    '" onmouseover="window.hacked=1',
    "{{ 7*7 }}{% raw %}",
    "javascript:window.hacked=1",
    "</title></style></pre><svg onload=window.hacked=1>",
    "a\u202eevil\u2066b",
    "bell\x07null\x00esc\x1b[31m",
    "<!--",
    "]]>&lt;b&gt;",
    "\ud83d\ude00 \u200b zero",
    "=cmd|' /C calc'!A0",
    "../../../etc/passwd",
)
ALLOWED = {
    "html",
    "head",
    "meta",
    "title",
    "link",
    "style",
    "body",
    "a",
    "header",
    "p",
    "nav",
    "ul",
    "li",
    "main",
    "h1",
}
ALLOWED |= {"bdi", "div", "table", "thead", "tbody", "tr", "th", "td", "span", "svg", "line", "circle", "rect", "sup"}
ALLOWED |= {"details", "summary", "h2", "h3", "section", "dl", "dt", "dd", "pre", "code", "footer", "script", "article"}
ALLOWED |= {"ol", "noscript", "figure", "figcaption", "g", "text", "polyline", "polygon", "desc", "em"}


def hostile_store(root: Path) -> None:
    rng = np.random.default_rng(0)
    for place, text in enumerate(HOSTILE):
        scores = {
            HOSTILE[0]: (rng.random(20) < 0.5).astype(float),
            text + " task": (rng.random(20) < 0.5).astype(float),
        }
        path = write_run(root, text, scores, run_id=f"r{place}")
        record = json.loads((path / "run.json").read_text())
        for task in record["tasks"].values():
            task["example"] = {"doc_id": text, "prompt": text * 3, "continuations": [text]}
            task["resolved"] = {"doc_to_text": text, "description": text}
            task["output_type"] = text
        for row in record["rows"]:
            row |= {"note": text, "signature": text}
        record["backend"] |= {"dtype": text, "revision": text}
        record["groups"] = [{"name": text, "tasks": list(record["tasks"]), "weight_by_size": False}]
        (path / "run.json").write_text(json.dumps(record))
        clean = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        bad = [item(i, targets=(clean, "b"), prediction=clean, failure=clean, outcome="failed" if i < 3 else "answered",
                    texts=(clean,), scores={"acc": float(i % 2)}) for i in range(20)]  # fmt: skip
        (path / "items").mkdir(exist_ok=True)
        for folder in (path / "items").iterdir():
            (folder / PART).write_bytes(encode_part(bad))


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("hostile")
    hostile_store(root / "results")
    build_site([root / "results"], root / "site", SiteOptions("<script>window.hacked=1</script>", docs=3))
    return root / "site"


def test_nothing_hostile_becomes_markup(site):
    scripts = set()
    for path in sorted(site.rglob("*.html")):
        page = Page(path)
        assert page.open == [], path
        assert {tag for tag, _ in page.elements} <= ALLOWED, path
        assert not any(attribute.startswith("on") for _, attrs in page.elements for attribute in attrs), path
        assert not any("javascript:" in (attrs.get("href") or "") for _, attrs in page.elements), path
        scripts |= {attrs.get("type") for tag, attrs in page.elements if tag == "script"}
        assert sum(tag == "script" and not attrs for tag, attrs in page.elements) == 1, path
    assert scripts <= {None, "application/json", "text/plain"}


def test_a_page_that_does_not_escape_would_be_noticed(site, tmp_path):
    """The control of the test above."""
    source = (site / "index.html").read_text()
    assert "&lt;script&gt;window.hacked=1&lt;/script&gt;" in source
    (tmp_path / "bad.html").write_text(source.replace("&lt;img src=x onerror=window.hacked=1&gt;", HOSTILE[2]))
    assert any("onerror" in attrs for _, attrs in Page(tmp_path / "bad.html").elements)


def test_invisible_characters_are_visible_everywhere(site):
    for path in sorted(site.rglob("*.html")):
        source = path.read_text(encoding="utf-8")
        assert not set(source) & set("\u202e\u2066\x07\x00\x1b\u200b"), path
    assert "⟨U+202E⟩evil" in Page(site / "index.html").text


def test_chunks_hold_text_without_invisible_characters(site):
    page = next(Page(path) for path in sorted((site / "docs").iterdir()))
    chunks = page.source.split('<script type="text/plain" class="chunk">')[1:]
    docs = json.loads(gzip.decompress(base64.b64decode(chunks[0].partition("</script>")[0])))
    assert len(docs) == 20
    text = json.dumps(docs, ensure_ascii=False)
    assert not set(text) & set("\u202e\x07\x00\x1b")


def test_names_never_leave_the_site_or_share_a_file():
    made = [slug(text) for text in (*HOSTILE, "Model", "model", "a/b", "a_b", "A/B", ".", "..", "", "é", "con")]
    assert len({text.lower() for text in made}) == len(made)
    assert all(
        text and set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-") and text[0] not in ".-" for text in made
    )


def test_broken_records_are_named_and_the_site_still_builds(tmp_path):
    root = tmp_path / "results"
    many(root, ["a", "b"], tasks=2, docs=30)
    runs = {name: root / name / "abc" for name in ("a", "b")}
    (root / "half" / "r1").mkdir(parents=True)
    (root / "half" / "r1" / "plan.json").write_text('{"model": "half", "tasks": {}}')
    (root / "torn" / "r2").mkdir(parents=True)
    (root / "torn" / "r2" / "run.json").write_text('{"model": "to')
    for model, changes in {
        "future": {"schema_version": 99},
        "listless": {"rows": None},
        "older": {"versions": {"benchbench": "0.0.1"}},
        "lacking": {"tasks": {"t": {}}},
    }.items():
        shutil.copytree(root / "a", root / model)
        record = json.loads((root / model / "abc" / "run.json").read_text())
        (root / model / "abc" / "run.json").write_text(json.dumps({**record, "model": model, **changes}))
    shutil.copytree(root / "a", root / "copy")
    (runs["b"] / "items" / "task_00" / PART).write_bytes(b"PAR1 no parquet")
    built = build_site([root], tmp_path / "site")
    said = "\n".join(built.skipped)
    for words in (
        "half/r1: not finished",
        "torn/r2: ",
        "future/abc: schema version 99",
        "listless/abc: ",
        "older/abc: taken, but made by benchbench 0.0.1",
        "lacking/abc: `t` of `tasks` of lacking/abc/run.json lacks",
        "a/abc: the same run as copy/abc",
        "b/abc: b/abc/items/task_00",
    ):
        assert words in said, said
    assert (built.models, built.tasks) == (2, 2)  # `older` has the weights of `copy`: one line for both
    assert "future/abc: schema version 99" in Page(tmp_path / "site" / "index.html").text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "high"])
def test_a_value_that_is_no_number_is_a_dash(tmp_path, value):
    root = tmp_path / "results"
    many(root, ["a", "b"], tasks=2, docs=30)
    path = root / "a" / "abc" / "run.json"
    record = json.loads(path.read_text())
    record["rows"][0]["value"] = value
    path.write_text(json.dumps(record))
    build_site([root], tmp_path / "site")
    page = Page(tmp_path / "site" / "tasks" / "task_00.html")
    table = next(rows for rows in page.tables if rows.startswith("t-"))
    shown = {row["model"][0]: row["value"] for row in page.rows(table)}
    assert shown["a"] == ("–", None)
    assert shown["b"][1] is not None

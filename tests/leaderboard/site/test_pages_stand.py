"""Every page of a store with one of each thing, whole: what is read, what is sorted by, where links lead, drawings."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from benchbench.core import __version__
from benchbench.core.ids import content_hash
from benchbench.leaderboard.site.build import SiteOptions, build_site
from tests.frozen import stands
from tests.leaderboard.site.everything import everything

FILE = Path(__file__).with_name("pages.json")
SUITES = {"mixed": ("single", "ends", "texts", "absent"), "none": ("absent",), "one": ("single",)}
NUMBER = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")


class Read(HTMLParser):
    """The body of a page: elements with attributes, texts, drawings by their hash, and the data for scripts."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        body = source.partition("<body")[2].partition("<footer")[0]
        data = source.partition("<body")[2]
        self.scripts = re.findall(r'<script type="[^>]*>(.*?)</script>', data, re.DOTALL)
        plain = re.sub(r"<script.*?</script>", "", body, flags=re.DOTALL)
        self.found: list[object] = []
        self.feed(
            re.sub(r"<svg.*?</svg>", lambda drawn: f"[{content_hash(drawn[0], digits=8)}]", plain, flags=re.DOTALL)
        )

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        kept = [_number(value) if value else key for key, value in attrs]
        if kept or tag in ("tr", "li"):
            self.found.append([tag, *kept])

    def handle_data(self, data: str) -> None:
        if text := " ".join(data.split()):
            self.found.append(_number(text))


def _number(text: str) -> str | float:
    return float(text) if NUMBER.fullmatch(text) else text.replace(f"benchbench {__version__}", "benchbench VERSION")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = everything(tmp_path_factory.mktemp("everything") / "results")
    out = tmp_path_factory.mktemp("out") / "site"
    built = build_site([root], out, SiteOptions(title="Every & thing", suites=SUITES, docs=3))
    assert [built.models, built.tasks, built.sweeps] == [7, 8, 2]
    assert built.pages == len(list(out.rglob("*.html")))
    return out


def test_the_pages_are_those_that_were_there(site: Path) -> None:
    stands(FILE, "files", sorted(path.relative_to(site).as_posix() for path in site.rglob("*")))


def test_pages_stand_whole(site: Path) -> None:
    found = {}
    for page in sorted(site.rglob("*.html")):
        read = Read(page.read_text(encoding="utf-8"))
        found[page.relative_to(site).as_posix()] = [read.found, [_unpacked(script) for script in read.scripts]]
    assert len(found) > 20
    stands(FILE, "pages", found)


def _unpacked(script: str) -> object:
    """The content of a script element: JSON, or docs that are packed."""
    text = script.strip()
    found = json.loads(text) if text[0] in "[{" else json.loads(gzip.decompress(base64.b64decode(text)))
    return json.loads(json.dumps(found), parse_int=float)


def test_data_files_stand(site: Path) -> None:
    for name, columns in (("board", ()), ("runs", ("run", "model", "task", "metric", "value", "is_current"))):
        rows = json.loads((site / "data" / f"{name}.json").read_text(encoding="utf-8"))
        assert len(rows) > 10
        stands(FILE, f"data {name}", [[row[key] for key in columns or row if key in row] for row in rows])

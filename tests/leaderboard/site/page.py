"""Built pages, read back with the standard library's parser."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "link", "input", "br", "img", "hr"}


class Page(HTMLParser):
    """Tables as rows of cells, the elements with their attributes, and whether every tag is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.path = path
        self.source = path.read_text(encoding="utf-8")
        self.tables: dict[str, list[list[tuple[str, dict[str, str | None]]]]] = {}
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self._table = ""
        self._cell: dict[str, str | None] | None = None
        self._words = ""
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.elements.append((tag, found))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self._table = found.get("id") or f"table{len(self.tables)}"
            self.tables[self._table] = []
        elif tag == "tr" and self._table:
            self.tables[self._table].append([])
        elif tag in ("td", "th"):
            self._cell, self._words = found, ""

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        assert self.open[-1:] == [tag], f"{self.path}: </{tag}> closes {self.open[-1:]}"
        self.open.pop()
        if tag in ("td", "th") and self._cell is not None and self._table:
            self.tables[self._table][-1].append((self._words, self._cell))
            self._cell = None
        elif tag == "table":
            self._table = ""

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data
        if self._cell is not None:
            self._words += data

    def rows(self, table: str) -> list[dict[str, tuple[str, float | None]]]:
        """Data rows of a live table: key of the column → (text, number)."""
        head, *body = self.tables[table]
        keys = [attrs.get("data-key") for _, attrs in head]
        found = []
        for row in body:
            if len(row) == len(keys):
                values = [(text.strip(), float(a["data-v"]) if a.get("data-v") else None) for text, a in row]
                found.append({key: value for key, value in zip(keys, values, strict=True) if key is not None})
        return found

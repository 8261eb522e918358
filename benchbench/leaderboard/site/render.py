"""Templates → pages: escaping, and a content policy with hashes."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import Field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from benchbench.core import __version__
from benchbench.core.errors import StoreError
from benchbench.core.format import visible

if TYPE_CHECKING:
    from jinja2 import Environment


def packaged_site() -> Path:
    """Templates and static files: `benchbench/_leaderboard` in a wheel, `leaderboard/` in a checkout."""
    package = Path(__file__).parents[2]
    inside = package / "_leaderboard"
    return inside if inside.is_dir() else package.parent / "leaderboard"


def embedded(value: object) -> str:
    """JSON that can stand in a script element whatever it holds."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


class Page(Protocol):
    """What a template needs, as fields of a dataclass."""

    template: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


class PageRenderer:
    """Fills the templates. Every value is escaped; only our own drawings, styles and scripts are markup."""

    def __init__(self, title: str, nav: tuple[tuple[str, str], ...]) -> None:
        self._folder = packaged_site()
        self._title = title
        self._nav = nav

    @cached_property
    def _environment(self) -> Environment:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        return Environment(
            loader=FileSystemLoader(self._folder / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_safe,
        )

    def render(self, page: Page, path: str, heading: str) -> str:
        """One page. `path` is where it will lie, from the site's folder."""
        from markupsafe import Markup

        css = self._static("site.css")
        js = self._static("docs.js" if page.template == "docs.html" else "site.js")
        policy = (
            f"default-src 'none'; script-src '{_hash(js)}'; style-src '{_hash(css)}'; img-src data:;"
            " base-uri 'none'; form-action 'none'"
        )
        return self._environment.get_template(page.template).render(
            {
                **{field.name: getattr(page, field.name) for field in fields(page)},
                "policy": Markup(policy),  # noqa: S704 - our own text
                "css": Markup(css),  # noqa: S704
                "js": Markup(js),  # noqa: S704
                "site_title": self._title,
                "nav": self._nav,
                "heading": heading,
                "here": path,
                "root": "../" * path.count("/"),
                "version": __version__,
            }
        )

    def _static(self, name: str) -> str:
        return _read(self._folder / "static" / name)


def _safe(value: object) -> object:
    """The last gate before a page: texts lose what is invisible, whatever page made them."""
    if not isinstance(value, str) or value.isprintable() or hasattr(value, "__html__"):
        return value
    return visible(value)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{path} of the installation is missing; install benchbench again.") from error


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"

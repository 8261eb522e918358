"""The demo's training text and task items, made from the word lists and tables in `data/`.

`python -m benchbench.demo.text tasks/demo` writes the items of the demo tasks again; a test holds that the files in the
repository are exactly these.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from benchbench.demo.facts import LANGUAGES, facts
from benchbench.demo.pairs import pair_documents, sentence_pairs


@cache
def corpus() -> tuple[str, ...]:
    """Every training document once, in a fixed order."""
    documents = [document for language in LANGUAGES for document in facts(language).documents]
    return tuple(dict.fromkeys(documents + pair_documents()))


def task_items() -> dict[str, Sequence[Mapping[str, Any]]]:
    """File name (without `.jsonl`) → the docs of that demo task."""
    trivia = [{"language": language, **item} for language in LANGUAGES for item in facts(language).trivia_items]
    return {
        "choice_cs": facts("cs").choice_items,
        "choice_fr": facts("fr").choice_items,
        "trivia": trivia,
        "translation": [{"cs": czech, "fr": french} for czech, french in sentence_pairs()[1]],
    }


def write_items(folder: Path) -> None:
    """Write the items as `<name>.jsonl` into `folder`, one JSON object per line."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, docs in task_items().items():
        text = "".join(json.dumps(doc, ensure_ascii=False) + "\n" for doc in docs)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_items(Path(sys.argv[1]))

"""Numbers and texts as they stood: a change that is to move none leaves them alone.

Other tests say what is right; these notice that something has moved. BENCHBENCH_TEST_FREEZE=1 writes the file anew: its
difference shows what a change has moved.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

DIGITS = 8
"""Significant digits that are kept: the last ones of a sum differ between processors."""


def plain(value: Any) -> Any:
    """Anything that a function gives as lists, numbers and texts."""
    match value:
        case bool() | np.bool_():
            return bool(value)
        case float() | int() | np.number():
            return value if isinstance(value, int) else rounded(float(value))
        case None | str():
            return value
        case np.ndarray():
            return plain(value.tolist())
        case Mapping():
            return {str(key): plain(one) for key, one in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(one) for one in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return f"a {type(value).__name__}"


def rounded(value: float) -> float | str:
    """The number with few digits; what is no number as a text, and rounding errors as 0."""
    if not math.isfinite(value):
        return str(value)
    return 0.0 if abs(value) < 1e-12 else float(f"{value:.{DIGITS}g}")


def stands(file: Path, name: str, value: Any) -> None:
    """Fails where the value is not the one in the file."""
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    found = json.loads(json.dumps(plain(value)))
    if os.environ.get("BENCHBENCH_TEST_FREEZE") == "1":
        text = json.dumps(known | {name: found}, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        file.write_text(text.replace('},"', '},\n"').replace('],"', '],\n"') + "\n", encoding="utf-8")
        return
    assert name in known, f"{name} is new: BENCHBENCH_TEST_FREEZE=1 writes it into {file.name}"
    difference = first_difference(known[name], found, name)
    assert difference is None, difference


def shortened(value: Any) -> str:
    """The value as text, its middle left out where it is long."""
    text = repr(value)
    return text if len(text) <= 400 else f"{text[:200]} … {text[-200:]}"


def first_difference(known: Any, found: Any, place: str) -> str | None:
    """Where two values differ first, and how."""
    if isinstance(known, float | int) and isinstance(found, float | int) and not isinstance(known, bool):
        same = math.isclose(known, found, rel_tol=1e-6, abs_tol=1e-9)
        return None if same else f"{place}: {known} before, {found} now"
    if isinstance(known, dict) and isinstance(found, dict) and set(known) == set(found):
        parts = [(known[key], found[key], f"{place}.{key}") for key in known]
    elif isinstance(known, list) and isinstance(found, list) and len(known) == len(found):
        parts = [(a, b, f"{place}[{i}]") for i, (a, b) in enumerate(zip(known, found, strict=True))]
    else:
        return None if known == found else f"{place}: {shortened(known)} before, {shortened(found)} now"
    return next((text for part in parts if (text := first_difference(*part)) is not None), None)

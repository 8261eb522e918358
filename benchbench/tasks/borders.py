"""What a task file may say of its data set: names of the Hub and files of its own, and nothing else.

`datasets` reads any file, asks any address and writes folders if the right words stand in a task file. So only words of
a short list reach it; `--trust-task-code` lets everything through.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

from benchbench.core.errors import DataError
from benchbench.core.files import is_regular

MAX_NAME = 200
FILE_FORMATS = ("json", "csv", "parquet", "text")
"""Values of `dataset_path` that mean files beside the task, as in `datasets`."""
ALLOW = "If you trust it, --trust-task-code lets it through."


def is_data_set_name(path: object) -> bool:
    """`organisation/name` or `name`, and no way out of a folder."""
    return isinstance(path, str) and _is_name(path) and re.fullmatch(r"[\w.-]+(/[\w.-]+)?", path) is not None


def is_configuration_name(name: object) -> bool:
    """The name of one folder, or none."""
    return name is None or (isinstance(name, str) and _is_name(name) and re.fullmatch(r"[^/\\]*", name) is not None)


def is_split_name(split: str) -> bool:
    """The name of one file without its ending."""
    return _is_name(split) and not any(sign in split for sign in "/\\")


def _is_name(text: str) -> bool:
    return ".." not in text and len(text) <= MAX_NAME and not any(sign < " " for sign in text)


def check_hub(
    where: str,
    path: object,
    name: object = None,
    revision: object = None,
    options: Mapping[str, object] | None = None,
    *,
    may_name_hub_files: bool = False,
) -> None:
    """Refuses all but a data set of the Hub, read with options that only say which of its files and columns.

    `may_name_hub_files`: `hf://datasets/organisation/name/file` may be named as a file, which tasks of lm-eval do.

    Raises:
        DataError: beginning with `where`.
    """
    options = dict(options or {})
    if may_name_hub_files and path in FILE_FORMATS and _are_hub_files(options.get("data_files")):
        del options["data_files"]
    elif not is_data_set_name(path):
        raise DataError(f"{where}: `dataset_path` {_short(path)} is not `organisation/name`, a data set of the Hub.")
    else:
        _check_is_of_hub(where, str(path))
    if not is_configuration_name(name):
        raise DataError(f"{where}: `dataset_name` {_short(name)} is not the name of a configuration.")
    for key, value in {**options, "revision": options.get("revision") if revision is None else revision}.items():
        _check_option(where, key, value)


def _check_is_of_hub(where: str, path: str) -> None:
    if path in FILE_FORMATS:
        raise DataError(f"{where}: with `dataset_path: {path}`, `data_files` names files of the task's own folder.")
    if path in builders() or path.endswith(".py") or path.startswith("buckets/"):
        raise DataError(
            f"{where}: `dataset_path: {path}` is a reader inside the library `datasets`, not a data set of the Hub; "
            f"files of a task are {', '.join(FILE_FORMATS)}. {ALLOW}"
        )
    if Path(path).exists():
        raise DataError(
            f"{where}: {path} is also a file or folder here, which `datasets` would read instead of the Hub's. "
            f"Go to another folder, or use --data-root. {ALLOW}"
        )


@cache
def builders() -> frozenset[str]:
    """Names that `datasets` takes for one of its own readers; their number grows with its versions."""
    from pkgutil import iter_modules

    try:
        from datasets import packaged_modules
    except ImportError:  # who loads the rows says what is missing
        return KNOWN_BUILDERS
    known = getattr(packaged_modules, "_PACKAGED_DATASETS_MODULES", {})
    return KNOWN_BUILDERS | {*known} | {module.name for module in iter_modules(packaged_modules.__path__)}


KNOWN_BUILDERS = frozenset((
    "arrow", "audiofolder", "cache", "conll", "eval", "fasta", "fastq",
    "folder_based_builder", "genbank", "generator", "harbor", "hdf5", "iceberg", "imagefolder",
    "lance", "meshfolder", "mmcif", "niftifolder", "pandas", "pdb", "pdffolder",
    "spark", "sql", "tsfile", "videofolder", "vortex", "webdataset", "xml",
))  # fmt: skip
"""Those of datasets 5.2."""


def _check_option(where: str, key: str, value: object) -> None:
    if key not in _OPTIONS:
        raise DataError(
            f"{where}: `dataset_kwargs` has {_short(key)}, which a task file may not give; it may give "
            f"{', '.join(_OPTIONS)}. {ALLOW}"
        )
    expected, is_right = _OPTIONS[key]
    if value is not None and not is_right(value):
        raise DataError(
            f"{where}: `{key}` of `dataset_kwargs` is {_short(value)}; a task file gives {expected}. {ALLOW}"
        )


def _is_inner_path(value: object) -> bool:
    """A path below the data set's own top folder: no address, no way up."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= 1000
        and not any(sign < " " or sign in ":\\~" for sign in value)
        and not value.startswith("/")
        and ".." not in value
    )


def _are_inner_paths(value: object) -> bool:
    found = [*_leaves(value)]
    return bool(found) and all(map(_is_inner_path, found))


_HUB_FILE = re.compile(r"hf://datasets/[\w.-]+/[\w.-]+(@[\w.-]+)?/[\w./*-]+")


def _are_hub_files(value: object) -> bool:
    found = [*_leaves(value)]
    return bool(found) and all(
        isinstance(one, str) and ".." not in one and _HUB_FILE.fullmatch(one) is not None for one in found
    )


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        value = [*value.values()]
    if not isinstance(value, list | tuple):
        yield value
        return
    for part in value:
        yield from part if isinstance(part, list | tuple) else (part,)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 1000


def _is_revision(value: object) -> bool:
    return isinstance(value, str) and _is_name(value) and re.fullmatch(r"\w[\w./-]*", value) is not None


def _is_plain(value: object) -> bool:
    """Column types as `datasets` writes them: no type that opens files (images, sound)."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return isinstance(value, dict) and len(text) <= 10_000 and "_type" not in text


def _is_switch(value: object) -> bool:
    return isinstance(value, bool)


_OPTIONS: dict[str, tuple[str, Callable[[object], bool]]] = {
    "data_files": ("names of files inside the data set (no address, no absolute path)", _are_inner_paths),
    "data_dir": ("the name of a folder inside the data set", _is_inner_path),
    "revision": ("a branch, tag or commit", _is_revision),
    "column_names": ("a list of names", lambda value: isinstance(value, list) and all(map(_is_text, value))),
    "header": ("a row's number, or infer", lambda value: value == "infer" or type(value) is int),
    "sep": ("a text", _is_text),
    "delimiter": ("a text", _is_text),
    "quotechar": ("a text", _is_text),
    "features": ("names and dtypes of columns", _is_plain),
    "verification_mode": ("a word", lambda value: value in ("no_checks", "basic_checks", "all_checks")),
    "streaming": ("true or false", _is_switch),
    "trust_remote_code": ("true or false", _is_switch),
}
"""Key of `dataset_kwargs` → what it may be, in words and as a test."""


def own_files(where: str, files: object, folder: Path, roots: tuple[Path, ...]) -> dict[str, list[Path]]:
    """Split → files that `data_files` names, all inside `folder` (the task's) or one of `roots`, links followed.

    Raises:
        DataError: for names that lead elsewhere, and for what is no regular file.
    """
    named = files if isinstance(files, Mapping) else {"train": files}
    found = {}
    for split, names in named.items():
        listed = names if isinstance(names, list | tuple) else [names]
        found[str(split)] = [_own_file(where, name, folder, roots) for name in listed]
    return found


def _own_file(where: str, name: object, folder: Path, roots: tuple[Path, ...]) -> Path:
    if not isinstance(name, str) or "\0" in name or not name:
        raise DataError(f"{where}: `data_files` names files, not {_short(name)}.")
    if "://" in name or "::" in name:
        raise DataError(f"{where}: {_short(name)} is an address; files of a task lie in its folder.")
    inside = [folder.resolve(), *(root.resolve() for root in roots)]
    try:
        every = [(place / name).resolve() for place in inside]
        found = [path for path in every if _is_inside(path, inside)]
        there = [path.exists() for path in every]
    except (OSError, RuntimeError) as error:  # RuntimeError: a circle of links
        raise DataError(f"{where}: {_short(name)} cannot be opened: {error}.") from error
    if not found or (any(there) and not any(path.exists() for path in found)):
        raise DataError(
            f"{where}: {_short(name)} lies outside the task's folder {inside[0]}; put it there, or use --data-root."
        )
    path = next((path for path in found if path.exists()), found[0])
    if not is_regular(path):
        raise DataError(f"{where}: {path} is no regular file." if path.exists() else f"{where}: no such file: {path}.")
    return path


def _is_inside(path: Path, folders: list[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 100 else f"{shown[:99]}…"

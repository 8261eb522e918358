"""Where a model lies: from what the user named to one local folder or GGUF file, pinned to a commit."""

from __future__ import annotations

import contextlib
import pickle
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchbench.core.errors import ModelError, did_you_mean

HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.py", "*.jinja", "*.tiktoken", "*.spm"]
TOKENIZER_FILES = [name for name in HUB_FILES if name != "*.safetensors"]
LOAD_ERRORS = (
    *(OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, ImportError, AssertionError, EOFError),
    *(struct.error, pickle.UnpicklingError),
)
"""What transformers raises for a model that it cannot build; the repository's own code may raise any of them."""
SPLIT_NUMBER = re.compile(r"-\d{5}-of-")
"""In the name of a GGUF file that is split: all parts are needed."""
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True, slots=True)
class Source:
    """A model on this machine."""

    folder: Path
    gguf_file: str | None = None
    """Name of the GGUF file in `folder`, if that is what is loaded."""
    revision: str | None = None
    """Commit of a hub name; None for local models."""
    composer: Path | None = None
    """A checkpoint of Composer: a `.pt` file in `folder`, or `folder` itself, which holds shards."""

    @property
    def name(self) -> str:
        """For sentences."""
        return str(self.composer or (self.folder / self.gguf_file if self.gguf_file else self.folder))


def find_model(model: str, revision: str | None = None) -> Source:
    """The folder or file that `model` names: a local path, else a hub name (`org/name`, or `org/name:file.gguf`).

    A hub name is downloaded, or taken from the cache when the Hub cannot be reached; its revision becomes a commit.
    Raises ModelError where nothing is found.
    """
    model = hub_path(model)
    path = Path(model).expanduser()
    if path.is_dir():
        _no_revision(model, revision)
        return _in_folder(path)
    if path.exists():
        _no_revision(model, revision)
        return _in_file(path)
    if _looks_local(model, path):
        near = did_you_mean(path.name, _siblings(path))
        raise ModelError(f"there is no model at {model}: no such folder or file.{near}")
    return _from_hub(model, revision)


def find_tokenizer(name: str) -> Source:
    """The folder of a tokenizer: a local one, else that of a hub name. ModelError if there is none."""
    path = Path(name).expanduser()
    if path.is_dir():
        return Source(path)
    if path.exists() or _looks_local(name, path):
        near = did_you_mean(path.name, _siblings(path))
        raise ModelError(f"--tokenizer {name}: expected a folder with a tokenizer, or a hub name.{near}")
    return Source(_download(name, None, TOKENIZER_FILES))


def split_revision(checkpoint: str) -> tuple[str, str | None]:
    """(name, revision) of `org/name@revision`; a path that exists is a name as it stands."""
    if "@" in checkpoint and not Path(checkpoint).exists():
        name, _, revision = checkpoint.rpartition("@")
        return name, revision
    return checkpoint, None


def hub_path(model: str) -> str:
    """`org/repo:file.gguf` written as `org/repo/file.gguf`; anything else, and whatever lies here, as it is."""
    repo, colon, name = model.partition(":")
    if colon and name.endswith(".gguf") and repo.count("/") == 1 and not Path(model).exists():
        return f"{repo}/{name}"
    return model


def _in_folder(folder: Path) -> Source:
    if not any(folder.iterdir()):
        raise ModelError(f"{folder} is an empty folder; expected a transformers model or a GGUF file.")
    if (folder / "config.json").is_file():
        return Source(folder)
    if any(folder.glob("*.distcp")):
        return Source(folder, composer=folder)
    gguf = sorted(p.name for p in folder.glob("*.gguf"))
    if len(gguf) > 1:
        raise ModelError(f"{folder} has {len(gguf)} GGUF files; name one, such as {folder / gguf[0]}.")
    return Source(folder, gguf[0] if gguf else None)


def _in_file(path: Path) -> Source:
    if path.suffix == ".gguf":
        return Source(path.parent, path.name)
    if path.suffix == ".pt":
        return Source(path.parent, composer=path)
    raise ModelError(f"{path} is a file; give the folder of a transformers model, or a .gguf or .pt file.")


def _no_revision(model: str, revision: str | None) -> None:
    if revision is not None:
        raise ModelError(f"--revision {revision} needs a hub name, but {model} is on this machine.")


def on_this_machine(model: str) -> bool:
    """Whether `model` is a path, or a hub name that was downloaded before."""
    from huggingface_hub import errors, snapshot_download

    model = hub_path(model)
    path = Path(model).expanduser()
    if path.exists() or _looks_local(model, path):
        return True
    repo = model.rsplit("/", 1)[0] if model.endswith(".gguf") else model
    try:
        folder = Path(snapshot_download(repo, local_files_only=True))
    except (errors.LocalEntryNotFoundError, errors.HFValidationError, OSError):
        return False
    return any(folder.glob("*.safetensors")) or any(folder.glob("*.bin")) or any(folder.glob("*.gguf"))


def _looks_local(model: str, path: Path) -> bool:
    """A path by its form, or a name whose first part is a folder here (then a typo is likelier than a hub name)."""
    if path.is_absolute() or model.startswith((".", "~")) or model.endswith(("/", "\\")):
        return True
    hub_part = model.rsplit("/", 1)[0] if model.endswith(".gguf") else model
    return not HUB_NAME.fullmatch(hub_part) or (len(path.parts) > 1 and Path(path.parts[0]).is_dir())


def _siblings(path: Path) -> list[str]:
    try:
        return [p.name for p in path.parent.iterdir()]
    except OSError:
        return []


def _from_hub(model: str, revision: str | None) -> Source:
    repo, gguf_file = model, None
    if model.endswith(".gguf"):
        repo, gguf_file = model.rsplit("/", 1) if "/" in model else (model, model)
    folder = _download(repo, revision, [SPLIT_NUMBER.sub("-*-of-", gguf_file), "*.json"] if gguf_file else HUB_FILES)
    commit = folder.name if folder.parent.name == "snapshots" else revision
    if gguf_file and not (folder / gguf_file).is_file():
        raise ModelError(f"{repo} on the Hub has no file {gguf_file}, or it was never downloaded here.")
    found = Source(folder, gguf_file) if gguf_file else _in_folder(folder)
    return Source(found.folder, found.gguf_file, commit)


def _download(repo: str, revision: str | None, wanted: list[str]) -> Path:
    from huggingface_hub import errors, snapshot_download

    at = f" at revision {revision!r}" if revision else ""
    try:
        folder = Path(snapshot_download(repo, revision=revision, allow_patterns=wanted))
        if wanted is HUB_FILES and not any(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(repo, revision=revision, allow_patterns=[*wanted, "pytorch_model*.bin"]))
        return folder
    except errors.GatedRepoError:
        raise ModelError(f"{repo} on the Hub is gated: accept its terms there, then run `hf auth login`.") from None
    except errors.RepositoryNotFoundError:
        raise ModelError(f"no model named {repo!r}: no such folder here, no such repository on the Hub.") from None
    except errors.RevisionNotFoundError:
        raise ModelError(f"{repo} on the Hub has no revision {revision!r}.") from None
    except errors.HFValidationError as error:
        raise ModelError(f"{repo!r} is neither a folder here nor a hub name: {error}") from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, OSError):
        raise ModelError(
            f"no model named {repo!r}{at}: no such folder here, not in the Hub's cache, and the Hub cannot be reached. "
            "Give a folder, or download it first with `hf download`."
        ) from None


@contextlib.contextmanager
def quiet(source: Source) -> Iterator[None]:
    """transformers without progress bars and warnings; what it raises becomes a ModelError naming the model."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except (*LOAD_ERRORS, StrictDataclassError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        said = " ".join(line.strip() for line in lines[: 2 if lines[0].endswith(":") else 1])
        raise ModelError(f"transformers cannot load {source.name}: {said}") from error
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()

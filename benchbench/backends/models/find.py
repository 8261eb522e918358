"""Where a model lies: from what the user named to one local folder or GGUF file, pinned to a commit.

And what can be known of it there without opening it: the memory that it needs, its chat template.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from benchbench.backends.chat import ChatTemplate, ControlTokens, Pieces, bare_template, template_of
from benchbench.backends.models.adapter import CONFIG
from benchbench.backends.models.adapter import WEIGHTS as ADAPTERS
from benchbench.backends.models.files import INDEX, PICKLE, SAFETENSORS, ModelSource, read_object, weight_map
from benchbench.backends.models.formats import format_named, recognise
from benchbench.backends.models.formats.gguf import GGUFHeader, read_header
from benchbench.backends.models.memory import MemoryEstimate, estimate_config
from benchbench.backends.models.tokenizer import load_tokenizer
from benchbench.core.errors import ModelError, did_you_mean
from benchbench.core.files import is_regular
from benchbench.core.types import Json

BESIDE = ("*.json", "*.model", "*.txt", "*.py", "*.jinja", "*.tiktoken", "*.spm", "*.codes", "*.tokenizer")
"""Files that a model may need beside its weights."""
DEEPER = "*/*"
"""Files in further folders: the same model in other formats, for other libraries."""
TEMPLATES = "additional_chat_templates/*.jinja"
SPLIT_NUMBER = re.compile(r"-\d{5}-of-")
"""In the name of a GGUF file that is split: all parts are needed."""
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def find_model(model: str, revision: str | None = None, subfolder: str | None = None) -> ModelSource:
    """The folder or file that `model` names: a local path, else a hub name (`org/name`, or `org/name:file.gguf`).

    A hub name is downloaded, or taken from the cache when the Hub cannot be reached; its revision becomes a commit.
    `subfolder` is the folder inside of it where the model lies. Raises ModelError where nothing is found.
    """
    model = hub_path(model)
    path = Path(model).expanduser()
    if path.is_dir():
        _no_revision(model, revision)
        return _in_folder(_inner(path, subfolder or "", model))
    if subfolder and (path.exists() or model.endswith(".gguf")):
        raise ModelError(f"subfolder={subfolder}: {model} is a file; expected a folder, or a hub name.")
    if path.exists():
        _no_revision(model, revision)
        return _recognised(path)
    if _looks_local(model, path):
        near = did_you_mean(path.name, _siblings(path))
        raise ModelError(f"there is no model at {model}: no such folder or file.{near}")
    return _from_hub(model, revision, subfolder or "")


def find_tokenizer(name: str) -> ModelSource:
    """The folder of a tokenizer: a local one, else that of a hub name. ModelError if there is none."""
    path = Path(name).expanduser()
    if path.is_dir():
        return ModelSource(path)
    if path.exists() or _looks_local(name, path):
        near = did_you_mean(path.name, _siblings(path))
        raise ModelError(f"--tokenizer {name}: expected a folder with a tokenizer, or a hub name.{near}")
    return ModelSource(_download(name, None, BESIDE, [DEEPER]))


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


def _in_folder(folder: Path) -> ModelSource:
    if not any(folder.iterdir()):
        raise ModelError(f"{folder} is an empty folder; expected a transformers model or a GGUF file.")
    return _recognised(folder)


def _recognised(path: Path) -> ModelSource:
    if not path.is_dir() and not is_regular(path):
        raise ModelError(f"{path} is a pipe or a device; a model consists of files.")
    found = recognise(path)
    if found is None:
        raise ModelError(f"{path} is a file; give the folder of a transformers model, or a .gguf or .pt file.")
    name, place = found
    return ModelSource(place, name)


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
        folder = Path(snapshot_download(repo, local_files_only=True, allow_patterns=["config.json"]))
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


def _from_hub(model: str, revision: str | None, subfolder: str) -> ModelSource:
    repo, gguf_file = model, None
    if model.endswith(".gguf"):
        repo, gguf_file = model.rsplit("/", 1) if "/" in model else (model, model)
        folder = _download(repo, revision, [SPLIT_NUMBER.sub("-*-of-", gguf_file), "*.json"])
    else:
        folder = _download_model(repo, revision, subfolder)
    commit = folder.name if folder.parent.name == "snapshots" else revision
    if gguf_file and not (folder / gguf_file).is_file():
        raise ModelError(f"{repo} on the Hub has no file {gguf_file}, or it was never downloaded here.")
    found = _recognised(folder / gguf_file) if gguf_file else _in_folder(_inner(folder, subfolder, repo))
    return replace(found, revision=commit)


def _inner(folder: Path, subfolder: str, name: str) -> Path:
    """The folder `subfolder` of it. ModelError where there is none, or where it would lead elsewhere."""
    if Path(subfolder).is_absolute() or ".." in Path(subfolder).parts:
        raise ModelError(f"subfolder={subfolder}: expected a folder inside {name}.")
    inner = folder / subfolder
    if not inner.is_dir():
        raise ModelError(f"{name} has no folder {subfolder}.{did_you_mean(inner.name, _siblings(inner))}")
    return inner


def _download_model(repo: str, revision: str | None, subfolder: str = "") -> Path:
    """The snapshot of a repository with what transformers reads, and of the weights one format, once.

    They are taken under the names that transformers asks for, safetensors before torch files, in one piece before
    shards. Other precisions, formats and copies in further folders stay on the Hub.
    """
    place = f"{subfolder.strip('/')}/" if subfolder.strip("/") else ""
    folder = _download(repo, revision, [place + name for name in (*BESIDE, SAFETENSORS)], [place + DEEPER])
    commit = folder.name if folder.parent.name == "snapshots" else revision
    weights = [] if (folder / place / SAFETENSORS).is_file() else _listed_weights(folder / place)
    if (folder / place / CONFIG).is_file():
        weights += ADAPTERS
    return _download(repo, commit, [place + name for name in (*weights, TEMPLATES)])


def _listed_weights(folder: Path) -> list[str]:
    """The shards that an index in `folder` names, else the one torch file."""
    for name in (SAFETENSORS, PICKLE):
        if (folder / (name + INDEX)).is_file():
            return sorted(set(weight_map(folder / (name + INDEX)).values()))
    return [PICKLE]


def _download(repo: str, revision: str | None, wanted: Sequence[str], unwanted: Sequence[str] = ()) -> Path:
    """The snapshot of a repository with the files that match; what the cache has of it, where the Hub is away."""
    from huggingface_hub import errors, snapshot_download

    at = f" at revision {revision!r}" if revision else ""
    allow, ignore = list(wanted), list(unwanted) or None
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=allow, ignore_patterns=ignore))
    except errors.GatedRepoError:
        raise ModelError(
            f"{repo} on the Hub is gated: accept its terms there, then put a token of yours into HF_TOKEN, or run "
            "`hf auth login`."
        ) from None
    except errors.RepositoryNotFoundError:
        raise ModelError(f"no model named {repo!r}: no such folder here, no such repository on the Hub.") from None
    except errors.RevisionNotFoundError:
        raise ModelError(f"{repo} on the Hub has no revision {revision!r}.") from None
    except errors.HFValidationError as error:
        raise ModelError(f"{repo!r} is neither a folder here nor a hub name: {error}") from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, OSError) as error:
        if TOO_MANY in (_status(error), _status(error.__cause__)):
            raise ModelError(
                f"the Hub answers no more requests for {repo!r}{at} for now (429): wait, or put a token of yours into "
                "HF_TOKEN."
            ) from None
        raise ModelError(
            f"no model named {repo!r}{at}: no such folder here, not in the Hub's cache, and the Hub cannot be reached. "
            "Give a folder, or download it first with `hf download`."
        ) from None


TOO_MANY = 429


def _status(error: BaseException | None) -> int | None:
    """The HTTP status that an error of the Hub's client tells."""
    return getattr(getattr(error, "response", None), "status_code", None)


def names_gguf(model: str) -> bool:
    """Whether `model` names a GGUF file, by its name, or a folder with one and no transformers model."""
    if model.endswith(".gguf"):
        return True
    folder = Path(model).expanduser()
    return folder.is_dir() and not (folder / "config.json").is_file() and any(folder.glob("*.gguf"))


def is_encoder_decoder(model: str) -> bool:
    """Whether a local folder holds an encoder-decoder model. Of models on the Hub nothing is known before opening."""
    try:
        return bool(read_object(Path(model).expanduser() / "config.json").get("is_encoder_decoder"))
    except ModelError:
        return False


def estimate_model(model: str, dtype: str = "auto") -> MemoryEstimate:
    """What `model` needs: a local folder or file, a hub model in the cache, else by what the Hub says of its headers.

    Downloads a configuration at most. Raises ModelError where there is no such model or nothing can be known of it.
    """
    if not on_this_machine(model):
        return _estimate_hub(model, dtype)
    source = find_model(model)
    return format_named(source.format).estimate(source, dtype)


def _estimate_hub(model: str, dtype: str) -> MemoryEstimate:
    from huggingface_hub import errors, get_safetensors_metadata, hf_hub_download

    try:
        counts = get_safetensors_metadata(model).parameter_count
        config = read_object(Path(hf_hub_download(model, "config.json")))
    except (errors.HfHubHTTPError, errors.HFValidationError, errors.NotASafetensorsRepoError, OSError, ValueError):
        raise ModelError(
            f"nothing is known of {model}: it is not on this machine, and the Hub cannot be asked or has no "
            "safetensors of it. Download it first with `hf download`."
        ) from None
    return estimate_config(config, {str(kind): count for kind, count in counts.items()}, dtype)


CONTROL, USER_DEFINED = 3, 4
"""Types of tokens that llama.cpp reads out of text."""


def open_template(name: str, *, trust_remote_code: bool = False) -> ChatTemplate:
    """The template of a folder, a hub name or a GGUF file. No weights are read; of a GGUF file only its front.

    Raises ModelError where there is no such model, or no template.
    """
    if name.endswith(".gguf"):
        path = find_model(name).path
        return gguf_template(path.name, read_header(path), None)
    return template_of(load_tokenizer(find_tokenizer(name), trusted=trust_remote_code))


def gguf_template(name: str, header: GGUFHeader, encode: Callable[[Pieces], list[int]] | None) -> ChatTemplate:
    """The template that a file carries; `encode` gives token ids, None: only text is wanted.

    ModelError where it has none.
    """
    source = header.metadata.get("tokenizer.chat_template")
    vocabulary = _listed(header, "tokens")
    known, variables = range(len(vocabulary)), {}
    for variable, key in (("bos_token", "bos_token_id"), ("eos_token", "eos_token_id")):
        number = header.metadata.get(f"tokenizer.ggml.{key}")
        variables[variable] = str(vocabulary[number]) if isinstance(number, int) and number in known else ""

    def control() -> ControlTokens:
        if encode is None:
            raise RuntimeError("token ids need the engine")
        types = _listed(header, "token_type")
        found = [str(token) for token, kind in zip(vocabulary, types, strict=False) if kind == CONTROL]
        written = [
            str(token)
            for token, kind in zip(vocabulary, types, strict=False)
            if kind == USER_DEFINED and not str(token).isspace() and str(token) in str(source)
        ]
        return ControlTokens([*found, *written], encode)

    return bare_template(name, source, variables, control)


def _listed(header: GGUFHeader, key: str) -> list[Json]:
    found = header.metadata.get(f"tokenizer.ggml.{key}")
    return found if isinstance(found, list) else []

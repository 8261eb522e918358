"""How much memory a model needs that is named by its folder, file or hub name; nothing is loaded."""

from __future__ import annotations

from pathlib import Path

from benchbench.backends.models.find import find_model, on_this_machine
from benchbench.backends.models.formats import format_named
from benchbench.backends.models.identity import read_json
from benchbench.backends.models.memory import MemoryEstimate, estimate_config
from benchbench.core.errors import ModelError


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
        config = read_json(Path(hf_hub_download(model, "config.json")))
    except (errors.HfHubHTTPError, errors.HFValidationError, errors.NotASafetensorsRepoError, OSError, ValueError):
        raise ModelError(
            f"nothing is known of {model}: it is not on this machine, and the Hub cannot be asked or has no "
            "safetensors of it. Download it first with `hf download`."
        ) from None
    return estimate_config(config, {str(kind): count for kind, count in counts.items()}, dtype)

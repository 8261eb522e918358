"""A checkpoint: one model at one step of its training, and what its name and files say of step and tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchbench.store.names import model_name

_STEP = re.compile(r"(?i)(?:^|[-_])(?:checkpoint|global_?step|step|iter(?:ation)?|batch|ba)[-_]?(\d+)(?![\d.])")
_TOKENS = re.compile(r"(?i)tokens[-_]?(\d+(?:\.\d+)?)([kmbt]?)(?![a-z\d])")
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where the weights of one step lie."""

    series: str
    """The training run: what the user named, as in a model's name."""
    step: int
    location: str
    """A folder, a `.pt` file, or a hub name."""
    revision: str | None = None
    """Of a hub name."""
    tokens_seen: int | None = None
    """Where a list file says so; None: whatever the checkpoint itself says."""

    @property
    def target(self) -> str:
        """What a backend's `load_weights` takes."""
        return self.location if self.revision is None else f"{self.location}@{self.revision}"

    @property
    def name(self) -> str:
        """The name of a run of this checkpoint. Where its own name tells another step, the step is added."""
        name = model_name(self.location, self.revision)
        return name if said_step(self.location, self.revision) == self.step else f"{name}@step{self.step}"


def step_in(name: str) -> int | None:
    """The optimizer step that a folder, file or revision name tells.

    >>> step_in("checkpoint-500"), step_in("ep0-ba75000-rank0.pt"), step_in("step1000-tokens4B"), step_in("main")
    (500, 75000, 1000, None)
    """
    found = _STEP.search(name)
    if found is not None:
        return int(found[1])
    return int(name) if name.isdecimal() else None


def tokens_in(name: str) -> int | None:
    """The tokens seen that a name tells: `step1000-tokens4B` is 4,000,000,000."""
    found = _TOKENS.search(name)
    return None if found is None else round(float(found[1]) * _UNITS[found[2].lower()])


def said_step(location: str, revision: str | None = None) -> int | None:
    """The step that a model's own name or its `trainer_state.json` tells."""
    step = step_in(_leaf(location, revision))
    if step is None and revision is None:
        step = _number(_trainer_state(location).get("global_step"))
    return step


def said_tokens(location: str, revision: str | None = None) -> int | None:
    """Tokens trained on, as `trainer_state.json`, a Composer file or the name tells; None where nothing does."""
    tokens = None
    if revision is None:
        tokens = _counted_tokens(_trainer_state(location))
        if tokens is None and location.endswith(".pt") and Path(location).is_file():
            from benchbench.backends.hf.composer import tokens_seen

            tokens = tokens_seen(Path(location))
    return tokens_in(_leaf(location, revision)) if tokens is None else tokens


def _leaf(location: str, revision: str | None) -> str:
    if revision is not None:
        return revision
    path = Path(location)
    return path.parent.name if step_in(path.name) is None and path.suffix == ".pt" else path.name


def _trainer_state(location: str) -> dict[str, Any]:
    try:
        state = json.loads((Path(location) / "trainer_state.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _counted_tokens(state: Mapping[str, Any]) -> int | None:
    """transformers' Trainer writes 0 where it was not asked to count."""
    tokens = _number(state.get("num_input_tokens_seen"))
    return None if tokens == 0 and state.get("global_step") != 0 else tokens


def _number(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else None

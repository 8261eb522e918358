"""Whether what one worker computes can stand beside what another does."""

from __future__ import annotations

from benchbench.backends.pool.actor import greeting
from benchbench.backends.pool.worker import About


def other_node(told: dict[str, str]) -> str | None:
    """Why a worker that greeted so cannot be used."""
    here = greeting()
    for what in ("Python", "benchbench"):
        if told.get(what) != here[what]:
            return (
                f"{told.get('host')} has {what} {told.get(what)}, and {here['host']} has {here[what]}. Start Ray on "
                "every node from the same environment."
            )
    if told["unseen"]:
        return f"{told['host']} does not see {told['unseen']}: it has to be on a file system that all nodes share."
    return None


def difference(first: About, other: About) -> str | None:
    """Why what the other computes cannot stand beside what the first does."""
    named = {
        "benchbench": (first.version, other.version),
        "weights": (first.info.model_identity[:12], other.info.model_identity[:12]),
        "tokenizer": (first.info.tokenizer_identity[:12], other.info.tokenizer_identity[:12]),
        "engine": (f"{first.info.name} {first.info.version}", f"{other.info.name} {other.info.version}"),
        "dtype": (first.info.dtype, other.info.dtype),
    }
    for what, (one, another) in named.items():
        if one != another:
            return f"{other.host} has other {what} ({another}) than {first.host} ({one})."
    return None

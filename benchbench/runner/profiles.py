"""Settings of published evaluations by name: `benchbench run --profile NAME` fills in what the command leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchbench.core.errors import ArgumentError, did_you_mean
from benchbench.core.settings import changed
from benchbench.runner.settings import RunSettings


@dataclass(frozen=True, slots=True)
class Profile:
    """What an evaluation fixes. The README of its tasks says what it measures."""

    tasks: str
    """The suite it stands for."""
    num_fewshot: int
    max_length: int
    """Tokens of context and answer together; shots go first where they do not fit, then the description."""
    read: str
    """The columns that its publication reports."""


PROFILES: Mapping[str, Profile] = {
    "benczechmark": Profile("benczechmark", num_fewshot=3, max_length=2048, read="acc_token, auroc, exact_match"),
}
"""benczechmark: Fajčík et al., arXiv 2412.17933. Mean token log-probabilities are scored in every run anyway."""


def with_profile(settings: RunSettings, name: str) -> RunSettings:
    """The settings with the profile's values where they have none.

    Raises:
        ArgumentError: no profile of this name.
    """
    if name not in PROFILES:
        raise ArgumentError(
            f"No profile named {name!r}.{did_you_mean(name, PROFILES)} Profiles: {', '.join(PROFILES)}."
        )
    profile = PROFILES[name]
    given = {
        "tasks": settings.tasks,
        "num_fewshot": settings.render.num_fewshot,
        "max_length": settings.model.max_length,
    }
    return changed(settings, **{name: getattr(profile, name) for name, value in given.items() if value is None})

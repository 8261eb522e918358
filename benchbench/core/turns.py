"""Conversations of several turns: each next question of the user is asked after the model's own answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchbench.core.chat import Conversation, Shot
from benchbench.core.types import Prompt

PENDING = "…"
"""Stands for an answer that the model has not given yet: where questions are named, counted and shown."""


def next_turn(before: Prompt | Conversation, answer: str, question: str) -> Prompt | Conversation:
    """The prompt of a user's next question: what was asked and answered stands before it as one more exchange.

    A model without a chat template reads the exchange as plain text.
    """
    plain = f"{before.question}\n{answer}\n\n"
    if isinstance(before, Prompt):
        return replace(before, shots=(*before.shots, plain), question=question)
    shot = Shot(before.question, before.prefix + answer, plain)
    return replace(before, shots=(*before.shots, shot), question=question, multiturn=True)


def turn_prompts(first: Prompt | Conversation, turns: Sequence[str], answers: Sequence[str]) -> Prompt | Conversation:
    """The prompt of turn `len(answers)`, from 0, where the model answered the earlier ones with `answers`."""
    prompt = first
    for number, answer in enumerate(answers, start=1):
        prompt = next_turn(prompt, answer, turns[number])
    return prompt

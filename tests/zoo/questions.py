"""What every family is asked: 44 choices, 4 rolling texts, 7 texts to write."""

from __future__ import annotations

from benchbench.core.types import GenerateRequest, GenerationParams, LoglikelihoodRequest, Prompt, RollingRequest
from tests.models import TEXT

SHOTS = tuple(text[:36] + "\n\n" for text in TEXT[:5])
LETTERS = (" A", " B", " C", " D")
LONG = (
    " ano, protože začínal nový rok",
    " oui, la capitale de la France",
    " the book was on the table",
    " Paris",
)
UNTIL = ("\n\n",)
NEW_TOKENS = 6


def _choices(
    task: str, docs: int, shots: tuple[str, ...], choices: tuple[str, ...], *, long: int = 0
) -> list[LoglikelihoodRequest]:
    asked = []
    for doc in range(docs):
        question = f"{TEXT[(doc + 2) % len(TEXT)]} {doc}? " + TEXT[(3 * doc) % len(TEXT)][: long + 9 * doc] + " Answer:"
        prompt = Prompt(description="", shots=shots, question=question)
        asked += [LoglikelihoodRequest(task, doc, index, prompt, choice) for index, choice in enumerate(choices)]
    return asked


def choice_tasks() -> tuple[list[LoglikelihoodRequest], ...]:
    """The choices, task by task, as a run asks them: without shots, of one letter, long with shots."""
    return (
        _choices("plain", 4, (), LONG),
        _choices("letters", 4, SHOTS, LETTERS),
        _choices("long", 3, SHOTS, LONG, long=20),
    )


def rolling_texts() -> list[RollingRequest]:
    """From a few words to more than two windows of 512 tokens."""
    whole = " ".join(TEXT)
    texts = (TEXT[6][:24], TEXT[3], whole, " ".join([whole, TEXT[5], whole[::-1], TEXT[2], whole[40:], whole])[:1500])
    return [RollingRequest("rolling", doc, 0, text) for doc, text in enumerate(texts)]


def writing_tasks() -> list[GenerateRequest]:
    """Seven prompts of different lengths, four of them behind the same shots."""
    params = GenerationParams(until=UNTIL, max_gen_toks=NEW_TOKENS)
    return [
        GenerateRequest("writing", doc, 0, Prompt("", SHOTS if doc % 2 else (), text + f" {doc} Answer:"), params)
        for doc, text in enumerate(TEXT)
    ]

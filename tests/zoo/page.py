"""docs/models.md: what the zoo found, family by family."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence

from tests.zoo.check import RELATIVE, ROUNDED, TOLERANCE, Result
from tests.zoo.sizes import UNBUILDABLE

ROUGH_PLACE = "benchbench/backends/hf/agreement.py"
COMMAND = "python -m tests.zoo --write docs/models.md"
SHARED = {
    "packed": "context and choices in one row",
    "branched": "contexts read once, choices branch from their keys and values",
    "plain": "nothing, each choice is read with its context",
    "unpadded": "nothing, only texts of one length are read together",
    "single": "nothing, each text is read alone",
}
"""Plan → what the choices of a doc, and docs with the same shots, share."""


def page(results: Sequence[Result], version: str, rounded: Sequence[Result] = ()) -> str:
    """The page in Markdown; `rounded` are results in bfloat16."""
    right = [result for result in results if result.outcome == "right"]
    others = [result for result in results if result.outcome != "right"]
    return "\n".join([*_head(results, version), *_right(right), *_others(others), *_rounded(rounded)]) + "\n"


def families_of(text: str) -> list[str]:
    """The families that a page names."""
    return sorted(line.split("`")[1] for line in text.splitlines() if line.startswith("| `"))


def version_of(text: str) -> str:
    """The version of transformers that a page is about."""
    return text.split("transformers ", 1)[1].split(",", 1)[0]


def _head(results: Sequence[Result], version: str) -> list[str]:
    counts = Counter(result.outcome for result in results)
    said = ", ".join(f"{number} {outcome}" for outcome, number in counts.most_common())
    nats, share = TOLERANCE, RELATIVE
    variants = sum(":" in result.family for result in results)
    return [
        "# Model families",
        "",
        f"Every family that transformers {version}, the version measured, opens as a causal or sequence-to-sequence",
        f"model, and {variants} variants of them (`family:variant`): {len(results)} models, {said}. Written by",
        f"`{COMMAND}` on {datetime.datetime.now(tz=datetime.UTC).date()}; do not edit.",
        "",
        "Each family is a tiny random model made from its configuration (`tests/zoo/`), opened by the hf engine on the",
        "CPU in float32 as `run` opens it, and asked 44 choices (without shots; five shots and one letter; five shots",
        "and long choices), 4 rolling texts (the longest over two windows) and 7 texts to write. Right means: every",
        f"log-likelihood is that of transformers' own forward pass over this one text alone, within {nats:g} nats and",
        f"{share:g} of its size, and every text is what `generate` writes for this prompt alone without a cache,",
        "except where two tokens are as likely as each other; or, where the table says so, what it writes with its",
        "own cache, which changes a few models. It says nothing about real weights, GPUs or code of a repository.",
        "",
        "Two families write in batches only because the engine mends what transformers does with their cache there:",
        "RWKV's rows are mixed where several go on by one token each, and MiniMax with a linear first layer sees the",
        "padding of shorter rows (`benchbench/backends/hf/cache.py`). transformers' own batch is wrong for both.",
        "",
    ]


def _right(results: Sequence[Result]) -> list[str]:
    lines = ["## Right", "", "| what choices share | plan |", "|---|---|"]
    plans = list(dict.fromkeys(result.plan for result in results))
    lines += [f"| {SHARED.get(plan, 'see the plan')} | {plan} |" for plan in sorted(plans)]
    lines += ["", "Tokens: read by the model, of those that the choices have when each is read alone.", ""]
    lines += [
        "| family | kind | plan | tokens | choices, nats | rolling, nats | told |",
        "|---|---|---|---|---|---|---|",
    ]
    return [*lines, *(_row(result) for result in results), ""]


def _of_cache(result: Result) -> list[str]:
    return [f"{result.cached} of 7 texts are those of transformers' own cache alone."] if result.cached else []


def _row(result: Result) -> str:
    tokens = f"{result.computed:,} of {result.needed:,}"
    return (
        f"| `{result.family}` | {result.kind} | {result.plan} | {tokens} | {result.difference:.0e} | "
        f"{result.rolling:.0e} | {_cell(' '.join([*result.notes, *_of_cache(result)]))} |"
    )


def _others(results: Sequence[Result]) -> list[str]:
    lines = ["## Not right, refused or not tried", "", "| family | kind | outcome | why |", "|---|---|---|---|"]
    for result in results:
        why = UNBUILDABLE.get(result.family) or result.sentence or "; ".join(result.failures[:1])
        if result.outcome == "wrong":
            why = (
                f"{result.wrong} of 48 log-likelihoods ({result.difference:.1e} nats), {result.texts} of 7 texts. {why}"
            )
        outcome = "not tried" if result.family in UNBUILDABLE else result.outcome
        lines.append(f"| `{result.family}` | {result.kind} | {outcome} | {_cell(why)} |")
    return lines


def _rounded(results: Sequence[Result]) -> list[str]:
    if not results:
        return []
    lines = [
        "",
        "## In bfloat16",
        "",
        "The same questions, with weights in bfloat16 on both sides. Right means: by the measure that the engine",
        f"checks itself with, at most {ROUNDED.token:g} nats at any token and {ROUNDED.rms:g} as the root mean square",
        f"of a text's tokens (`{ROUGH_PLACE}`), from one text alone in bfloat16. Where rounding chooses",
        "another expert of a mixture at a token, it moves the scores there by up to 1.4 nats, in any batch, also in",
        "transformers' own batch; tokens for which no expert changed by at most 0.15 (of 8,685 tokens).",
        "",
        "| model | plan | largest difference at a token, nats | log-likelihoods beyond, of 48 |",
        "|---|---|---|---|",
    ]
    return lines + [
        f"| {r.family} | {r.plan} | {max(r.difference, r.rolling):.2g} | {r.wrong} |"
        if r.outcome in ("right", "wrong")
        else f"| {r.family} | {r.outcome} | | |"
        for r in results
    ]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").strip()

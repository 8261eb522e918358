"""What the name of a checkpoint tells: its optimizer step, the tokens seen, and which part of a training it is of.

The one rule of the project. It reads folders, files, revisions and run names as trainers and publishers write them:

| written by | names |
|---|---|
| transformers, CRFM | `checkpoint-500` |
| Pythia, OLMo, Apertus, SmolLM | `step1000`, `step1000-tokens4B`, `step2627139-tokens15T`, `step-125000` |
| OLMo 2 and 3, SmolLM3 | `stage1-step140000-tokens294B`, `stage2-ingredient1-step1000-tokens3B`, `stage1-step-40000` |
| TinyLlama, MultiBERTs | `step-50K-105b`, `intermediate-step-1431k-3T`, `seed_0-step_1900k` |
| Composer, llm-foundry | `ep0-ba500-rank0.pt`, `ba500` |
| Megatron, DeepSpeed, BLOOM, LitGPT | `iter_0000500`, `global_step500`, `iter-050000-ckpt.pth` |
| Lightning, NeMo | `epoch=1-step=1000.ckpt`, `val_loss=2.1-step=999-consumed_samples=8000.0` |
| LLM360, fairseq, nanotron | `ckpt_001`, `checkpoint_1_500.pt` (epoch 1, update 500), `500` |
| Viking, Poro, RedPajama | `100B`, `tokens-100B`, `240b_tokens` (tokens alone: the step is not known) |
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}


def with_unit(text: str) -> tuple[str, int]:
    """`143k` as its number, as written, and its unit: `143`, 1000. What has no unit has 1."""
    factor = UNITS.get(text[-1:].lower(), 1)
    return (text[:-1], factor) if factor > 1 else (text, 1)


TOO_MANY_STEPS = 10**9
"""A bare number from here on is a time or an id."""
MOST = 10**16
"""More steps or tokens than any training has."""
LONGEST = 255
"""Characters of a name; no folder has a longer one."""
FEWEST_BARE_TOKENS, BARE_TOKENS = 100 * 10**9, 50 * 10**9
"""A size without a word (`100B`) counts as tokens from the first on, and only in multiples of the second: `7B`, `110B`
and `405B` are sizes of models."""

_FILE = re.compile(r"\.(?:pt|pth|ckpt|bin|safetensors|gguf|nemo|tar|zip)$")
_GAP = r"[-_=: .]{0,2}"
_NUMBER = r"(?P<number>\d+(?:[.,]\d+)*)(?P<unit>[a-z]*?)(?=tok|[^a-z\d]|$)"
_STEP_WORDS = r"(?:global[-_ ]?)?steps?|iter(?:ation)?s?|(?:num[-_ ]?)?updates?|ba"
_STEP = re.compile(rf"(?:^|(?<=[^a-z\d]))(?:{_STEP_WORDS}){_GAP}{_NUMBER}", re.ASCII)
_FIRST = re.compile(rf"^(?:ep\d+[-_])?(?:batch(?:es)?|it){_GAP}{_NUMBER}", re.ASCII)
_GLUED_IT = re.compile(rf"(?<=[^a-z\d])it{_NUMBER}", re.ASCII)
_INDEX = re.compile(rf"(?:^|(?<=[^a-z\d]))(?:checkpoint|ch?kpt|ckp){_GAP}{_NUMBER}", re.ASCII)
_BEHIND = re.compile(
    rf"(?:^|(?<=[^a-z\d.,]))(?P<number>\d+(?:\.\d+)?)(?P<unit>[km]?)[-_ ]?(?:{_STEP_WORDS})(?![a-z\d])", re.ASCII
)
_OTHER_STEPS = re.compile(r"(?:warmup|accum\w*|grad\w*|max|total|eval|save|log|every|decay|lr)[-_ ]?$")
"""What stands before `steps` where a setting is meant."""
_EPOCH_UPDATE = re.compile(r"checkpoint_\d+_(\d+)", re.ASCII)
_SIZE = r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[kmbt]?)"
_TOKENS = re.compile(rf"(?:^|(?<=[^a-z])|(?<=\d[km]))tok(?:en)?s?{_GAP}{_SIZE}(?![a-z\d])", re.ASCII)
_TOKENS_BEHIND = re.compile(rf"(?:^|(?<=[^a-z\d.,])){_SIZE}(?:[-_ ]?tok(?:en)?s?|(?<=[kmb])t)(?![a-z\d])", re.ASCII)
_AFTER_STEP = re.compile(r"[-_ ](?P<number>\d+(?:\.\d+)?)(?P<unit>[a-z]?)(?![a-z\d])(?P<more>.*)", re.ASCII)
_DATE_AFTER = re.compile(r"[-_ ](?:19|20)\d\d[-_]?[01]\d[-_]?[0-3]\d(?!\d)", re.ASCII)
_BARE = re.compile(_SIZE, re.ASCII)
_PART = re.compile(
    r"(?<![a-z])(?:(?:stage|phase|ingredient)[-_]?\d+|seed[-_]?\d+|seed[-_][a-z]+(?:[-_](?:[a-z]+|\d+))*$)", re.ASCII
)
_LEAD = re.compile(
    rf"(?:ep(?:och)?{_GAP}\d+|(?:stage|phase|ingredient|seed){_GAP}\d+|intermediate|model|hf|global|train(?:ing)?"
    r"|(?:checkpoint|ch?kpt)s?|[-_=. ])*"
)
"""What may stand before step or tokens in a name that is that of a checkpoint and nothing else."""


@dataclass(frozen=True, slots=True)
class NameReading:
    """What a name tells."""

    step: int | None = None
    """Optimizer step."""
    tokens: int | None = None
    """Tokens seen in training."""
    part: str = ""
    """Which of several trainings under one name: `stage2-ingredient1`, `seed-3`; their steps are not one count."""
    unclear: str = ""
    """Why the name is not read although it holds a number that may be a step: it has two readings."""
    is_bare: bool = False
    """The name is a number and nothing else."""
    is_whole: bool = False
    """The name is a checkpoint's (`step-500`), not that of a model which also tells its step (`Tiny-1B-step-500`)."""

    @property
    def tells(self) -> bool:
        """Step or tokens are known."""
        return self.step is not None or self.tokens is not None


def read_name(name: str) -> NameReading:
    """What a folder's, file's or revision's name tells. Case and separators are as people write them.

    >>> read_name("stage1-step140000-tokens294B").step, read_name("step-50K-105b").tokens, read_name("llama-2-7b").tells
    (140000, 105000000000, False)
    """
    text = name.strip().lower()
    if len(text) > LONGEST:
        return NameReading()
    while _FILE.search(text):
        text = _FILE.sub("", text)
    bare = _BARE.fullmatch(text)
    if bare is not None:
        return _read_bare(bare, name)
    tokens = _tokens(text)
    for matches in (_explicit(text), list(_INDEX.finditer(text)), list(_BEHIND.finditer(text))):
        found = [(match, one) for match in matches if (one := _step(match, text, name)) is not None]
        if found:
            return _joined(found, tokens, text, name)
    if tokens is None:
        return NameReading()
    return NameReading(tokens=tokens[0], part=_part(text), is_whole=_is_lead(text[: tokens[1]]))


def _read_bare(found: re.Match[str], name: str) -> NameReading:
    """A number is a step, unless it is a day, a time or a version; one with a unit has several readings."""
    number, unit = found["number"], found["unit"]
    if not unit:
        is_step = number.isdecimal() and int(number) < TOO_MANY_STEPS and not _is_date(number)
        return NameReading(step=int(number), is_bare=True, is_whole=True) if is_step else NameReading()
    tokens = _scaled(number, unit)
    if unit in ("b", "t") and tokens is not None and tokens >= FEWEST_BARE_TOKENS and tokens % BARE_TOKENS == 0:
        return NameReading(tokens=tokens, is_bare=True, is_whole=True)
    may_be = "tokens seen or the size of the model" if unit in ("b", "t") else "steps, tokens or a length"
    return NameReading(is_bare=True, unclear=f"{name} may be {may_be}")


def _explicit(text: str) -> list[re.Match[str]]:
    """Where the name says step, iteration, update or batch."""
    named = [found for found in _STEP.finditer(text) if not _OTHER_STEPS.search(text[: found.start()])]
    return [*named, *_FIRST.finditer(text), *_GLUED_IT.finditer(text)]


def _step(found: re.Match[str], text: str, name: str) -> NameReading | None:
    """The reading of one number behind a word that means steps; None where it cannot be one."""
    epoch_update = _EPOCH_UPDATE.fullmatch(text)
    if epoch_update is not None:
        return NameReading(step=int(epoch_update[1]))
    number, unit = found["number"], found["unit"].removesuffix("steps").removesuffix("step")
    if "," in number:
        return NameReading(unclear=f"the comma of {name} may part thousands or decimals")
    if number.count(".") > 1 or ("." in number and unit not in ("k", "m")):
        return None
    if unit not in ("", "k", "m"):
        return _other_unit(number, unit, name, is_index=found.re is _INDEX)
    step = _scaled(number, unit)
    if step is None:
        return None
    if found.re is _INDEX and not unit and _is_date(number):
        return NameReading(unclear=f"{number} in {name} may be a date or a step")
    return _with_what_follows(step, text[found.end() :], name)


def _other_unit(number: str, unit: str, name: str, *, is_index: bool) -> NameReading | None:
    """`checkpoint-7b` is one of a model of that size."""
    if is_index and unit in ("b", "t") and (_scaled(number, unit) or 0) < FEWEST_BARE_TOKENS:
        return None
    return NameReading(unclear=f"{name} tells {number}{unit}, and {unit!r} is no unit of steps (k and M are)")


def _with_what_follows(step: int, rest: str, name: str) -> NameReading:
    """`step-50K-105b` goes on with the tokens; any other bare number makes the name unclear."""
    after = _AFTER_STEP.match(rest)
    if after is None or _DATE_AFTER.match(rest) or re.match(r"[-_ ]?tok", after["more"]):
        return NameReading(step=step)
    unit = after["unit"]
    if unit in ("b", "t"):
        tokens = _scaled(after["number"], unit)
        is_size = tokens is None or tokens < FEWEST_BARE_TOKENS
        return NameReading(step=step, tokens=None if is_size else tokens)
    if unit and unit not in UNITS:
        return NameReading(step=step)
    return NameReading(unclear=f"{name} has two numbers where the step is, and either may be it")


def _joined(
    found: Sequence[tuple[re.Match[str], NameReading]], tokens: tuple[int, int] | None, text: str, name: str
) -> NameReading:
    readings = [reading for _, reading in found]
    unclear = next((reading.unclear for reading in readings if reading.unclear), "")
    steps = {reading.step for reading in readings if reading.step is not None}
    if not unclear and len(steps) > 1:
        unclear = f"{name} tells {' and '.join(f'step {step}' for step in sorted(steps))}"
    if unclear:
        return NameReading(unclear=unclear)
    follows = next((reading.tokens for reading in readings if reading.tokens is not None), None)
    start = min(match.start() for match, _ in found)
    return NameReading(
        step=steps.pop(),
        tokens=follows if tokens is None else tokens[0],
        part=_part(text),
        is_whole=_is_lead(text[: min(start, start if tokens is None else tokens[1])]),
    )


def _tokens(text: str) -> tuple[int, int] | None:
    """Tokens that a word in the name tells, and where they stand."""
    for pattern in (_TOKENS, _TOKENS_BEHIND):
        for found in pattern.finditer(text):
            tokens = _scaled(found["number"], found["unit"])
            if tokens is not None:
                return tokens, found.start()
    return None


def _scaled(number: str, unit: str) -> int | None:
    """`50.5`, `k` → 50,500, exactly; None where that is no whole number, or no number of steps or tokens any more."""
    whole, _, fraction = number.partition(".")
    value, over = divmod(int(whole + fraction) * UNITS[unit], 10 ** len(fraction))
    return None if over or value > MOST else value


def _is_date(number: str) -> bool:
    """Eight digits that are a day: 20240101."""
    if len(number) != 8 or not number.startswith(("19", "20")):
        return False
    try:
        datetime.strptime(number, "%Y%m%d")  # noqa: DTZ007 - only asked whether there is such a day
    except ValueError:
        return False
    return True


def _part(text: str) -> str:
    return "-".join(found.strip("-_") for found in _PART.findall(text))


def _is_lead(text: str) -> bool:
    return _LEAD.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Axis:
    """Where the checkpoints of one training stand on its curve."""

    name: str
    """`step`, or `billion tokens` and the like where the names tell tokens alone."""
    places: tuple[int, ...]


def axis_of(checkpoints: Iterable[tuple[int | None, int | None]]) -> Axis:
    """The axis of checkpoints given by (step, tokens seen): steps if all have them, else tokens in their largest unit.

    Raises ValueError where some lack the one and some the other.
    """
    known = list(checkpoints)
    steps = [step for step, _ in known if step is not None]
    if len(steps) == len(known):
        return Axis("step", tuple(steps))
    tokens = [count for _, count in known if count is not None]
    if len(tokens) < len(known):
        raise ValueError("some tell only a step and others only tokens, so they cannot be put in order")
    for name, unit in (("billion tokens", 10**9), ("million tokens", 10**6), ("thousand tokens", 10**3)):
        if all(count % unit == 0 for count in tokens):
            return Axis(name, tuple(count // unit for count in tokens))
    return Axis("tokens", tuple(tokens))


def with_revision(location: str, revision: str | None) -> str:
    """What a backend opens: the location, and behind an @ the revision of a hub name."""
    return location if revision is None else f"{location}@{revision}"

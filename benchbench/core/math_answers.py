"""Final answers to problems in mathematics, as MATH and Minerva write, find and compare them.

Rules and lists are those of Lewkowycz et al., "Solving Quantitative Reasoning Problems with Language Models", arXiv
2206.14858, appendix D, as lm-eval 0.4.13 applies them: units are also removed as words before white space is, LaTeX
commands are left whole, roots with an index keep it, and commas go only where they group thousands.
"""

from __future__ import annotations

import re

from benchbench.core import patterns

NOT_FOUND = "[invalidanswer]"
"""Stands for an answer in which there is no final answer."""
_END = "I hope it is correct."
_FINAL = r"Final Answer: The final answer is(.*?). I hope it is correct."
_REPLACED = (
    ("an ", ""), ("a ", ""), (".$", "$"), ("\\$", ""), (r"\ ", ""), (" ", ""), ("mbox", "text"),
    (",\\text{and}", ","), ("\\text{and}", ","), ("\\text{m}", "\\text{}"),
)  # fmt: skip
_REMOVED = (
    "square", "ways", "integers", "dollars", "mph", "inches", "ft", "hours", "km", "units", "\\ldots", "sue", "points",
    "feet", "minutes", "digits", "cents", "degrees", "cm", "gm", "pounds", "meters", "meals", "edges", "students",
    "childrentickets", "multiples", "\\text{s}", "\\text{.}", "\\text{\ns}", "\\text{}^2", "\\text{}^3", "\\text{\n}",
    "\\text{}", r"\mathrm{th}", r"^\circ", r"^{\circ}", r"\;", r",\!", "{,}", '"', "\\dots",
)  # fmt: skip
_UNWRAPPED = (
    (r"(.*?)(\$)(.*?)(\$)(.*)", r"$\3$"),
    (r"(\\text\{)(.*?)(\})", r"\2"),
    (r"(\\textbf\{)(.*?)(\})", r"\2"),
    (r"(\\overline\{)(.*?)(\})", r"\2"),
    (r"(\\boxed\{)(.*)(\})", r"\2"),
)
_BRACED = (
    (r"(frac)([^{])(.)", r"frac{\2}{\3}"),
    (r"(sqrt)(\[[^\]]*\])(\w)", r"\1\2{\3}"),
    (r"(sqrt)(?!\[)([^{])", r"sqrt{\2}"),
)


def final_answer(text: str) -> str:
    """The answer in Minerva's closing sentence, normalised; NOT_FOUND where there is none.

    Raises:
        TooMuchWorkError: the text takes too long to search.
    """
    found = patterns.pick(_FINAL, text + _END, 0)
    return normalized(NOT_FOUND if found is None else str(found).strip())


def boxed_answer(solution: str) -> str:
    r"""What the last \boxed{} or \fbox{} of a worked solution holds, normalised; NOT_FOUND where there is none."""
    box = _last_box(solution)
    if box is None:
        return normalized(NOT_FOUND)
    if "\\boxed " in box:
        return normalized(box.removeprefix("\\boxed "))
    return normalized(box[box.index("{") + 1 : -1])


def _last_box(text: str) -> str | None:
    r"""The command with its braces, or `\boxed x` up to a dollar sign."""
    if "\\boxed " in text:
        return "\\boxed " + text.rpartition("\\boxed ")[2].partition("$")[0]
    start = max(text.rfind("\\boxed"), -1)
    start = start if start >= 0 else text.rfind("\\fbox")
    depth = 0
    for place in range(start, len(text)) if start >= 0 else ():
        depth += (text[place] == "{") - (text[place] == "}")
        if text[place] == "}" and depth == 0:
            return text[start : place + 1]
    return None


def normalized(answer: str) -> str:
    """An answer as two of them are compared. TooMuchWorkError as `final_answer`."""
    text = answer.rpartition("=")[2]
    words = [word for word in _REMOVED if word.isalpha()]
    for word in words:
        text = patterns.sub(rf"(?<!\\)\b{word}\b", "", text)
    for before, after in _REPLACED:
        text = text.replace(before, after)
    for word in _REMOVED:
        text = _without_outside_commands(text, word) if word.isalpha() else text.replace(word, "")
    for pattern, replacement in (*_UNWRAPPED, *_BRACED):
        text = patterns.sub(pattern, replacement, text)
    text = text.replace("$", "")
    return text.replace(",", "") if re.fullmatch(r"-?\d{1,3}(,\d{3})+", text) else text


def _without_outside_commands(text: str, word: str) -> str:
    """The word is taken out of all that is no LaTeX command."""
    parts = re.split(r"(\\[a-zA-Z]+)", text)
    return "".join(part if place % 2 else part.replace(word, "") for place, part in enumerate(parts))

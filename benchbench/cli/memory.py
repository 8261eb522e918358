"""`benchbench memory`: what checkpoints have learned by heart."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchbench.backends.engines import ModelOptions
from benchbench.cli.console import cell, figure_table, print_json, print_table, stdout, stoppable, tell
from benchbench.cli.main import VerbApp
from benchbench.cli.options import AsJson, with_settings
from benchbench.cli.progress import busy
from benchbench.core.settings import Part, changed

if TYPE_CHECKING:
    from benchbench.extensions.memory.measure import Memory

EXAMPLES = """\b
benchbench memory -m runs/x/step-1000 --and runs/x/step-2000 --texts canaries.jsonl
benchbench memory -m M --texts known.jsonl --reference EleutherAI/pythia-70m
"""
app = VerbApp()


@app.command(epilog=EXAMPLES)
@with_settings
def memory(
    settings: Annotated[ModelOptions, Part(without=("backend", "base"))],
    texts: Annotated[Path, typer.Option(help='JSON lines: {"text": …, "member": true or false, "canary": KIND}.')],
    more: Annotated[
        list[str] | None, typer.Option("--and", help="A further checkpoint, in order of training; may be repeated.")
    ] = None,
    reference: Annotated[str | None, typer.Option(help="Another model, trained on other texts.")] = None,
    prefix: Annotated[int, typer.Option(help="Tokens that are given, for extraction.")] = 50,
    suffix: Annotated[int, typer.Option(help="Tokens that are to come word for word.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Measure what a model has learned by heart, from texts of which it is known whether it was trained on them.

    Membership by Min-K %, Min-K %++, zlib and reference (AUC with DeLong's interval), verbatim continuation of
    prefixes, exposure of canaries. Models of transformers only.
    """
    from benchbench.extensions.memory.measure import MemoryOptions, measure
    from benchbench.extensions.memory.probe import Probe, probe_all
    from benchbench.extensions.memory.texts import read_texts

    options, known = MemoryOptions(prefix, suffix), read_texts(texts)
    with stoppable(), busy("measuring"):
        other = None
        if reference is not None:
            opened = Probe(replace(changed(settings, model=reference), revision=None))
            other = probe_all(opened, [one.text for one in known])
        found = [
            measure(name, Probe(changed(settings, model=name)), known, options, other)
            for name in (settings.model, *(more or ()))
        ]
    if as_json:
        print_json([asdict(one) for one in found])
        return
    _show(found)


def _show(found: list[Memory]) -> None:
    tell(f"{found[0].members} members, {found[0].others} others", "bold")
    names = [area.method for area in found[0].areas]
    kinds = [one.kind for one in found[0].exposures]
    table = figure_table("model", *names, "extracted", "of others", *(f"exposure {kind}" for kind in kinds))
    for one in found:
        cells = [_area(area.value, area.interval) for area in one.areas]
        cells += [f"{part.verbatim}/{part.texts}" for part in one.extraction]
        cells += [f"{part.mean:.1f} of {part.most:.1f}" for part in one.exposures]
        table.add_row(*map(cell, (one.model.rpartition("/")[2], *cells)))
    print_table(table)
    for line in (
        "AUC of members against others, 95 %: 0.5 is guessing. Only like texts tell: other dates or sources tell, too.",
        "extracted: continued word for word; of others: the same of texts that were not trained on.",
        *(["exposure: bits; 1.4 is expected of canaries that were not learned."] if kinds else []),
    ):
        stdout().print(cell(line))


def _area(value: float, interval: tuple[float, float] | None) -> str:
    return f"{value:.2f}" if interval is None else f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"

"""Command lines that do not fit are refused with a sentence, before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from benchbench.backends.engines import ModelOptions
from benchbench.backends.scripted import ScriptedBackend
from benchbench.cli.main import app
from benchbench.core.errors import ArgumentError, ModelError


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("doctor --device tpu", "--device 'tpu' is not one of auto, cpu, cuda"),
        ("doctor --device cuda:x", "--device 'cuda:x' is not one of"),
        ("run --model scripted:hash --tasks demo --batch-tokens 0", "--batch-tokens 0: a batch holds 1 token or more"),
        ("run --model scripted:hash --tasks demo --batch-tokens -5", "--batch-tokens -5"),
        ("run --model scripted:hash --tasks demo --max-length -1", "--max-length -1 is too short"),
        ("run --model scripted:hash --tasks demo --plan packed", "--plan packed: the backend scripted has auto."),
        ("compare a b --json --csv", "--json and --csv are two forms of one output"),
        ("results export --to nowhere/out.csv", "there is no folder nowhere. Make it first: mkdir -p nowhere"),
        ("results export --to .", "--to . is a folder; a file was expected"),
        ("sweep plot --to nowhere/a.svg", "there is no folder nowhere"),
    ],
)
def test_what_does_not_fit_is_refused(
    line: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError) as refused:
        typer.main.get_command(app).main(line.split(), prog_name="benchbench", standalone_mode=False)
    assert sentence in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("model", ["hash,batch=0", "hash,batch=-1", "hash,fail=2", "hash,delay=-1", "hash,delay=nan"])
def test_numbers_of_the_scripted_model_have_bounds(model: str) -> None:
    with pytest.raises(ModelError, match="batch is 1 or more, fail a share from 0 to 1, delay and pace 0 to 3600 s"):
        ScriptedBackend(ModelOptions(model, backend="scripted"))

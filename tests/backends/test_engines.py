"""The table of engines: every line is whole, nothing heavy is loaded by reading it, and packages may add to it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.metadata import EntryPoint

import pytest

from benchbench.backends import engines, open_backend
from benchbench.backends.engine_options import EngineOptions
from benchbench.backends.engines import Choice, Engine, ModelOptions, choose, engine, engine_names
from benchbench.backends.scripted import ScriptedBackend
from benchbench.core import plugins
from benchbench.core.errors import BackendError


def _takes_toys(options: ModelOptions) -> Choice | None:
    return Choice("toy", "its name ends in .toy") if options.model.endswith(".toy") else None


TOY = Engine(name="toy", opener=f"{__name__}:open_toy", choose=_takes_toys)


def open_toy(options: ModelOptions) -> ScriptedBackend:
    return ScriptedBackend(ModelOptions("hash"))


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package that offers `toy`, one whose module is not there, and one that wants a name of ours."""
    points = [
        EntryPoint("toy", f"{__name__}:TOY", engines.GROUP),
        EntryPoint("broken", "no_such_module:ENGINE", engines.GROUP),
        EntryPoint("hf", f"{__name__}:TOY", engines.GROUP),
    ]
    forget()
    monkeypatch.setattr(metadata, "entry_points", lambda *, group: [p for p in points if p.group == group])
    yield
    monkeypatch.undo()
    forget()


def forget() -> None:
    plugins.entry_points.cache_clear()
    engines.engine.cache_clear()


@pytest.mark.parametrize("name", list(engines.ENGINES))
def test_every_line_of_the_table_is_whole(name: str) -> None:
    found = engine(name)
    assert found.name == name
    assert callable(plugins.load_place(found.opener))
    assert issubclass(plugins.load_place(found.options), EngineOptions)
    assert found.module is None or found.install.startswith("pip install")


def test_reading_the_table_loads_nothing_heavy() -> None:
    code = (
        "import sys; from benchbench.backends.engines import engines; engines()\n"
        "heavy = {'torch', 'transformers', 'vllm', 'llama_cpp', 'httpx', 'pydantic', 'numpy'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def test_an_unknown_engine_is_a_sentence_with_all_names() -> None:
    names = ", ".join(engines.ENGINES)
    assert len(engines.ENGINES) > 3
    with pytest.raises(BackendError, match=rf"there are auto, {names}\. Did you mean gguf"):
        open_backend(ModelOptions("m", backend="gguff"))


def test_an_option_that_no_engine_has_is_refused() -> None:
    with pytest.raises(BackendError, match="which the backend scripted does not know; it takes none"):
        open_backend(ModelOptions("hash", backend="scripted", model_args=(("threads", "2"),)))


@pytest.mark.usefixtures("plug_in")
def test_a_package_may_bring_an_engine_but_not_replace_ours() -> None:
    assert engine_names() == (*engines.ENGINES, "broken", "toy")
    assert open_backend(ModelOptions("x", backend="toy")).info.name == "scripted"
    assert engine("hf").module == "torch"


@pytest.mark.usefixtures("plug_in")
def test_an_engine_that_cannot_be_loaded_is_a_sentence_and_in_nobodys_way() -> None:
    with pytest.raises(BackendError, match="the backend broken is offered by an installed package"):
        open_backend(ModelOptions("x", backend="broken"))
    assert [one.name for one in engines.engines()] == [*engines.ENGINES, "toy"]
    assert choose(ModelOptions("some.toy")) == Choice("toy", "its name ends in .toy")
    assert choose(ModelOptions("some/model", device="cpu")).backend == "hf"

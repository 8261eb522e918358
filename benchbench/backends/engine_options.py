"""The options that one engine alone has, from `--model-args name=value` to their types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError

from benchbench.core.errors import ArgumentError, BackendError, did_you_mean


def expected(sentence: str) -> WrapValidator:
    """For `Annotated`, last: what is said of a value that is refused, after `--model-args name=value`."""

    def check(value: Any, inner: Callable[[Any], Any]) -> Any:
        try:
            return inner(value)
        except ValueError:
            raise PydanticCustomError("expected", "{sentence}", {"sentence": sentence}) from None

    return WrapValidator(check)


class EngineOptions(BaseModel):
    """Base of an engine's options: a field for each name, with its type, its default and what is `expected`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    elsewhere: ClassVar[Mapping[str, str]] = {}
    """Names that people try, of other programs, and what to say of each after `--model-args NAME`."""


class NoOptions(EngineOptions):
    """Of an engine that has none."""


def _digits(value: Any) -> Any:
    """Python and pydantic take more spellings of a whole number than people do."""
    if isinstance(value, str) and not value.removeprefix("-").isdecimal():
        raise ValueError("not a whole number")
    return value


def _true_or_false(value: Any) -> Any:
    if isinstance(value, str) and value.lower() not in ("true", "false"):
        raise ValueError("not a truth value")
    return value


WHOLE = BeforeValidator(_digits)
"""For `Annotated[int, …]`: written in digits."""
TrueOrFalse = Annotated[bool, BeforeValidator(_true_or_false), expected("is neither true nor false")]

T = TypeVar("T", bound=EngineOptions)


def read_options(model_args: Sequence[tuple[str, str]], model: type[T], *, backend: str) -> T:
    """`--model-args` as the engine's own options.

    Raises BackendError for a name that `backend` does not know, ArgumentError for a value that is not one.
    """
    known = sorted(model.model_fields)
    for name, _ in model_args:
        if name in model.elsewhere:
            raise ArgumentError(f"--model-args {name}: {model.elsewhere[name]}")
        if name not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise BackendError(
                f"--model-args has {name!r}, which the backend {backend} does not know; {takes}."
                + did_you_mean(name, known)
            )
    given = dict(model_args)
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise ArgumentError(f"--model-args {name}={given[name]} {first['msg']}.") from None

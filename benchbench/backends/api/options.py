"""What `--model-args` may say of a server: which one, and how hard it may be asked; and where its key is read."""

from __future__ import annotations

import os
import re
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import Field

from benchbench.backends.api.key import Key
from benchbench.backends.engine_options import WHOLE, EngineOptions, expected, read_options
from benchbench.backends.engines import ModelOptions
from benchbench.core.errors import ArgumentError, BackendError

Endpoint = Literal["auto", "completions", "chat"]
ENDPOINTS: tuple[Endpoint, ...] = ("auto", "completions", "chat")
KEY_VARIABLE = "OPENAI_API_KEY"
Positive = Annotated[float, Field(ge=1e-3, allow_inf_nan=False), expected("is not a number of at least 0.001")]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False), expected("is not a number of at least 0")]


class ServerOptions(EngineOptions):
    """`--model-args` for a server: which one, and how hard it may be asked."""

    base_url: str = ""
    """Up to and including `/v1`; empty: that of OPENAI_BASE_URL."""
    endpoint: Annotated[Endpoint, expected(f"is not one of {', '.join(ENDPOINTS)}")] = "auto"
    """completions (text goes in as it is) or chat (text becomes a user's message); auto prefers completions."""
    tokenizer: str | None = None
    """Folder or hub name of the model's tokenizer: then token ids are sent to servers that take them."""
    answers_as: str | None = None
    """The name that the server answers with where it is not the one asked for."""
    concurrency: Annotated[int, WHOLE, Field(ge=1), expected("is not a number of at least 1")] = 8
    """Requests under way at once."""
    requests_per_minute: Positive | None = None
    retries: Annotated[int, WHOLE, Field(ge=0), expected("is not a number of at least 0")] = 6
    """How often one request is sent again."""
    timeout: Positive = 300.0
    """Seconds that one try may take, from the first byte sent to the last one read; and the most that is waited at once
    where the server asks to wait (Retry-After)."""
    key_variable: str = KEY_VARIABLE
    """Environment variable that holds the key."""
    input_price: Price | None = None
    """Of a million prompt tokens, in whatever money; the cost is counted in the same."""
    output_price: Price | None = None
    """Of a million completion tokens."""

    @property
    def host(self) -> str:
        """Name of the machine, without port."""
        return urlsplit(self.base_url).hostname or ""


def server_options(options: ModelOptions) -> ServerOptions:
    """The options in `options.model_args`; the address also from OPENAI_BASE_URL. ArgumentError for a bad value."""
    found = read_options(options.model_args, ServerOptions, backend="api")
    if (found.input_price is None) != (found.output_price is None):
        raise ArgumentError("--model-args needs both input_price and output_price, per million tokens, or neither.")
    return found.model_copy(update={"base_url": _address(found.base_url or os.environ.get("OPENAI_BASE_URL"))})


def read_key(options: ServerOptions) -> Key:
    """The key, from the environment and nowhere else. BackendError where a variable was named and is not set."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", options.key_variable):
        raise ArgumentError(
            "--model-args key_variable is the name of an environment variable that holds the key, such as "
            f"{KEY_VARIABLE}, not the key itself."
        )
    key = os.environ.get(options.key_variable, "").strip()
    if not key and options.key_variable != KEY_VARIABLE:
        raise BackendError(f"--model-args names key_variable={options.key_variable}, but that variable is not set.")
    if not (key.isascii() and key.isprintable()):
        raise BackendError(
            f"the key in {options.key_variable} holds characters that no request can carry, such as a line break; set "
            "the variable to the key alone."
        )
    return Key(key)


def _address(url: str | None) -> str:
    if not url:
        raise ArgumentError(
            "the backend api needs an address: --model-args base_url=http://localhost:8000/v1 (or OPENAI_BASE_URL)."
        )
    parts = _parts(url)
    if any(sign in url for sign in "@?#"):
        raise ArgumentError(
            f"the base_url{f' for {parts.hostname}' if parts and parts.hostname else ''} holds a user, a password or a "
            f"query, which would go into the record. Put the key into the environment variable {KEY_VARIABLE} instead."
        )
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ArgumentError(f"base_url={url!r} is not an address such as http://localhost:8000/v1.")
    return url.rstrip("/")


def _parts(url: str) -> SplitResult | None:
    """None where it is no address, or one with characters or a port that no address has."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts if url.isprintable() and " " not in url else None

"""What `--model-args` may say about a server."""

from __future__ import annotations

import os
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field

from benchbench.backends.engine_options import WHOLE, EngineOptions, expected, read_options
from benchbench.backends.options import ModelOptions
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
    """Seconds to wait for one answer."""
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
    found = read_options(options, ServerOptions, backend="api")
    if (found.input_price is None) != (found.output_price is None):
        raise ArgumentError("--model-args needs both input_price and output_price, per million tokens, or neither.")
    return found.model_copy(update={"base_url": _address(found.base_url or os.environ.get("OPENAI_BASE_URL"))})


def read_key(options: ServerOptions) -> str | None:
    """The key, from the environment and nowhere else. BackendError where a variable was named and is not set."""
    key = os.environ.get(options.key_variable, "").strip()
    if not key and options.key_variable != KEY_VARIABLE:
        raise BackendError(f"--model-args names key_variable={options.key_variable}, but that variable is not set.")
    return key or None


def _address(url: str | None) -> str:
    if not url:
        raise ArgumentError(
            "the backend api needs an address: --model-args base_url=http://localhost:8000/v1 (or OPENAI_BASE_URL)."
        )
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ArgumentError(f"base_url={url!r} is not an address such as http://localhost:8000/v1.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ArgumentError(
            f"the base_url for {parts.hostname} holds a user, a password or a query, which would go into the record. "
            f"Put the key into the environment variable {KEY_VARIABLE} instead."
        )
    return url.rstrip("/")

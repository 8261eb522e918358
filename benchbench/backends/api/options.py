"""What `--model-args` may say about a server."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from benchbench.backends.options import ModelOptions, check_model_args
from benchbench.core.errors import ArgumentError, BackendError

Endpoint = Literal["auto", "completions", "chat"]
ENDPOINTS: tuple[Endpoint, ...] = ("auto", "completions", "chat")
MODEL_ARGS = (
    "answers_as",
    "base_url",
    "concurrency",
    "endpoint",
    "input_price",
    "key_variable",
    "output_price",
    "requests_per_minute",
    "retries",
    "timeout",
    "tokenizer",
)
KEY_VARIABLE = "OPENAI_API_KEY"


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """One server, and how hard it may be asked."""

    base_url: str
    """Up to and including `/v1`."""
    endpoint: Endpoint = "auto"
    """completions (text goes in as it is) or chat (text becomes a user's message); auto prefers completions."""
    tokenizer: str | None = None
    """Folder or hub name of the model's tokenizer: then token ids are sent to servers that take them."""
    answers_as: str | None = None
    """The name that the server answers with where it is not the one asked for."""
    concurrency: int = 8
    """Requests under way at once."""
    requests_per_minute: float | None = None
    retries: int = 6
    """How often one request is sent again."""
    timeout: float = 300.0
    """Seconds to wait for one answer."""
    key_variable: str = KEY_VARIABLE
    """Environment variable that holds the key."""
    input_price: float | None = None
    """Of a million prompt tokens, in whatever money; the cost is counted in the same."""
    output_price: float | None = None
    """Of a million completion tokens."""

    @property
    def host(self) -> str:
        """Name of the machine, without port."""
        return urlsplit(self.base_url).hostname or ""


def server_options(options: ModelOptions) -> ServerOptions:
    """The options in `options.model_args`; the address also from OPENAI_BASE_URL. ArgumentError for a bad value."""
    args = check_model_args(options, MODEL_ARGS, backend="api")
    endpoint = args.get("endpoint", "auto")
    if endpoint not in ENDPOINTS:
        raise ArgumentError(f"--model-args endpoint={endpoint} is not one of {', '.join(ENDPOINTS)}.")
    prices = [_number(args, name, None, least=0.0) for name in ("input_price", "output_price")]
    if (prices[0] is None) != (prices[1] is None):
        raise ArgumentError("--model-args needs both input_price and output_price, per million tokens, or neither.")
    return ServerOptions(
        base_url=_address(args.get("base_url") or os.environ.get("OPENAI_BASE_URL")),
        endpoint=endpoint,
        tokenizer=args.get("tokenizer"),
        answers_as=args.get("answers_as"),
        concurrency=int(_number(args, "concurrency", 8, least=1) or 8),
        requests_per_minute=_number(args, "requests_per_minute", None, least=1e-3),
        retries=int(_number(args, "retries", 6, least=0) or 0),
        timeout=_number(args, "timeout", 300.0, least=1e-3) or 300.0,
        key_variable=args.get("key_variable", KEY_VARIABLE),
        input_price=prices[0],
        output_price=prices[1],
    )


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


def _number(args: dict[str, str], name: str, default: float | None, *, least: float) -> float | None:
    if name not in args:
        return default
    try:
        value = float(args[name])
    except ValueError:
        value = float("nan")
    if not least <= value < float("inf"):
        raise ArgumentError(f"--model-args {name}={args[name]} is not a number of at least {least:g}.")
    return value

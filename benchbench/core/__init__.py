"""Types, ids, errors: what every room may know. No torch, no input or output."""

__version__ = "0.1.0"

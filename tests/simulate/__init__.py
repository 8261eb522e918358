"""Worlds with known truth, and how often the statistics are right in them."""

"""A small Hub on loopback, and a process in which the real clients use it."""

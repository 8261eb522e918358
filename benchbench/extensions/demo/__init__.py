"""The demo: a tiny model that learns a small Czech and French world in about a minute, and its checkpoints."""

"""Real unbabel-comet: a tiny checkpoint, made here, in the environment of `make env-comet`."""

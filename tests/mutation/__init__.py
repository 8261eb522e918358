"""Whether the tests notice a changed line: `make mutate`, or `python -m tests.mutation --help`."""

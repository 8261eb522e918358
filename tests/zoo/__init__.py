"""Every model family of the installed transformers, tiny and random, held against one text at a time."""

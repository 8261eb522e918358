"""Opening a model, for every engine: where it lies, what it is, whether it is whole, and what it is called."""

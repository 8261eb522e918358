"""Is a benchmark in training data: n-grams of its docs in a corpus on disk, and the order of its docs in a model."""

"""What a model has learned by heart: attacks that tell members of its training data, extraction, canaries."""

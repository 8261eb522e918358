"""The transformers engine: loading, causal and encoder-decoder scoring, generation."""

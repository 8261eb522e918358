"""The vLLM backend: continuous batching, paged prefix cache, tensor parallelism."""

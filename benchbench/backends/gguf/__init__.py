"""The llama.cpp engine: quantised files, scored and continued over shared prefixes."""

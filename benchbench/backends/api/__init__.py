"""Models behind an OpenAI-compatible server: vLLM, llama.cpp, or a hosted one."""

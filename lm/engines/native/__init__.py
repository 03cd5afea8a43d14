"""Our own decoder for Llama-style models on CPU."""

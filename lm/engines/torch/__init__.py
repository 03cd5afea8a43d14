"""Llama-style models in PyTorch."""

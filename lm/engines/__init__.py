"""Engines: what runs a language model's layers."""

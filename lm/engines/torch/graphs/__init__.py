"""A step of one token a row in static memory, replayed as a CUDA graph."""

"""What every room may import. It imports nothing of ours, and no PyTorch."""

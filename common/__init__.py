"""What every room may import: estimates with intervals, and what dominates what. It imports nothing of ours, and no PyTorch."""

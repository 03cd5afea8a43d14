"""P-GAPO: gradients of several objectives, combined; fronts, measured (arXiv 2507.01915)."""

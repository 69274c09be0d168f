"""How parameters are found: losses, negatives, optimizers, the loop."""

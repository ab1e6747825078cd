"""Training of the networks: tiles with known truth, losses, the loop."""

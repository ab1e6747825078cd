"""Training of the network that predicts mesoscopic relief."""

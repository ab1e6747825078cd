"""Many captures, each by itself, on this machine or on a cluster: one that fails stops no other."""

"""The precision of a rig, from its own photos: two results from disjoint halves of them, compared."""

"""FaceScape (Yang et al., CVPR 2020) as a data set.

:mod:`.raw` finds the captures as they are published, :mod:`.prepare` makes the prepared folder of them that
Xiao et al. (AAAI 2022) lay out, :mod:`.layout` knows what is where in it, :mod:`.evaluate` measures the
results of a split, :mod:`.generate` writes synthetic captures in the published layout.
"""

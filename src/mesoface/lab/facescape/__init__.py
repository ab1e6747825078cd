"""FaceScape (Yang et al., CVPR 2020) as a data set.

:mod:`.layout` has the names and places of captures, as published and as Xiao et al. (AAAI 2022) prepare them,
:mod:`.prepare` makes such a prepared folder, :mod:`.evaluate` measures the results of a split,
:mod:`.generate` writes synthetic captures in the published layout.
"""

"""Features of one's own in UVD space: what photos show at every (u, v, d), and how well the views agree.

For methods that bring their own descriptors; ``tests/matching/test_parts.py`` has examples of ten lines. The
matchers of this package have loops of their own that do the same in less time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mesoface.geometry.camera import Camera
from mesoface.matching.learned.kernels import agreement_in_photos, project, sample
from mesoface.uvd.space import UVDSpace

Array = TypeVar("Array", bound=Any)
"""A numpy array or a torch tensor: what comes back is of the same kind, and on the same device."""


def look_up(features: Array, camera: Camera, space: UVDSpace, steps: NDArray) -> Array:
    """Bilinear features of a photo at every (u, v, d); beyond the photo's edge those of the edge.

    Args:
        features: (C, h, w) of any number of channels, numpy or torch; a gradient of torch's passes through.
        camera: without a lens; its pixels are those of ``features``, centres at integers.
        space: the base surface, (H, H).
        steps: (D,) displacements, mm.

    Returns:
        (C, D, H, H) float32, of the kind of ``features``.

    Raises:
        ValueError: ``features`` has another shape, or the camera has a lens.
    """
    photo, like = _as_tensor(features)
    place = _tensors(photo, camera_matrix(camera), space.position, space.normal, steps)
    return like(sample(photo, project(*place)).movedim(-1, 1))


def compare_views(
    features: Sequence[Array],
    cameras: Sequence[Camera],
    space: UVDSpace,
    visibility: NDArray[np.float32],
    steps: NDArray,
    *,
    groups: int = 1,
    threads: int = 2,
) -> Array:
    """How well the views agree at every (u, v, d): the mean cosine over their pairs, weighted by visibility.

    With features of unit length that is 1 where all views show the same, and about 0 where they have nothing
    in common. The result can be handed to :func:`mesoface.matching.displacement.find_peak`.

    Args:
        features: V × (C, h, w), numpy or torch; C is a multiple of ``groups``.
        cameras: V cameras without a lens, of the pixels of ``features``.
        space: the base surface, (H, H).
        visibility: (V, H, H) in [0, 1], for example of :func:`mesoface.uvd.visibility.cast_visibility`.
        steps: (D,) displacements, mm.
        groups: parts of a descriptor that are compared each for itself; the mean over them is returned.
        threads: of the CPU.

    Returns:
        (D, H, H) float32, of the kind of ``features``; 0 where fewer than two views see a texel.

    Raises:
        ValueError: a shape is another one, or a camera has a lens.
    """
    photos, likes = zip(*(_as_tensor(photo) for photo in features), strict=True)
    if not len(photos) == len(cameras) == len(visibility):
        raise ValueError(f"{len(photos)} photos, {len(cameras)} cameras, visibility of {len(visibility)}")
    # All are trusted alike, and there is no contrast beside the features.
    whole = [torch.cat([p, torch.ones_like(p[:1]), torch.zeros_like(p[:1])]) for p in photos]
    matrices = np.stack([camera_matrix(camera) for camera in cameras])
    maps = matrices, space.position, space.normal, visibility, steps
    projections, position, normal, seen, tried = _tensors(photos[0], *maps)
    agreed = agreement_in_photos(whole, projections, position, normal, seen, tried, groups, threads=threads)
    return likes[0](agreed.coherence[:-1].mean(0).movedim(-1, 0))


def camera_matrix(camera: Camera) -> NDArray[np.float64]:
    """(3, 4) world, mm → pixels.

    Raises:
        ValueError: the camera has a lens.
    """
    if camera.lens is not None:
        raise ValueError("the camera has a lens: undistort the photo first")
    return camera.P


def _as_tensor(features: Any) -> tuple[Tensor, Any]:
    """(C, h, w) features as a tensor, and what makes a tensor an array of their kind."""
    if features.ndim != 3:
        raise ValueError(f"features must be (C, h, w), got {tuple(features.shape)}")
    if isinstance(features, torch.Tensor):
        return features.float(), lambda tensor: tensor
    return torch.from_numpy(np.ascontiguousarray(features, np.float32)), lambda tensor: tensor.numpy()


def _tensors(like: Tensor, *arrays: NDArray) -> tuple[Tensor, ...]:
    """Arrays as tensors on the device of ``like``."""
    return tuple(torch.from_numpy(np.ascontiguousarray(values)).to(like.device) for values in arrays)

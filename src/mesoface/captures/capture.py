"""A capture: photos with their cameras, the input of every later stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesoface.errors import CaptureError
from mesoface.files.images import LUMA
from mesoface.geometry.camera import Camera


@dataclass(frozen=True)
class ViewSource:
    """A photo on disk with its calibration, not decoded yet; the readers of the formats return these.

    Args:
        name: short name of the view, unique in the capture (the file's stem, usually).
        image_path: the photo.
        camera: its calibration, lens included, world units of the capture.
        mask_path: foreground mask (white = subject), or None.
    """

    name: str
    image_path: Path
    camera: Camera
    mask_path: Path | None = None


@dataclass(frozen=True)
class CaptureSource:
    """The calibration of a folder, as a format's reader returns it.

    Args:
        path: the folder.
        format: name of the format, a choice of ``--format``.
        views: usable views, in the format's own order.
        notes: what was left out and why, one sentence each, for the user.
        mm_per_unit: millimetres per world unit where the format states it, else None.
    """

    path: Path
    format: str
    views: tuple[ViewSource, ...]
    notes: tuple[str, ...] = ()
    mm_per_unit: float | None = None


@dataclass(frozen=True, eq=False)
class View:
    """One undistorted photo.

    Args:
        name: short name, unique in the capture.
        image: (H, W, 3) RGB float32 in [0, 1].
        camera: pinhole camera without a lens, of the image's size.
        mask: (H, W) bool, True on the subject, or None.
        image_path: where the photo came from, or None when made in memory.
        full_size: the photo on disk with its own calibration, where it was scaled down for ``image``.
    """

    name: str
    image: NDArray[np.float32]
    camera: Camera
    mask: NDArray[np.bool_] | None = None
    image_path: Path | None = None
    full_size: ViewSource | None = None

    @cached_property
    def luminance(self) -> NDArray[np.float32]:
        """(H, W) luminance of the image as stored, in [0, 1]."""
        return self.image @ LUMA

    def __post_init__(self) -> None:
        size = (self.camera.height, self.camera.width)
        if self.image.shape != (*size, 3) or self.image.dtype != np.float32:
            raise ValueError(f"image must be float32 {(*size, 3)}, got {self.image.dtype} {self.image.shape}")
        if self.mask is not None and (self.mask.shape != size or self.mask.dtype != np.bool_):
            raise ValueError(f"mask must be bool {size}, got {self.mask.dtype} {self.mask.shape}")
        if self.camera.lens is not None:
            raise ValueError("a View is undistorted: its camera must have no lens")


@dataclass(frozen=True, eq=False)
class Capture:
    """Photos of one face at one moment, from calibrated cameras.

    Args:
        views: at least two.
        path: the folder they came from, or None.
        format: name of the folder's format.
        notes: what was left out at reading and why.
        mm_per_unit: millimetres per world unit where it is known, else None.
    """

    views: tuple[View, ...]
    path: Path | None = None
    format: str = "memory"
    notes: tuple[str, ...] = ()
    mm_per_unit: float | None = None

    def __len__(self) -> int:
        return len(self.views)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the views."""
        return tuple(view.name for view in self.views)

    @property
    def cameras(self) -> tuple[Camera, ...]:
        """Cameras of the views."""
        return tuple(view.camera for view in self.views)

    def select(self, indices: Sequence[int]) -> Capture:
        """The capture with only the views at ``indices``, in that order."""
        return replace(self, views=tuple(self.views[i] for i in indices))

    def select_names(self, names: Sequence[str]) -> Capture:
        """The capture with only the named views.

        Raises:
            CaptureError: a name is not in the capture.
        """
        check_names(names, self.names, path=self.path)
        return self.select([self.names.index(name) for name in names])

    def in_millimetres(self, mm_per_unit: float) -> Capture:
        """The capture with its world multiplied by ``mm_per_unit``; the result's own unit is the mm."""
        views = tuple(replace(view, camera=view.camera.scaled_world(mm_per_unit)) for view in self.views)
        return replace(self, views=views, mm_per_unit=1.0)


def check_names(names: Sequence[str], known: Sequence[str], *, path: Path | None) -> None:
    """Refuse names that are not the name of a view in the capture at ``path``.

    Raises:
        CaptureError: a name is not in ``known``.
    """
    if unknown := [name for name in names if name not in known]:
        remedy = f"there are: {', '.join(known)}"
        raise CaptureError(f"no view named {', '.join(unknown)}", path=path, remedy=remedy)

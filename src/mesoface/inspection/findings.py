"""What an inspection finds: a report for each view, the coverage of the face, and the problems."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ViewReport:
    """What one view is like. Numbers about the face are None where none was found.

    Args:
        name: of the view.
        width: pixels, undistorted.
        height: pixels, undistorted.
        focal: focal length, pixels.
        face_found: whether the detector sees the face.
        face_size: height of the face in the photo, pixels.
        distance: from the camera to the middle of the face, world units.
        azimuth: degrees from the front of the face, positive towards the subject's left.
        elevation: degrees above the face's horizontal plane.
        residual: median reprojection error of the landmarks that the view is trusted with, pixels.
        sharpness: of the face, see :func:`.landmarks.selection.face_sharpness`; comparable between views.
        exposure: median luminance of the face, in [0, 1].
        clipped: share of the face's pixels that are pure black or white.
        inside: share of the landmarks inside the photo.
        distrusted: whether its landmarks contradict the other views.
    """

    name: str
    width: int
    height: int
    focal: float
    face_found: bool
    face_size: float | None = None
    distance: float | None = None
    azimuth: float | None = None
    elevation: float | None = None
    residual: float | None = None
    sharpness: float | None = None
    exposure: float | None = None
    clipped: float | None = None
    inside: float | None = None
    distrusted: bool = False

    @property
    def usable(self) -> bool:
        """Whether reconstruction may use the view."""
        return self.face_found and not self.distrusted


@dataclass(frozen=True)
class Coverage:
    """From where the usable views see the face, degrees.

    Args:
        azimuth: (leftmost, rightmost) about the face's vertical axis, 0 = frontal.
        elevation: (lowest, highest).
        largest_gap: largest step in azimuth between neighbouring views.
        baseline: mean angle between a view and its nearest neighbour.
    """

    azimuth: tuple[float, float]
    elevation: tuple[float, float]
    largest_gap: float
    baseline: float


@dataclass(frozen=True)
class Problem:
    """Something that will make the result worse, or impossible.

    Args:
        what: one sentence.
        remedy: how to correct it.
        severe: whether it stands in the way of a reconstruction.
    """

    what: str
    remedy: str
    severe: bool = False

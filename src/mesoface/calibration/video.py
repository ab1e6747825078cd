"""Photos out of a video: sharp frames, evenly over its length. Which of them are used is decided later."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.errors import CaptureError
from mesoface.running.process import no_native_logs
from mesoface.running.progress import ProgressCallback, silent

SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
_CANDIDATES = 3  # frames kept for each photo that is wanted
_LOOK_AT = 640  # pixels, longest side at which frames are compared
_MAX_SIDE, _MAX_FRAMES = 8192, 100_000
_QUALITY = 98
_REMEDY = "check that it plays, or save it as MP4 (H.264)"


def is_video(path: Path) -> bool:
    """Whether the name is a video's."""
    return path.is_file() and path.suffix.lower() in SUFFIXES


def extract_frames(
    video: Path, folder: Path, wanted: int, *, progress: ProgressCallback = silent
) -> list[Path]:
    """Write the sharpest frame of each of ``3 · wanted`` equal parts of a video.

    A hand-held camera shakes: within a fraction of a second some frames are much sharper than others, and
    their view is the same. Frames are compared by the variance of their Laplacian.

    Args:
        video: the file; rotated as its metadata require.
        folder: where ``frame_<number>.jpg`` go.
        wanted: how many photos are to be chosen of these frames.
        progress: called as frames are read.

    Returns:
        the files, in order.

    Raises:
        CaptureError: the file is no video, damaged, or shorter than three frames.
    """
    with no_native_logs:
        capture = cv2.VideoCapture(str(video))
        try:
            count = _length(capture, video)
            part = max(1, count // (_CANDIDATES * wanted))
            files, best, sharpest, number = [], None, -1.0, 0
            while number < _MAX_FRAMES:
                read, frame = capture.read()
                if read:
                    sharpness = _sharpness(frame)
                    if sharpness > sharpest:
                        best, sharpest, at = frame, sharpness, number
                number += 1
                if best is not None and (not read or number % part == 0):
                    files.append(_write(folder / f"frame_{at:06d}.jpg", best))
                    best, sharpest = None, -1.0
                if not read:
                    break
                progress("Reading video", min(number, count), count)
            progress("Reading video", count, count)
        finally:
            capture.release()
    if len(files) < 3:
        what = f"has {len(files)} readable frame{'s' * (len(files) != 1)}, at least three are needed"
        raise CaptureError(what, path=video, remedy=_REMEDY)
    return files


def _length(capture: cv2.VideoCapture, video: Path) -> int:
    """Number of frames that the file claims to have."""
    if not capture.isOpened():
        raise CaptureError("cannot be read as a video", path=video, remedy=_REMEDY)
    names = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_COUNT)
    width, height, count = map(capture.get, names)
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        raise CaptureError(f"claims frames of {width:.0f}×{height:.0f}", path=video, remedy=_REMEDY)
    if not 1 <= count <= _MAX_FRAMES:
        what = f"claims {count:.0f} frames, between 3 and {_MAX_FRAMES} were expected"
        remedy = "cut it to the seconds in which the camera goes around the face"
        raise CaptureError(what, path=video, remedy=remedy)
    return int(count)


def _sharpness(frame: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian at a common size."""
    grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    factor = min(1.0, _LOOK_AT / max(grey.shape))
    small = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(small, cv2.CV_32F).var())


def _write(path: Path, frame: NDArray[np.uint8]) -> Path:
    ok, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert ok
    path.write_bytes(data.tobytes())
    return path

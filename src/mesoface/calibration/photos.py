"""The photos to calibrate: those of a folder, put upright into the capture's folder, or frames of a video.

What their EXIF data tell of the camera is read on the way.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from mesoface.calibration.settings import Sharing
from mesoface.captures.formats.files import list_photos, unique_names
from mesoface.captures.formats.photos import MASKS
from mesoface.errors import CaptureError
from mesoface.files.images import SUFFIXES, decode_mask, decode_photo, jpeg, read_header, turn_upright
from mesoface.running.process import no_native_logs
from mesoface.running.progress import ProgressCallback, silent

_APPLE = (".heic", ".heif")
_RAW = (".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2")
_QUALITY = 98  # of JPEG files
_DIAGONAL_35MM = math.hypot(36.0, 24.0)
_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0}  # FocalPlaneResolutionUnit: inch, centimetre, millimetre
_PLAUSIBLE = (0.3, 30.0)  # focal length over the photo's longest side

_VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
_CANDIDATES = 3  # frames kept for each photo that is wanted
_LOOK_AT = 640  # pixels, longest side at which frames are compared
_MAX_SIDE, _MAX_FRAMES = 8192, 100_000  # of a video
_VIDEO_REMEDY = "check that it plays, or save it as MP4 (H.264)"


@dataclass(frozen=True)
class Photo:
    """A photo without a camera, upright on disk.

    Args:
        name: short and unique.
        path: of the file.
        width: pixels.
        height: pixels.
        device: camera and zoom by the EXIF data, empty where unknown.
        focal: focal length by the EXIF data, pixels, or None.
        mask_path: foreground mask of the photo's size, or None.
    """

    name: str
    path: Path
    width: int
    height: int
    device: str = ""
    focal: float | None = None
    mask_path: Path | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.width, self.height

    def remove(self) -> None:
        """Delete the photo, and its mask where it has one."""
        for path in (self.path, self.mask_path):
            if path is not None:
                path.unlink()


def find_photos(source: Path) -> list[Path]:
    """The photos of a folder, or of its subfolder ``images``.

    Raises:
        CaptureError: no folder, or no photos in it that can be read.
    """
    if not source.is_dir():
        what = "is neither a folder nor a video" if source.exists() else "does not exist"
        raise CaptureError(what, path=source, remedy="name a folder of photos, or a video file")
    folders = [source, source / "images"]
    for folder in folders:
        if photos := list(list_photos(folder).values()):
            return photos
    others = sorted(path.name for folder in folders if folder.is_dir() for path in folder.iterdir())
    for suffixes, what in ((_APPLE, "HEIC"), (_RAW, "raw")):
        if odd := [name for name in others if name.lower().endswith(suffixes)]:
            what = f"holds {len(odd)} {what} files ({odd[0]}, …), which cannot be read here"
            remedy = "convert them to JPEG, keeping their size and their EXIF data"
            raise CaptureError(what, path=source, remedy=remedy)
    remedy = f"put photos there: {', '.join(SUFFIXES)}, or name a video"
    raise CaptureError("holds no photos", path=source, remedy=remedy)


def take_over(paths: list[Path], folder: Path) -> tuple[list[Photo], list[str]]:
    """Copy photos into ``folder/images`` (and their masks into ``folder/masks``), upright.

    A photo with an orientation in its EXIF data is turned and written again, so that its calibration cannot
    be read the wrong way; all others are copied byte for byte.

    Args:
        paths: of the photos; masks are looked for in ``masks/`` beside them or beside their folder.
        folder: the capture's folder, which exists.

    Returns:
        the photos where they are now, and notes.

    Raises:
        CaptureError: a photo or a mask cannot be read, or the two differ in size.
    """
    (folder / "images").mkdir(exist_ok=True)
    photos, turned = [], []
    for path, name in zip(paths, unique_names([path.name for path in paths]), strict=True):
        header = read_header(path)
        device, focal = read_exif_camera(path, *header.size)
        target = folder / "images" / path.name
        if header.orientation == 1:
            shutil.copyfile(path, target)
        else:
            turned.append(name)
            _write(target, turn_upright(decode_photo(path)[0], header.orientation))
        photo = Photo(name, target, *header.upright_size, device, focal)
        photos.append(_with_mask(photo, path, folder))
    notes = [f"turned upright, by their EXIF data: {', '.join(turned)}"] if turned else []
    return photos, notes


def read_pixels(photo: Photo) -> NDArray[np.uint8]:
    """(H, W, 3) RGB.

    Raises:
        CaptureError: the file is truncated or corrupt.
    """
    pixels = decode_photo(photo.path)[0]
    return (pixels if pixels.dtype == np.uint8 else pixels >> 8).astype(np.uint8, copy=False)


def _with_mask(photo: Photo, original: Path, folder: Path) -> Photo:
    """The photo with its mask, copied, where it has one."""
    places = (original.parent / MASKS, original.parent.parent / MASKS)
    names = (f"{original.name}.png", f"{original.stem}.png")
    found = next((p / n for p in places for n in names if (p / n).is_file()), None)
    if found is None:
        return photo
    header = read_header(found)
    mask = decode_mask(found)
    if header.size != photo.size:
        mask = turn_upright(mask, read_header(original).orientation)
    if mask.shape != (photo.height, photo.width):
        what = f"the mask is {header.width}×{header.height}, but its photo {photo.width}×{photo.height}"
        raise CaptureError(what, path=found, remedy="make the mask at the photo's size, or remove it")
    target = folder / MASKS / f"{photo.path.name}.png"
    target.parent.mkdir(exist_ok=True)
    _write(target, mask.astype(np.uint8) * 255)
    return replace(photo, mask_path=target)


def _write(path: Path, pixels: NDArray) -> None:
    """An image in the format of its suffix; JPEG almost without loss."""
    if pixels.dtype == np.uint16:
        path.write_bytes(cv2.imencode(path.suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes())
    elif path.suffix.lower() in (".jpg", ".jpeg"):
        Image.fromarray(pixels).save(path, quality=_QUALITY, subsampling=0)
    else:
        Image.fromarray(pixels).save(path)


def cameras_of(photos: Sequence[Photo], sharing: Sharing) -> NDArray[np.int64]:
    """(V,) a number for the camera of each photo, counted from 0 in the photos' order.

    Raises:
        CaptureError: the sharing is ``shared``, but the photos are not of one size.
    """
    if sharing == "each":
        return np.arange(len(photos))
    keys = [(photo.size, photo.device) for photo in photos]
    if sharing == "shared":
        keys = [(photo.size, "") for photo in photos]
        other = next((i for i, key in enumerate(keys) if key != keys[0]), None)
        if other is not None:
            a, b = photos[0], photos[other]
            what = f"is {b.width}×{b.height}, but {a.path.name} {a.width}×{a.height}: one camera has one size"
            remedy = "use --cameras auto or each, or turn and crop the photos alike"
            raise CaptureError(what, path=b.path, remedy=remedy)
    number = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return np.array([number[key] for key in keys], np.int64)


def read_exif_camera(path: Path, width: int, height: int) -> tuple[str, float | None]:
    """Camera and focal length of a photo of ``width`` × ``height`` stored pixels.

    The focal length comes from its 35 mm equivalent, which compares the pictures' diagonals (CIPA DCG-001),
    or from the sensor's resolution. Damaged EXIF data are ignored.

    Returns:
        make, model, lens and zoom in one string, equal for photos of one camera at one zoom and empty where
        unknown; and the focal length in pixels of the photo, or None.
    """
    try:
        with Image.open(path) as image:
            # Pillow would decode a whole PNG to look for EXIF behind the pixels.
            if image.format == "PNG" and "exif" not in image.info:
                return "", None
            exif = image.getexif()
            tags = {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
    except (OSError, SyntaxError, ValueError, KeyError, TypeError):
        return "", None
    names = (ExifTags.Base.Make, ExifTags.Base.Model, ExifTags.Base.LensModel)
    device = " ".join(str(tags[tag]).strip("\0 ") for tag in names if tag in tags)
    zoom = _number(tags.get(ExifTags.Base.FocalLength))
    if device and zoom is not None:
        device += f" at {zoom:g} mm"
    return device, _focal(tags, width, height)


def _focal(tags: dict[int, Any], width: int, height: int) -> float | None:
    """Focal length in pixels, None where it is not given or impossible."""
    equivalent = _number(tags.get(ExifTags.Base.FocalLengthIn35mmFilm))
    length = _number(tags.get(ExifTags.Base.FocalLength))
    resolution = _number(tags.get(ExifTags.Base.FocalPlaneXResolution))
    unit = _MM_PER_UNIT.get(tags.get(ExifTags.Base.FocalPlaneResolutionUnit, 2))
    if equivalent is not None:
        focal = equivalent / _DIAGONAL_35MM * math.hypot(width, height)
    elif length is not None and resolution is not None and unit is not None:
        # The resolution is of the picture as the camera wrote it; this one may have been scaled since.
        original = _number(tags.get(ExifTags.Base.ExifImageWidth)) or width
        focal = length * resolution / unit * width / original
    else:
        return None
    low, high = (share * max(width, height) for share in _PLAUSIBLE)
    return focal if low <= focal <= high else None


def _number(value: Any) -> float | None:
    """A positive, finite number, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def is_video(path: Path) -> bool:
    """Whether the name is a video's."""
    return path.is_file() and path.suffix.lower() in _VIDEOS


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
                    files.append(folder / f"frame_{at:06d}.jpg")
                    files[-1].write_bytes(jpeg(cv2.cvtColor(best, cv2.COLOR_BGR2RGB), _QUALITY))
                    best, sharpest = None, -1.0
                if not read:
                    break
                progress("Reading video", min(number, count), count)
            progress("Reading video", count, count)
        finally:
            capture.release()
    if len(files) < 3:
        what = f"has {len(files)} readable frame{'s' * (len(files) != 1)}, at least three are needed"
        raise CaptureError(what, path=video, remedy=_VIDEO_REMEDY)
    return files


def _length(capture: cv2.VideoCapture, video: Path) -> int:
    """Number of frames that the file claims to have."""
    if not capture.isOpened():
        raise CaptureError("cannot be read as a video", path=video, remedy=_VIDEO_REMEDY)
    names = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_COUNT)
    width, height, count = map(capture.get, names)
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        what = f"claims frames of {width:.0f}×{height:.0f}"
        raise CaptureError(what, path=video, remedy=_VIDEO_REMEDY)
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

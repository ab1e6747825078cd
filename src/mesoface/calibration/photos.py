"""The photos to calibrate: found, checked, and put upright into the capture's folder."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mesoface.calibration.exif import read_exif_camera
from mesoface.captures.formats.files import list_photos, unique_names
from mesoface.captures.formats.photos import MASKS
from mesoface.errors import CaptureError
from mesoface.files.images import SUFFIXES, decode_mask, decode_photo, read_header, turn_upright

_APPLE = (".heic", ".heif")
_RAW = (".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2")
_QUALITY = 98  # of JPEG files that must be written again


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


def find_photos(source: Path) -> list[Path]:
    """The photos of a folder, or of its subfolder ``images``.

    Raises:
        CaptureError: no folder, or no photos in it that can be read.
    """
    if not source.is_dir():
        what = "is neither a folder nor a video" if source.exists() else "does not exist"
        raise CaptureError(f"{what}", path=source, remedy="name a folder of photos, or a video file")
    folders = [source, source / "images"]
    for folder in folders:
        if photos := list(list_photos(folder).values()):
            return photos
    others = sorted(path.name for folder in folders if folder.is_dir() for path in folder.iterdir())
    for suffixes, what in ((_APPLE, "HEIC"), (_RAW, "raw")):
        if odd := [name for name in others if name.lower().endswith(suffixes)]:
            raise CaptureError(
                f"holds {len(odd)} {what} files ({odd[0]}, …), which cannot be read here",
                path=source,
                remedy="convert them to JPEG, keeping their size and their EXIF data",
            )
    raise CaptureError(
        "holds no photos", path=source, remedy=f"put photos there: {', '.join(SUFFIXES)}, or name a video"
    )


def take_over(paths: list[Path], folder: Path) -> tuple[list[Photo], list[str]]:
    """Copy photos into ``folder/images`` (and their masks into ``folder/masks``), upright.

    A photo that EXIF data say is to be turned is turned and written again, so that nobody can read its
    calibration the wrong way; all others stay as they are, byte for byte.

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
        exif = read_exif_camera(path, *header.size)
        target = folder / "images" / path.name
        if header.orientation == 1:
            shutil.copyfile(path, target)
        else:
            turned.append(name)
            _write(target, turn_upright(decode_photo(path)[0], header.orientation))
        photo = Photo(name, target, *header.upright_size, exif.device, exif.focal)
        photos.append(_with_mask(photo, path, folder))
    notes = [f"turned upright, as EXIF says: {', '.join(turned)}"] if turned else []
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
        raise CaptureError(
            f"the mask is {header.width}×{header.height}, but its photo {photo.width}×{photo.height}",
            path=found,
            remedy="make the mask at the photo's size, or remove it",
        )
    target = folder / MASKS / f"{photo.path.name}.png"
    target.parent.mkdir(exist_ok=True)
    _write(target, mask.astype(np.uint8) * 255)
    return replace(photo, mask_path=target)


def _write(path: Path, pixels: NDArray) -> None:
    """An image in the format of its suffix; JPEG at next to no loss."""
    if pixels.dtype == np.uint16:
        path.write_bytes(cv2.imencode(path.suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes())
        return
    if path.suffix.lower() in (".jpg", ".jpeg"):
        Image.fromarray(pixels).save(path, quality=_QUALITY, subsampling=0)
    else:
        Image.fromarray(pixels).save(path)

"""The photos and masks in a capture's folder, and which of them a calibration file describes.

Programs write the path that a photo had on the machine that calibrated it, or its name without the suffix.
Only files in the capture's folder are ever used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import TypeVar

from mesoface.captures.capture import CaptureSource, ViewSource
from mesoface.captures.formats.files import list_photos, notes_on, unique_names
from mesoface.errors import CaptureError
from mesoface.files.images import SUFFIXES, read_header
from mesoface.geometry.camera import Camera

Item = TypeVar("Item")
MASKS = "masks"
"""Folder of masks: ``<photo's name>.png``, ``<stem>.png``, ``<stem>_mask.png``, or the photo's own name."""
_MASK_FOLDERS = (MASKS, "mask")
TURN_PIXELS = "turn the pixels as they were at calibration and remove the orientation tag"
"""The remedy for photos whose EXIF orientation leaves open what was calibrated."""


class Photos:
    """The photos below a folder, except those in ``masks/`` and ``mask/``.

    Args:
        folder: the capture's folder.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._photos = {
            name: path
            for name, path in list_photos(folder, deep=True).items()
            if PurePosixPath(name).parts[0] not in _MASK_FOLDERS
        }
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for name in self._photos:
            path = PurePosixPath(name)
            for key in {path.name.lower(), path.stem.lower()}:
                self._by_name[key].append(name)

    def find(self, description: str, *, file: Path) -> Path | None:
        """The photo that ``file`` describes: by a path on any machine, or a name with or without its suffix.

        Of several photos with that name, the one that shares the most folders with the path is taken.

        Raises:
            CaptureError: two photos fit equally well.
        """
        if description in self._photos:
            return self._photos[description]
        path = PurePosixPath(description.replace("\\", "/"))
        candidates = self._by_name.get(path.name.lower(), [])
        if not candidates and path.suffix.lower() not in SUFFIXES:  # a raw file, developed to the photo
            candidates = self._by_name.get(path.stem.lower(), [])
        if not candidates:
            return None
        shared = {name: _folders_shared(path, PurePosixPath(name)) for name in candidates}
        best = [name for name, count in shared.items() if count == max(shared.values())]
        if len(best) > 1:
            raise CaptureError(
                f"{description!r} may be {best[0]} or {best[1]}",
                path=file,
                remedy="leave only the calibrated photo in the capture's folder, or name its folder",
            )
        return self._photos[best[0]]

    def source(
        self,
        format: str,
        described: Iterable[tuple[str, Item]],
        camera_of: Callable[[str, Item, Path], Camera],
        *,
        file: Path,
        notes: Iterable[str] = (),
        mm_per_unit: float | None = None,
    ) -> CaptureSource:
        """The capture of the photos that are both described and there; the others are noted.

        Args:
            format: the format's name.
            described: how the calibration describes each photo, and what belongs to that photo.
            camera_of: the camera, from the view's name, what belongs to the photo, and the photo.
            file: the calibration file, or the folder where it consists of several.
            notes: what has been left out before.
            mm_per_unit: millimetres per world unit where the format states it, else None.

        Raises:
            CaptureError: two photos fit one description equally well, or one photo fits two.
        """
        found = [(text, item, self.find(text, file=file)) for text, item in described]
        there = [(item, photo) for _, item, photo in found if photo is not None]
        used = [photo for _, photo in there]
        if len(set(used)) < len(used):
            twice = next(photo for photo in used if used.count(photo) > 1)
            raise CaptureError(
                f"two cameras belong to one photo, {twice.relative_to(self.folder)}",
                path=file,
                remedy="keep photos in the folders that they were calibrated in, or give each its own name",
            )
        names = unique_names([photo.relative_to(self.folder).as_posix() for photo in used])
        views = tuple(
            ViewSource(name, photo, camera_of(name, item, photo), self.mask_of(photo))
            for name, (item, photo) in zip(names, there, strict=True)
        )
        missing = [PurePosixPath(text).name for text, _, photo in found if photo is None]
        unused = [name for name, path in self._photos.items() if path not in set(used)]
        ours = notes_on({"calibrated but not on disk, left out": missing, "photos without a camera": unused})
        return CaptureSource(self.folder, format, views, (*notes, *ours), mm_per_unit)

    def mask_of(self, photo: Path) -> Path | None:
        """The mask in ``masks/`` or ``mask/`` for ``photo``, or None."""
        relative = photo.relative_to(self.folder).as_posix()
        stems = (relative, photo.name, photo.stem, f"{photo.stem}_mask")
        names = (*(f"{stem}.png" for stem in stems), relative, photo.name)
        masks = (self.folder / place / name for place in _MASK_FOLDERS for name in names)
        return next((mask for mask in masks if mask.is_file()), None)


def size_of(photo: Path) -> tuple[int, int]:
    """(width, height) of a photo whose calibration does not state its size.

    Raises:
        CaptureError: not an image, or one with an EXIF orientation, which may be in the calibration or not.
    """
    header = read_header(photo)
    if header.orientation != 1:
        raise CaptureError(
            f"the photo has EXIF orientation {header.orientation}, and its calibration does not state "
            "whether its pixels were turned",
            path=photo,
            remedy=TURN_PIXELS,
        )
    return header.size


def _folders_shared(described: PurePosixPath, photo: PurePosixPath) -> int:
    """The number of innermost folders that are the same."""
    count = 0
    for a, b in zip(described.parts[-2::-1], photo.parts[-2::-1], strict=False):
        if a.lower() != b.lower():
            break
        count += 1
    return count

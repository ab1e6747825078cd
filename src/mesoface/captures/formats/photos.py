"""Finding photos in the capture's folder by what a calibration file says of them.

Programs write the path that a photo had on the machine that calibrated it, or its name without the suffix.
Only files in the capture's folder are ever named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TypeVar

from mesoface.captures.formats.files import list_photos, unique_names
from mesoface.errors import CaptureError
from mesoface.files.images import SUFFIXES, read_header

Item = TypeVar("Item")
MASKS = "masks"
"""Folder of masks: ``<photo's name>.png``, ``<stem>.png`` or ``<stem>_mask.png``."""


class Photos:
    """The photos below a folder, all but those in ``masks/``.

    Args:
        folder: the capture's folder.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._photos = {
            name: path
            for name, path in list_photos(folder, deep=True).items()
            if PurePosixPath(name).parts[0] != MASKS
        }
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for name in self._photos:
            path = PurePosixPath(name)
            for key in {path.name.lower(), path.stem.lower()}:
                self._by_name[key].append(name)

    def find(self, said: str, *, said_by: Path) -> Path | None:
        """The photo that ``said`` means: a path from any machine, or a name with or without its suffix.

        Of several with that name, the one in most of the same folders is taken.

        Raises:
            CaptureError: two photos fit equally well.
        """
        path = PurePosixPath(said.replace("\\", "/"))
        candidates = self._by_name.get(path.name.lower(), [])
        if (
            not candidates and path.suffix.lower() not in SUFFIXES
        ):  # a raw file's name for the developed photo
            candidates = self._by_name.get(path.stem.lower(), [])
        if not candidates:
            return None
        shared = {name: _folders_shared(path, PurePosixPath(name)) for name in candidates}
        best = [name for name, count in shared.items() if count == max(shared.values())]
        if len(best) > 1:
            raise CaptureError(
                f"{said!r} may be {best[0]} or {best[1]}",
                path=said_by,
                remedy="leave only the calibrated photo in the capture's folder, or name its folder",
            )
        return self._photos[best[0]]

    def match(
        self, wanted: Iterable[tuple[str, Item]], *, said_by: Path
    ) -> tuple[list[tuple[str, Item, Path]], list[str]]:
        """Find a photo for each of ``wanted``: what is said of the photo, and what belongs to it.

        Returns:
            A short unique name, what belongs to it and the photo, for those whose photo is there; and what is
            said of the others.

        Raises:
            CaptureError: two photos fit one description equally well, or one fits two.
        """
        found = [(said, item, self.find(said, said_by=said_by)) for said, item in wanted]
        there = [(item, photo) for _, item, photo in found if photo is not None]
        if len({photo for _, photo in there}) < len(there):
            twice = next(p for _, p in there if sum(p == other for _, other in there) > 1)
            raise CaptureError(
                f"two cameras are said to have taken {twice.relative_to(self.folder)}",
                path=said_by,
                remedy="keep photos in the folders that they were calibrated in, or give each its own name",
            )
        names = unique_names([photo.relative_to(self.folder).as_posix() for _, photo in there])
        matched = [(name, item, photo) for name, (item, photo) in zip(names, there, strict=True)]
        return matched, [said for said, _, photo in found if photo is None]

    def mask_of(self, photo: Path) -> Path | None:
        """The mask that lies in ``masks/`` for ``photo``, or None."""
        relative = photo.relative_to(self.folder)
        names = (
            f"{relative.as_posix()}.png",
            f"{photo.name}.png",
            f"{photo.stem}.png",
            f"{photo.stem}_mask.png",
        )
        masks = (self.folder / MASKS / name for name in names)
        return next((mask for mask in masks if mask.is_file()), None)

    def others(self, used: Iterable[Path]) -> list[str]:
        """The photos that are not in ``used``, by their paths in the folder."""
        known = set(used)
        return [name for name, path in self._photos.items() if path not in known]


def size_of(photo: Path) -> tuple[int, int]:
    """(width, height) of a photo whose calibration does not say them.

    Raises:
        CaptureError: no image, or one with an EXIF orientation, of which the calibration may be either way.
    """
    header = read_header(photo)
    if header.orientation != 1:
        raise CaptureError(
            f"the photo is to be turned (EXIF orientation {header.orientation}), and its calibration does "
            "not say whether it is of the turned one",
            path=photo,
            remedy="turn the pixels as they were at calibration and remove the orientation tag",
        )
    return header.size


def _folders_shared(said: PurePosixPath, photo: PurePosixPath) -> int:
    """How many of the innermost folders are the same."""
    count = 0
    for a, b in zip(said.parts[-2::-1], photo.parts[-2::-1], strict=False):
        if a.lower() != b.lower():
            break
        count += 1
    return count

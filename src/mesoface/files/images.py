"""Images: photos and masks from disk, pictures as the bytes of files, colours as files store them.

The header of a file is checked before its pixels are decoded.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mesoface.errors import CaptureError

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp")
# Pillow's names of them, whatever the suffix is: some of its other formats run programs (PostScript).
_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP")
MAX_PIXELS = 178_000_000  # just below the number at which Pillow itself refuses an image as an attack
_AS_IS = ("L", "LA", "RGB", "RGBA")  # Pillow's modes of 8 bits a channel that need no conversion
_ORIENTATION = 0x0112  # the EXIF tag
# What to do with the stored pixels of each orientation value, as (transpose first, flip rows, flip columns).
_TURNS = {value: (value >= 5, value in (3, 4, 7, 8), value in (2, 3, 6, 7)) for value in range(1, 9)}
SMALL = (cv2.IMWRITE_PNG_COMPRESSION, 6)
"""Options of a small PNG."""
# A twentieth larger than what is smallest, in a tenth of the time.
FAST = (cv2.IMWRITE_PNG_COMPRESSION, 4, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_FILTERED)
"""Options of a PNG that is written fast and still small."""
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue as photos store them, gamma-coded (ITU-R BT.601)."""
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""Weights of linear light in sRGB's primaries (ITU-R BT.709)."""


@dataclass(frozen=True)
class ImageHeader:
    """What the header of an image file has.

    Args:
        width: of the stored pixels.
        height: of the stored pixels.
        orientation: EXIF orientation, 1 to 8; 1 = as stored.
    """

    width: int
    height: int
    orientation: int

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) as stored."""
        return self.width, self.height

    @property
    def upright_size(self) -> tuple[int, int]:
        """(width, height) after the orientation was applied."""
        return (self.height, self.width) if _TURNS[self.orientation][0] else self.size


def read_header(path: Path) -> ImageHeader:
    """Size and orientation of an image, without decoding it.

    Raises:
        CaptureError: the file is missing, is no image, or claims more than 178 megapixels.
    """
    with _named_errors(path), Image.open(path, formats=_FORMATS) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise Image.DecompressionBombError
        # Pillow would decode a whole PNG to find EXIF after the pixels; only EXIF before them is read.
        has_exif = image.format != "PNG" or "exif" in image.info
        orientation = image.getexif().get(_ORIENTATION, 1) if has_exif else 1
    return ImageHeader(width, height, orientation if orientation in _TURNS else 1)


def decode_photo(path: Path) -> tuple[NDArray[np.uint8] | NDArray[np.uint16], NDArray[np.bool_] | None]:
    """The stored pixels of a photo, orientation not applied. Call :func:`read_header` first.

    Returns:
        (H, W, 3) RGB, uint8 or uint16 (grey is repeated), and (H, W) where its alpha channel is at least
        half, or None without one.

    Raises:
        CaptureError: the file is missing, truncated, or of a pixel type that is not 8 or 16 bit.
    """
    pixels = _decode(path)
    alpha = None
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        alpha = pixels[..., -1] > np.iinfo(pixels.dtype).max // 2
        pixels = pixels[..., :-1]
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        pixels = np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, 2)
    return np.ascontiguousarray(pixels), alpha


def decode_mask(path: Path) -> NDArray[np.bool_]:
    """(H, W) True where a mask is at least half bright and, if it has an alpha channel, half opaque.

    Raises:
        CaptureError: as :func:`decode_photo`.
    """
    pixels, alpha = decode_photo(path)
    # Channel by channel: ten times as fast as numpy's maximum along a short axis.
    red, green, blue = np.moveaxis(pixels, 2, 0)
    mask = np.maximum(np.maximum(red, green), blue) > np.iinfo(pixels.dtype).max // 2
    return mask if alpha is None else mask & alpha


def turn_upright(pixels: NDArray, orientation: int) -> NDArray:
    """(H, W, ...) stored pixels → the picture as EXIF ``orientation`` means it."""
    transpose, rows, columns = _TURNS[orientation]
    if transpose:
        pixels = pixels.swapaxes(0, 1)
    return np.ascontiguousarray(pixels[:: -1 if rows else 1, :: -1 if columns else 1])


def as_float(pixels: NDArray) -> NDArray[np.float32]:
    """uint8 or uint16 → float32 in [0, 1]."""
    return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)


def _decode(path: Path) -> NDArray:
    """(H, W) or (H, W, C) stored pixels, C = 2 (grey, alpha), 3 (RGB) or 4 (RGBA)."""
    with _named_errors(path), Image.open(path, formats=_FORMATS) as image:
        # Some versions of Pillow open 16-bit grey PNG files as "I".
        if image.mode == "F" or (image.mode == "I" and image.format != "PNG"):
            raise CaptureError(
                "has 32-bit pixels, 8 or 16 bit were expected",
                path=path,
                remedy="save it with 8 or 16 bits a channel",
            )
        if image.mode in ("RGB", "RGBA") and _has_16_bits(image):
            return _decode_16_bit_colour(path, image)
        image.load()  # raises on a truncated file, where OpenCV fills the rest with grey
        if image.mode.startswith("I"):
            return np.asarray(image).astype(np.uint16)
        return np.asarray(image if image.mode in _AS_IS else image.convert(_nearest_mode(image)))


def _nearest_mode(image: Image.Image) -> str:
    """The mode of 8 bits a channel that keeps what is in ``image``."""
    if image.mode == "1":
        return "L"
    return "RGBA" if "transparency" in image.info else "RGB"


def _has_16_bits(image: Image.Image) -> bool:
    """Whether Pillow is about to reduce 16-bit colour to 8 bits: its raw mode is ``RGB;16B`` or similar."""
    return any(";16" in str(argument) for tile in getattr(image, "tile", ()) for argument in tile[3:])


def _decode_16_bit_colour(path: Path, image: Image.Image) -> NDArray[np.uint16]:
    image.load()  # only to notice a truncated file: OpenCV returns what there is
    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), flags)
    if pixels is None or pixels.dtype != np.uint16:
        raise CaptureError("cannot be decoded as 16-bit colour", path=path, remedy="save it as a PNG")
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Turn what Pillow, OpenCV and the file system raise into one line that names the photo."""
    try:
        yield
    except CaptureError:
        raise
    except FileNotFoundError as error:
        raise CaptureError("the image is missing", path=path, remedy="put it back") from error
    except Image.DecompressionBombError as error:
        raise CaptureError(
            f"the image's header claims more than {MAX_PIXELS // 1_000_000} megapixels",
            path=path,
            remedy="check that the file is the photo, or scale it down and calibrate it at that size",
        ) from error
    except UnidentifiedImageError as error:
        raise CaptureError(
            "is not an image that can be read", path=path, remedy=f"expected one of {', '.join(SUFFIXES)}"
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, cv2.error) as error:
        if isinstance(error, OSError) and error.strerror:
            raise CaptureError(
                f"cannot be opened: {error.strerror}", path=path, remedy="check the file and who may read it"
            ) from error
        raise CaptureError(
            f"the image is truncated or corrupt ({error})",
            path=path,
            remedy="copy it again from its source, or leave the view out",
        ) from error


def jpeg(pixels: NDArray[np.uint8], quality: int = 92) -> bytes:
    """(H, W, 3) RGB as a JPEG file."""
    return _encode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])


def png(pixels: NDArray[np.uint8] | NDArray[np.uint16], options: Sequence[int] = ()) -> bytes:
    """(H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA as a PNG file; ``options``: OpenCV's, as :data:`SMALL`."""
    return _encode(".png", pixels, options)


def data_uri(picture: NDArray[np.uint8] | NDArray[np.float32], *, photo: bool = False) -> str:
    """A picture as the address of itself.

    Args:
        picture: (H, W, 3) RGB uint8, or float in [0, 1].
        photo: JPEG instead of PNG: for photographs and shading.

    Raises:
        ValueError: another shape or type.
    """
    values = as_uint8(picture)
    if values.dtype != np.uint8 or values.ndim != 3 or values.shape[2] != 3:
        raise ValueError(f"a picture must be (H, W, 3) uint8 or float, got {picture.dtype} {picture.shape}")
    data = jpeg(values, 86) if photo else png(values, FAST)
    return f"data:image/{'jpeg' if photo else 'png'};base64,{base64_text(data)}"


def base64_text(data: bytes) -> str:
    """Bytes as base64 in ASCII."""
    return base64.b64encode(data).decode("ascii")


def as_uint8(values: NDArray) -> NDArray[np.uint8]:
    """Floats in [0, 1], clipped, as 0 to 255; other arrays as they are."""
    if values.dtype.kind != "f":
        return values
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _encode(suffix: str, pixels: NDArray, options: Sequence[int]) -> bytes:
    if pixels.ndim == 3:  # OpenCV has blue first
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    ok, data = cv2.imencode(suffix, np.ascontiguousarray(pixels), options)
    if not ok:
        raise ValueError(f"the picture of the shape {pixels.shape} cannot be encoded")
    return data.tobytes()


def encode_srgb(linear: NDArray[Any]) -> NDArray[np.float32]:
    """Linear light, clipped to [0, 1], → sRGB, of any shape."""
    x = np.clip(linear, 0, 1)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055).astype(np.float32)


def decode_srgb(color: NDArray[Any]) -> NDArray[Any]:
    """SRGB in [0, 1] → linear light, of any shape, in its own precision."""
    return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)

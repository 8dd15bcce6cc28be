"""Pictures as they are: images as values in [0, 1], masks as whole levels; what does not fit is refused by name.

PIL converts anything into anything without a word (16 bits are clipped to white, a shape in the alpha channel is gone,
colours become their luminance). So a file is looked at first and converted after.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sfsim.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 1 << 26  # 8,192 x 8,192; more is refused before anything is decoded
LOSSY = {"JPEG", "MPO", "WEBP"}
_GREY_NOISE = 24  # how far apart the colours of a grey picture are after JPEG's chroma subsampling, at most
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
_SIXTEEN = ("I;16", "I;16B", "I;16L", "I;16N")


def read_pair(image: Path, mask: Path, size: int) -> tuple[np.ndarray, np.ndarray, bool]:
    """Decode an image to a square, and its mask as it is.

    Returns
    -------
    values : array of uint8 (0 to 255) or float32 (in [0, 1]), shape (3, size, size)
        float32 where the file has more than 8 bits. Resized bilinearly, area-weighted when shrinking.
    levels : array of int64, shape (H, W)
        Levels of the mask as the file has them.
    exact : bool
        Whether the mask's file format keeps levels exactly (JPEG does not).

    Raises
    ------
    DataError
        A file that cannot be decoded, is larger than `MAX_PIXELS`, holds several frames, has transparent pixels, a mode
        or a range that has no place in [0, 1], colours in a mask; or an image and a mask of which only one says how it
        is to be turned.
    """
    from PIL import Image

    with _opened(image) as picture, _opened(mask) as shape:
        exact = shape.format not in LOSSY
        picture, shape = _upright(picture, shape, image, mask)
        values, levels = _values(picture, image), _levels(shape, mask)
    small = Image.fromarray(values).resize((size, size), Image.Resampling.BILINEAR)
    if values.ndim == 2:  # one channel of more than 8 bits
        return np.repeat(np.asarray(small).clip(0, 1)[None], 3, axis=0), levels, exact
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1)), levels, exact


def read_image(image: Path, size: int) -> np.ndarray:
    """Decode an image, turned upright, to a square; returns and raises as `read_pair` does for its image."""
    from PIL import Image, ImageOps

    with _opened(image) as picture:
        values = _values(ImageOps.exif_transpose(picture), image)
    small = np.asarray(Image.fromarray(values).resize((size, size), Image.Resampling.BILINEAR))
    if values.ndim == 2:  # one channel of more than 8 bits
        return np.repeat(small.clip(0, 1)[None], 3, axis=0)
    return np.ascontiguousarray(small.transpose(2, 0, 1))


def read_shape(mask: Path) -> np.ndarray:
    """Decode a mask, turned upright, as it is: int64 (H, W), levels from 0 to 255; raises as `read_pair` does."""
    from PIL import ImageOps

    with _opened(mask) as shape:
        return _levels(ImageOps.exif_transpose(shape), mask)


def read_images(images: Sequence[Path], size: int) -> np.ndarray:
    """Decode images to (N, 3, size, size): uint8, or float32 in [0, 1] if any of them is of more than 8 bits."""
    decoded = [read_image(image, size) for image in images]
    if len({values.dtype for values in decoded}) > 1:
        decoded = [
            values if values.dtype == np.float32 else (values / 255).astype(np.float32) for values in decoded
        ]
    return np.stack(decoded)


def resized(classes: np.ndarray, size: int) -> np.ndarray:
    """Resize classes, uint8 (H, W), to a square, each pixel that of the nearest."""
    from PIL import Image

    return np.asarray(Image.fromarray(classes).resize((size, size), Image.Resampling.NEAREST))


def _opened(path: Path) -> "Image.Image":
    import warnings

    from PIL import Image, UnidentifiedImageError

    picture = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(path)
        width, height = picture.size
        if width * height > MAX_PIXELS:
            picture.close()
            raise DataError(f"{path}: found {width} x {height} pixels, expected at most {MAX_PIXELS:,}")
        frames = getattr(picture, "n_frames", 1)
        if frames > 1:
            picture.close()
            raise DataError(f"{path}: found {frames} frames, expected a picture of one")
        picture.load()
    except (Image.DecompressionBombError, UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        # PIL raises SyntaxError for some broken PNGs
        if picture is not None:
            picture.close()
        raise DataError(f"{path} cannot be decoded as an image ({error})") from None
    return picture


def _orientation(picture: "Image.Image") -> int:
    return int(picture.getexif().get(0x0112, 1) or 1)


def _upright(
    picture: "Image.Image", shape: "Image.Image", image: Path, mask: Path
) -> tuple["Image.Image", "Image.Image"]:
    """Turn both as their EXIF orientation says; where only one says it, sizes decide, or nobody can."""
    from PIL import ImageOps

    turned, expected = _orientation(picture), _orientation(shape)
    if turned == expected:
        return ImageOps.exif_transpose(picture), ImageOps.exif_transpose(shape)
    if expected == 1 and turned in _SIDEWAYS and picture.width != picture.height:
        like, across = (picture.width, picture.height), (picture.height, picture.width)
        if shape.size[0] * like[1] == shape.size[1] * like[0]:  # drawn over the pixels as they are stored
            return picture, shape
        if shape.size[0] * across[1] == shape.size[1] * across[0]:  # drawn over the picture as it is shown
            return ImageOps.exif_transpose(picture), shape
    raise DataError(
        f"{image}: found EXIF orientation {turned}, expected that of its mask {mask.name}, {expected}: "
        "nobody can say whether the mask is turned too; store both upright"
    )


def _opaque(picture: "Image.Image", path: Path) -> "Image.Image":
    """Drop an alpha channel that says nothing; refuse one that does."""
    mode = picture.mode
    if mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    if picture.mode not in ("LA", "PA", "RGBA", "La", "RGBa"):
        return picture
    low, high = picture.getchannel(len(picture.getbands()) - 1).getextrema()
    if (low, high) != (255, 255):
        raise DataError(
            f"{path}: found transparent pixels (mode {mode}, alpha {low} to {high}), expected an opaque picture: "
            "what it shows is in the alpha channel; flatten it"
        )
    return picture.convert({"LA": "L", "La": "L", "PA": "P"}.get(picture.mode, "RGB"))


def _values(picture: "Image.Image", path: Path) -> np.ndarray:
    """Return uint8 (H, W, 3), or float32 (H, W) in [0, 1] of one channel with more than 8 bits."""
    picture = _opaque(picture, path)
    if picture.mode in (*_SIXTEEN, "I"):
        array = np.asarray(picture).astype(np.int64)
        low, high = int(array.min()), int(array.max())
        if not 0 <= low <= high <= 65535:
            raise DataError(
                f"{path}: found values from {low} to {high} (mode {picture.mode}), expected 0 to 65535"
            )
        return (array / 65535).astype(np.float32)
    if picture.mode == "F":
        floats = np.asarray(picture).astype(np.float32)
        least, most = float(floats.min()), float(floats.max())
        if not (least >= 0 and most <= 1):  # NaN fails too
            raise DataError(f"{path}: found values from {least:g} to {most:g} (mode F), expected 0 to 1")
        return floats
    if picture.mode not in ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"):
        raise DataError(f"{path}: found mode {picture.mode}, expected grey, colour, 16 bits or floats")
    return np.asarray(picture.convert("RGB"))


def _levels(picture: "Image.Image", path: Path) -> np.ndarray:
    """Return the levels of a mask, whole numbers from 0 to 255, shape (H, W)."""
    picture = _opaque(picture, path)
    if picture.mode == "P":
        picture = picture.convert("RGB")
    if picture.mode in ("1", "L"):
        return np.asarray(picture.convert("L")).astype(np.int64)
    if picture.mode in (*_SIXTEEN, "I", "F"):
        array = np.asarray(picture)
        found = np.unique(array)
        if not (
            np.isfinite(found).all() and (found == np.rint(found)).all() and 0 <= found[0] <= found[-1] <= 255
        ):
            shown = ", ".join(f"{level:g}" for level in found[:8]) + (" ..." if len(found) > 8 else "")
            raise DataError(
                f"{path}: found levels {shown} (mode {picture.mode}), expected whole levels from 0 to 255"
            )
        return array.astype(np.int64)
    if picture.mode in ("RGB", "RGBX"):
        array = np.asarray(picture.convert("RGB")).astype(np.int64)
        apart = np.ptp(array, axis=2)
        if apart.max() > _GREY_NOISE:
            colours = [
                tuple(int(c) for c in row) for row in np.unique(array[apart > _GREY_NOISE], axis=0)[:4]
            ]
            raise DataError(
                f"{path}: found colours {', '.join(map(str, colours))}, expected grey levels: a mask says "
                "classes by levels (grey_to_class)"
            )
        return np.asarray(picture.convert("L")).astype(np.int64)
    raise DataError(f"{path}: found mode {picture.mode}, expected a mask of grey levels")


def as_one_type(images: list[np.ndarray]) -> np.ndarray:
    """Stack images: uint8 if all are, else float32 in [0, 1]."""
    if all(image.dtype == np.uint8 for image in images):
        return np.stack(images)
    scaled: list[Any] = [image / np.float32(255) if image.dtype == np.uint8 else image for image in images]
    return np.stack(scaled).astype(np.float32)

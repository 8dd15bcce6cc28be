"""MNIST and its relatives in their own form, idx: a head that says type and shape, then bytes.

Source: LeCun, Cortes, Burges, *The MNIST database of handwritten digits*, "File formats".
"""

import gzip
import zlib
from math import prod
from pathlib import Path
from typing import IO, cast

import numpy as np

from sfsim.errors import DataError
from sfsim.learning.dataset import Dataset, assemble_given
from sfsim.learning.declarations import Mnist
from sfsim.learning.locate import locate

MAX_BYTES = 1 << 30  # of a file's content
_DOWNLOAD = (
    "download train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and "
    "t10k-labels-idx1-ubyte.gz and put them there"
)


def load_mnist(
    spec: Mnist, root: Path | None, validation_fraction: float, rng: np.random.Generator
) -> Dataset:
    """Load ``train-*`` (train and validation) and ``t10k-*`` (test)."""
    folder = locate("MNIST", spec.path, root, "*-images?idx3-ubyte*", _DOWNLOAD)
    train, test = (_read_pair(folder, part, spec) for part in ("train", "t10k"))
    return assemble_given(*train, *test, spec, validation_fraction, rng)


def _read_pair(folder: Path, part: str, spec: Mnist) -> tuple[np.ndarray, np.ndarray]:
    files = _file(folder, f"{part}-images", 3), _file(folder, f"{part}-labels", 1)
    images, labels = read_idx(files[0], 3), read_idx(files[1], 1)
    side = spec.image_size
    if images.shape[1:] != (side, side):
        raise DataError(f"{files[0]}: found images of {images.shape[1:]}, expected {side} x {side} pixels")
    if len(images) != len(labels):
        raise DataError(
            f"{files[1]}: found {len(labels)} labels, expected one for each of {len(images)} images"
        )
    if len(labels) and (most := int(labels.max())) >= spec.num_classes:
        raise DataError(
            f"{files[1]}: found label {most}, expected 0 to {spec.num_classes - 1} ([data] num_classes)"
        )
    return images[:, None], labels.astype(np.int64)


def _file(folder: Path, name: str, axes: int) -> Path:
    """Return a file of one of the names that are about, the packed one last."""
    names = [f"{name}{mark}idx{axes}-ubyte{end}" for end in ("", ".gz") for mark in "-."]
    for known in names:
        if (folder / known).is_file():
            return folder / known
    raise DataError(f"{folder}: found no {names[0]} or {names[2]}: {_DOWNLOAD}")


def read_idx(path: Path, axes: int) -> np.ndarray:
    """Read an array of bytes, packed with gzip or not.

    Parameters
    ----------
    path : Path
    axes : int
        How many it is to have.

    Raises
    ------
    DataError
        It is not in that form, holds another type or number of axes, or not as many bytes as it says.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as content:
            head = content.read(4 + 4 * axes)
            if len(head) < 4 + 4 * axes or head[:2] != b"\0\0":
                raise DataError(f"{path}: found no head of an idx file")
            if head[2] != 8 or head[3] != axes:
                raise DataError(
                    f"{path}: found an idx file of type {head[2]:#04x} and {head[3]} axes, "
                    f"expected bytes (0x08) and {axes}"
                )
            shape = tuple(int(side) for side in np.frombuffer(head[4:], ">u4"))
            if prod(shape) > MAX_BYTES:
                raise DataError(f"{path}: claims {shape}, expected at most {MAX_BYTES:,} bytes")
            data = _up_to(cast(IO[bytes], content), prod(shape) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    if len(data) != prod(shape):
        count = f"{len(data)}" if len(data) < prod(shape) else "more"
        raise DataError(f"{path}: found {count} bytes, expected {prod(shape)} for {shape}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _up_to(file: IO[bytes], most: int) -> bytes:
    """Read at most so many bytes, piece by piece: a buffered reader takes the memory for all before it looks."""
    pieces = []
    while most > 0 and (piece := file.read(min(most, 1 << 20))):
        pieces.append(piece)
        most -= len(piece)
    return b"".join(pieces)

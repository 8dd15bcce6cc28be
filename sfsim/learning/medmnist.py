"""One ``.npz`` file with three splits, as MedMNIST has it.

Source: Yang et al., "MedMNIST v2", Scientific Data 10 (2023): the names of the arrays.
"""

import zipfile
import zlib
from math import prod
from pathlib import Path

import numpy as np

from sfsim.errors import DataError, did_you_mean
from sfsim.learning.dataset import TEST, TRAIN, VALIDATION, Dataset, assemble
from sfsim.learning.declarations import MedMnist

MAX_BYTES = 4 << 30  # of an array
_ROLES = {"train": TRAIN, "val": VALIDATION, "test": TEST}


def load_medmnist(spec: MedMnist, root: Path | None, rng: np.random.Generator) -> Dataset:
    """Load the splits of the file."""
    path = (root or Path()) / spec.path
    if not path.is_file():
        siblings = [file.name for file in path.parent.glob("*.npz")] if path.parent.is_dir() else []
        hint = did_you_mean(path.name, siblings)
        raise DataError(
            f"MedMNIST not found, no {path}: download it from https://medmnist.com and put it there"
            + (f". {hint}" if hint else "")
        )
    inputs, targets, roles = [], [], []
    for part, role in _ROLES.items():
        images = _images(read_npz(path, f"{part}_images"), f"{path}, {part}_images", spec)
        labels = _labels(read_npz(path, f"{part}_labels"), f"{path}, {part}_labels", spec)
        if len(images) != len(labels):
            raise DataError(f"{path}, {part}: found {len(images)} images and {len(labels)} labels")
        if role == TRAIN and spec.max_examples is not None and spec.max_examples < len(images):
            kept = np.sort(rng.permutation(len(images))[: spec.max_examples])
            images, labels = images[kept], labels[kept]
        inputs.append(images)
        targets.append(labels)
        roles.append(np.full(len(images), role))
    return assemble(
        np.concatenate(inputs), np.concatenate(targets), np.concatenate(roles), spec.task, spec.num_classes
    )


def _images(array: np.ndarray, place: str, spec: MedMnist) -> np.ndarray:
    expected = (spec.image_size, spec.image_size, *([3] if spec.in_channels == 3 else []))
    if array.dtype != np.uint8 or array.shape[1:] != expected:
        raise DataError(
            f"{place}: found {array.dtype} of shape {array.shape}, expected uint8 of "
            f"(N, {', '.join(map(str, expected))}) ([data] image_size, in_channels)"
        )
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2)) if array.ndim == 4 else array[:, None]


def _labels(array: np.ndarray, place: str, spec: MedMnist) -> np.ndarray:
    if array.dtype.kind not in "iu" or array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] != 1):
        raise DataError(
            f"{place}: found {array.dtype} of shape {array.shape}, expected whole numbers of (N,) or (N, 1): one label "
            "for each image"
        )
    if array.size and not 0 <= int(array.min()) <= int(array.max()) < spec.num_classes:
        raise DataError(
            f"{place}: found labels from {array.min()} to {array.max()}, expected 0 to {spec.num_classes - 1} "
            "([data] num_classes)"
        )
    return array.reshape(len(array)).astype(np.int64)


def read_npz(path: Path, name: str) -> np.ndarray:
    """Read one array of plain numbers out of an ``.npz`` file; its head is looked at before memory is taken.

    Raises
    ------
    DataError
        The file cannot be read or holds no such array, its size is not what its head says, or it holds objects.
    """
    try:
        with zipfile.ZipFile(path) as file:
            names = [member.removesuffix(".npy") for member in file.namelist()]
            if name not in names:
                hint = did_you_mean(name, names)
                raise DataError(
                    f"{path}: found the arrays {', '.join(names[:8])}, expected {name!r}"
                    + (f". {hint}" if hint else "")
                )
            with file.open(f"{name}.npy") as member:
                version = np.lib.format.read_magic(member)
                read = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                shape, fortran, dtype = read(member)
                if dtype.hasobject:
                    raise DataError(f"{path}, {name}: found objects, expected plain numbers")
                wanted = prod(shape) * dtype.itemsize
                if wanted > MAX_BYTES:
                    raise DataError(
                        f"{path}, {name}: claims {wanted:,} bytes, expected at most {MAX_BYTES:,}"
                    )
                data = member.read(wanted + 1)
    except (
        OSError,
        ValueError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise DataError(f"{path}: cannot be read as .npz ({error})") from None
    if len(data) != wanted:
        raise DataError(f"{path}, {name}: found {len(data)} bytes, expected {wanted} for {dtype} of {shape}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")

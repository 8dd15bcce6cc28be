"""CIFAR-10 and CIFAR-100 in their python version: pickles of any number of rows."""

from pathlib import Path

import numpy as np

from sfsim.errors import DataError
from sfsim.learning.dataset import Dataset, assemble_given
from sfsim.learning.declarations import Cifar10, Cifar100
from sfsim.learning.locate import locate
from sfsim.learning.pickles import read_pickle

_DOWNLOAD = (
    "download cifar-10-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html and unpack it there"
)

_DOWNLOAD_100 = _DOWNLOAD.replace("cifar-10-", "cifar-100-")


def load_cifar10(
    spec: Cifar10, root: Path | None, validation_fraction: float, rng: np.random.Generator
) -> Dataset:
    """Load every ``data_batch_*`` (train and validation) and ``test_batch``; the checksums are not asked."""
    folder = locate("CIFAR-10", spec.path, root, "data_batch_*", _DOWNLOAD)
    batches = [_read(path, "labels", 10, _DOWNLOAD) for path in sorted(folder.glob("data_batch_*"))]
    test = _read(folder / "test_batch", "labels", 10, _DOWNLOAD)
    return _assembled(spec, batches, test, validation_fraction, rng)


def load_cifar100(
    spec: Cifar100, root: Path | None, validation_fraction: float, rng: np.random.Generator
) -> Dataset:
    """Load ``train`` (train and validation) and ``test``; the checksums are not asked."""
    folder = locate("CIFAR-100", spec.path, root, "train", _DOWNLOAD_100)
    key = f"{spec.labels}_labels"
    batches = [_read(folder / "train", key, spec.num_classes, _DOWNLOAD_100)]
    test = _read(folder / "test", key, spec.num_classes, _DOWNLOAD_100)
    return _assembled(spec, batches, test, validation_fraction, rng)


def _assembled(
    spec: Cifar10 | Cifar100,
    batches: list[tuple[np.ndarray, np.ndarray]],
    test: tuple[np.ndarray, np.ndarray],
    validation_fraction: float,
    rng: np.random.Generator,
) -> Dataset:
    inputs = np.concatenate([batch[0] for batch in batches])
    targets = np.concatenate([batch[1] for batch in batches])
    return assemble_given(inputs, targets, *test, spec, validation_fraction, rng)


def _read(path: Path, name: str, num_classes: int, download: str) -> tuple[np.ndarray, np.ndarray]:
    if not path.is_file():
        raise DataError(f"{path} is missing: {download}")
    batch = read_pickle(path)
    for key in ("data", name):
        if key not in batch:
            raise DataError(
                f"{path}: found the keys {', '.join(batch) or 'of an empty table'}, expected {key!r}"
            )
    data, labels = batch["data"], batch[name]
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != 3 * 32 * 32:
        shape = data.shape if isinstance(data, np.ndarray) else type(data).__name__
        raise DataError(f"{path}, 'data': found {shape}, expected an array of shape (rows, 3072)")
    if not isinstance(labels, list) or not all(
        type(label) is int and 0 <= label < num_classes for label in labels
    ):
        raise DataError(f"{path}, {name!r}: expected a list of whole numbers from 0 to {num_classes - 1}")
    if len(data) != len(labels):
        raise DataError(f"{path} holds {len(data)} images, but {len(labels)} labels")
    return data.reshape(-1, 3, 32, 32), np.array(labels, dtype=np.int64)

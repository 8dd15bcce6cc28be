"""CIFAR-10 in its python version: pickles of any number of rows."""

from pathlib import Path

import numpy as np

from sfsim.errors import DataError
from sfsim.learning.dataset import TEST, Dataset, assemble, draw_roles
from sfsim.learning.declarations import Cifar10
from sfsim.learning.locate import locate
from sfsim.learning.pickles import read_pickle

_DOWNLOAD = (
    "download cifar-10-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html and unpack it there"
)


def load_cifar10(
    spec: Cifar10, root: Path | None, validation_fraction: float, rng: np.random.Generator
) -> Dataset:
    """Load every ``data_batch_*`` (train and validation) and ``test_batch``; the checksums are not asked."""
    folder = locate("CIFAR-10", spec.path, root, "data_batch_*", _DOWNLOAD)
    batches = [_read(path) for path in sorted(folder.glob("data_batch_*"))]
    test_inputs, test_targets = _read(folder / "test_batch")
    inputs = np.concatenate([batch[0] for batch in batches])
    targets = np.concatenate([batch[1] for batch in batches])
    if spec.max_examples is not None and spec.max_examples < len(inputs):
        kept = np.sort(rng.permutation(len(inputs))[: spec.max_examples])
        inputs, targets = inputs[kept], targets[kept]
    roles = np.concatenate(
        [draw_roles(np.arange(len(inputs)), 0, validation_fraction, rng), np.full(len(test_inputs), TEST)]
    )
    return assemble(
        np.concatenate([inputs, test_inputs]),
        np.concatenate([targets, test_targets]),
        roles,
        spec.task,
        spec.num_classes,
    )


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    if not path.is_file():
        raise DataError(f"{path} is missing: {_DOWNLOAD}")
    batch = read_pickle(path)
    for key in ("data", "labels"):
        if key not in batch:
            raise DataError(
                f"{path}: found the keys {', '.join(batch) or 'of an empty table'}, expected {key!r}"
            )
    data, labels = batch["data"], batch["labels"]
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != 3 * 32 * 32:
        shape = data.shape if isinstance(data, np.ndarray) else type(data).__name__
        raise DataError(f"{path}, 'data': found {shape}, expected an array of shape (rows, 3072)")
    if not isinstance(labels, list) or not all(type(label) is int and 0 <= label <= 9 for label in labels):
        raise DataError(f"{path}, 'labels': expected a list of whole numbers from 0 to 9")
    if len(data) != len(labels):
        raise DataError(f"{path} holds {len(data)} images, but {len(labels)} labels")
    return data.reshape(-1, 3, 32, 32), np.array(labels, dtype=np.int64)

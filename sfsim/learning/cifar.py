"""CIFAR-10 in its python version: pickles of any number of rows."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from sfsim.errors import DataError
from sfsim.learning.dataset import TEST, Dataset, assemble, draw_roles
from sfsim.learning.declarations import Cifar10
from sfsim.learning.locate import locate

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
    try:
        with path.open("rb") as file:
            batch = _ArraysOnly(file, encoding="latin1").load()
        inputs = np.asarray(batch["data"], dtype=np.uint8).reshape(-1, 3, 32, 32)
        targets = np.asarray(batch["labels"], dtype=np.int64)
    except FileNotFoundError:
        raise DataError(f"{path} is missing: {_DOWNLOAD}") from None
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"{path} is not a CIFAR-10 python batch ({type(error).__name__}: {error})") from None
    if len(inputs) != len(targets) or (len(targets) and not 0 <= targets.min() <= targets.max() <= 9):
        raise DataError(
            f"{path} holds {len(inputs)} images, but {len(targets)} labels or labels outside 0 to 9"
        )
    return inputs, targets


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that builds numpy arrays and nothing else: a data file must not run code."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return super().find_class(module, name)
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of a CIFAR-10 batch")
        return super().find_class(module, name)

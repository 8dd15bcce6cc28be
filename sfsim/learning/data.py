"""Load the data set that a scenario declares."""

from pathlib import Path

import numpy as np

from sfsim import seeds
from sfsim.learning.cifar import load_cifar10
from sfsim.learning.dataset import Dataset, Examples, assemble, draw_roles
from sfsim.learning.declarations import AnyDataset, Cifar10, Digits, Ham10000, ImageMaskFolder
from sfsim.learning.ham10000 import load_ham10000
from sfsim.learning.image_folder import load_image_folder
from sfsim.learning.synthetic import load_synthetic

__all__ = ["Dataset", "Examples", "load_dataset"]


def load_dataset(spec: AnyDataset, root: Path | None, seed: int, validation_fraction: float = 0.1) -> Dataset:
    """Load a data set into memory; nothing is written to disk.

    Parameters
    ----------
    spec : AnyDataset
        Which one.
    root : Path or None
        The data root, below which the paths of `spec` are looked up (the data set's own folder will do too).
    seed : int
        Decides which examples are kept, validated and tested on.
    validation_fraction : float
        Share of the examples outside the test split that is validated on; 0 for none. SplitFedZip's folder
        layout brings its own validation split.

    Raises
    ------
    DataError
        Missing (says what to download, where to put it, and what runs without it) or malformed.

    Examples
    --------
    >>> data = load_dataset(Digits(), None, seed=7)
    >>> len(data.train), len(data.validation), len(data.test), tuple(data.train.inputs.shape[1:])
    (1294, 144, 359, (1, 8, 8))
    """
    rng = seeds.stream(seed, "data", "split")
    if isinstance(spec, Digits):
        return _digits(spec, validation_fraction, rng)
    if isinstance(spec, Cifar10):
        return load_cifar10(spec, root, validation_fraction, rng)
    if isinstance(spec, Ham10000):
        return load_ham10000(spec, root, validation_fraction, rng)
    if isinstance(spec, ImageMaskFolder):
        return load_image_folder(spec, root, validation_fraction, rng)
    return load_synthetic(spec, validation_fraction, rng, seeds.stream(seed, "data", "synthetic"))


def _digits(spec: Digits, validation_fraction: float, rng: np.random.Generator) -> Dataset:
    from sklearn.datasets import load_digits  # only here: importing scikit-learn takes a second

    images, targets = load_digits(return_X_y=True)
    inputs = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    roles = draw_roles(np.arange(len(inputs)), spec.test_fraction, validation_fraction, rng)
    return assemble(inputs, targets.astype(np.int64), roles, spec.task, spec.num_classes)

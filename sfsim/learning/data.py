"""Load the data set that a scenario declares."""

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from sfsim import seeds
from sfsim.errors import DataError
from sfsim.learning.cifar import load_cifar10, load_cifar100
from sfsim.learning.class_folder import load_class_folder, load_diagnoses
from sfsim.learning.dataset import Dataset, Examples, assemble, draw_roles
from sfsim.learning.declarations import (
    AnyDataset,
    Cifar10,
    Cifar100,
    Digits,
    Ham10000,
    Ham10000Diagnoses,
    ImageClassFolder,
    ImageMaskFolder,
    ImageObjectsFolder,
    MedMnist,
    Mnist,
)
from sfsim.learning.ham10000 import load_ham10000
from sfsim.learning.idx import load_mnist
from sfsim.learning.image_folder import load_image_folder
from sfsim.learning.medmnist import load_medmnist
from sfsim.learning.objects_folder import load_objects_folder
from sfsim.learning.series import load_series, load_synthetic_series
from sfsim.learning.series_declarations import SeriesCsv, SeriesNpz, SyntheticSeries
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
        layout and MedMNIST bring their own validation split.

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
    if isinstance(spec, Cifar100):
        return load_cifar100(spec, root, validation_fraction, rng)
    if isinstance(spec, Mnist):
        return load_mnist(spec, root, validation_fraction, rng)
    if isinstance(spec, MedMnist):
        return load_medmnist(spec, root, rng)
    if isinstance(spec, ImageClassFolder):
        return load_class_folder(spec, root, validation_fraction, rng)
    if isinstance(spec, ImageObjectsFolder):
        return load_objects_folder(spec, root, validation_fraction, rng)
    if isinstance(spec, Ham10000Diagnoses):
        return load_diagnoses(spec, root, validation_fraction, rng)
    if isinstance(spec, Ham10000):
        return load_ham10000(spec, root, validation_fraction, rng)
    if isinstance(spec, ImageMaskFolder):
        return load_image_folder(spec, root, validation_fraction, rng)
    if isinstance(spec, SeriesNpz | SeriesCsv):
        return load_series(spec, root, validation_fraction, rng)
    drawn = seeds.stream(seed, "data", "synthetic")
    if isinstance(spec, SyntheticSeries):
        return load_synthetic_series(spec, validation_fraction, rng, drawn)
    return load_synthetic(spec, validation_fraction, rng, drawn)


def _digits(spec: Digits, validation_fraction: float, rng: np.random.Generator) -> Dataset:
    table = _digits_table()
    images, targets = table[:, :-1], table[:, -1]
    inputs = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    roles = draw_roles(np.arange(len(inputs)), spec.test_fraction, validation_fraction, rng)
    return assemble(inputs, targets.astype(np.int64), roles, spec.task, spec.num_classes)


def _digits_table() -> np.ndarray:
    """Return scikit-learn's digits, shape (1797, 65): 64 grey levels of 0 to 16 and the digit, float64.

    The file is read, not scikit-learn imported: that takes seconds.
    """
    found = find_spec("sklearn")
    folders = found.submodule_search_locations if found else None
    file = Path(folders[0] if folders else "sklearn") / "datasets" / "data" / "digits.csv.gz"
    try:
        with gzip.open(file, "rt", encoding="ascii") as lines:
            return np.loadtxt(lines, delimiter=",")
    except OSError as error:
        raise DataError(
            f"{file}: found no digits ({error}), expected those that scikit-learn comes with"
        ) from None

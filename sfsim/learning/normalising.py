"""Normalise a data set: per channel, by given numbers or by those of its training split."""

from dataclasses import replace
from math import fsum

import numpy as np
import torch

from sfsim.learning.dataset import Dataset, Examples
from sfsim.learning.preparing import PRESETS, AnyNormalisation, Normalisation

_BLOCK = 256  # examples looked at together


def normalised(dataset: Dataset, declared: AnyNormalisation | None) -> Dataset:
    """Return the data set with all splits' inputs normalised whenever a batch of them is asked for.

    What is stored stays as it was read, and so does the fingerprint; a note says the numbers.

    Notes
    -----
    ``"from-training-data"`` looks at the training split alone, all clients together. A channel that never changes
    is divided by 1. Left out: how the clients would agree on the numbers; no message is charged for it.
    """
    if declared is None:
        return dataset
    if declared == "from-training-data":
        mean, std = statistics(dataset.train)
        origin = f"of the {len(dataset.train):,} training examples"
    elif isinstance(declared, Normalisation):
        mean, std, origin = declared.mean, declared.std, "as given"
    else:
        (mean, std), origin = PRESETS[declared], f"preset {declared!r}"
    flat = [channel for channel, value in enumerate(std) if value == 0]
    divisors = tuple(value or 1.0 for value in std)
    numbers = torch.tensor(mean, dtype=torch.float32), torch.tensor(divisors, dtype=torch.float32)
    said = [f"normalisation, {origin}: mean {_words(mean)}, standard deviation {_words(std)}"]
    if flat:
        said.append(f"normalisation: {len(flat)} channels that never change are not scaled ({flat})")
    splits = {
        name: replace(getattr(dataset, name), normalisation=numbers)
        for name in ("train", "validation", "test")
    }
    return replace(dataset, **splits, notes=(*dataset.notes, *said))


def statistics(examples: Examples) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and population standard deviation of each channel of inputs in [0, 1].

    In double precision, and the same on any number of threads. Bytes are counted, which is exact.

    Examples
    --------
    >>> statistics(Examples(torch.tensor([[[0, 255]]], dtype=torch.uint8), torch.zeros(1)))
    ((0.5,), (0.5,))
    """
    inputs = examples.stored_inputs.numpy()
    by_channel = [inputs[:, channel] for channel in range(inputs.shape[1])]
    moments = [_of_bytes(values) if values.dtype == np.uint8 else _of_floats(values) for values in by_channel]
    return tuple(mean for mean, _ in moments), tuple(std for _, std in moments)


def _of_bytes(values: np.ndarray) -> tuple[float, float]:
    counts = sum(np.bincount(block.ravel(), minlength=256) for block in _blocks(values))
    levels = np.arange(256) / 255
    mean = float(counts @ levels) / values.size
    return mean, float(np.sqrt(counts @ (levels - mean) ** 2 / values.size))


def _of_floats(values: np.ndarray) -> tuple[float, float]:
    mean = fsum(float(block.sum(dtype=np.float64)) for block in _blocks(values)) / values.size
    squares = fsum(float(((block - np.float64(mean)) ** 2).sum()) for block in _blocks(values))
    return mean, float(np.sqrt(squares / values.size))


def _blocks(values: np.ndarray) -> list[np.ndarray]:
    return [values[start : start + _BLOCK] for start in range(0, len(values), _BLOCK)]


def _words(values: tuple[float, ...]) -> str:
    return "[" + ", ".join(f"{value:.4f}" for value in values) + "]"

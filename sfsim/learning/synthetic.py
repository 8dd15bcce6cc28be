"""Invented images: noisy class patterns to classify, bright ellipses to segment."""

import numpy as np

from sfsim.learning.dataset import TEST, Dataset, assemble, draw_roles
from sfsim.learning.declarations import Synthetic


def load_synthetic(
    spec: Synthetic, validation_fraction: float, split_rng: np.random.Generator, rng: np.random.Generator
) -> Dataset:
    """Draw a data set; `rng` draws the images, `split_rng` which of them are validated on."""
    total = spec.num_train + spec.num_test
    draw = _patterns if spec.task == "classification" else _ellipses
    images, targets = draw(spec, total, rng)
    images = images + spec.noise * rng.standard_normal(images.shape)
    roles = np.full(total, TEST)
    roles[: spec.num_train] = draw_roles(np.arange(spec.num_train), 0, validation_fraction, split_rng)
    return assemble(
        images.clip(0, 1).astype(np.float32), targets.astype(np.int64), roles, spec.task, spec.num_classes
    )


def _patterns(spec: Synthetic, total: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    # One 4x4 pattern per class, enlarged to the image.
    coarse = rng.random((spec.num_classes, spec.in_channels, 4, 4))
    at = np.arange(spec.image_size) * 4 // spec.image_size
    patterns = coarse[:, :, at][:, :, :, at]
    targets = rng.integers(spec.num_classes, size=total)
    return patterns[targets], targets


def _ellipses(spec: Synthetic, total: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    # Each image holds one ellipse per class but the background, the brighter the higher the class.
    size = spec.image_size
    masks = np.zeros((total, size, size), dtype=np.int64)
    y, x = np.mgrid[:size, :size] + 0.5
    for label in range(1, spec.num_classes):
        centre = rng.uniform(0.25, 0.75, (2, total, 1, 1)) * size
        radius = rng.uniform(0.12, 0.3, (2, total, 1, 1)) * size
        masks[((x - centre[0]) / radius[0]) ** 2 + ((y - centre[1]) / radius[1]) ** 2 <= 1] = label
    bright = 0.2 + 0.6 * masks / (spec.num_classes - 1)
    return np.repeat(bright[:, None], spec.in_channels, axis=1), masks

"""Features for the benchmarks of learned codecs: a random stem over 1/f images with discs, and codecs trained on them.

Enough for times and for ratios of bytes at equal weights; no claim about rate against accuracy rests on them.
"""

import numpy as np
import torch
from torch import Tensor, nn

from sfsim import seeds
from sfsim.codec.learned import Learned
from sfsim.workload.learned.networks import Trainee, build


def features(count: int, channels: int, size: int, name: str) -> Tensor:
    """Return rectified, normalised features of shape (count, channels, size, size), half of them zeros."""
    rng = seeds.stream(0, "benchmark", "features", name)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = 1 / size
    images = np.empty((count, 3, size, size), np.float32)
    rows, columns = np.indices((size, size))
    for image in images:
        for plane in image:
            spectrum = np.fft.rfft2(rng.standard_normal((size, size))) / frequency
            plane[:] = np.fft.irfft2(spectrum, s=(size, size))
        for _ in range(3):
            row, column, radius = rng.uniform((0, 0, size / 10), (size, size, size / 4))
            image[:, np.hypot(rows - row, columns - column) < radius] += 2 * image.std()
        image /= image.std()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(seeds.integer(0, "benchmark", "stem"))
        stem = nn.Sequential(
            nn.Conv2d(3, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(),
        )  # fmt: skip
        made: Tensor = stem(torch.from_numpy(images))
        return made


def train(declaration: Learned, tensors: Tensor, steps: int, learning_rate: float = 1e-3) -> Trainee:
    """Train a codec on single tensors, one a step: bits per position plus lambda times the error."""
    trainee = build(declaration, tensors.shape[1], (tensors.shape[2], tensors.shape[3]), seed=0)
    optimiser = torch.optim.Adam(trainee.parameters(), lr=learning_rate)
    area = tensors.shape[2] * tensors.shape[3]
    for step in range(steps):
        x = tensors[step % len(tensors)][None]
        out = trainee(x)
        optimiser.zero_grad()
        (out.rate_bits / area + declaration.lambda_ * out.mse).backward()
        torch.nn.utils.clip_grad_norm_(trainee.parameters(), 1.0)
        optimiser.step()
    return trainee

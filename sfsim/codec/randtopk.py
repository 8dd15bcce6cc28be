"""Random top-k: mostly the largest values of each sample, now and then another one (RandTopk)."""

from collections.abc import Sequence
from math import prod
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sfsim.codec.base import Codec, Coded, GradientPlace, single
from sfsim.codec.frame import Buffer
from sfsim.codec.selecting import index_bits, largest, pack_indices, read_values, unpack_indices
from sfsim.declaration import declaration
from sfsim.errors import CodecError


@declaration
class RandTopK(Codec):
    """Keep k entries of each sample; in training they are drawn, in evaluation they are the largest.

    A sample is an index of axis 0, flattened to d elements; a tensor with fewer than two axes is one sample.
    k = round(keep * d), at least 1. In training k entries are drawn one after another without replacement,
    each of the k largest magnitudes with weight ``(1 - alpha) / k``, each other with ``alpha / (d - k)``. The
    returning gradient exists for the kept entries only (`gradient_support`), and its positions are not sent.

    Parameters
    ----------
    keep : float
        Fraction of entries that survive, above 0 and at most 1.
    alpha : float
        Weight of all other entries together, 0 (plain top-k) to below 1; the paper uses 0.05 to 0.3.

    Source
    ------
    Zheng et al., "Reducing Communication for Split Learning by Randomized Top-k Sparsification", IJCAI 2023;
    code zfscgy/SplitLearning, NaiveRandomTopK. Size k * (32 + ceil(log2 d)) bits per sample.
    """

    kind: Literal["randtopk"] = "randtopk"
    keep: Annotated[float, Field(gt=0, le=1)]
    alpha: Annotated[float, Field(ge=0, lt=1)]
    encode_flops: ClassVar[float] = 3
    encode_passes: ClassVar[float] = 4

    @property
    def name(self) -> str:
        return f"randtopk-{100 * self.keep:g}%"

    @property
    def stochastic(self) -> bool:
        return True

    @property
    def gradient_place(self) -> GradientPlace:
        return "support"

    def estimate_bits(self, numel: int) -> float:
        return self._k(numel) * (32.0 + index_bits(numel))

    def encode_symbols(self, numel: int) -> float:
        return numel + 2 * self._k(numel)  # select, then draw and look up

    def decode_symbols(self, numel: int) -> float:
        return self._k(numel)

    def pack(self, x: NDArray[Any], rng: np.random.Generator | None, training: bool) -> Coded:
        values, saturated = single(x, self.name)
        samples, d = _samples(x.shape)
        k = self._k(d)
        rows = values.reshape(samples, d)
        kept = np.zeros((samples, k), np.int64)
        for row, sample in zip(kept, rows, strict=True):
            row[:] = largest(sample, k)
            if training and rng is not None and 0 < k < d:
                row[:] = self._draw(row, d, rng)
        chosen = np.take_along_axis(rows, kept, axis=1).astype("<f4")
        estimated = samples * k * (32.0 + index_bits(d))
        return Coded((chosen.tobytes(), pack_indices(kept.ravel(), d)), estimated, saturated)

    def unpack(self, parts: Sequence[Buffer], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        values, indices = self._read(parts, shape)
        out = np.zeros(prod(shape), dtype)
        out[indices] = values
        return out.reshape(shape)

    def support(self, parts: Sequence[Buffer], shape: tuple[int, ...]) -> NDArray[np.int64]:
        """Return the flat indices of the kept entries, ascending."""
        return self._read(parts, shape)[1]

    def formula_bits(self, parts: Sequence[Buffer], shape: tuple[int, ...]) -> float:
        samples, d = _samples(shape)
        return samples * self._k(d) * (32.0 + index_bits(d))

    def _read(
        self, parts: Sequence[Buffer], shape: tuple[int, ...]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        samples, d = _samples(shape)
        k = self._k(d)
        values = read_values(parts[0], samples * k)
        kept = unpack_indices(parts[1], samples * k, d).reshape(samples, k)
        if (np.diff(kept, axis=1) <= 0).any():
            raise CodecError("index list: expected ascending numbers in each sample")
        return values, (kept + d * np.arange(samples)[:, None]).ravel()

    def _k(self, d: int) -> int:
        return min(d, round(self.keep * d) or 1)

    def _draw(self, tops: NDArray[np.int64], d: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw k of d indices without replacement, given the k of largest magnitude.

        Drawing one after another by weight is a race of exponential clocks whose k earliest win (Efraimidis
        and Spirakis 2006). All other entries run at one rate, so only the times of their earliest k matter,
        which have independent exponential gaps, and who arrived then is uniform: O(k) draws instead of O(d).
        """
        k = tops.size
        if self.alpha == 0:
            return tops
        times = rng.standard_exponential(k) * (k / (1 - self.alpha))
        remaining = d - k - np.arange(min(k, d - k))
        gaps = rng.standard_exponential(remaining.size) / remaining
        others = np.cumsum(gaps) * ((d - k) / self.alpha)
        last = np.partition(np.concatenate((times, others)), k - 1)[k - 1]
        out = np.ones(d, bool)
        out[tops] = False
        winners = tops[times <= last]
        guests = rng.choice(d - k, k - winners.size, replace=False, shuffle=False)
        kept = np.zeros(d, bool)
        kept[winners] = True
        kept[np.flatnonzero(out)[guests]] = True
        return np.flatnonzero(kept)


def _samples(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return how many samples a shape has, and how many elements each."""
    if len(shape) < 2:
        return 1, prod(shape)
    return shape[0], prod(shape[1:])

"""Uniform: n-bit quantisation between the smallest and the largest value (QU)."""

from collections.abc import Sequence
from math import prod
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sfsim.codec import bits as packing
from sfsim.codec.base import Codec, Coded, bounded, single
from sfsim.codec.frame import Buffer
from sfsim.declaration import declaration
from sfsim.errors import CodecError


@declaration
class Uniform(Codec):
    """Round each value to one of ``2**bits`` levels between the end points min and max.

    ``code = round((x - min) * (2**bits - 1) / (max - min))``, ties to even; end points are levels and travel
    as two float32. A constant tensor comes back exactly.

    Parameters
    ----------
    bits : int
        1 to 16; 3 to 8 is usual.
    per : {"tensor", "channel"}
        End points over the whole batch tensor, or over each index of axis 1 (for activations of shape
        (sample, channel, ...)). A tensor with fewer than two axes has no channels and is treated whole.

    Source
    ------
    QU baseline of the mask-encoded sparsification code (BinaryMus/MaskSparsification), per tensor; there
    a constant tensor divides by zero and the levels travel as float32.
    """

    kind: Literal["uniform"] = "uniform"
    bits: Annotated[int, Field(ge=1, le=16)]
    per: Literal["tensor", "channel"] = "tensor"
    encode_flops: ClassVar[float] = 5  # min, max, subtract, scale, round
    encode_passes: ClassVar[float] = 2
    decode_flops: ClassVar[float] = 2

    @property
    def name(self) -> str:
        return f"uniform-{self.bits}bit" + ("-channel" if self.per == "channel" else "")

    def estimate_bits(self, numel: int) -> float:
        return 64.0 + self.bits * numel

    def encode_symbols(self, numel: int) -> float:
        return packing.symbols(numel, self.bits)

    def decode_symbols(self, numel: int) -> float:
        return packing.symbols(numel, self.bits)

    def pack(self, x: NDArray[Any], rng: np.random.Generator | None, training: bool) -> Coded:
        if x.size == 0:
            return Coded((b"", b""), 0.0)
        from sfsim.codec import kernels

        if self._rows(x.shape)[1] == 1:
            values, saturated, low, high = bounded(x, self.name)
            rows = values.reshape(self._rows(x.shape))
        else:
            values, saturated = single(x, self.name)
            rows = values.reshape(self._rows(x.shape))
            low, high = rows.min(axis=(0, 2)), rows.max(axis=(0, 2))
        # float64: the range of float32 values may be beyond float32, or one of its smallest steps.
        scale = self._levels / _or_one(high.astype(np.float64) - low)
        codes: packing.Codes = np.empty(rows.shape, np.uint8 if self.bits <= 8 else np.uint16)
        kernels.quantise(rows, low.astype(np.float64), scale, codes)
        ends = np.stack((low, high)).astype("<f4").tobytes()
        estimated = 64.0 * low.size + self.bits * x.size
        return Coded((ends, packing.pack(codes.ravel(), self.bits)), estimated, saturated)

    def unpack(self, parts: Sequence[Buffer], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        numel = prod(shape)
        rows = self._rows(shape)
        groups = rows[1]
        if len(parts[0]) != (8 * groups if numel else 0):
            raise CodecError(f"end points: found {len(parts[0])} bytes, expected {8 * groups}")
        codes = packing.unpack(parts[1], numel, self.bits)
        if numel == 0:
            return np.zeros(shape, dtype)
        from sfsim.codec import kernels

        low, high = np.frombuffer(parts[0], "<f4").astype(np.float64).reshape(2, groups)
        if not (np.isfinite(low).all() and np.isfinite(high).all() and (low <= high).all()):
            raise CodecError("end points: expected finite numbers, the smaller first")
        values = np.empty(rows, np.float32 if dtype == np.float32 else np.float64)
        kernels.dequantise(codes.reshape(rows), low, (high - low) / self._levels, values)
        return values.astype(dtype, copy=False).reshape(shape)

    def formula_bits(self, parts: Sequence[Buffer], shape: tuple[int, ...]) -> float:
        return 8.0 * len(parts[0]) + self.bits * prod(shape)

    @property
    def _levels(self) -> int:
        return (1 << self.bits) - 1

    def _rows(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Return the shape as (outer, channels that have end points of their own, inner)."""
        if self.per == "tensor" or len(shape) < 2:
            return 1, 1, prod(shape)
        return shape[0], shape[1], prod(shape[2:])


def _or_one(number: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 where `number` is 0: a constant has one level, whatever the step."""
    return np.where(number == 0, 1.0, number)

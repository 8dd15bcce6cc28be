"""Cast: every value as a float32, float16 or bfloat16; the only codec that carries NaN and infinities."""

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sfsim.codec.base import Codec, Coded, saturate
from sfsim.codec.frame import Buffer
from sfsim.declaration import declaration
from sfsim.errors import CodecError

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_NAMES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


@declaration
class Cast(Codec):
    """Send each value in a narrower float type, rounded to nearest even.

    A finite value beyond the type's range is sent as its largest number and counted in ``Encoded.saturated``:
    an infinity would destroy the model at the other end, a large number may still train. NaN stay NaN.
    float64 values go through float32 on their way to bfloat16.

    Parameters
    ----------
    dtype : {"float32", "float16", "bfloat16"}
        float32 is lossless for float32 and float16 tensors.

    Examples
    --------
    >>> codec = Cast(dtype="bfloat16")
    >>> codec.decode(codec.encode(np.array([1.0, 3.14159], np.float32)).payload)
    array([1.      , 3.140625], dtype=float32)
    """

    kind: Literal["cast"] = "cast"
    dtype: Literal["float32", "float16", "bfloat16"]
    num_parts: ClassVar[int] = 1

    @property
    def name(self) -> str:
        return _NAMES[self.dtype]

    @property
    def lossless(self) -> bool:
        return self.dtype == "float32"

    def estimate_bits(self, numel: int) -> float:
        return 8.0 * _BYTES[self.dtype] * numel

    def pack(self, x: NDArray[Any], rng: np.random.Generator | None, training: bool) -> Coded:
        with np.errstate(over="ignore", invalid="ignore"):
            if self.dtype == "float16":
                values, saturated = _saturated(x.astype("<f2"), x)
                return Coded((values.tobytes(),), self.estimate_bits(x.size), saturated)
            values, saturated = _saturated(x.astype("<f4"), x)
        if self.dtype == "bfloat16":
            values, more = _bfloat16(values)
            saturated += more
        return Coded((values.tobytes(),), self.estimate_bits(x.size), saturated)

    def unpack(self, parts: Sequence[Buffer], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        expected = prod(shape) * _BYTES[self.dtype]
        if len(parts[0]) != expected:
            raise CodecError(f"values: found {len(parts[0])} bytes, expected {expected}")
        if self.dtype == "bfloat16":
            high = np.frombuffer(parts[0], "<u2").astype(np.uint32)
            values = (high << 16).view(np.float32)
        else:
            values = np.frombuffer(parts[0], "<f4" if self.dtype == "float32" else "<f2")
        # A float16 tensor sent as bfloat16 may round up beyond float16: then it is its largest number again.
        with np.errstate(over="ignore", invalid="ignore"):
            return _saturated(values.astype(dtype), values)[0].reshape(shape)


def _saturated(cast: NDArray[Any], x: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Saturate only where the type became narrower: nothing else can overflow."""
    return saturate(cast, x) if cast.dtype.itemsize < x.dtype.itemsize else (cast, 0)


def _bfloat16(values: NDArray[np.float32]) -> tuple[NDArray[np.uint16], int]:
    """Round float32 to the upper half of its bits, to nearest even, on integers."""
    bits = values.view(np.uint32)
    infinite = np.uint32(0x7F800000)
    magnitude = bits & np.uint32(0x7FFFFFFF)
    high = ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(
        "<u2"
    )
    over = (magnitude < infinite) & ((high & 0x7FFF) == 0x7F80)
    high[over] -= 1  # the largest finite number is just below infinity
    nan = magnitude > infinite
    # The quiet bit keeps a NaN whose payload stood only in the lower half from becoming an infinity.
    high[nan] = (bits[nan] >> np.uint32(16)).astype(np.uint16) | 0x40
    return high, int(np.count_nonzero(over))

"""Cast: every value as a float32, float16 or bfloat16; the only codec that carries NaN and infinities."""

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sfsim.codec.base import Codec, Coded, as_bytes, saturate
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
        narrowed = {"float32": _float32, "float16": _float16, "bfloat16": _bfloat16}[self.dtype]
        values, saturated = narrowed(x)
        return Coded((as_bytes(values),), self.estimate_bits(x.size), saturated)

    def unpack(self, parts: Sequence[Buffer], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        expected = prod(shape) * _BYTES[self.dtype]
        if len(parts[0]) != expected:
            raise CodecError(f"values: found {len(parts[0])} bytes, expected {expected}")
        if self.dtype == "float32":
            values = np.frombuffer(parts[0], "<f4")
        elif dtype == np.float16 and self.dtype == "float16":
            values = np.frombuffer(parts[0], "<f2")
        else:
            values = _widened(np.frombuffer(parts[0], "<u2"), self.dtype)
        if dtype == np.float32:  # nothing becomes narrower
            return (values if values.flags.writeable else values.astype(np.float32)).reshape(shape)
        # A float16 tensor sent as bfloat16 may round up beyond float16: then it is its largest number again.
        with np.errstate(over="ignore", invalid="ignore"):
            own = values.astype(dtype, copy=not values.flags.writeable)
            return _saturated(own, values)[0].reshape(shape)


def _saturated(cast: NDArray[Any], x: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Saturate only where the type became narrower: nothing else can overflow."""
    return saturate(cast, x) if cast.dtype.itemsize < x.dtype.itemsize else (cast, 0)


def _float32(x: NDArray[Any]) -> tuple[NDArray[np.float32], int]:
    if x.dtype == np.float32:
        return x.astype("<f4", order="C", copy=False), 0
    with np.errstate(over="ignore", invalid="ignore"):
        return _saturated(x.astype("<f4", order="C", copy=False), x)


def _float16(x: NDArray[Any]) -> tuple[NDArray[Any], int]:
    if x.dtype != np.float32:  # rounded once, from what it is
        with np.errstate(over="ignore", invalid="ignore"):
            return _saturated(x.astype("<f2"), x)
    from sfsim.codec import kernels

    values = np.ascontiguousarray(x, "=f4").ravel()
    out = np.empty(values.size, np.uint16)
    saturated = kernels.to_half(values, values.view(np.uint32), out)
    return out.astype("<u2", copy=False), int(saturated)


def _bfloat16(x: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Round to the upper half of a float32's bits, to nearest even, on integers."""
    from sfsim.codec import kernels

    values, saturated = _float32(x)
    bits = np.ascontiguousarray(values, "=f4").ravel().view(np.uint32)
    out = np.empty(bits.size, np.uint16)
    saturated += int(kernels.to_bfloat16(bits, out))
    return out.astype("<u2", copy=False), saturated


def _widened(codes: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    from sfsim.codec import kernels

    native = codes.astype(np.uint16, copy=False)
    values = np.empty(codes.size, np.float32)
    if dtype == "float16":
        kernels.from_half(native, values.view(np.uint32), values)
    else:
        kernels.from_bfloat16(native, values.view(np.uint32))
    return values

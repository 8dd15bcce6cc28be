"""QSGD: unbiased n-bit quantisation by stochastic rounding."""

from collections.abc import Sequence
from math import prod
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sfsim.codec import bits as packing
from sfsim.codec.base import Codec, Coded, measured
from sfsim.codec.frame import Buffer
from sfsim.declaration import declaration
from sfsim.errors import CodecError


@declaration
class Qsgd(Codec):
    """Round ``|x| / norm * s`` up or down at random so that the expectation is exact.

    There are ``s = 2**(bits - 1) - 1`` levels on either side of zero, in `bits` bits per element; the norm, a
    float32, is the largest magnitude of the tensor. In evaluation values are rounded to nearest.

    Parameters
    ----------
    bits : int
        2 to 16; 4 to 8 is usual.

    Source
    ------
    Alistarh et al., "QSGD", NeurIPS 2017, equations 3 to 5, with the maximum instead of the 2-norm as in its
    experiments (section 5): with a 2-norm over a batch of millions of values nearly all of them become zero.

    Left out
    --------
    Buckets, and Elias coding of the levels (put a byte stage behind this codec instead).
    """

    kind: Literal["qsgd"] = "qsgd"
    bits: Annotated[int, Field(ge=2, le=16)]
    encode_flops: ClassVar[float] = 7  # magnitude, max, divide, scale, floor, draw, add
    encode_passes: ClassVar[float] = 3
    decode_flops: ClassVar[float] = 3

    @property
    def name(self) -> str:
        return f"qsgd-{self.bits}bit"

    @property
    def stochastic(self) -> bool:
        return True

    def estimate_bits(self, numel: int) -> float:
        return 32.0 + self.bits * numel

    def encode_symbols(self, numel: int) -> float:
        return packing.symbols(numel, self.bits)

    def decode_symbols(self, numel: int) -> float:
        return packing.symbols(numel, self.bits)

    def pack(self, x: NDArray[Any], rng: np.random.Generator | None, training: bool) -> Coded:
        values, saturated, norm = measured(x, self.name)
        if x.size == 0:
            return Coded((b"", b""), 0.0)
        flat, side, divisor = values.reshape(-1), np.float32(self._side), norm or np.float32(1)
        codes: packing.Codes = np.empty(x.size, np.uint8 if self.bits <= 8 else np.uint16)
        if training and rng is not None:
            from sfsim.codec.draw_kernel import draw

            draw(flat, divisor, side, rng, codes)
        else:
            from sfsim.codec import kernels

            kernels.round_levels(flat, divisor, side, codes)
        parts = (np.array(norm, "<f4").tobytes(), packing.pack(codes, self.bits))
        return Coded(parts, self.estimate_bits(x.size), saturated)

    def unpack(self, parts: Sequence[Buffer], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        numel = prod(shape)
        if len(parts[0]) != (4 if numel else 0):
            raise CodecError(f"norm: found {len(parts[0])} bytes, expected 4")
        codes = packing.unpack(parts[1], numel, self.bits)
        if numel == 0:
            return np.zeros(shape, dtype)
        norm = np.frombuffer(parts[0], "<f4")[0]
        if not 0 <= norm < np.inf or codes.max() > 2 * self._side:
            raise CodecError("expected a finite norm and levels within it")
        from sfsim.codec import kernels

        values = np.empty(numel, np.float32)
        kernels.undo_levels(codes, norm, np.float32(self._side), values)
        return values.astype(dtype, copy=False).reshape(shape)

    @property
    def _side(self) -> int:
        return (1 << (self.bits - 1)) - 1

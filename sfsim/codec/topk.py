"""Top-k: the largest values exactly, and where they stood (SP)."""

from collections.abc import Sequence
from math import prod
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sfsim.codec.base import Codec, Coded, single
from sfsim.codec.frame import Buffer
from sfsim.codec.selecting import (
    count_kept,
    index_bits,
    largest,
    pack_bitmask,
    pack_indices,
    read_values,
    unpack_bitmask,
    unpack_indices,
)
from sfsim.declaration import declaration
from sfsim.errors import CodecError


@declaration
class TopK(Codec):
    """Keep the entries of largest magnitude as float32; the others become zero.

    The k = floor(keep * d) entries (at least one) are chosen over the whole flattened batch tensor of d
    elements, whatever its axes. Positions are one bit per element, or k indices of ceil(log2 d) bits.

    Parameters
    ----------
    keep : float
        Fraction of entries that survive, above 0 and at most 1; 0.01 to 0.25 is usual.
    positions : {"auto", "bitmask", "index"}
        "auto" takes the smaller one; both ends can tell which.

    Source
    ------
    SP baseline of the mask-encoded sparsification code, which sends values and int64 indices.
    """

    kind: Literal["topk"] = "topk"
    keep: Annotated[float, Field(gt=0, le=1)]
    positions: Literal["auto", "bitmask", "index"] = "auto"
    encode_flops: ClassVar[float] = 3  # magnitude, and two comparisons with the threshold
    encode_passes: ClassVar[float] = 4

    @property
    def name(self) -> str:
        return f"topk-{100 * self.keep:g}%" + ("" if self.positions == "auto" else f"-{self.positions}")

    def estimate_bits(self, numel: int) -> float:
        k = count_kept(self.keep, numel)
        return 32.0 * k + (numel if self._bitmask(k, numel) else k * index_bits(numel))

    def encode_symbols(self, numel: int) -> float:
        return numel  # selection compares every element about three times

    def decode_symbols(self, numel: int) -> float:
        return count_kept(self.keep, numel)  # scattered writes

    def pack(self, x: NDArray[Any], rng: np.random.Generator | None, training: bool) -> Coded:
        values, saturated = single(x, self.name)
        flat = values.ravel()
        indices = largest(flat, count_kept(self.keep, x.size))
        pack = pack_bitmask if self._bitmask(indices.size, x.size) else pack_indices
        parts = (flat[indices].astype("<f4").tobytes(), pack(indices, x.size))
        return Coded(parts, self.estimate_bits(x.size), saturated)

    def unpack(self, parts: Sequence[Buffer], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        numel = prod(shape)
        k = count_kept(self.keep, numel)
        values = read_values(parts[0], k)
        unpack = unpack_bitmask if self._bitmask(k, numel) else unpack_indices
        indices = unpack(parts[1], k, numel)
        if (np.diff(indices) <= 0).any():
            raise CodecError("index list: expected ascending numbers")
        out = np.zeros(numel, dtype)
        out[indices] = values
        return out.reshape(shape)

    def _bitmask(self, k: int, numel: int) -> bool:
        if self.positions == "auto":
            return numel <= k * index_bits(numel)
        return self.positions == "bitmask"

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
    positions : {"auto", "bitmask", "index", "shortest"}
        "auto" takes the smaller of bitmask and index list; both ends can tell which. "shortest" also tries
        coded gaps and takes what is shortest for the positions at hand; two bits say which.

    Source
    ------
    SP baseline of the mask-encoded sparsification code, which sends values and int64 indices.
    """

    kind: Literal["topk"] = "topk"
    keep: Annotated[float, Field(gt=0, le=1)]
    positions: Literal["auto", "bitmask", "index", "shortest"] = "auto"
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
        if self.positions == "shortest":
            from sfsim.codec.positions import pack_shortest

            places, bits = pack_shortest(indices, x.size) if x.size else (b"", 0)
            return Coded(
                (flat[indices].astype("<f4").tobytes(), places), 32.0 * indices.size + bits, saturated
            )
        pack = pack_bitmask if self._bitmask(indices.size, x.size) else pack_indices
        parts = (flat[indices].astype("<f4").tobytes(), pack(indices, x.size))
        return Coded(parts, self.estimate_bits(x.size), saturated)

    def unpack(self, parts: Sequence[Buffer], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        numel = prod(shape)
        k = count_kept(self.keep, numel)
        values = read_values(parts[0], k)
        indices = self._places(parts[1], k, numel)[0]
        if (np.diff(indices) <= 0).any():
            raise CodecError("index list: expected ascending numbers")
        out = np.zeros(numel, dtype)
        out[indices] = values
        return out.reshape(shape)

    def formula_bits(self, parts: Sequence[Buffer], shape: tuple[int, ...]) -> float:
        numel = prod(shape)
        if self.positions != "shortest" or numel == 0:
            return super().formula_bits(parts, shape)
        k = count_kept(self.keep, numel)
        return 32.0 * k + self._places(parts[1], k, numel)[1]

    def _places(self, data: Buffer, k: int, numel: int) -> tuple[NDArray[np.int64], int]:
        """Return the kept indices and, where the data alone tells it, how many bits they took."""
        if self.positions == "shortest" and numel:
            from sfsim.codec.positions import unpack_shortest

            return unpack_shortest(data, k, numel)
        unpack = unpack_bitmask if self._bitmask(k, numel) else unpack_indices
        return unpack(data, k, numel), 0

    def _bitmask(self, k: int, numel: int) -> bool:
        if self.positions in ("auto", "shortest"):  # the latter for an estimate before there are positions
            return numel <= k * index_bits(numel)
        return self.positions == "bitmask"

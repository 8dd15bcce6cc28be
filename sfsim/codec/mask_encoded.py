"""Mask-encoded sparsification (MS): the largest values exactly, all others coarsely in the mask."""

from collections.abc import Sequence
from math import prod
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sfsim.codec import bits as packing
from sfsim.codec.base import Codec, Coded, single
from sfsim.codec.frame import Buffer
from sfsim.codec.selecting import count_kept, largest, read_values
from sfsim.declaration import declaration
from sfsim.errors import CodecError


def _four_signs() -> NDArray[np.uint8]:
    """What `kernels.pack_signs` looks up."""
    table = np.zeros(256, np.uint8)
    for index in range(256):
        marked = [index >> place + 4 & 1 for place in range(4) if index >> place & 1]
        table[index] = len(marked) << 4 | int("".join(map(str, marked)) or "0", 2)
    return table


_FOUR_SIGNS = _four_signs()


@declaration
class MaskEncoded(Codec):
    """Send the k largest magnitudes as float32 and one b-bit mask code per element.

    With L = 2**b - 1 and T the smallest kept magnitude, the code of a kept entry is L; of any other it is
    ``|x| * L / T``, rounded and at most L - 1, and means ``code * T / L``. k = floor((1 - sparsity) * d), at
    least 1, over the whole flattened batch tensor of d elements; of equal ones the lowest index is kept.
    T can be read off the kept values and is not sent; T = 0 gives codes 0. Kept values carry their own signs;
    the others follow the mask, one bit for each code but 0 and L, and only when one of them is negative.

    Parameters
    ----------
    sparsity : float
        Fraction of entries that are not kept, 0 to below 1; 0.99 in the paper.
    mask_bits : int
        b, 1 to 16; 2 in the paper. With 1 this is top-k with a bitmask.
    rounding : {"nearest", "floor"}
        "nearest" (half to even) is the published code, "floor" the paper's text, which shrinks every value.

    Source
    ------
    Mask-encoded sparsification (Algorithms 1 and 2) and its code BinaryMus/MaskSparsification. Size
    b*d + 32k bits, at most d more when signed.
    """

    kind: Literal["mask-encoded"] = "mask-encoded"
    sparsity: Annotated[float, Field(ge=0, lt=1)]
    mask_bits: Annotated[int, Field(ge=1, le=16)]
    rounding: Literal["nearest", "floor"] = "nearest"
    encode_flops: ClassVar[float] = 6  # magnitude, two comparisons, scale, round, clamp
    encode_passes: ClassVar[float] = 6
    decode_flops: ClassVar[float] = 2

    @property
    def name(self) -> str:
        suffix = "-floor" if self.rounding == "floor" else ""
        return f"ms-{100 * self.sparsity:g}%-{self.mask_bits}bit{suffix}"

    def estimate_bits(self, numel: int) -> float:
        return 32.0 * self._k(numel) + self.mask_bits * numel

    def encode_symbols(self, numel: int) -> float:
        return numel + packing.symbols(numel, self.mask_bits)

    def decode_symbols(self, numel: int) -> float:
        return self._k(numel) + packing.symbols(numel, self.mask_bits)

    def pack(self, x: NDArray[Any], rng: np.random.Generator | None, training: bool) -> Coded:
        values, saturated = single(x, self.name)
        flat = values.ravel()
        from sfsim.codec import kernels

        tops = largest(flat, self._k(x.size))
        kept = flat[tops]
        codes = self._codes(flat, np.abs(kept).min(initial=np.inf))
        codes[tops] = self._full
        signs = np.empty(packing.num_bytes(x.size, 1) + 4, np.uint8)
        full = codes.dtype.type(self._full)
        count, negative = kernels.pack_signs(flat.view(np.uint32), codes, full, _FOUR_SIGNS, signs)
        count = count if negative else 0
        mask = packing.pack(codes, self.mask_bits) + signs[: packing.num_bytes(count, 1)].tobytes()
        estimated = self.estimate_bits(x.size) + count
        return Coded((kept.astype("<f4").tobytes(), mask), estimated, saturated)

    def unpack(self, parts: Sequence[Buffer], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        numel = prod(shape)
        tops = read_values(parts[0], self._k(numel))
        mask_bytes = packing.num_bytes(numel, self.mask_bits)
        codes = packing.unpack(parts[1][:mask_bytes], numel, self.mask_bits, "mask")
        kept = np.flatnonzero(codes == self._full)
        if kept.size != tops.size:
            raise CodecError(f"mask: found {kept.size} kept entries, expected {tops.size}")
        threshold = float(np.abs(tops).min(initial=np.inf)) if tops.size else 0.0
        steps = np.arange(self._full + 1) * (threshold / self._full)
        from sfsim.codec import kernels

        out = np.empty(numel, np.float32)
        kernels.look_up(codes, steps.astype(np.float32), out)
        signs = parts[1][mask_bytes:]
        if len(signs):
            small = numel - np.count_nonzero(codes == 0) - kept.size
            negative = packing.unpack(signs, small, 1, "signs")
            kernels.negate(
                codes, codes.dtype.type(self._full), np.append(negative, np.uint8(0)), out.view(np.uint32)
            )
        out[kept] = tops
        return out.astype(dtype, copy=False).reshape(shape)

    def formula_bits(self, parts: Sequence[Buffer], shape: tuple[int, ...]) -> float:
        numel = prod(shape)
        mask_bytes = packing.num_bytes(numel, self.mask_bits)
        if len(parts[1]) == mask_bytes:
            return self.estimate_bits(numel)
        codes = packing.unpack(parts[1][:mask_bytes], numel, self.mask_bits, "mask")
        return self.estimate_bits(numel) + int(np.count_nonzero((codes != 0) & (codes != self._full)))

    def _codes(self, flat: NDArray[np.float32], threshold: np.float32) -> NDArray[np.unsignedinteger]:
        """Return the codes of entries that are not kept; those of kept ones mean nothing."""
        kind = np.uint8 if self.mask_bits <= 8 else np.uint16
        if threshold == 0 or flat.size == 0:
            return np.zeros(flat.size, kind)
        from sfsim.codec import kernels

        codes: NDArray[np.unsignedinteger] = np.empty(flat.size, kind)
        full, floor = float(self._full), self.rounding == "floor"
        if 1 < self.mask_bits <= 3:
            steps = np.empty(self._full - 1, np.uint32)
            kernels.mask_steps(full, float(threshold), floor, steps)
            kernels.mask_by_steps(flat.view(np.uint32), steps, codes)
            return codes
        # float64 and this order of operations: ties stay ties, and the smallest thresholds do not overflow.
        kernels.mask_codes(flat, full, float(threshold), floor, codes)
        return codes

    @property
    def _full(self) -> int:
        return (1 << self.mask_bits) - 1

    def _k(self, numel: int) -> int:
        return count_kept(1 - self.sparsity, numel)

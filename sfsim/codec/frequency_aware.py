"""Frequency-aware: a cosine transform of each plane, its low and high frequencies quantised apart (SL-FAC).

A reference design: the paper's text and code are not public, and its abstract leaves the order of the
coefficients, the widths and the side information open.
"""

from collections.abc import Sequence
from math import log2, prod
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sfsim.codec import bits as packing
from sfsim.codec.base import Codec, Coded, single
from sfsim.codec.frame import Buffer
from sfsim.declaration import declaration, misfit
from sfsim.errors import CodecError

_FLAT = 1e-6  # A subset that spans less of its plane's largest coefficient is rounding residue.
_LARGEST = float(np.finfo(np.float32).max)


@declaration
class FrequencyAware(Codec):
    """Quantise the low and the high frequencies of each plane with widths that follow their energies.

    A plane is the last two axes of a tensor of four or more, the last one otherwise. Its orthonormal DCT-II in
    zig-zag order is cut where the cumulative energy reaches the fraction `energy`; each side gets a width from
    the logarithm of its mean energy (the two add up to ``min_bits + max_bits`` but for rounding) and is
    quantised linearly between its smallest and largest coefficient. Frequency has no meaning across the values
    of a fully connected layer or across tokens: there this is only a transform.

    Parameters
    ----------
    energy : float
        Fraction of the energy that counts as low frequency, above 0 and at most 1; 0.9 in the paper.
    min_bits : int
        Smallest width, 1 to 8.
    max_bits : int
        Largest width, 1 to 8.
    shared : {"none", "sample", "tensor"}
        What shares one cut and two widths: nothing (each plane has its own), a sample's planes, or all.
    ranges : {"float32", "float16"}
        Type of the end points on the wire; float16 ones are relative to the tensor's largest coefficient and
        rounded outwards.
    normalise : bool
        Divide energies by their mean, so that widths do not depend on the tensor's scale: for gradients.

    Source
    ------
    Reference design after the abstract of SL-FAC (arXiv:2604.07316).

    Left out
    --------
    Whatever the paper does that its abstract does not say.
    """

    kind: Literal["frequency-aware"] = "frequency-aware"
    energy: Annotated[float, Field(gt=0, le=1)] = 0.9
    min_bits: Annotated[int, Field(ge=1, le=8)] = 2
    max_bits: Annotated[int, Field(ge=1, le=8)] = 8
    shared: Literal["none", "sample", "tensor"] = "none"
    ranges: Literal["float32", "float16"] = "float32"
    normalise: bool = False
    num_parts: ClassVar[int] = 3
    encode_passes: ClassVar[float] = 8  # the spectrum in float64, written once and read three times
    decode_passes: ClassVar[float] = 4

    def __post_init__(self) -> None:
        if self.max_bits < self.min_bits:
            raise misfit("max_bits", str(self.max_bits), f"at least min_bits, which is {self.min_bits}")

    @property
    def name(self) -> str:
        said = [f"{100 * self.energy:g}%", f"{self.min_bits}-{self.max_bits}bit"]
        said += [f"shared-{self.shared}"] * (self.shared != "none") + ["fp16"] * (self.ranges == "float16")
        return "-".join(["sl-fac", *said, *["normalised"] * self.normalise])

    def estimate_bits(self, numel: int) -> float:
        return numel * (self.min_bits + self.max_bits) / 2

    def encode_operations(self, shape: tuple[int, ...]) -> float:
        return _transform_flops(shape) + 10.0 * prod(shape)  # energies, extremes, quantisation

    def decode_operations(self, shape: tuple[int, ...]) -> float:
        return _transform_flops(shape) + 4.0 * prod(shape)

    def encode_symbols(self, numel: int) -> float:
        return numel  # the zig-zag and the packing handle one coefficient at a time

    def decode_symbols(self, numel: int) -> float:
        return numel

    def pack(self, x: NDArray[Any], rng: np.random.Generator | None, training: bool) -> Coded:
        from sfsim.codec import frequency_kernel as kernel

        values, saturated = single(x, self.name)
        if x.size == 0:
            return Coded((b"", b"", b""), 0.0)
        height, width, groups = self._planes(x.shape)
        s = _spectrum(values.reshape(-1, height, width))
        planes, n = s.shape
        cuts = np.empty((groups, 3), np.int64)
        kernel.cut(s, groups, self.energy, self.min_bits, self.max_bits, self.normalise, cuts)
        of_plane = np.repeat(cuts, planes // groups, axis=0)
        ends, scale = self._ends(s, of_plane[:, 0])
        wide = ends.astype(np.float64)
        sent = _sent(of_plane[:, 0], n)
        coded = sent & (wide[:, 1::2] > wide[:, ::2])
        code_bits = int((_lengths(of_plane[:, 0], n) * of_plane[:, 1:])[coded].sum())
        out = np.zeros(packing.num_bytes(code_bits, 1) + 4, np.uint8)
        kernel.quantise(s, of_plane, wide, scale, out)
        head = self._pack_cuts(cuts, n)
        pairs = ends.reshape(planes, 2, 2)[sent]
        prefix = np.float32(scale).astype("<f4").tobytes() if self.ranges == "float16" else b""
        body = pairs.astype(self._wire).tobytes()
        bits = groups * self._cut_bits(n) + 8.0 * len(prefix + body) + code_bits
        codes = out[: packing.num_bytes(code_bits, 1)].tobytes()
        return Coded((head, prefix + body, codes), bits, saturated)

    def unpack(self, parts: Sequence[Buffer], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        from sfsim.codec import frequency_kernel as kernel

        if prod(shape) == 0:
            _check_empty(parts)
            return np.zeros(shape, dtype)
        height, width, _ = self._planes(shape)
        of_plane, ends, scale, _ = self._read(parts, shape)
        s = np.empty((of_plane.shape[0], height * width))
        kernel.dequantise(np.frombuffer(parts[2], np.uint8), of_plane, ends, scale, s)
        return _planes_of(s, height, width, dtype).reshape(shape)

    def remark(self, shape: tuple[int, ...]) -> str:
        if len(shape) > 3:
            return ""
        if len(shape) == 3:
            where = f"frequencies along the last axis of {shape}"
            return f"{where}: they mean something if it is time, not if it is features"
        values = f"the {shape[-1]} values of a fully connected layer"
        return f"frequencies across {values} mean nothing: their order is arbitrary"

    def facts(self, parts: Sequence[Buffer], shape: tuple[int, ...]) -> dict[str, Any]:
        """Return ``planes``: cut and widths of each plane."""
        return {"planes": self._read(parts, shape)[0].tolist() if prod(shape) else []}

    def formula_bits(self, parts: Sequence[Buffer], shape: tuple[int, ...]) -> float:
        if prod(shape) == 0:
            return 0.0
        height, width, groups = self._planes(shape)
        return groups * self._cut_bits(height * width) + 8.0 * len(parts[1]) + self._read(parts, shape)[3]

    def _read(
        self, parts: Sequence[Buffer], shape: tuple[int, ...]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], float, int]:
        """Return cut and widths of each plane, its end points, the scale and the bits of the codes."""
        from sfsim.codec.bit_kernel import unpack_fields

        height, width, groups = self._planes(shape)
        n = height * width
        fields = unpack_fields(parts[0], 3 * groups, [n.bit_length(), 3, 3], "cuts")
        cuts = fields.reshape(groups, 3) + np.array([0, 1, 1])
        widths = cuts[:, 1:]
        if (cuts[:, 0] > n).any() or (widths < self.min_bits).any() or (widths > self.max_bits).any():
            raise CodecError(f"cuts: expected at most {n}, and {self.min_bits} to {self.max_bits} bits")
        of_plane = np.repeat(cuts, prod(shape) // n // groups, axis=0)
        sent = _sent(of_plane[:, 0], n)
        size, prefix = np.dtype(self._wire).itemsize, 4 if self.ranges == "float16" else 0
        expected = prefix + 2 * size * int(sent.sum())
        if len(parts[1]) != expected:
            raise CodecError(f"end points: found {len(parts[1])} bytes, expected {expected}")
        scale = float(np.frombuffer(parts[1][:prefix], "<f4")[0]) if prefix else 1.0
        pairs = np.frombuffer(parts[1][prefix:], self._wire).astype(np.float64).reshape(-1, 2)
        if (
            not (np.isfinite(scale) and scale > 0 and np.isfinite(pairs).all())
            or (pairs[:, 0] > pairs[:, 1]).any()
        ):
            raise CodecError("end points: expected finite numbers, the smaller first")
        ends = np.zeros((of_plane.shape[0], 2, 2))
        ends[sent] = pairs
        coded = sent & (ends[..., 1] > ends[..., 0])
        code_bits = int((_lengths(of_plane[:, 0], n) * of_plane[:, 1:])[coded].sum())
        if len(parts[2]) != packing.num_bytes(code_bits, 1):
            raise CodecError(
                f"codes: found {len(parts[2])} bytes, expected {packing.num_bytes(code_bits, 1)}"
            )
        return of_plane, ends.reshape(-1, 4), scale, code_bits

    def _ends(self, s: NDArray[np.float64], m: NDArray[np.int64]) -> tuple[NDArray[Any], float]:
        """Return the end points of each plane as they travel (P, 4), and what they are relative to."""
        from sfsim.codec import frequency_kernel as kernel

        found = np.empty((s.shape[0], 5))
        kernel.extremes(s, m, found)
        found[~np.isfinite(found)] = 0.0  # subsets without a coefficient
        low, high = found[:, 0:4:2], found[:, 1:4:2]
        flat = high - low <= _FLAT * found[:, 4:]
        middle = (low + high) / 2
        low, high = np.where(flat, middle, low), np.where(flat, middle, high)
        scale = 1.0
        if self.ranges == "float16":
            scale = float(np.float32(min(found[:, 4].max(), _LARGEST))) or 1.0
        wire = np.dtype(self._wire).newbyteorder("=")
        limit = float(np.finfo(wire).max)
        low, high = (np.clip(values / scale, -limit, limit) for values in (low, high))
        if self.ranges == "float16":
            near_low, near_high = low.astype(wire), high.astype(wire)
            down = np.nextafter(near_low, wire.type(-np.inf))
            up = np.nextafter(near_high, wire.type(np.inf))
            outward_low = np.where(~flat & (near_low.astype(np.float64) > low), down, near_low)
            outward_high = np.where(~flat & (near_high.astype(np.float64) < high), up, near_high)
            ends = np.stack((outward_low, outward_high), axis=2)
        else:
            ends = np.stack((low.astype(wire), high.astype(wire)), axis=2)
        return ends.reshape(-1, 4), scale

    @property
    def _wire(self) -> str:
        return "<f2" if self.ranges == "float16" else "<f4"

    def _cut_bits(self, n: int) -> int:
        return n.bit_length() + 6

    def _pack_cuts(self, cuts: NDArray[np.int64], n: int) -> bytes:
        from sfsim.codec.bit_kernel import pack_fields

        return pack_fields(cuts - np.array([0, 1, 1]), [n.bit_length(), 3, 3])

    def _planes(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Return height and width of a plane, and how many groups of planes there are."""
        height, width = _plane(shape)
        planes = prod(shape) // (height * width)
        if self.shared == "none":
            return height, width, planes
        return height, width, shape[0] if self.shared == "sample" and len(shape) > 1 else 1


def _plane(shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) >= 4:
        return shape[-2], shape[-1]
    return 1, shape[-1] if len(shape) > 1 else prod(shape)


def _transform_flops(shape: tuple[int, ...]) -> float:
    """Operations of a two-dimensional DCT: by matrix, or by a fast algorithm where that is cheaper."""
    if prod(shape) == 0:
        return 0.0
    return prod(shape) * sum(min(2.0 * n, 5 * log2(n) + 1) for n in _plane(shape) if n > 1)


def _sent(m: NDArray[np.int64], n: int) -> NDArray[np.bool_]:
    """Which subsets of each plane travel, shape (P, 2)."""
    return np.stack((m > 0, (m > 0) & (m < n)), axis=1)


def _lengths(m: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    return np.stack((m, n - m), axis=1)


def _check_empty(parts: Sequence[Buffer]) -> None:
    if any(len(part) for part in parts):
        raise CodecError("an empty tensor came with bytes of content")


def _spectrum(planes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the coefficients of planes (P, H, W) in zig-zag order, shape (P, H * W)."""
    from sfsim.codec import frequency_kernel as kernel

    _, height, width = planes.shape
    order = kernel.zigzag(height, width)
    if max(height, width) > kernel.LONGEST:
        from scipy import fft

        whole = fft.dctn(planes.astype(np.float64), axes=(1, 2), norm="ortho")
        return np.ascontiguousarray(whole.reshape(planes.shape[0], -1)[:, order])
    s = np.empty((planes.shape[0], height * width))
    kernel.forward(planes, kernel.half_cosines(height), kernel.half_cosines(width), order, s)
    return s


def _planes_of(s: NDArray[np.float64], height: int, width: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Undo `_spectrum`; values beyond the range of `dtype` become its largest."""
    from sfsim.codec import frequency_kernel as kernel

    order, limit = kernel.zigzag(height, width), float(min(np.finfo(dtype).max, np.finfo(np.float64).max))
    if max(height, width) > kernel.LONGEST:
        from scipy import fft

        whole = np.empty_like(s)
        whole[:, order] = s
        values = fft.idctn(whole.reshape(-1, height, width), axes=(1, 2), norm="ortho")
        return np.clip(values, -limit, limit).astype(dtype)
    out = np.empty((s.shape[0], height, width), np.float32 if dtype.itemsize < 4 else dtype)
    kernel.inverse(s, kernel.half_cosines(height), kernel.half_cosines(width), order, limit, out)
    return out.astype(dtype, copy=False)

"""Product quantization: pieces of each sample replaced by the nearest of a few centres (FedLite)."""

from collections.abc import Sequence
from math import prod
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sfsim.codec import bits as packing
from sfsim.codec.base import Codec, Coded, single
from sfsim.codec.frame import Buffer
from sfsim.codec.selecting import index_bits
from sfsim.cost import Cost
from sfsim.declaration import declaration, misfit
from sfsim.errors import CodecError

_BUCKETS = 1 << 12


@declaration
class ProductQuantization(Codec):
    """Cut each flattened sample into pieces, send centres of the batch's pieces and which is nearest to each.

    Neighbouring pieces form `groups` of equal size with centres of their own, found by Lloyd's rounds from the
    batch itself: the start is the pieces at equal steps of rank by the sum of their values, rounds end early
    when no assignment changes, a centre without a piece stays where it is. The gradient comes back dense; the
    sender adds `correction` times what the codec took away, the gradient of a penalty on it.

    Parameters
    ----------
    subvectors : int
        Pieces of a sample; divides its number of elements.
    centroids : int
        Centres of a group, 1 to 65536. All of them travel, also with fewer pieces in the batch.
    groups : int
        Divides `subvectors`.
    iterations : int
        Most rounds of assigning and averaging.
    correction : float
        Factor of (tensor - decoded) in the gradient that the sender applies, 0 or more.

    Source
    ------
    FedLite (arXiv:2201.11865); default correction of Federico-Alvetreti/Split-Learning_ADC. Size
    32 d L R / q + B q ceil(log2 L) bits for q pieces, R groups and L centres.

    Left out
    --------
    The paper's start of the rounds, which is not known; 64-bit floats, with which its 490 times is counted.
    """

    kind: Literal["product-quantization"] = "product-quantization"
    subvectors: Annotated[int, Field(ge=1)]
    centroids: Annotated[int, Field(ge=1, le=65536)]
    groups: Annotated[int, Field(ge=1)] = 1
    iterations: Annotated[int, Field(ge=1, le=1000)] = 10
    correction: Annotated[float, Field(ge=0)] = 5e-5
    encode_passes: ClassVar[float] = 4
    decode_passes: ClassVar[float] = 2

    def __post_init__(self) -> None:
        if self.subvectors % self.groups:
            raise misfit("groups", str(self.groups), f"a divisor of subvectors, which is {self.subvectors}")

    @property
    def name(self) -> str:
        groups = f"x{self.groups}" if self.groups > 1 else ""
        return f"fedlite-{self.subvectors}q{groups}-{self.centroids}"

    @property
    def any_shape(self) -> bool:
        return self.subvectors == 1

    def estimate_bits(self, numel: int) -> float:
        # Codebooks follow the size of one sample, which `numel` does not tell: one sample is assumed.
        return 32.0 * numel * self.centroids * self.groups / self.subvectors + self.subvectors * self._bits

    def encode_cost(self, numel: int, itemsize: int, shape: tuple[int, ...] | None = None) -> Cost:
        # The centres stay in the cache; the pieces are read in every round, and the residual is written once.
        rounds = Cost(bytes_touched=4.0 * numel * (2 * self.iterations + 3))
        return super().encode_cost(numel, itemsize, shape) + rounds

    def encode_operations(self, shape: tuple[int, ...]) -> float:
        numel = prod(shape)
        return numel * (3.0 * self.centroids * (self.iterations + 1) + self.iterations + 2)

    def correct_cost(self, numel: int) -> Cost:
        return Cost(flops=2.0 * numel, bytes_touched=12.0 * numel, launches=2) if self.correction else Cost()

    def decode_symbols(self, numel: int) -> float:
        return packing.symbols(self.subvectors, self._bits)

    def pack(self, x: NDArray[Any], rng: np.random.Generator | None, training: bool) -> Coded:
        values, saturated = single(x, self.name)
        samples, d = _samples(x.shape)
        if x.size == 0:
            return Coded((b"", b""), 0.0, kept=values.copy() if self.correction else None)
        self.check_shape(x.shape)
        books, indices = [], []
        for vectors in self._grouped(values.reshape(samples, d)):
            book, index = self._cluster(vectors)
            books.append(book)
            indices.append(index)
        book, index = np.stack(books), np.stack(indices)
        parts = (book.astype("<f4").tobytes(), packing.pack(index.ravel().astype(np.uint32), self._bits))
        bits = 32.0 * book.size + samples * self.subvectors * self._bits
        return Coded(parts, bits, saturated, kept=self._residual(values, book, index))

    def unpack(self, parts: Sequence[Buffer], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        samples, d = _samples(shape)
        if prod(shape) == 0:
            if any(len(part) for part in parts):
                raise CodecError("an empty tensor came with bytes of content")
            return np.zeros(shape, dtype)
        self.check_shape(shape)
        size = 4 * self.centroids * self.groups * (d // self.subvectors)
        if len(parts[0]) != size:
            raise CodecError(f"codebooks: found {len(parts[0])} bytes, expected {size}")
        index = packing.unpack(parts[1], samples * self.subvectors, self._bits, "indices")
        if int(index.max()) >= self.centroids:
            raise CodecError(f"indices: found {index.max()}, expected numbers below {self.centroids}")
        book = self._books(parts[0], d)
        if not np.isfinite(book).all():
            raise CodecError("codebooks: expected finite numbers")
        limit = np.finfo(dtype).max
        decoded = self._look_up(book, index.reshape(self.groups, -1), shape)
        return (np.clip(decoded, -limit, limit) if dtype.itemsize < 4 else decoded).astype(dtype)

    def correct(self, gradient: NDArray[Any], kept: NDArray[Any] | None) -> NDArray[Any]:
        """Add `correction` times what the codec took away of the tensor."""
        if kept is None:
            return gradient
        return (gradient + np.float32(self.correction) * kept.reshape(gradient.shape)).astype(np.float32)

    def check_shape(self, shape: tuple[int, ...], training: bool = True) -> None:
        d = _samples(shape)[1]
        if d % self.subvectors:
            raise CodecError(f"samples of {d} elements cannot be cut into {self.subvectors} equal subvectors")

    def max_bytes(self, shape: tuple[int, ...]) -> int:
        samples, d = _samples(shape)
        books = 4 * self.centroids * self.groups * (d // self.subvectors + 1)
        return 64 + books + packing.num_bytes(samples * self.subvectors, self._bits)

    def facts(self, parts: Sequence[Buffer], shape: tuple[int, ...]) -> dict[str, Any]:
        """Return ``codebooks``, the centres of each group."""
        if prod(shape) == 0:
            return {"codebooks": []}
        return {"codebooks": self._books(parts[0], _samples(shape)[1]).tolist()}

    def formula_bits(self, parts: Sequence[Buffer], shape: tuple[int, ...]) -> float:
        if prod(shape) == 0:
            return 0.0
        return 8.0 * len(parts[0]) + _samples(shape)[0] * self.subvectors * self._bits

    @property
    def _bits(self) -> int:
        return index_bits(self.centroids)

    def _residual(
        self, values: NDArray[np.float32], book: NDArray[np.float32], index: NDArray[np.int32]
    ) -> NDArray[np.float32] | None:
        """Return what the codec takes away, if the gradient is to be corrected by it."""
        if not self.correction:
            return None
        from sfsim.codec.product_kernel import residual

        out = np.empty_like(values)
        places = (-1, self.groups, self.subvectors // self.groups, book.shape[2])
        residual(values.reshape(places), book, index, out.reshape(places))
        return out

    def _grouped(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the pieces (group, piece, length) of samples (B, d), by sample, then by place."""
        samples, d = rows.shape
        each, length = self.subvectors // self.groups, d // self.subvectors
        pieces = rows.reshape(samples, self.groups, each, length)
        return pieces.transpose(1, 0, 2, 3).reshape(self.groups, samples * each, length)

    def _look_up(
        self, book: NDArray[np.float32], index: NDArray[Any], shape: tuple[int, ...]
    ) -> NDArray[np.float32]:
        samples, _ = _samples(shape)
        each = self.subvectors // self.groups
        pieces = np.stack([centres[of] for centres, of in zip(book, index, strict=True)])
        whole = pieces.reshape(self.groups, samples, each, -1).transpose(1, 0, 2, 3)
        return np.ascontiguousarray(whole).reshape(shape)

    def _books(self, data: Buffer, d: int) -> NDArray[np.float32]:
        book = np.frombuffer(data, "<f4").reshape(self.groups, self.centroids, d // self.subvectors)
        return book.astype(np.float32)

    def _cluster(self, vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Return the centres (L, length) and the nearest one of each of the vectors (N, length)."""
        from sfsim.codec import product_kernel as kernel

        columns = np.ascontiguousarray(vectors.T)
        sums = np.zeros(columns.shape[1])
        for row in columns:  # one after another: numpy's own order depends on the shape
            sums += row
        ranks = (2 * np.arange(self.centroids) + 1) * sums.size // (2 * self.centroids)
        centres = vectors[_at_ranks(sums, ranks)].astype(np.float64)
        norms = np.sqrt(np.einsum("ij,ij->j", columns, columns))
        nearest = np.full(sums.size, -1, np.int32)
        for _ in range(self.iterations):
            if not kernel.assign(columns, norms, centres, _repeated(centres), nearest):
                break
            kernel.average(columns, nearest, centres)
        book = centres.astype(np.float32)
        rounded = book.astype(np.float64)
        kernel.assign(columns, norms, rounded, _repeated(rounded), nearest)
        return book, nearest


def _samples(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return how many samples a shape has, and how many elements each; fewer than two axes are one sample."""
    return (1, prod(shape)) if len(shape) < 2 else (shape[0], prod(shape[1:]))


def _repeated(centres: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark centres that equal an earlier one."""
    seen: set[bytes] = set()
    marks = np.zeros(centres.shape[0], bool)
    for index, row in enumerate(centres + 0.0):  # of zeros, too, there is one only
        content = row.tobytes()
        marks[index] = content in seen
        seen.add(content)
    return marks


def _at_ranks(sums: NDArray[np.float64], ranks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indices that a stable sort of `sums` has at `ranks`, by sorting no more than their buckets."""
    from sfsim.codec import product_kernel as kernel

    low, high = float(sums.min()), float(sums.max())
    scale = (_BUCKETS - 1) / (high - low) if high > low else 0.0
    bucket, counts = np.empty(sums.size, np.int32), np.zeros(_BUCKETS, np.int64)
    kernel.sort_into_buckets(sums, low, scale if np.isfinite(scale) else 0.0, bucket, counts)
    ends = np.cumsum(counts)
    of_rank = np.searchsorted(ends, ranks, side="right")
    wanted = np.zeros(_BUCKETS, bool)
    wanted[of_rank] = True
    members = np.empty(int(counts[wanted].sum()) + 1, np.int64)
    kernel.members(bucket, wanted, members)
    members = members[:-1]
    members = members[np.argsort(sums[members], kind="stable")]
    # Members are sorted as all are, without the buckets that nobody asked for.
    left_out = np.cumsum(np.where(wanted, 0, counts))
    return members[ranks - left_out[of_rank]]

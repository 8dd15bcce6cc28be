"""Channel-adaptive: channels grouped by their entropy, a width and a range for each group (SL-ACC).

A reference design: of the paper, no formula and no code is public; what is known is told in the class.
"""

from collections.abc import Sequence
from math import prod
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sfsim.codec import bits as packing
from sfsim.codec.base import Codec, Coded, Memory, single
from sfsim.codec.frame import Buffer
from sfsim.declaration import declaration, misfit
from sfsim.errors import CodecError


@declaration
class ChannelAdaptive(Codec):
    """Quantise each group of channels of similar entropy with a width of its own.

    A channel is an index of axis 1 over all others. Its entropy, blended with the mean of those of this
    sender's earlier messages, places it in one of at most `groups` runs of least within-run sum of squares
    (K-means in one dimension, solved exactly). Widths go linearly from `min_bits` for the group of least mean
    entropy to `max_bits` for the one of most; each group is quantised linearly between its smallest and largest
    value. Gradients have heavy tails, for which one range in a group is poor.

    Parameters
    ----------
    groups : int
        At most so many groups, 1 to 16.
    min_bits : int
        Width of the group of least entropy, 1 to 8.
    max_bits : int
        Width of the group of most entropy, 1 to 8.
    history : float
        Weight of the earlier messages, 0 to below 1; a first message has none.
    entropy : {"histogram", "softmax"}
        Of the frequencies in equal bins over the tensor's range, where a dead channel gets 0; or of the softmax
        over the channel's values, where it gets the most. The published choice is not known.
    bins : int
        Of the histogram, 2 to 65536.

    Source
    ------
    Reference design after the abstract of SL-ACC (arXiv:2508.12984).

    Left out
    --------
    Whatever the paper does that its abstract does not say.
    """

    kind: Literal["channel-adaptive"] = "channel-adaptive"
    groups: Annotated[int, Field(ge=1, le=16)] = 4
    min_bits: Annotated[int, Field(ge=1, le=8)] = 2
    max_bits: Annotated[int, Field(ge=1, le=8)] = 8
    history: Annotated[float, Field(ge=0, lt=1)] = 0.5
    entropy: Literal["histogram", "softmax"] = "histogram"
    bins: Annotated[int, Field(ge=2, le=65536)] = 256
    num_parts: ClassVar[int] = 3
    encode_passes: ClassVar[float] = 4  # smallest, largest, entropy, quantisation
    decode_flops: ClassVar[float] = 2

    def __post_init__(self) -> None:
        if self.max_bits < self.min_bits:
            raise misfit("max_bits", str(self.max_bits), f"at least min_bits, which is {self.min_bits}")

    @property
    def name(self) -> str:
        said = f"sl-acc-{self.groups}x{self.min_bits}-{self.max_bits}bit"
        return said + ("-softmax" if self.entropy == "softmax" else "")

    @property
    def remembers(self) -> bool:
        return self.history > 0

    def estimate_bits(self, numel: int) -> float:
        return numel * (self.min_bits + self.max_bits) / 2

    def encode_operations(self, shape: tuple[int, ...]) -> float:
        # Two comparisons, quantisation; a bin, or an exponential and two sums.
        return (7.0 + (4 if self.entropy == "histogram" else 12)) * prod(shape)

    def encode_symbols(self, numel: int) -> float:
        return numel * (1 if self.entropy == "histogram" else 0) + packing.symbols(numel, 5)

    def decode_symbols(self, numel: int) -> float:
        return packing.symbols(numel, 5)

    def pack(self, x: NDArray[Any], rng: np.random.Generator | None, training: bool) -> Coded:
        return self.pack_after(x, rng, training, None)

    def pack_after(
        self, x: NDArray[Any], rng: np.random.Generator | None, training: bool, memory: Memory | None
    ) -> Coded:
        from sfsim.codec import channel_kernel as kernel

        if x.size == 0:
            single(x, self.name)
            return Coded((b"", b"", b""), 0.0, memory=memory)
        values, lows, highs, saturated = self._ranges(x)
        entropies = self._entropies(values, lows, highs)
        blended, after = self._remember(entropies, memory)
        group, widths = self._groups(blended)
        num_groups = widths.size
        low, high = (np.empty(num_groups, np.float32) for _ in range(2))
        for g in range(num_groups):
            low[g], high[g] = lows[group == g].min(), highs[group == g].max()
        each = values.shape[0] * values.shape[2]
        code_bits = int((each * widths[group])[(high > low)[group]].sum())
        out = np.zeros(packing.num_bytes(code_bits, 1) + 4, np.uint8)
        order = np.argsort(group, kind="stable")
        kernel.quantise(values, order, widths[group], *_wide(low, high, group), out)
        ends = np.stack((low, high), axis=1).astype("<f4").tobytes()
        codes = out[: packing.num_bytes(code_bits, 1)].tobytes()
        bits = _head_bits(group.size, num_groups) + 64.0 * num_groups + code_bits
        return Coded((_pack_head(group, widths), ends, codes), bits, saturated, after)

    def unpack(self, parts: Sequence[Buffer], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        from sfsim.codec import channel_kernel as kernel

        if prod(shape) == 0:
            if any(len(part) for part in parts):
                raise CodecError("an empty tensor came with bytes of content")
            return np.zeros(shape, dtype)
        group, widths, low, high, _ = self._read(parts, shape)
        span = high.astype(np.float64) - low
        levels = np.arange(256) * span[:, None] / (2.0**widths - 1)[:, None] + low[:, None]
        # Codes beyond a group's width do not occur; rounded to the tensor's type once, here.
        of_code = np.minimum(levels, high[:, None].astype(np.float64)).astype(dtype)
        work = np.float32 if dtype.itemsize < 4 else dtype
        x = np.empty(_view(shape), work)
        data, order = np.frombuffer(parts[2], np.uint8), np.argsort(group, kind="stable")
        tables = of_code.astype(work)[group]
        kernel.dequantise(data, order, widths[group], (span == 0)[group], tables, x)
        return x.astype(dtype, copy=False).reshape(shape)

    def facts(self, parts: Sequence[Buffer], shape: tuple[int, ...]) -> dict[str, Any]:
        """Return ``groups``, that of each channel, and ``widths``, that of each group."""
        if prod(shape) == 0:
            return {"groups": [], "widths": []}
        group, widths, *_ = self._read(parts, shape)
        return {"groups": group.tolist(), "widths": widths.tolist()}

    def formula_bits(self, parts: Sequence[Buffer], shape: tuple[int, ...]) -> float:
        if prod(shape) == 0:
            return 0.0
        group, widths, *_, code_bits = self._read(parts, shape)
        return _head_bits(group.size, widths.size) + 64.0 * widths.size + code_bits

    def _ranges(
        self, x: NDArray[Any]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], int]:
        """Return the values as (samples, channels, places), each channel's ends, and how many saturated."""
        saturated = 0
        if x.dtype == np.float32 and x.flags.c_contiguous:
            values = x  # whether all are finite shows in the ends
        else:
            values, saturated = single(x, self.name)
        viewed = values.reshape(_view(x.shape))
        lows, highs = (ends(axis=2) for ends in (viewed.min, viewed.max))
        low, high = lows.min(axis=0), highs.max(axis=0)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            single(x, self.name)  # names the first one that is not
        return viewed, low, high, saturated

    def _entropies(
        self, values: NDArray[np.float32], lows: NDArray[np.float32], highs: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Return the entropy of each channel in bits."""
        from sfsim.codec import channel_kernel as kernel

        samples, channels, places = values.shape
        if self.entropy == "softmax":
            entropies = np.empty(channels)
            for c in range(channels):
                shifted = values[:, c].astype(np.float64) - float(highs[c])
                weights = np.exp(shifted)
                total = weights.sum()
                entropies[c] = np.log2(total) - (weights * shifted).sum() / total / np.log(2)
            return entropies
        low, high = float(lows.min()), float(highs.max())
        if low == high:
            return np.zeros(channels)
        counts = np.empty((channels, self.bins), np.int64)
        kernel.histogram(values, low, high, self.bins, counts)
        # Ascending, so that channels of the same frequencies have the same entropy to the last bit.
        counts.sort(axis=1)
        p = counts / (samples * places)
        return (p * -np.log2(p, out=np.zeros_like(p), where=counts > 0)).sum(axis=1) + 0.0

    def _remember(
        self, entropies: NDArray[np.float64], memory: Memory | None
    ) -> tuple[NDArray[np.float64], Memory | None]:
        """Return the entropies blended with those of earlier messages, and what is to be remembered."""
        if not self.remembers:
            return entropies, None
        if memory is None:
            return entropies, {"mean": entropies, "messages": np.ones(1, np.int64)}
        mean, count = memory["mean"], memory["messages"]
        if mean.size != entropies.size:
            raise CodecError(
                f"found {entropies.size} channels, expected {mean.size} as in this sender's earlier messages"
            )
        blended = self.history * mean + (1 - self.history) * entropies
        return blended, {"mean": (mean * count + entropies) / (count + 1), "messages": count + 1}

    def _groups(self, blended: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the group of each channel, ascending in mean entropy, and the width of each group."""
        from sfsim.codec import channel_kernel as kernel

        values, inverse, weights = np.unique(blended, return_inverse=True, return_counts=True)
        of_value = np.zeros(values.size, np.int64)
        kernel.runs(values, weights, min(self.groups, values.size), of_value)
        group = of_value[inverse]
        means = np.bincount(group, weights=blended) / np.bincount(group)
        if means.size == 1:
            return group, np.array([int(np.rint((self.min_bits + self.max_bits) / 2))])
        share = (means - means[0]) / (means[-1] - means[0])
        return group, np.rint(self.min_bits + (self.max_bits - self.min_bits) * share).astype(np.int64)

    def _read(self, parts: Sequence[Buffer], shape: tuple[int, ...]) -> tuple[Any, Any, Any, Any, int]:
        """Return each channel's group, each group's width and ends, and the bits of the codes."""
        samples, channels, places = _view(shape)
        group, widths = _unpack_head(parts[0], channels)
        if (widths < self.min_bits).any() or (widths > self.max_bits).any() or widths.size > self.groups:
            raise CodecError(
                f"groups: expected at most {self.groups} of {self.min_bits} to {self.max_bits} bits"
            )
        if len(parts[1]) != 8 * widths.size:
            raise CodecError(f"end points: found {len(parts[1])} bytes, expected {8 * widths.size}")
        low, high = np.frombuffer(parts[1], "<f4").reshape(-1, 2).T
        if not (np.isfinite(low).all() and np.isfinite(high).all() and (low <= high).all()):
            raise CodecError("end points: expected finite numbers, the smaller first")
        code_bits = int((samples * places * widths[group])[(high > low)[group]].sum())
        if len(parts[2]) != packing.num_bytes(code_bits, 1):
            raise CodecError(
                f"codes: found {len(parts[2])} bytes, expected {packing.num_bytes(code_bits, 1)}"
            )
        return group, widths, low, high, code_bits


def _view(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (samples, channels, places); fewer than two axes are one channel."""
    return (1, 1, prod(shape)) if len(shape) < 2 else (shape[0], shape[1], prod(shape[2:]))


def _wide(
    low: NDArray[np.float32], high: NDArray[np.float32], group: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return low.astype(np.float64)[group], high.astype(np.float64)[group]


def _head_bits(channels: int, groups: int) -> int:
    return 4 + channels * (groups - 1).bit_length() + 3 * groups


def _pack_head(group: NDArray[np.int64], widths: NDArray[np.int64]) -> bytes:
    from sfsim.codec.bit_kernel import pack_fields

    k = widths.size
    bits = np.repeat([4, (k - 1).bit_length(), 3], [1, group.size, k])
    return pack_fields(np.concatenate(([k - 1], group, widths - 1)), bits)


def _unpack_head(data: Buffer, channels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    from sfsim.codec.bit_kernel import unpack_fields

    k = (data[0] >> 4) + 1 if len(data) else 1
    if len(data) != packing.num_bytes(_head_bits(channels, k), 1):  # before `channels` fields are made
        raise CodecError(
            f"groups: found {len(data)} bytes, expected {packing.num_bytes(_head_bits(channels, k), 1)}"
        )
    bits = np.repeat([4, (k - 1).bit_length(), 3], [1, channels, k])
    fields = unpack_fields(data, bits.size, bits, "groups")
    group, widths = fields[1 : 1 + channels], fields[1 + channels :] + 1
    if (group >= k).any():
        raise CodecError(f"groups: found group {group.max()}, expected numbers below {k}")
    return group, widths

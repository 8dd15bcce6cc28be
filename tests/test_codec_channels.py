"""SL-ACC, the reference design: the specification's tables, and a slow twin that says the same."""

from itertools import combinations

import numpy as np
import pytest
from codec_contract import rng
from shelf import bit_string, check_corruptions, error, min_max, parts_of, ramp, random_shapes

from sfsim.codec import ChannelAdaptive, parse
from sfsim.codec.channel_kernel import runs
from sfsim.errors import CodecError, ConfigError

X = ramp(2, 6, 3, 3)
X[:, 1] *= 0.125
X[:, 2] = 0
X[:, 3] = np.abs(X[:, 3])
X[:, 4] *= 0.5
HISTOGRAM = [4.16993, 4.05881, 0, 4.16993, 4.16993, 4.16993]
MEANS = {"mean": np.array([0, 0, 3, 3, 3, 0.0]), "messages": np.array([1])}


@pytest.mark.parametrize(
    ("keys", "memory", "bits", "entropies", "groups", "widths", "expected"),
    [
        ({}, None, 937, HISTOGRAM, [2, 1, 0, 2, 2, 2], [2, 8, 8], 0.05926),
        ({"groups": 2}, None, 864, HISTOGRAM, [1, 1, 0, 1, 1, 1], [2, 8], 0.06567),
        (
            {"bins": 16},
            None,
            896,
            [3.72548, 0.99108, 0, 2.97494, 2.97494, 3.50326],
            [3, 1, 0, 2, 2, 3],
            [2, 4, 7, 8],
            0.09469,
        ),
        (
            {"entropy": "softmax"},
            None,
            878,
            [3.02561, 4.13258, 4.16993, 3.69644, 3.65077, 2.84515],
            [1, 3, 3, 2, 2, 0],
            [2, 3, 6, 8],
            2.55101,
        ),
        ({}, MEANS, 788, HISTOGRAM, [2, 1, 0, 3, 3, 2], [2, 4, 4, 8], 0.70428),
    ],
)
def test_table(
    keys: dict, memory: dict, bits: int, entropies: list, groups: list, widths: list, expected: float
) -> None:
    codec = ChannelAdaptive(**keys)
    encoded = codec.encode(X, memory=memory)
    assert encoded.estimated_bits == bits
    told = codec.explain(encoded.payload)
    assert (told["groups"], told["widths"]) == (groups, widths)
    if memory is None:
        assert encoded.memory is not None and encoded.memory["mean"] == pytest.approx(entropies, abs=5.1e-6)
        assert error(codec, X) == pytest.approx(expected, abs=5.1e-6)
        if not keys:
            assert sum(told["parts"]) == 118
    else:
        y = codec.decode(encoded.payload)
        assert np.linalg.norm(y.astype(np.float64) - X) == pytest.approx(expected, abs=5.1e-6)
        assert encoded.memory is not None and encoded.memory["messages"] == 2
        assert encoded.memory["mean"] == pytest.approx((MEANS["mean"] + HISTOGRAM) / 2, abs=5.1e-6)


@pytest.mark.parametrize(
    ("values", "most", "expected"),
    [
        ([1, 2, 3, 10, 11, 12, 30], 3, [0, 0, 0, 1, 1, 1, 2]),
        ([0, 0, 0, 1], 2, [0, 0, 0, 1]),
        ([0, 1, 2, 3], 2, [0, 0, 1, 1]),
        ([0, 1, 2], 2, [0, 1, 1]),
    ],
)
def test_runs(values: list[float], most: int, expected: list[int]) -> None:
    distinct, inverse, counts = np.unique(np.array(values, float), return_inverse=True, return_counts=True)
    group = np.zeros(distinct.size, np.int64)
    runs(distinct, counts, most, group)
    assert group[inverse].tolist() == expected


def best_partition(values: np.ndarray, most: int) -> list[int]:
    """Return the group of each value, by trying every partition of the distinct ones into runs."""
    distinct = np.unique(values)
    k = min(most, distinct.size)
    costs = {}
    for cuts in combinations(range(1, distinct.size), k - 1):
        group = np.searchsorted(cuts, np.searchsorted(distinct, values), side="right")
        costs[cuts] = sum(((values[group == g] - values[group == g].mean()) ** 2).sum() for g in range(k))
    least = min(costs.values())
    cuts = min((c for c in costs if costs[c] <= least + 1e-12), key=lambda c: c[::-1])
    return np.searchsorted(cuts, np.searchsorted(distinct, values), side="right").tolist()


def twin(x: np.ndarray, codec: ChannelAdaptive) -> tuple[list[bytes], float, np.ndarray]:
    """Return parts, bits and the reconstruction."""
    channels = x[None, None] if x.ndim < 2 else np.swapaxes(x, 0, 1)
    channels = channels.reshape(channels.shape[0], -1).astype(np.float64)
    low, high, entropies = channels.min(), channels.max(), []
    for values in channels:
        if codec.entropy == "softmax":
            p = np.exp(values - values.max())
            p /= p.sum()
        elif low == high:
            p = np.ones(1)
        else:
            bins = np.minimum(((values - low) * codec.bins / (high - low)).astype(int), codec.bins - 1)
            p = np.sort(np.unique(bins, return_counts=True)[1] / values.size)
        entropies.append(float(sum(-q * np.log2(q) for q in p if q)))
    # Entropies that are equal but for the order of their sums are equal.
    entropies = np.round(np.array(entropies), 12)
    group = np.array(best_partition(entropies, codec.groups))
    k = group.max() + 1
    means = np.array([entropies[group == g].mean() for g in range(k)])
    share = (means - means[0]) / (means[-1] - means[0]) if k > 1 else np.array([0.5])
    widths = np.rint(codec.min_bits + (codec.max_bits - codec.min_bits) * share).astype(int)
    ends, codes, out = [], [], np.zeros_like(channels)
    for g in range(k):
        lo, hi = channels[group == g].min(), channels[group == g].max()
        ends += [lo, hi]
        for c in np.flatnonzero(group == g):
            out[c] = lo
            if hi > lo:
                code, out[c] = min_max(channels[c], widths[g], lo, hi)
                codes += [(number, widths[g]) for number in code]
    each = int(k - 1).bit_length()
    head = [(k - 1, 4), *[(g, each) for g in group], *[(b - 1, 3) for b in widths]]
    bits = 4 + group.size * each + 67 * k + sum(b for _, b in codes)
    y = (
        out.reshape(x.shape)
        if x.ndim < 2
        else np.swapaxes(out.reshape(x.shape[1], x.shape[0], *x.shape[2:]), 0, 1)
    )
    return [bit_string(head), np.array(ends, "<f4").tobytes(), bit_string(codes)], bits, y


@pytest.mark.parametrize("entropy", ["histogram", "softmax"])
def test_twin_and_sizes(entropy: str) -> None:
    for number, shape in enumerate(random_shapes(50, 4)):
        codec = ChannelAdaptive(entropy=entropy, groups=1 + number % 5, max_bits=8 - number % 3, bins=16)
        x = np.random.default_rng(number).standard_normal(shape).astype(np.float32)
        x = np.maximum(x, 0) if number % 2 else x
        parts, bits, y = twin(x, codec)
        encoded = codec.encode(x)
        assert encoded.estimated_bits == bits
        assert parts_of(codec, encoded.payload) == parts
        assert np.abs(codec.decode(encoded.payload) - y).max() <= 1e-6 * np.abs(x).max()


def test_memory_belongs_to_the_sender() -> None:
    codec, memory = ChannelAdaptive(history=0.5), None
    entropies = []
    for seed in range(3):
        x = np.random.default_rng(seed).standard_normal((2, 5, 8)).astype(np.float32)
        encoded = codec.encode(x, memory=memory)
        fresh = codec.encode(x).memory
        assert fresh is not None and encoded.memory is not None
        entropies.append(fresh["mean"])
        memory = encoded.memory
        assert memory["mean"] == pytest.approx(np.mean(entropies, axis=0))
        assert np.array_equal(codec.decode(encoded.payload), codec.decode(encoded.payload))
    with pytest.raises(CodecError, match="found 4 channels, expected 5 as in this sender's earlier messages"):
        codec.encode(np.ones((2, 4, 8), np.float32), memory=memory)
    assert ChannelAdaptive(history=0).encode(x).memory is None


def test_corruptions() -> None:
    check_corruptions(ChannelAdaptive(), X, rng)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match=r"history.*below 1|history.*less than 1"):
        parse({"kind": "channel-adaptive", "history": 1.0}, "x")
    with pytest.raises(ConfigError, match="at least min_bits"):
        parse({"kind": "channel-adaptive", "min_bits": 5, "max_bits": 4}, "x")

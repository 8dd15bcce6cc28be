"""RandTopk: the law of its draws, and the mask of the returning gradient."""

from itertools import combinations

import numpy as np
import pytest
from codec_contract import ENTRIES, rng
from scipy import stats

from sfsim.codec import Chain, RandTopK, Zstd

X = np.array([0.1, -5.0, 0.2, 4.0, 0.3, -0.4, 0.5, 0.6], np.float32)


def pair_probability(i: int, j: int, weights: np.ndarray) -> float:
    """Return the chance that drawing twice without replacement gives i and j, in either order."""
    return float(weights[i] * weights[j] / (1 - weights[i]) + weights[j] * weights[i] / (1 - weights[j]))


@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.9])
def test_draws_follow_the_weights(alpha: float) -> None:
    weights = np.full(8, alpha / 6)
    weights[[1, 3]] = (1 - alpha) / 2
    if alpha == 0.1:
        assert weights[[1, 0]] == pytest.approx([0.45, 0.016667], abs=1e-6)
    draws = 10_000
    codec = RandTopK(keep=0.25, alpha=alpha)
    y = codec.decode(codec.encode(np.tile(X, (draws, 1)), rng(), True).payload)
    assert ((y != 0).sum(axis=1) == 2).all()
    pairs = list(combinations(range(8), 2))
    found = [int(((y[:, i] != 0) & (y[:, j] != 0)).sum()) for i, j in pairs]
    expected = draws * np.array([pair_probability(i, j, weights) for i, j in pairs])
    assert expected.sum() == pytest.approx(draws)
    assert stats.chisquare(found, expected).pvalue > 0.001


def test_large_shares_follow_the_weights_too() -> None:
    """More is kept than is left out: the others can all be drawn."""
    weights = np.array([0.3 / 2, 0.3 / 2, 0.7 / 3, 0.7 / 3, 0.7 / 3])
    draws = 10_000
    x = np.tile(np.array([1, 2, 30, 40, 50], np.float32), (draws, 1))
    codec = RandTopK(keep=0.6, alpha=0.3)
    y = codec.decode(codec.encode(x, rng(), True).payload)
    # Left out is a pair: sum over the orders in which the other three are drawn.
    missing = [int(((y[:, i] == 0) & (y[:, j] == 0)).sum()) for i, j in combinations(range(5), 2)]
    expected = [draws * _chance_of_leaving(pair, weights) for pair in combinations(range(5), 2)]
    assert stats.chisquare(missing, expected).pvalue > 0.001


def _chance_of_leaving(pair: tuple[int, ...], weights: np.ndarray, left: float = 1.0) -> float:
    def rec(remaining: frozenset[int], total: float) -> float:
        if not remaining:
            return 1.0
        return sum(weights[i] / total * rec(remaining - {i}, total - weights[i]) for i in remaining)

    return float(rec(frozenset(range(5)) - set(pair), left))


def test_evaluation_is_top_k_of_each_sample() -> None:
    codec = RandTopK(keep=0.25, alpha=0.3)
    x = np.stack([X, X[::-1]])
    kept = codec.decode(codec.encode(x).payload)
    assert kept.tolist() == [[0, -5, 0, 4, 0, 0, 0, 0], [0, 0, 0, 0, 4, 0, -5, 0]]
    assert np.array_equal(codec.decode(codec.encode(x, rng(), False).payload), kept)
    plain = RandTopK(keep=0.25, alpha=0.0)
    assert np.array_equal(plain.decode(plain.encode(x, rng(), True).payload), kept)
    # A vector is one sample.
    assert np.count_nonzero(codec.decode(codec.encode(X).payload)) == 2


@pytest.mark.parametrize("byte_stages", [(), (Zstd(level=1),)])
def test_gradient_support(byte_stages: tuple[Zstd, ...]) -> None:
    plain = RandTopK(keep=0.2, alpha=0.2)
    codec = Chain(stages=(plain, *byte_stages)) if byte_stages else plain
    assert codec.gradient_place == "support"
    x = rng().standard_normal((4, 3, 5, 2)).astype(np.float32)
    payload = codec.encode(x, rng(), True).payload
    support = codec.gradient_support(payload)
    assert support is not None and support.dtype == np.int64
    assert np.array_equal(support, np.flatnonzero(codec.decode(payload)))
    assert support.size == 4 * 6
    empty = codec.encode(x[:0], rng(), True).payload
    assert codec.gradient_support(empty).size == 0  # type: ignore[union-attr]


def test_other_codecs_leave_the_gradient_alone() -> None:
    for name, codec in ENTRIES.items():
        drops = name.startswith("randtopk") or (codec.kind == "feature-wise" and codec.reduction > 1)
        assert (codec.gradient_place == "support") == drops
        if codec.gradient_place == "input":
            assert codec.gradient_support(codec.encode(X).payload) is None

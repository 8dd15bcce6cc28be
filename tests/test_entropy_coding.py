"""The entropy coder: tables against scipy, round trips, sizes against the ideal, damaged streams."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from sfsim import seeds
from sfsim.codec.entropy import gaussian, mixture, rans, tables
from sfsim.codec.entropy.factorised import Factorised
from sfsim.errors import CodecError


def parameters(n: int, components: int, widest: float = 8.0, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Random means, scale levels and weights (K, n), and the same as floats."""
    rng = seeds.stream(seed, "test", "parameters")
    means = rng.normal(0, 3, (components, n))
    scales = np.exp(rng.uniform(np.log(0.12), np.log(widest), (components, n)))
    raw = rng.integers(-700, 700, (components, n))
    outputs = np.concatenate((np.rint(scales * 1024), np.rint(means * 256), raw)).astype(np.int32)
    if components == 1:
        outputs = outputs[:2]
    found = (
        np.zeros((components, n), np.int32),
        np.zeros((components, n), np.int16),
        np.zeros((components, n), np.int32),
    )
    # One channel, n pixels.
    gaussian.split(np.ascontiguousarray(outputs.T), n, 1, 0, *found)
    weights = np.exp(raw / 64) / np.exp(raw / 64).sum(axis=0) if components > 1 else np.ones((1, n))
    return (*found, means, scales, weights)


def draw(means: np.ndarray, scales: np.ndarray, weights: np.ndarray, seed: int = 0) -> np.ndarray:
    """Symbols from the mixtures."""
    rng = seeds.stream(seed, "test", "symbols")
    n = means.shape[1]
    pick = (rng.random(n) > np.cumsum(weights, axis=0)).sum(axis=0).clip(0, len(weights) - 1)
    at = (pick, np.arange(n))
    return np.rint(rng.normal(means[at], scales[at])).astype(np.int32)


def encode(
    values: np.ndarray, coded: tuple[np.ndarray, ...], low: int, high: int, leak: int = 0, shift: int = 0
) -> tuple[bytes, float]:
    words = rans.room(values.size)
    state, at, bits = mixture.encode(values, *coded, low, high, leak, shift, rans.START, words, words.size)
    return rans.finish(state, words, at), bits


def decode(
    stream: bytes, n: int, coded: tuple[np.ndarray, ...], low: int, high: int, leak: int = 0, shift: int = 0
) -> np.ndarray:
    state, words = rans.begin(stream)
    values = np.empty(n, np.int32)
    state, at = mixture.decode(values, *coded, low, high, leak, shift, state, words, 0)
    rans.check_end(state, at, words)
    return values


def test_tables_are_the_normal_distribution() -> None:
    x = np.arange(1025) / 128
    assert np.abs(tables.UPPER_TAIL[:1025] - norm.sf(x) * 2**30).max() < 0.51
    assert tables.UPPER_TAIL[-1] == tables.UPPER_TAIL[-2] == 0
    assert tables.EXPONENTIALS[0] == 2**16 and tables.EXPONENTIALS[64] == round(2**16 / np.e)


def test_scale_levels_are_close_to_the_scale() -> None:
    """Half a step of 1/32 octave at most, from 0.11 to 1024."""
    scales = np.unique(np.geomspace(113, 2**20 - 1, 5000).astype(np.int32))
    levels = np.zeros((1, scales.size), np.int16)
    none = np.zeros((1, scales.size), np.int32)
    gaussian.split(scales[:, None].copy(), scales.size, 1, 0, none, levels, none)
    found = 2.0 ** (20 + 8) / tables.INVERSE_SCALES[levels[0]]
    assert np.abs(found / (scales / 1024) - 1).max() < 0.017


def test_mixture_weights_add_up() -> None:
    _, _, weights, _, _, wanted = parameters(2000, 3)
    assert (weights.sum(axis=0) == 2**16).all() and (weights >= 0).all()
    assert np.abs(weights / 2**16 - wanted).max() < 2e-4


@pytest.mark.parametrize("components", [1, 3])
def test_round_trip_at_the_ideal_size(components: int) -> None:
    """Integers cost at most 0.3 % more than the float model, and the stream at most 8 bytes more than its model."""
    *coded, means, scales, weights = parameters(20_000, components)
    values = draw(means, scales, weights)
    low, high = int(values.min()), int(values.max())
    stream, bits = encode(values, tuple(coded), low, high)
    mass = weights * (norm.cdf((values + 0.5 - means) / scales) - norm.cdf((values - 0.5 - means) / scales))
    ideal = -np.log2(mass.sum(axis=0)).sum() / 8
    assert bits / 8 == pytest.approx(ideal, rel=0.003)
    assert len(stream) <= 1.0005 * bits / 8 + 8
    assert np.array_equal(decode(stream, values.size, tuple(coded), low, high), values)


@given(
    seed=st.integers(0, 10**6), components=st.sampled_from([1, 3]), n=st.integers(1, 300),
    spread=st.floats(0.0, 1e5), leak=st.integers(0, 3), shift=st.integers(-64, 63).map(lambda half: 2 * half),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_any_symbols_come_back(
    seed: int, components: int, n: int, spread: float, leak: int, shift: int
) -> None:
    """Whatever the model expects: outliers, one symbol only, alphabets of a million."""
    *coded, _, _, _ = parameters(n, components, seed=seed)
    rng = seeds.stream(seed, "test", "any")
    values = np.rint(rng.standard_cauchy(n) * spread).clip(-(2**20), 2**20).astype(np.int32)
    low, high = int(values.min()), int(values.max())
    stream, _ = encode(values, tuple(coded), low, high, leak, shift)
    assert np.array_equal(decode(stream, n, tuple(coded), low, high, leak, shift), values)


def test_an_alphabet_of_one_symbol_costs_nothing() -> None:
    """A frequency of all 2**24: the case that overflows careless coders."""
    *coded, _, _, _ = parameters(1000, 1)
    values = np.full(1000, 7, np.int32)
    stream, bits = encode(values, tuple(coded), 7, 7)
    assert (len(stream), bits) == (6, 0)
    assert np.array_equal(decode(stream, 1000, tuple(coded), 7, 7), values)


def test_calibration_mends_a_model_that_is_too_sure() -> None:
    """Scales four times too small: shift and leak win back most of what that costs."""
    *coded, means, scales, weights = parameters(20_000, 1)
    values = draw(means, 4 * scales, weights)
    low, high = int(values.min()), int(values.max())
    plain, _ = encode(values, tuple(coded), low, high)
    leak, shift = mixture.calibrate(values, *coded, low, high)
    better, _ = encode(values, tuple(coded), low, high, leak, shift)
    assert shift in (56, 64, 72) and len(better) < 0.75 * len(plain)


def model(channels: int, seed: int = 0) -> Factorised:
    rng = seeds.stream(seed, "test", "factorised")
    return Factorised(
        rng.normal(0.3, 0.3, (channels, 33)), rng.uniform(-0.5, 0.5, (channels, 13)),
        rng.normal(0, 0.5, (channels, 12)),
        rng.normal(0, 1, channels).astype(np.float32),
    )  # fmt: skip


@given(seed=st.integers(0, 10**6), spread=st.floats(0, 3000))
@settings(max_examples=25, deadline=None)
def test_factorised_symbols_come_back(seed: int, spread: float) -> None:
    rng = seeds.stream(seed, "test", "any")
    values = np.rint(rng.standard_normal((2, 3, 4, 5)) * spread).astype(np.int32)
    low, high = int(values.min()), int(values.max())
    words = rans.room(values.size)
    sender, receiver = model(3, seed), model(3, seed)
    leak = sender.calibrate(values, low, high)
    state, at, bits = sender.encode(values, low, high, leak, rans.START, words, words.size)
    stream = rans.finish(state, words, at)
    assert len(stream) <= bits / 8 * 1.001 + 8
    state, words = rans.begin(stream)
    found, state, at = receiver.decode(values.shape, low, high, leak, state, words, 0)
    rans.check_end(state, at, words)
    assert np.array_equal(found, values)


@pytest.mark.parametrize("stream", [b"", b"12345", b"1234567", bytes(6)])
def test_what_is_no_stream(stream: bytes) -> None:
    with pytest.raises(CodecError, match="bitstream"):
        rans.begin(stream)


def test_a_damaged_stream_ends_in_the_wrong_state() -> None:
    """The coder itself sees all but one of 2**32 damages, before any checksum."""
    *coded, means, scales, weights = parameters(400, 1)
    values = draw(means, scales, weights)
    low, high = int(values.min()), int(values.max())
    stream, _ = encode(values, tuple(coded), low, high)
    for place in range(0, 8 * len(stream), 5):
        broken = bytearray(stream)
        broken[place // 8] ^= 1 << place % 8
        with pytest.raises(CodecError):
            decode(bytes(broken), 400, tuple(coded), low, high)
    for length in range(0, len(stream), 2):
        with pytest.raises(CodecError):
            decode(stream[:length], 400, tuple(coded), low, high)

"""SplitFC: the specification's tables, its dropout by statistics, and a slow twin of the quantiser."""

import numpy as np
import pytest
from codec_contract import rng
from shelf import bit_string, check_corruptions, error, parts_of, ramp

from sfsim.codec import FeatureWise, parse
from sfsim.codec import feature_kernel as kernel
from sfsim.errors import CodecError, ConfigError

X = ramp(8, 6)
X[:, 1] *= 0.25
X[:, 2] = 1
X[:, 4] *= 2
WIDE = ramp(16, 24) * np.tile(np.float32([1, 2, 0.25, 0.5]), 6)
WIDE[:, 5] = 1


class Fixed:
    """Draws that keep the given columns."""

    def __init__(self, *kept: int) -> None:
        self._kept = list(kept)

    def random(self, size: int) -> np.ndarray:
        draws = np.ones(size)
        draws[self._kept] = 0
        return draws


def test_deviations_and_probabilities() -> None:
    two = FeatureWise(reduction=2)
    sigma = [0.19351, 0.03812, 0, 0.16371, 0.32742, 0.1921]
    assert two.deviations(X) == pytest.approx(sigma, abs=5.1e-6) and two.deviations(X)[2] == 0
    p = [0.61726, 0.17317, 0.06421, 0.53211, 1, 0.61325]
    assert two.probabilities(X) == pytest.approx(p, abs=5.1e-6)
    four, maps = FeatureWise(reduction=4), ramp(4, 2, 2, 3)
    sigma = [0.31946, 0.24289, 0.31946, 0.31946, 0.24289, 0.34685]
    sigma += [0.30629, 0.23287, 0.33254, 0.23287, 0.30629, 0.30629]
    assert four.deviations(maps) == pytest.approx(sigma, abs=5.1e-6)
    p = [0.27319, 0.20771, 0.27319, 0.27319, 0.20771, 0.2966]
    p += [0.26192, 0.19914, 0.28437, 0.19914, 0.26192, 0.26192]
    assert four.probabilities(maps) == pytest.approx(p, abs=5.1e-6)
    assert four.probabilities(maps).sum() == pytest.approx(3)
    # Deviations 0, 1, 1, 2.
    plain = FeatureWise(reduction=2, normalise=False)
    assert plain.probabilities(np.float32([[0, -1, 1, 2], [0, 1, -1, -2]])).tolist() == [0, 0.5, 0.5, 1]
    assert plain.probabilities(np.ones((4, 4), np.float32)).tolist() == [0.5] * 4


def test_drop_only() -> None:
    codec = FeatureWise(reduction=2)
    encoded = codec.encode(X, Fixed(0, 3, 4), True)  # type: ignore[arg-type]
    told = codec.explain(encoded.payload)
    assert encoded.estimated_bits == 8 + 6 + 768 == told["estimated_bits"] and told["kept"] == [0, 3, 4]
    y = codec.decode(encoded.payload)
    assert y[0] == pytest.approx([-5.06266, 0, 0, -4.69832, -0.375, 0], abs=5.1e-6)
    assert codec.encode(X, Fixed(), True).payload  # type: ignore[arg-type]
    none = codec.explain(codec.encode(X, Fixed(), True).payload)  # type: ignore[arg-type]
    assert none["kept"] == [4]  # the likeliest
    assert np.array_equal(codec.decode(codec.encode(X).payload), X)  # evaluation drops nothing
    largest = FeatureWise(reduction=2, dropout="deterministic")
    encoded = largest.encode(X, None, True)
    assert largest.explain(encoded.payload)["kept"] == [0, 4, 5] and encoded.kept is None
    assert np.array_equal(largest.decode(encoded.payload)[:, [0, 4, 5]], X[:, [0, 4, 5]])


def test_pullback() -> None:
    codec = FeatureWise(reduction=2)
    encoded = codec.encode(X, Fixed(0, 3, 4), True)  # type: ignore[arg-type]
    support = codec.gradient_support(encoded.payload)
    assert support is not None and support.shape == (8, 3)
    g = ramp(8, 6)
    travelling = g.reshape(-1)[support]
    assert np.array_equal(travelling, g[:, [0, 3, 4]])
    back = np.zeros_like(g)
    back.reshape(-1)[support] = travelling
    applied = codec.correct(back, encoded.kept)
    p = codec.probabilities(X)
    expected = np.zeros_like(g)
    expected[:, [0, 3, 4]] = g[:, [0, 3, 4]] / p[[0, 3, 4]]
    assert applied == pytest.approx(expected, rel=1e-6)
    # The gradient of <g, decoded> with the draw held: decoded is linear in X.
    decoded = codec.decode(encoded.payload)
    assert (g.astype(float) * decoded).sum() == pytest.approx((applied.astype(float) * X).sum(), rel=1e-5)


def test_dropout_is_unbiased() -> None:
    codec, draws = FeatureWise(reduction=2), 10_000
    p, generator = codec.probabilities(X), np.random.default_rng(1)
    kept, total = np.zeros(6), np.zeros((8, 6))
    for _ in range(draws):
        columns, scales = codec._drop(X, generator)
        kept[columns] += 1
        assert scales is not None
        total += X * scales
    deviation = np.sqrt(p * (1 - p) / draws)
    assert (np.abs(kept / draws - p) <= 5 * deviation).all()
    assert (np.abs(total / draws - X) <= 5 * np.abs(X) / p * deviation + 1e-5).all()


@pytest.mark.parametrize(
    ("u", "levels"), [(0.05, 1), (0.5, 2), (1, 2), (4, 3), (6.75, 4), (10, 4), (100, 11)]
)
def test_levels(u: float, levels: int) -> None:
    found = np.zeros(1, np.int64)
    kernel.levels(u, np.ones(1), found)
    assert found[0] == levels


def test_radix_blocks() -> None:
    sizes = {2: (32, 32), 3: (20, 32), 5: (13, 31), 6: (12, 32), 7: (11, 31), 10: (9, 30), 100: (4, 27)}
    sizes |= {200: (4, 31), 256: (4, 32), 1000: (3, 30), 65536: (2, 32)}
    for base, (digits, bits) in sizes.items():
        assert kernel.digit_bits(base, digits) == bits and kernel.digit_bits(base, 2 * digits) == 2 * bits
    assert [kernel.digit_bits(3, 10), kernel.digit_bits(3, 25), kernel.digit_bits(200, 6)] == [16, 40, 47]
    assert kernel.digit_bits(1, 10) == 0


def blocks(digits: list[int], base: int) -> list[tuple[int, int]]:
    """Return (number, bits) of digits in blocks of at most 32 bits."""
    if base == 1:
        return []
    g = max(g for g in range(1, 33) if base**g <= 2**32)
    out = []
    for start in range(0, len(digits), g):
        number = 0
        for digit in digits[start : start + g]:
            number = number * base + digit
        out.append((number, (base ** len(digits[start : start + g]) - 1).bit_length()))
    return out


def slow_levels(c: float, w: float) -> int:
    u = c * (w * w)
    best = 1
    for q in range(1, 65537):
        k = float(q - 1)
        if k * k * k <= u * q:
            best = q
        else:
            break
    return best


def attempt(v: np.ndarray, two: list[int], c: np.float32) -> tuple[list, np.ndarray, int]:
    """Return the parts as (number, bits), the reconstruction and the size for a choice and a c."""
    rows, n = v.shape
    others = [i for i in range(n) if i not in two]
    e0, e1 = (np.float32(f(v[:, two])) if two else np.float32(0) for f in (np.min, np.max))
    step = (float(e1) - float(e0)) / 199
    means = v[:, others].mean(axis=0)
    m0, m1 = (float(np.float32(f(means))) if others else 0.0 for f in (np.min, np.max))
    out, ends, entries = np.zeros_like(v), [[], []], []
    for i in two:
        jl, jh = 0, 0
        if step > 0:
            jl = int(np.clip(np.floor((v[:, i].min() - float(e0)) / step), 0, 199))
            jh = int(np.clip(np.ceil((v[:, i].max() - float(e0)) / step), 0, 199))
        a, w = float(e0) + jl * step, (jh - jl) * step
        q = slow_levels(float(c), w)
        ends[0].append(jl)
        ends[1].append(jh)
        codes = np.clip(np.rint((v[:, i] - a) * (q - 1) / w), 0, q - 1) if w > 0 else np.zeros(rows)
        out[:, i] = a + codes * (w / (q - 1)) if q > 1 else a + w / 2
        entries += blocks([int(code) for code in codes], q)
    q0 = slow_levels(float(c), (m1 - m0) * float(np.sqrt(2.0 * rows)))
    codes = np.clip(np.rint((means - m0) * (q0 - 1) / (m1 - m0)), 0, q0 - 1) if m1 > m0 else 0 * means
    out[:, others] = m0 + codes * ((m1 - m0) / (q0 - 1)) if q0 > 1 else (m0 + m1) / 2
    pieces = [blocks(ends[0] + ends[1], 200), blocks([int(code) for code in codes], q0), entries]
    return [(e0, e1, m0, m1, c), *pieces], out, sum(bits for piece in pieces for _, bits in piece)


def twin(x: np.ndarray, codec: FeatureWise) -> tuple[list[bytes], float, np.ndarray]:
    """Return parts, bits and the reconstruction of the quantiser without dropout."""
    v = x.reshape(x.shape[0], -1).astype(np.float64)
    n = v.shape[1]
    assert codec.bits_per_entry is not None
    left = int(codec.bits_per_entry * x.size) - 8 - n - 160
    ranges = [np.float32(v[:, i].max()) - np.float32(v[:, i].min()) for i in range(n)]
    order = sorted(range(n), key=lambda i: (-ranges[i], i))
    best = None
    for most in sorted({int(np.rint(n * j / 16)) for j in range(17)}):
        two = sorted(order[:most])
        pattern = lambda bits: np.uint32(bits).view(np.float32)  # noqa: E731
        if attempt(v, two, pattern(0))[2] > left:
            continue
        lo, hi = 0, 0x7F7FFFFF
        if attempt(v, two, pattern(hi))[2] <= left:
            lo = hi
        while hi - lo > 1:
            middle = (lo + hi) // 2
            lo, hi = (middle, hi) if attempt(v, two, pattern(middle))[2] <= left else (lo, middle)
        pieces, out, size = attempt(v, two, pattern(lo))
        wrong = float(((out - v) ** 2).sum())
        if best is None or wrong < best[0]:
            best = wrong, two, pieces, out, size
    assert best is not None
    _, two, pieces, out, size = best
    head = b"\0" + bit_string([(int(i in two), 1) for i in range(n)])
    parts = [head, np.array(pieces[0], "<f4").tobytes(), *map(bit_string, pieces[1:])]
    return parts, 8 + n + 160 + size, out.reshape(x.shape)


@pytest.mark.parametrize(
    ("budget", "bits", "pieces", "count", "levels", "mean_levels", "c", "expected"),
    [
        (1.5, 574, [32, 160, 93, 36, 253], 6, [4, 6, 6, 6, 7, 7], 4, 0.2544075, 19.98268),
        (2, 762, [32, 160, 155, 34, 381], 10, [4, 6, 4, 4, 6, 4, 6, 4, 7, 7], 5, 0.2546976, 14.32804),
        (3, 1145, [32, 160, 248, 23, 682], 16, [6, 10, 4, 6, 3, 6, 10, 4], 7, 0.7503718, 7.69538),
        (5, 1918, [32, 160, 372, 0, 1354], 24, [18, 32, 5, 10, 18, 1, 5, 9], 1, 7.8658695, 1.90333),
    ],
)
def test_quantiser_table(
    budget: float,
    bits: int,
    pieces: list,
    count: int,
    levels: list,
    mean_levels: int,
    c: float,
    expected: float,
) -> None:
    codec = FeatureWise(reduction=1, bits_per_entry=budget)
    encoded = codec.encode(WIDE)
    told = codec.explain(encoded.payload)
    assert encoded.estimated_bits == bits == sum(pieces)
    assert told["parts"] == [-(-piece // 8) for piece in pieces]
    assert len(told["two_stage"]) == count and told["levels"][: len(levels)] == levels
    assert told["mean_levels"] == mean_levels
    side = np.frombuffer(parts_of(codec, encoded.payload)[1], "<f4")
    assert side[4] == pytest.approx(c, abs=5.1e-8 * max(1, c))
    assert error(codec, WIDE) == pytest.approx(expected, abs=5.1e-6)


@pytest.mark.parametrize("trial", range(4))
def test_twin_of_the_quantiser(trial: int) -> None:
    draw = np.random.default_rng(trial)
    x = draw.standard_normal((int(draw.integers(2, 12)), 2, int(draw.integers(3, 8)))).astype(np.float32)
    x *= np.float32(10.0 ** draw.integers(-3, 3))
    codec = FeatureWise(reduction=1, bits_per_entry=170 / x.shape[0] / x[0].size + float(draw.uniform(3, 6)))
    parts, bits, y = twin(x, codec)
    encoded = codec.encode(x)
    assert encoded.estimated_bits == bits <= codec.bits_per_entry * x.size  # type: ignore[operator]
    assert parts_of(codec, encoded.payload) == parts
    assert np.abs(codec.decode(encoded.payload) - y).max() <= 1e-6 * np.abs(x).max()


@pytest.mark.parametrize("trial", range(50))
def test_sizes(trial: int) -> None:
    """What is kept, two-stage and how many levels there are tells the size, by other code."""
    draw = np.random.default_rng(trial)
    shape = tuple(draw.integers(1, 7, int(draw.integers(2, 5))).tolist())
    x = draw.standard_normal(shape).astype(np.float32)
    rows, features = shape[0], x.size // shape[0]
    bits = None if trial % 3 == 0 else 400 / x.size + 3.0
    codec = FeatureWise(reduction=2.5, dropout=("adaptive", "random")[trial % 2], bits_per_entry=bits)
    encoded = codec.encode(x, rng(), True)
    told = codec.explain(encoded.payload)
    kept = len(told["kept"])
    expected = 8 + (features if kept < features else 0)
    if bits is None:
        expected += 32 * rows * kept
    else:
        two = len(told["two_stage"])
        digits = [([0] * (2 * two), 200), ([0] * (kept - two), told["mean_levels"])]
        digits += [([0] * rows, q) for q in told["levels"]]
        expected += kept + 160 + sum(b for entry in digits for _, b in blocks(*entry))
        assert expected <= bits * x.size
    assert encoded.estimated_bits == expected
    assert abs(sum(told["parts"]) - expected / 8) < 5


def test_corruptions() -> None:
    check_corruptions(FeatureWise(reduction=2), X, rng)
    check_corruptions(FeatureWise(reduction=2, bits_per_entry=6), WIDE, rng)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="reduction = 1 drops nothing"):
        parse({"kind": "feature-wise", "reduction": 1}, "x")
    with pytest.raises(CodecError, match=r"the smallest budget is 192 bits, 0\.5 an entry"):
        FeatureWise(reduction=1, bits_per_entry=0.4).encode(WIDE)
    FeatureWise(reduction=1, bits_per_entry=0.5).encode(WIDE)
    with pytest.raises(CodecError, match="a batch of 1 has no deviations"):
        FeatureWise().check_shape((1, 8))
    FeatureWise(dropout="random").check_shape((1, 8))
    with pytest.raises(CodecError, match="smallest budget"):
        FeatureWise(reduction=1, bits_per_entry=0.1).check_shape((16, 24))

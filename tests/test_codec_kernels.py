"""Compiled kernels of the plain codecs against the formulas, written slowly in NumPy."""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sfsim import seeds
from sfsim.codec import Cast, MaskEncoded, Qsgd, TopK, Uniform, kernels
from sfsim.codec import bits as packing
from sfsim.codec.base import Codec, bounded
from sfsim.codec.bit_kernel import flush, put_codes
from sfsim.codec.draw_kernel import draw, lanes
from sfsim.codec.frame import Frame
from sfsim.codec.mask_encoded import _FOUR_SIGNS
from sfsim.codec.selecting import count_kept, largest
from sfsim.errors import CodecError

FINITE = arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 9)),
    elements=st.floats(allow_nan=False, allow_infinity=False, width=32),
)


def parts_of(codec: Codec, payload: bytes) -> list[bytes]:
    frame = Frame.unpack(payload, codec.kind, codec.wire_parts, codec.signature)
    return [bytes(part) for part in frame.parts]


def packed(codes: np.ndarray, bits: int) -> bytes:
    """Pack by text: each number in binary, one after another."""
    text = "".join(f"{code:0{bits}b}" for code in codes.ravel().tolist())
    return bytes(int(text[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(text), 8))


@pytest.mark.parametrize("bits", range(1, 33))
@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 17])
def test_bits(bits: int, count: int) -> None:
    codes = seeds.stream(bits, "bits").integers(0, 2**bits, count, np.uint64)
    kind = np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32
    data = packing.pack(codes.astype(kind), bits)
    assert data == packed(codes, bits)
    back = packing.unpack(data, count, bits)
    assert back.dtype == kind and back.tolist() == codes.tolist()


def test_every_kind_of_float32_as_float16() -> None:
    x = np.arange(0, 2**32, 65_521, dtype=np.uint64).astype(np.uint32).view(np.float32)
    edges = np.array(
        [2.0**-14, 2.0**-24, 2.0**-25, 65504, 65519.996, 65520, np.inf, np.nan, 3e38], np.float32
    )
    edges = np.concatenate(
        (edges, np.nextafter(edges, np.float32(0)), np.nextafter(edges, np.float32(np.inf)))
    )
    x = np.concatenate((x, edges, -edges))
    with np.errstate(over="ignore", invalid="ignore"):
        expected = x.astype(np.float16)
    over = np.isinf(expected) & np.isfinite(x)
    expected[over] = np.copysign(np.float16(65504), expected[over])
    encoded = Cast(dtype="float16").encode(x)
    assert parts_of(Cast(dtype="float16"), encoded.payload)[0] == expected.tobytes()
    assert encoded.saturated == over.sum()


def test_every_float16_and_bfloat16_is_read() -> None:
    for dtype in ("float16", "bfloat16"):
        codec = Cast(dtype=dtype)
        codes = np.arange(2**16, dtype=np.uint16)
        payload = Frame("cast", np.dtype("f4"), codes.shape, (codes.tobytes(),)).pack(codec.signature)
        wide = codes.view(np.float16).astype(np.float32)
        if dtype == "bfloat16":
            wide = (codes.astype(np.uint32) << 16).view(np.float32)
        assert np.array_equal(codec.decode(payload).view(np.uint32), wide.view(np.uint32))


@given(FINITE, st.integers(1, 16), st.sampled_from(["tensor", "channel"]))
@settings(max_examples=150, deadline=None)
def test_uniform(x: np.ndarray, bits: int, per: Any) -> None:
    codec = Uniform(bits=bits, per=per)
    axes = (0, 1, 2) if per == "tensor" else (0, 2)
    low, high = (f(axes, keepdims=True).astype(np.float64) for f in (x.min, x.max))
    scale = (2**bits - 1) / np.where(high == low, 1, high - low)
    codes = np.rint((x.astype(np.float64) - low) * scale).astype(np.int64)
    payload = codec.encode(x).payload
    assert parts_of(codec, payload)[1] == packed(codes, bits)
    expected = (codes * ((high - low) / (2**bits - 1)) + low).astype(np.float32)
    assert np.array_equal(codec.decode(payload), expected)


@given(FINITE, st.integers(2, 16), st.booleans())
@settings(max_examples=150, deadline=None)
def test_qsgd(x: np.ndarray, bits: int, training: bool) -> None:
    codec, side = Qsgd(bits=bits), np.float32(2 ** (bits - 1) - 1)
    norm = np.abs(x).max() or np.float32(1)
    levels = x.ravel() / norm * side
    luck = seeds.stream(3, "luck").random(x.size, dtype=np.float32)
    rounded = np.floor(levels) + (luck < levels - np.floor(levels)) if training else np.rint(levels)
    payload = codec.encode(x, seeds.stream(3, "luck"), training).payload
    assert parts_of(codec, payload)[1] == packed((rounded + side).astype(np.int64), bits)
    expected = (rounded + side).astype(np.float32) - side
    assert np.array_equal(codec.decode(payload).ravel(), expected / side * np.abs(x).max())


@pytest.mark.parametrize("count", [2**16 - 2, 2**16 - 1, 2**16 + 1, 3 * 2**16])
def test_qsgd_draws_as_numpy_does(count: int) -> None:
    x = seeds.stream(count, "values").standard_normal(count, dtype=np.float32)
    whole, side, norm = Qsgd(bits=4), np.float32(7), np.abs(x).max()
    luck, levels = seeds.stream(4, "luck").random(count, dtype=np.float32), x / norm * side
    codes = (np.floor(levels) + (luck < levels - np.floor(levels)) + side).astype(np.uint8)
    assert parts_of(whole, whole.encode(x, seeds.stream(4, "luck"), True).payload)[1] == packing.pack(
        codes, 4
    )


def slowly_largest(x: np.ndarray, k: int) -> list[int]:
    return sorted(np.lexsort((np.arange(x.size), -np.abs(x)))[:k].tolist())


LAWS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "rectified": lambda rng, n: np.maximum(rng.standard_normal(n), 0),
    "few levels": lambda rng, n: rng.integers(-3, 4, n),
    "all equal": lambda rng, n: np.ones(n),
    "heavy tails": lambda rng, n: rng.standard_cauchy(n) ** 3,
    "the sample misleads": lambda rng, n: np.where(np.arange(n) % (n // 2**15) == 0, 9.0, rng.random(n)),
}


@pytest.mark.parametrize("law", LAWS)
def test_largest_of_many(law: str) -> None:
    x = LAWS[law](seeds.stream(1, law), 200_003).astype(np.float32)
    for k in (1, 200, 2_000, 24_000, 150_000):
        assert largest(x, k).tolist() == slowly_largest(x, k)


@given(
    FINITE, st.sampled_from([0.0, 0.5, 0.9, 0.99]), st.integers(1, 9), st.sampled_from(["nearest", "floor"])
)
@settings(max_examples=150, deadline=None)
def test_mask_encoded(x: np.ndarray, sparsity: float, bits: int, rounding: Any) -> None:
    codec, flat, full = (
        MaskEncoded(sparsity=sparsity, mask_bits=bits, rounding=rounding),
        x.ravel(),
        2**bits - 1,
    )
    tops = slowly_largest(flat, count_kept(1 - sparsity, x.size))
    threshold = float(np.abs(flat[tops]).min())
    levels = np.abs(flat).astype(np.float64) * full / threshold if threshold else np.zeros(flat.size)
    levels = np.floor(levels + 1e-6) if rounding == "floor" else np.rint(levels)
    codes = np.minimum(levels, full - 1).astype(np.int64)
    codes[tops] = full
    negative = [int(flat[i] < 0) for i in range(flat.size) if 0 < codes[i] < full]
    payload = codec.encode(x).payload
    signs = packed(np.array(negative), 1) if any(negative) else b""
    assert parts_of(codec, payload) == [flat[tops].tobytes(), packed(codes, bits) + signs]
    expected = (np.arange(full + 1) * (threshold / full)).astype(np.float32)[codes]
    expected[[i for i in range(flat.size) if 0 < codes[i] < full and flat[i] < 0]] *= -1
    expected[tops] = flat[tops]
    assert np.array_equal(codec.decode(payload).ravel(), expected)


@given(FINITE, st.sampled_from([0.01, 0.3, 1.0]))
@settings(max_examples=50, deadline=None)
def test_topk(x: np.ndarray, keep: float) -> None:
    codec, tops = TopK(keep=keep), slowly_largest(x.ravel(), count_kept(keep, x.size))
    expected = np.zeros(x.size, np.float32)
    expected[tops] = x.ravel()[tops]
    assert np.array_equal(codec.decode(codec.encode(x).payload).ravel(), expected)


@pytest.mark.parametrize("bits", [2, 3])
@pytest.mark.parametrize("floor", [False, True])
@pytest.mark.parametrize("threshold", [1e-45, 1e-40, 1e-38, 0.3, 2.1, 3e38])
def test_steps_of_the_mask_are_its_formula(bits: int, floor: bool, threshold: float) -> None:
    full = 2**bits - 1
    exact = np.float32(threshold)
    steps, codes = np.empty(full - 1, np.uint32), np.empty(4001, np.uint8)
    kernels.mask_steps(float(full), float(exact), floor, steps)
    # A thousand numbers on either side of each step and of the threshold, one unit of the last place apart.
    around = np.concatenate((steps, [exact.view(np.uint32)])).astype(np.int64)
    for middle in around:
        near = np.clip(middle + np.arange(-2000, 2001), 0, 0x7F7FFFFF).astype(np.uint32)
        expected = np.empty(4001, np.uint8)
        kernels.mask_codes(near.view(np.float32), float(full), float(exact), floor, expected)
        kernels.mask_by_steps(near, steps, codes)
        assert np.array_equal(codes, expected)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 31, 4095, 4096, 4097, 20_003])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.7, 1.0])
def test_signs_are_packed_one_after_another(count: int, share: float) -> None:
    rng = np.random.default_rng(count)
    x = rng.standard_normal(count).astype(np.float32)
    codes = np.where(rng.random(count) < share, rng.integers(1, 3, count), rng.choice([0, 3], count)).astype(
        np.uint8
    )
    out = np.empty(count // 8 + 5, np.uint8)
    found, negative = kernels.pack_signs(x.view(np.uint32), codes, np.uint8(3), _FOUR_SIGNS, out)
    signs = (x < 0)[(codes != 0) & (codes != 3)]
    assert (found, negative) == (signs.size, signs.any())
    assert out[: (found + 7) // 8].tobytes() == np.packbits(signs).tobytes()


def test_lanes_move_a_generator_on_as_numpy_does() -> None:
    for count in (2, 8, 1023, 1024, 5000):
        drawn, moved = seeds.stream(1, "a"), seeds.stream(1, "a")
        drawn.random(count, dtype=np.float32)
        draw(np.ones(count, np.float32), np.float32(1), np.float32(7), moved, np.empty(count, np.uint8))
        assert np.array_equal(drawn.random(9, dtype=np.float32), moved.random(9, dtype=np.float32))
    half_used = seeds.stream(1, "a")
    half_used.random(1, dtype=np.float32)
    assert lanes(half_used.bit_generator) is None and lanes(np.random.MT19937(1)) is None


def test_float16_without_the_processors_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "HALVES", False)
    codes = np.arange(0, 2**16, 7, dtype=np.uint16)
    wide, out = np.empty(codes.size, np.float32), np.empty(codes.size, np.uint16)
    with np.errstate(over="ignore", invalid="ignore"):
        kernels.from_half.py_func(codes, wide.view(np.uint32), wide)
        saturated = kernels.to_half.py_func(wide, wide.view(np.uint32), out)
    assert np.array_equal(wide, codes.view(np.float16).astype(np.float32), equal_nan=True)
    assert saturated == 0 and out.tolist() == codes.tolist()


@pytest.mark.parametrize("seed", range(20))
def test_codes_of_changing_widths(seed: int) -> None:
    """Runs of codes one after another, from any bit of a byte on, as SL-FAC and SL-ACC write them."""
    rng = seeds.stream(seed, "runs")
    out, register, used, at, text = np.zeros(4000, np.uint8), np.uint64(0), 0, 0, ""
    for _ in range(20):
        bits, count = int(rng.integers(1, 9)), int(rng.integers(0, 60))
        codes = rng.integers(0, 2**bits, count, np.uint8)
        register, used, at = put_all(out, np.uint64(register), used, at, codes, bits)
        text += "".join(f"{code:0{bits}b}" for code in codes.tolist())
    size = flush(out, np.uint64(register), used, at)
    expected = bytes(int(text[start : start + 8].ljust(8, "0"), 2) for start in range(0, len(text), 8))
    assert out[:size].tobytes() == expected and not out[size + 8 :].any()


@numba.njit
def put_all(out: Any, register: Any, used: Any, at: Any, codes: Any, bits: Any) -> Any:
    return put_codes(out, register, used, at, codes, codes.size, bits)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_bounds_are_numpys(dtype: Any) -> None:
    rng = seeds.stream(1, "bounds")
    for x in (
        rng.standard_normal(999),
        -np.abs(rng.standard_normal(99)),
        np.zeros(5),
        np.array([-0.0, 0.0, 1.0]),
    ):
        values, saturated, low, high = bounded(x.astype(dtype), "codec")
        assert low.tobytes() == values.min().tobytes() and high.tobytes() == values.max().tobytes()
        assert saturated == 0
    if dtype == np.float64:
        _, saturated, low, high = bounded(np.array([1e300, -1.0, -1e300]), "codec")
        assert saturated == 2 and high == -low == np.finfo(np.float32).max
    for bad in (np.nan, -np.nan, np.inf, -np.inf):
        with pytest.raises(CodecError, match="not finite"):
            bounded(np.array([1.0, bad, 2.0], dtype), "codec")

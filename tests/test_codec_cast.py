"""Casts: rounding to nearest even, NaN, infinities, and saturation that is counted."""

import numpy as np
from codec_contract import rng

from sfsim.codec import Cast

FP32, FP16, BF16 = (Cast(dtype=name) for name in ("float32", "float16", "bfloat16"))  # type: ignore[arg-type]


def back(codec: Cast, values: object, dtype: type = np.float32) -> np.ndarray:
    return codec.decode(codec.encode(np.array(values, dtype)).payload)


def test_bfloat16_rounds_to_nearest_even() -> None:
    bits = rng().integers(0, 0x7F00, 20_000).astype(np.uint32) << 16
    bits |= rng().choice(np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32), bits.size)
    x = bits.view(np.float32) * np.where(bits & 0x10000, np.float32(-1), np.float32(1))
    down = (bits & 0xFFFF0000).view(np.float32).astype(np.float64)
    up = ((bits & 0xFFFF0000) + 0x10000).view(np.float32).astype(np.float64)
    size = np.abs(x.astype(np.float64))
    even = np.where(bits & 0x10000, up, down)
    nearest = np.where(size - down < up - size, down, np.where(size - down > up - size, up, even))
    assert np.array_equal(np.abs(back(BF16, x)), nearest)
    assert np.array_equal(np.signbit(back(BF16, x)), np.signbit(x))


def test_float16_is_numpys() -> None:
    x = (rng().standard_normal(1000) * 10.0 ** rng().integers(-9, 4, 1000)).astype(np.float32)
    assert np.array_equal(back(FP16, x), x.astype(np.float16).astype(np.float32))


def test_nan_and_infinities_pass() -> None:
    # A NaN whose payload stands in the lower half only must not become an infinity.
    odd = np.array([0x7F800001, 0xFF800001, 0x7FC00000, 0x7F800000, 0xFF800000], np.uint32).view(np.float32)
    for codec in (FP32, FP16, BF16):
        encoded = codec.encode(odd)
        y = codec.decode(encoded.payload)
        assert np.isnan(y[:3]).all() and y[3:].tolist() == [np.inf, -np.inf]
        assert encoded.saturated == 0


def test_overflow_saturates_and_is_counted() -> None:
    x = np.array([1e5, -1e5, 65519, 65520, 1, np.inf, np.nan], np.float32)
    encoded = FP16.encode(x)
    assert encoded.saturated == 3
    assert FP16.decode(encoded.payload)[:6].tolist() == [65504, -65504, 65504, 65504, 1, np.inf]
    largest = np.finfo(np.float32).max
    encoded = BF16.encode(np.array([largest, -largest, 1], np.float32))
    assert encoded.saturated == 2
    assert BF16.decode(encoded.payload).tolist() == [3.3895313892515355e38, -3.3895313892515355e38, 1]
    encoded = FP32.encode(np.array([1e300, -1e300, 1e-300]))
    assert encoded.saturated == 2
    assert FP32.decode(encoded.payload).tolist() == [float(largest), -float(largest), 0]
    # Half precision that bfloat16 rounds beyond half precision.
    assert back(BF16, [65504], np.float16).tolist() == [65504]


def test_lossless() -> None:
    x = rng().integers(0, 2**32, 1000, dtype=np.uint32).view(np.float32)
    assert back(FP32, x).tobytes() == x.tobytes()
    assert FP32.lossless and not FP16.lossless and not BF16.lossless

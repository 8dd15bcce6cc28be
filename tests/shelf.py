"""What the tests of the codec shelf share: the specification's tensor and quantiser, written to be obvious."""

from collections.abc import Callable

import numpy as np

from sfsim.codec import Codec
from sfsim.codec.frame import Frame
from sfsim.errors import CodecError


def ramp(*shape: int) -> np.ndarray:
    """Return A(shape): element i is (((37 i) mod 101) - 50) / 16, exact in any arithmetic."""
    i = np.arange(int(np.prod(shape)))
    return ((37 * i % 101 - 50) / 16).astype(np.float32).reshape(shape)


def error(codec: Codec, x: np.ndarray) -> float:
    return float(np.linalg.norm(codec.decode(codec.encode(x).payload).astype(np.float64) - x))


def parts_of(codec: Codec, payload: bytes) -> list[bytes]:
    frame = Frame.unpack(payload, codec.kind, codec.wire_parts, codec.signature)
    return [bytes(part) for part in frame.parts]


def min_max(values: np.ndarray, bits: int, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Return codes and decoded values between two end points that differ."""
    top = 2**bits - 1
    codes = np.clip(np.rint((values - low) * top / (high - low)), 0, top)
    return codes, low + codes * (high - low) / top


def bit_string(numbers: list[tuple[int, int]]) -> bytes:
    """Return (number, bits) pairs one after another, most significant bit first, as whole bytes."""
    text = "".join(f"{int(number):0{bits}b}" for number, bits in numbers if bits)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8))


def random_shapes(count: int, seed: int, most_axes: int = 5, longest: int = 9) -> list[tuple[int, ...]]:
    rng = np.random.default_rng(seed)
    return [
        tuple(rng.integers(1, longest + 1, rng.integers(1, most_axes + 1)).tolist()) for _ in range(count)
    ]


def check_corruptions(codec: Codec, x: np.ndarray, again: Callable[[], np.random.Generator]) -> None:
    """1,000 damaged payloads are refused; with a checksum that fits they are refused or finite, never worse."""
    encoded = codec.encode(x, again(), codec.stochastic)
    frame = Frame.unpack(encoded.payload, codec.kind, codec.wire_parts, codec.signature)
    rng = np.random.default_rng(5)
    for trial in range(1000):
        damaged = bytearray(encoded.payload)
        damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        parts = [bytearray(part) for part in frame.parts]
        part = parts[rng.integers(len(parts))]
        kind = trial % 3
        if kind == 0 and part:
            part[rng.integers(len(part))] ^= 1 << rng.integers(8)
        elif kind == 1:
            del part[rng.integers(len(part) + 1) :]
        else:
            part += rng.bytes(rng.integers(1, 5))
        try:
            codec.decode(bytes(damaged))
        except CodecError:
            pass
        else:
            raise AssertionError("a damaged payload was decoded")
        signed = Frame(codec.kind, frame.dtype, frame.shape, [bytes(p) for p in parts]).pack(codec.signature)
        try:
            decoded = codec.decode(signed)
        except CodecError:
            continue
        assert decoded.shape == x.shape and np.isfinite(decoded).all()

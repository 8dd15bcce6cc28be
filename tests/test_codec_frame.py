"""The frame: its size, and what a forged header with a valid checksum can ask for (nothing large)."""

import tracemalloc
from zlib import crc32

import numpy as np
import pytest
from codec_contract import ENTRIES

from sfsim.codec import Cast, Codec, Uniform, Zeros
from sfsim.codec.frame import CODEC_IDS, FORMAT, MAX_ELEMENTS, Frame, varint
from sfsim.errors import CodecError

FLOAT32 = np.dtype(np.float32)


def forge(codec: Codec, header: bytes, body: bytes = b"", weights: bytes = b"\0") -> bytes:
    """Return a payload of `codec` with any header behind the weight version, and a valid checksum."""
    content = b"SF" + bytes((FORMAT, CODEC_IDS[codec.kind])) + weights + header + body
    return content + crc32(codec.signature, crc32(content)).to_bytes(4, "little")


def refuse(codec: Codec, payload: bytes, text: str) -> None:
    """The payload is a CodecError that says `text`, and costs less than a megabyte to find out."""
    with pytest.raises(CodecError):
        codec.decode(payload)  # what is compiled for it is no part of its memory
    tracemalloc.start()
    try:
        with pytest.raises(CodecError, match=text):
            codec.decode(payload)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def test_size() -> None:
    x = np.zeros((32, 64, 32, 32), np.float32)
    assert len(Zeros().encode(x).payload) == 14
    assert len(ENTRIES["ms"].encode(x).payload) - (x.size // 4 + 4 * (x.size // 100)) == 17
    assert len(Zeros().encode(np.array(1.0)).payload) == 10


@pytest.mark.parametrize("codec", ENTRIES.values(), ids=ENTRIES)
@pytest.mark.parametrize("body", [b"", b"\0", b"\0" * 40])
def test_forged_shapes(codec: Codec, body: bytes) -> None:
    # Most codecs meet a size that does not fit; those without bound meet the limit on elements.
    two = b"\x22"  # float32, two axes
    body = b"\0" * (codec.wire_parts - 1) + body  # lengths of all parts but the last
    refuse(codec, forge(codec, two + varint(2**20) + varint(2**20), body), "elements")
    refuse(codec, forge(codec, two + varint(0) + varint(2**62), body), "elements")
    if codec.kind not in ("zeros", "pcodec"):  # a constant of any length takes a few bytes
        refuse(
            codec,
            forge(codec, two + varint(2**13) + varint(2**13), body),
            "found|claims|zstd|ends early|ends inside|expected|pcodec|too many",
        )


def test_forged_headers() -> None:
    codec = Cast(dtype="float32")
    for header, text in (
        (b"", "payload of 9 bytes is shorter than any frame"),
        (b"\xf0", "names element type 15"),
        (b"\x00", "holds None, expected a float tensor"),
        (b"\x50", "holds int16, expected a float tensor"),
        (b"\x21", "ends inside a number"),
        (b"\x21" + b"\xff" * 12, "ends inside a number"),
        (b"\x21\x03", "values: found 0 bytes, expected 12"),
    ):
        refuse(codec, forge(codec, header), text)
    refuse(codec, forge(codec, b"", weights=b"\x80\x01"), "ends inside its header")
    refuse(
        Uniform(bits=8),
        forge(Uniform(bits=8), b"\x21\x03\x09"),
        "payload ends early: found 0 bytes, expected 9",
    )
    refuse(
        Uniform(bits=8),
        forge(Uniform(bits=8), b"\x21\x03\x08", b"\0" * 8),
        "codes: found 0 bytes, expected 3",
    )
    ends = np.array([1, np.nan], "<f4").tobytes()
    refuse(Uniform(bits=8), forge(Uniform(bits=8), b"\x21\x03\x08", ends + b"abc"), "expected finite numbers")


@pytest.mark.parametrize(
    ("name", "values", "rest", "text"),
    [
        ("topk-1pct-index", [1.0], b"\xff", "index list: found 15, expected numbers below 10"),
        ("topk-4pct", [1.0], b"\xff\x00", "bitmask: found 8 positions, expected 1"),
        ("topk-4pct", [1.0, 2.0], b"\x80\x00", "values: found 8 bytes, expected 4"),
        ("topk-4pct", [np.inf], b"\x80\x00", "values: expected finite numbers"),
        ("ms", [1.0], b"\xff\x00\x00", "mask: found 4 kept entries, expected 1"),
        ("ms", [1.0], b"\xc0\x00\x00\xff", "signs: found 1 bytes, expected 0"),
        ("ms", [1.0], b"\xc0\x00", "mask: found 2 bytes, expected 3"),
        ("qsgd4", [-1.0], b"\x77" * 5, "expected a finite norm"),
        ("qsgd4", [1.0], b"\xff" * 5, "levels within it"),
        ("qsgd4", [1.0, 1.0], b"\x77" * 5, "norm: found 8 bytes, expected 4"),
        ("randtopk-10pct", [1.0], b"\xff", "index list: found 15, expected numbers below 10"),
    ],
)
def test_forged_parts(name: str, values: list[float], rest: bytes, text: str) -> None:
    codec = ENTRIES[name]
    parts = (np.array(values, "<f4").tobytes(), rest)
    refuse(codec, Frame(codec.kind, FLOAT32, (10,), parts).pack(codec.signature), text)


def test_repeated_positions() -> None:
    for name, shape in (("topk-1pct-index", (200,)), ("randtopk-1pct", (1, 200))):
        codec = ENTRIES[name]
        parts = (np.ones(2, "<f4").tobytes(), b"\x07\x07")
        refuse(
            codec,
            Frame(codec.kind, FLOAT32, shape, parts).pack(codec.signature),
            "expected ascending numbers",
        )


def test_expanding_payloads() -> None:
    codec = ENTRIES["fp32-zstd"]
    zeros = codec.stages[1].compress(bytes(2**24))  # type: ignore[attr-defined]

    def chain(body: bytes, shape: tuple[int, ...]) -> bytes:
        return Frame("chain", FLOAT32, shape, (body,)).pack(codec.signature)

    assert len(zeros) < 2000
    refuse(codec, chain(zeros, (4,)), "zstd claims 16777216 bytes, expected at most 128")
    # The content size of a short zstd frame, forged to 2**56 bytes.
    claim = bytes.fromhex("28b52ffd") + b"\xe0" + (2**56).to_bytes(8, "little") + b"\x01\0\0"
    refuse(codec, chain(claim, (2**13, 2**13)), "zstd claims 72057594037927936 bytes")
    refuse(codec, chain(b"not zstd", (4,)), "zstd: ")
    refuse(codec, chain(codec.stages[1].compress(b"\x10" + bytes(20)), (4,)), "4 bytes too many")  # type: ignore[attr-defined]
    refuse(codec, chain(codec.stages[1].compress(b"\x20" + bytes(20)), (4,)), "payload ends early")  # type: ignore[attr-defined]


def test_too_large_to_encode() -> None:
    huge = np.broadcast_to(np.float32(0), (MAX_ELEMENTS // 2**13 + 1, 2**13))
    with pytest.raises(CodecError, match="is too large: at most 134,217,728 elements and 15 axes"):
        Frame("zeros", FLOAT32, huge.shape, (b"",)).pack(b"")
    with pytest.raises(CodecError, match="is too large"):
        Zeros().encode(np.zeros((1,) * 16, np.float32))

"""Frame: the paid header and checksum around everything a codec sends.

::

    magic          2 bytes   "SF"
    format         1 byte    version of this layout and of the codec's own
    codec          1 byte    which codec (`CODEC_IDS`)
    weights        varint    version of the codec's weights, 0 for a codec without any
    type and rank  1 byte    element type in the high half, number of axes in the low half
    shape          varint each
    lengths        varint each, of every part but the last
    parts          what the codec itself has to say
    checksum       4 bytes   CRC32, little endian, of everything above and then of the declaration

The checksum covers the declaration's parameters, which cost nothing on the wire: a payload of the same codec
with other parameters is refused like a damaged one, and never decoded to garbage.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from isal.isal_zlib import crc32  # zlib's, with the processor's carry-less multiplication

from sfsim.errors import CodecError

Buffer: TypeAlias = bytes | memoryview

MAGIC = b"SF"
FORMAT = 1
# Part of the format: never renumber, only append.
CODEC_IDS = {
    "state": 0,
    "cast": 1,
    "uniform": 2,
    "qsgd": 3,
    "topk": 4,
    "randtopk": 5,
    "mask-encoded": 6,
    "zeros": 7,
    "chain": 8,
    "smallest": 9,
    "packed": 10,
    "int64": 11,
    "ae": 12,
    "cheng-at": 13,
    "hyperprior": 14,
    "mean-scale": 15,
    "frequency-aware": 16,
    "channel-adaptive": 17,
    "feature-wise": 18,
    "product-quantization": 19,
    "pcodec": 20,
    "series-ae": 21,
}
# A format that compresses without bound cannot check a size against its payload, so this bounds what a
# forged header can ask for: 2**27 float32 are 512 MiB, above the largest message of the published systems.
MAX_ELEMENTS = 2**27
_MAX_AXES = 15
_DTYPES = ["none", "f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"]
_KINDS = {number: kind for kind, number in CODEC_IDS.items()}


@dataclass(frozen=True, slots=True)
class Frame:
    """What a payload says about itself, and the parts that it carries.

    Parameters
    ----------
    kind : str
        A key of `CODEC_IDS`.
    dtype : numpy dtype or None
        Element type of the tensor that was encoded; None for a model state.
    shape : tuple of int
    parts : sequence of bytes
    weights : int
        Version of the codec's weights.
    """

    kind: str
    dtype: np.dtype[Any] | None
    shape: tuple[int, ...]
    parts: Sequence[Buffer]
    weights: int = 0

    def pack(self, signature: bytes) -> bytes:
        """Return the payload; `signature` is the declaration's text, part of the checksum only."""
        if _extent(self.shape) > MAX_ELEMENTS or len(self.shape) > _MAX_AXES:
            raise CodecError(
                f"shape {self.shape} is too large: at most {MAX_ELEMENTS:,} elements and {_MAX_AXES} axes"
            )
        name = "none" if self.dtype is None else self.dtype.str[1:]
        header = bytearray(MAGIC)
        header += bytes((FORMAT, CODEC_IDS[self.kind]))
        header += varint(self.weights)
        header.append(_DTYPES.index(name) << 4 | len(self.shape))
        for number in (*self.shape, *(len(part) for part in self.parts[:-1])):
            header += varint(number)
        checksum = crc32(header)
        for part in self.parts:
            checksum = crc32(part, checksum)
        # The signature comes last: a CRC that closes exactly its own data makes the CRC of the whole payload
        # the same for all payloads, and the ledger tells payloads apart by it.
        checksum = crc32(signature, checksum)
        return b"".join((header, *self.parts, checksum.to_bytes(4, "little")))

    @classmethod
    def unpack(cls, payload: bytes, kind: str, num_parts: int, signature: bytes) -> "Frame":
        """Read a payload of codec `kind` that carries `num_parts` parts.

        Raises
        ------
        CodecError
            When it is truncated, damaged, of another codec, of an unknown format, or declared otherwise.
        """
        view = memoryview(payload)
        if len(view) < 10:
            raise CodecError(f"payload of {len(view)} bytes is shorter than any frame")
        if view[:2] != MAGIC:
            raise CodecError(
                f"payload starts with {bytes(view[:2])!r}, expected {MAGIC!r}: not made by sfsim"
            )
        if view[2] != FORMAT:
            raise CodecError(f"payload has format {view[2]}, expected {FORMAT}")
        if view[3] != CODEC_IDS[kind]:
            found = _KINDS.get(view[3], f"number {view[3]}")
            raise CodecError(f"payload was made by codec {found!r}, expected {kind!r}")
        if crc32(signature, crc32(view[:-4])) != int.from_bytes(view[-4:], "little"):
            declared = signature.decode()
            raise CodecError(f"checksum fails: truncated, damaged, or encoded otherwise than by {declared}")
        body = view[:-4]
        weights, at = read_varint(body, 4)
        if at >= len(body):
            raise CodecError("payload ends inside its header")
        number, rank = body[at] >> 4, body[at] & 15
        if number >= len(_DTYPES):
            raise CodecError(f"payload names element type {number}, which is unknown")
        at += 1
        numbers = []
        for _ in range(rank + num_parts - 1):
            found_number, at = read_varint(body, at)
            numbers.append(found_number)
        shape = tuple(numbers[:rank])
        if _extent(shape) > MAX_ELEMENTS:
            raise CodecError(f"payload claims shape {shape}: more than {MAX_ELEMENTS:,} elements")
        parts = []
        for length in numbers[rank:]:
            parts.append(take(body, at, length))
            at += length
        parts.append(body[at:])
        dtype = np.dtype(_DTYPES[number]) if number else None
        return cls(kind, dtype, shape, parts, weights)


def _extent(shape: tuple[int, ...]) -> int:
    """Return the number of elements, axes of length 0 left out: they must not hide absurd ones."""
    return math.prod(max(length, 1) for length in shape)


def join(parts: Sequence[Buffer]) -> bytes:
    """Put parts one after another, each behind its length: the body of a chain or a model state."""
    return b"".join(piece for part in parts for piece in (varint(len(part)), part))


def split(body: Buffer, num_parts: int, start: int = 0) -> tuple[list[Buffer], int]:
    """Read `num_parts` parts from `start` on; return them and where they end. The inverse of `join`."""
    parts = []
    for _ in range(num_parts):
        length, start = read_varint(body, start)
        parts.append(take(body, start, length))
        start += length
    return parts, start


def take(body: Buffer, start: int, length: int) -> Buffer:
    """Return `length` bytes from `start` on, or raise CodecError when there are fewer."""
    if start + length > len(body):
        raise CodecError(f"payload ends early: found {len(body) - start} bytes, expected {length}")
    return body[start : start + length]


def varint(number: int) -> bytes:
    """Write a whole number in 7-bit groups, least significant first (LEB128).

    >>> varint(64).hex(), varint(300).hex()
    ('40', 'ac02')
    """
    groups = bytearray()
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def read_varint(body: Buffer, start: int) -> tuple[int, int]:
    """Return the number at `start` and where it ends."""
    number = 0
    for place in range(9):  # 63 bits; more is no size
        if start + place >= len(body):
            break
        group = body[start + place]
        number |= (group & 127) << 7 * place
        if group < 128:
            return number, start + place + 1
    raise CodecError("payload ends inside a number of its header")

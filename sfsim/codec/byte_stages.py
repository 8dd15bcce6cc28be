"""Byte stages of this project: an order-0 entropy coder, and the bytes of numbers sorted by significance."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from sfsim.codec.bits import num_bytes
from sfsim.codec.frame import Buffer, read_varint, varint
from sfsim.declaration import declaration
from sfsim.errors import CodecError

_RAW, _CONSTANT, _CODED = 0, 1, 2


@declaration
class Rans:
    """Code the bytes of each part by their frequencies in it, which travel (order-0 rANS).

    A part that would not become shorter goes as it is, behind one byte that says so.

    Source
    ------
    J. Duda, arXiv:1311.2540; four interleaved states after F. Giesen, arXiv:1402.3392.
    """

    kind: Literal["rans"] = "rans"
    by_part: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "rans"

    def compress(self, data: bytes) -> bytes:
        """Return the coded bytes; they say how long `data` was."""
        raw = bytes([_RAW]) + data
        if len(data) < 2:
            return raw
        values = np.frombuffer(data, np.uint8)
        if (values == values[0]).all():
            return bytes([_CONSTANT, data[0]]) + varint(len(data))
        from sfsim.codec import byte_kernel as kernel
        from sfsim.codec.bit_kernel import pack_fields

        if len(data) < 64:  # the states and the table alone take about as much
            return raw
        found = kernel.frequencies(values)
        present = found > 0
        table = np.packbits(present).tobytes() + pack_fields(found[present] - 1, [kernel.TABLE_BITS])
        coded = bytes([_CODED]) + varint(len(data)) + table + kernel.encode(values, found)
        return coded if len(coded) < len(raw) else raw

    def decompress(self, data: Buffer, max_bytes: int) -> bytes:
        """Undo `compress`; raise CodecError before allocating when the result is beyond `max_bytes`."""
        if len(data) < 1 or data[0] > _CODED:
            raise CodecError("rans: expected a byte 0, 1 or 2 first")
        if data[0] == _RAW:
            return bytes(data[1:])
        start = 1 if data[0] == _CODED else 2
        size, at = read_varint(data, start)
        if size > max_bytes:
            raise CodecError(f"rans claims {size} bytes, expected at most {max_bytes}")
        if data[0] == _CONSTANT:
            if at != len(data):
                raise CodecError(f"rans: {len(data) - at} bytes too many behind a constant")
            return bytes(data[1:2]) * size
        from sfsim.codec import byte_kernel as kernel
        from sfsim.codec.bit_kernel import unpack_fields

        if len(data) < at + 32:
            raise CodecError("rans: the table of frequencies is cut short")
        present = np.unpackbits(np.frombuffer(data[at : at + 32], np.uint8)).astype(bool)
        count = int(present.sum())
        end = at + 32 + num_bytes(count, kernel.TABLE_BITS)
        found = np.zeros(256, np.int64)
        found[present] = unpack_fields(data[at + 32 : end], count, [kernel.TABLE_BITS], "frequencies") + 1
        if int(found.sum()) != 1 << kernel.TABLE_BITS:
            raise CodecError(f"rans: frequencies add up to {found.sum()}, expected {1 << kernel.TABLE_BITS}")
        return kernel.decode(data[end:], found, size)

    def encode_symbols(self, num_bytes: float) -> float:
        """Return the cost in symbols: one a byte."""
        return num_bytes

    def decode_symbols(self, num_bytes: float) -> float:
        """Return the cost in symbols: one a byte."""
        return num_bytes


@declaration
class BytePlane:
    """Put the first bytes of all numbers of a part first, then the second ones, and so on; for a stage behind it.

    Signs and exponents of dense tensors are alike, their other bits are noise: apart they compress better.
    After a ReLU, with its zeros, they do not.

    Parameters
    ----------
    width : int
        Bytes of a number: 2 or 4. What a part has beyond whole numbers stays behind.
    """

    kind: Literal["byte-plane"] = "byte-plane"
    width: Annotated[int, Field(ge=2, le=8)] = 4
    by_part: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return f"byteplane{self.width}"

    def compress(self, data: bytes) -> bytes:
        """Return as many bytes in their new order."""
        whole = len(data) // self.width * self.width
        return np.frombuffer(data[:whole], np.uint8).reshape(-1, self.width).T.tobytes() + data[whole:]

    def decompress(self, data: Buffer, max_bytes: int) -> bytes:
        """Undo `compress`."""
        if len(data) > max_bytes:
            raise CodecError(f"byte planes of {len(data)} bytes, expected at most {max_bytes}")
        whole = len(data) // self.width * self.width
        planes = np.frombuffer(data[:whole], np.uint8).reshape(self.width, -1)
        return planes.T.tobytes() + bytes(data[whole:])

    def encode_symbols(self, num_bytes: float) -> float:
        """Return the cost in symbols: moving bytes is a fifth of coding them."""
        return num_bytes / 5

    def decode_symbols(self, num_bytes: float) -> float:
        """Return the cost in symbols, as encoding."""
        return num_bytes / 5

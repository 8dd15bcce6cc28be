"""Byte stages of this project: an order-0 entropy coder, and the bytes of numbers sorted by significance."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from sfsim.codec import bits as packing
from sfsim.codec.frame import Buffer, read_varint, varint
from sfsim.declaration import declaration
from sfsim.errors import CodecError

_RAW, _CONSTANT, _CODED = 0, 1, 2


@declaration
class Rans:
    """Code the bytes of each part, or its codes of fewer bits, by their frequencies in it, which travel (order-0 rANS).

    A part that would not become shorter goes as it is, behind one byte that says so.

    Parameters
    ----------
    bits : int
        1 to 8: what counts as one symbol. 8 is a byte; the codes of ``uniform`` with 3 bits lie across bytes and
        are seen as what they are with 3.

    Source
    ------
    J. Duda, arXiv:1311.2540; four interleaved states after F. Giesen, arXiv:1402.3392.
    """

    kind: Literal["rans"] = "rans"
    bits: Annotated[int, Field(ge=1, le=8)] = 8
    by_part: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "rans" if self.bits == 8 else f"rans{self.bits}bit"

    def compress(self, data: bytes) -> bytes:
        """Return the coded bytes; they say how long `data` was."""
        raw = bytes([_RAW]) + data
        if len(data) < 2:
            return raw
        if data.count(data[0]) == len(data):
            return bytes([_CONSTANT, data[0]]) + varint(len(data))
        from sfsim.codec import byte_kernel as kernel
        from sfsim.codec.bit_kernel import pack_fields

        if len(data) < 64:  # the states and the table alone take about as much
            return raw
        count, left = divmod(8 * len(data), self.bits)
        values = packing.unpack(data, count, self.bits)
        found = kernel.frequencies(values)
        present = found > 0
        table = np.packbits(present[: 1 << self.bits]).tobytes()
        table += pack_fields(found[present] - 1, [kernel.TABLE_BITS])
        table += bytes([data[-1] & (1 << left) - 1] if left else [])  # bits behind the last symbol
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

        symbols, left = divmod(8 * size, self.bits)
        alphabet = 1 << self.bits
        body = at + packing.num_bytes(alphabet, 1)
        if len(data) < body + bool(left):
            raise CodecError("rans: the table of frequencies is cut short")
        present = np.flatnonzero(np.unpackbits(np.frombuffer(data[at:body], np.uint8), count=alphabet))
        end = body + packing.num_bytes(present.size, kernel.TABLE_BITS)
        found = np.zeros(256, np.int64)
        found[present] = unpack_fields(data[body:end], present.size, [kernel.TABLE_BITS], "frequencies") + 1
        if int(found.sum()) != 1 << kernel.TABLE_BITS:
            raise CodecError(f"rans: frequencies add up to {found.sum()}, expected {1 << kernel.TABLE_BITS}")
        rest = bytes(data[end : end + 1]) if left else b"\0"
        if rest[0] >> left:
            raise CodecError(f"rans: found {rest[0]} behind the last symbol, expected {left} bits")
        values = np.frombuffer(kernel.decode(data[end + bool(left) :], found, symbols), np.uint8)
        packed = packing.pack(values, self.bits)
        return packed[:-1] + bytes([packed[-1] | rest[0]]) if left else packed

    def encode_symbols(self, num_bytes: float) -> float:
        """Return how many symbols are coded, and with other than bytes how many bytes are taken apart."""
        return num_bytes * (1 if self.bits == 8 else 1 + 8 / self.bits)

    def decode_symbols(self, num_bytes: float) -> float:
        """Return the same: what was taken apart is put together."""
        return self.encode_symbols(num_bytes)


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

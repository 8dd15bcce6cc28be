"""Bits: whole numbers of 1 to 32 bits packed into bytes, most significant bit first, and back."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sfsim.codec.frame import Buffer
from sfsim.errors import CodecError

Codes: TypeAlias = NDArray[Any]
"""Whole numbers in the smallest of uint8, uint16 and uint32 that holds them."""


def num_bytes(count: int, bits: int) -> int:
    """Return how many bytes `count` numbers of `bits` bits take; the last byte is filled with zero bits."""
    return (count * bits + 7) // 8


def symbols(count: int, bits: int) -> float:
    """Return how many bytes must be put together by shifting; whole bytes are copied as they are."""
    return 0 if bits in (8, 16, 32) else num_bytes(count, bits)


def pack(codes: Codes, bits: int) -> bytes:
    """Pack `codes`, each below ``2**bits``, one after another.

    Parameters
    ----------
    codes : ndarray of unsigned integers, shape (n,)
    bits : int
        0 to 32; with 0 nothing is written.

    Examples
    --------
    >>> pack(np.array([3, 1, 2, 1], np.uint8), 2).hex()
    'd9'
    """
    if bits == 0 or codes.size == 0:
        return b""
    if bits == 1:
        return np.packbits(codes.astype(np.uint8, copy=False)).tobytes()
    if bits in (8, 16, 32):
        return codes.astype(f">u{bits // 8}", copy=False).tobytes()
    from sfsim.codec import kernels

    packed = np.empty(num_bytes(codes.size, bits), np.uint8)
    if bits in (2, 4):
        per_byte = 8 // bits
        whole = codes.astype(np.uint8, copy=False)
        if codes.size % per_byte:
            whole = np.concatenate((whole, np.zeros(-codes.size % per_byte, np.uint8)))
        (kernels.pack_halves if bits == 4 else kernels.pack_quarters)(whole, packed)
    else:
        kernels.pack_any(np.ascontiguousarray(codes), np.uint64(bits), packed)
    return packed.tobytes()


def unpack(data: Buffer, count: int, bits: int, what: str = "codes") -> Codes:
    """Unpack `count` numbers of `bits` bits; the inverse of `pack`.

    Returns
    -------
    ndarray of uint8, uint16 or uint32 (the smallest that holds `bits` bits), shape (count,)

    Raises
    ------
    CodecError
        When `data` is not exactly as long as `count` numbers are: checked before anything is allocated.
    """
    if len(data) != num_bytes(count, bits):
        raise CodecError(f"{what}: found {len(data)} bytes, expected {num_bytes(count, bits)}")
    kind = np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32
    raw = np.frombuffer(data, np.uint8)
    if bits == 0 or count == 0:
        return np.zeros(count, kind)
    if bits == 1:
        return np.unpackbits(raw, count=count)
    if bits in (8, 16, 32):
        return raw.view(f">u{bits // 8}").astype(kind)
    from sfsim.codec import kernels

    if bits in (2, 4):
        codes: Codes = np.empty(raw.size * 8 // bits, kind)
        (kernels.unpack_halves if bits == 4 else kernels.unpack_quarters)(raw, codes)
        return codes[:count]
    codes = np.empty(count, kind)
    kernels.unpack_any(raw, np.uint64(bits), codes)
    return codes

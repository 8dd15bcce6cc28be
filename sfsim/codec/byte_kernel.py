"""Byte kernel: order-0 rANS over bytes with four states in turn, compiled; see `sfsim.codec.entropy.rans`.

Symbol i belongs to state i mod 4, and all states share one stream of words: what one of them waits for, the
others do. Frequencies are out of 2**14, so that a table of as many entries finds a symbol.
"""

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from sfsim.codec.entropy.rans import PROBABILITY_BITS, START, TOTAL, pop
from sfsim.codec.frame import Buffer
from sfsim.errors import CodecError

TABLE_BITS = 14
_SHIFT = PROBABILITY_BITS - TABLE_BITS
STATES = 4
_U64 = np.uint64
_STATE_BYTES = 6


@numba.njit(cache=True, nogil=True)
def _count(data: Any, counts: Any) -> None:
    tables = np.zeros((4, 256), np.int64)
    whole = data.size // 4 * 4
    for i in range(0, whole, 4):
        tables[0, data[i]] += 1
        tables[1, data[i + 1]] += 1
        tables[2, data[i + 2]] += 1
        tables[3, data[i + 3]] += 1
    for i in range(whole, data.size):
        tables[0, data[i]] += 1
    for symbol in range(256):
        counts[symbol] = tables[0, symbol] + tables[1, symbol] + tables[2, symbol] + tables[3, symbol]


@intrinsic  # type: ignore[misc]
def _upper(typing: Any, a: Any, b: Any) -> Any:
    """Return the upper 64 bits of a product of two uint64."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(argument, wide) for argument in arguments))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


@numba.njit(cache=True, inline="always")
def _push(state: Any, words: Any, at: Any, symbol: Any) -> tuple[Any, Any]:
    """As `rans.push`, without branches: frequencies of at least 2**10 let go of one word at most.

    `symbol` is a row of `_symbols`.
    """
    words[at - 1] = state & _U64(0xFFFF)
    full = _U64(state >= symbol[0])
    at -= np.int64(full)
    state >>= full << _U64(4)
    return state + symbol[1] + (_upper(state, symbol[2]) >> symbol[3]) * symbol[4], at


def _symbols(starts: NDArray[np.int64], frequencies: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return for each byte: bound of the state, start, reciprocal, its shift, and 2**24 less the frequency.

    The upper half of a state's product with the reciprocal, shifted, is its quotient: exactly, below 2**63.
    R. Alverson, "Integer division using reciprocals", 1991; as in F. Giesen's coder.
    """
    table = np.zeros((256, 5), np.uint64)
    for byte in np.flatnonzero(frequencies):
        frequency = int(frequencies[byte])
        shift = (frequency - 1).bit_length() - 1
        reciprocal = ((1 << shift + 64) + frequency - 1) // frequency
        values = (frequency << PROBABILITY_BITS, int(starts[byte]), reciprocal, shift, TOTAL - frequency)
        table[byte] = values
    return table


@numba.njit(cache=True, nogil=True)
def _encode(data: Any, table: Any, words: Any, states: Any) -> int:
    at = words.size
    a, b, c, d = _U64(START), _U64(START), _U64(START), _U64(START)
    i = data.size - 1
    while i >= 0 and i % 4 != 3:
        which = i % 4
        if which == 0:
            a, at = _push(a, words, at, table[data[i]])
        elif which == 1:
            b, at = _push(b, words, at, table[data[i]])
        else:
            c, at = _push(c, words, at, table[data[i]])
        i -= 1
    while i >= 3:
        d, at = _push(d, words, at, table[data[i]])
        c, at = _push(c, words, at, table[data[i - 1]])
        b, at = _push(b, words, at, table[data[i - 2]])
        a, at = _push(a, words, at, table[data[i - 3]])
        i -= 4
    states[0], states[1], states[2], states[3] = a, b, c, d
    return at


@numba.njit(cache=True, nogil=True)
def _decode(words: Any, starts: Any, frequencies: Any, symbols: Any, states: Any, out: Any) -> int:
    at = 0
    mask = (1 << PROBABILITY_BITS) - 1
    a, b, c, d = states[0], states[1], states[2], states[3]
    i = 0
    while i + 4 <= out.size:
        s0, s1 = symbols[(a & mask) >> _SHIFT], symbols[(b & mask) >> _SHIFT]
        s2, s3 = symbols[(c & mask) >> _SHIFT], symbols[(d & mask) >> _SHIFT]
        out[i], out[i + 1], out[i + 2], out[i + 3] = s0, s1, s2, s3
        a, at = pop(a, words, at, starts[s0], frequencies[s0])
        b, at = pop(b, words, at, starts[s1], frequencies[s1])
        c, at = pop(c, words, at, starts[s2], frequencies[s2])
        d, at = pop(d, words, at, starts[s3], frequencies[s3])
        i += 4
    while i < out.size:
        which = i % 4
        state = a if which == 0 else b if which == 1 else c
        symbol = symbols[(state & mask) >> _SHIFT]
        out[i] = symbol
        state, at = pop(state, words, at, starts[symbol], frequencies[symbol])
        if which == 0:
            a = state
        elif which == 1:
            b = state
        else:
            c = state
        i += 1
    states[0], states[1], states[2], states[3] = a, b, c, d
    return at


def frequencies(data: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return frequencies of the 256 bytes out of 2**14, at least 1 for each that occurs.

    Largest remainders, of equal ones the lowest byte; where rounding up rare bytes took too much, the most
    frequent ones give it back.
    """
    counts = np.zeros(256, np.int64)
    _count(data, counts)
    total = 1 << TABLE_BITS
    shares = counts * total
    found = np.where(counts > 0, np.maximum(shares // data.size, 1), 0)
    left = total - int(found.sum())
    if left > 0:
        order = np.lexsort((np.arange(256), -(shares % data.size)))
        order = order[counts[order] > 0][:left]
        found[order] += 1
        found[int(np.argmax(found))] += total - int(found.sum())
    while left < 0:
        most = int(np.argmax(found))
        take = min(-left, max(1, int(found[most]) // 8))
        found[most] -= take
        left += take
    return found


def encode(data: NDArray[np.uint8], found: NDArray[np.int64]) -> bytes:
    """Return states and words for bytes under frequencies that `frequencies` made."""
    words = np.empty(data.size + 8, np.uint16)  # one at most for each byte
    states = np.empty(STATES, np.uint64)
    at = _encode(data, _symbols(*_tables(found)), words, states)
    heads = b"".join(int(state).to_bytes(_STATE_BYTES, "little") for state in states)
    return heads + words[at:].astype("<u2").tobytes()


def decode(stream: Buffer, found: NDArray[np.int64], size: int) -> bytes:
    """Undo `encode`; raise CodecError for a stream that it did not make."""
    head = STATES * _STATE_BYTES
    if len(stream) < head or len(stream) % 2:
        raise CodecError(f"bitstream of {len(stream)} bytes: expected an even number, at least {head}")
    states = np.array(
        [int.from_bytes(stream[at : at + _STATE_BYTES], "little") for at in range(0, head, _STATE_BYTES)],
        np.int64,
    )
    if (states < START).any():
        raise CodecError("bitstream starts in a state that no encoder reaches")
    words = np.frombuffer(stream[head:], "<u2").astype(np.uint16)
    out = np.empty(size, np.uint8)
    symbols = np.repeat(np.arange(256, dtype=np.uint8), found)
    at = _decode(words, *_tables(found), symbols, states, out)
    if (states != START).any() or at != words.size:
        raise CodecError("bitstream does not end where its encoder started: damaged")
    return out.tobytes()


def _tables(found: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return start and frequency of each byte as the coder counts them."""
    return (np.cumsum(found) - found) << _SHIFT, found << _SHIFT

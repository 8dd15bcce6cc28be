"""rANS: the entropy coder, a stack of symbols in one number whose overflow is the bitstream.

The state x stays in [2**32, 2**48); 16-bit words leave it when a symbol is pushed and enter it when one is
popped. A symbol of frequency f out of 2**24 that starts at s becomes ``x = (x // f) * 2**24 + s + x % f``.
What was pushed last is popped first, so the encoder walks backwards and writes its words backwards. The
decoder must end in the state in which the encoder started, with all words used: a checksum for free.

Source
------
J. Duda, "Asymmetric numeral systems", arXiv:1311.2540; the range variant, section 3.
"""

from typing import Any

import numba
import numpy as np

from sfsim.codec.frame import Buffer
from sfsim.errors import CodecError

PROBABILITY_BITS = 24
TOTAL = 1 << PROBABILITY_BITS
START = 1 << 32
_STATE_BYTES = 6


@numba.njit(cache=True, inline="always", error_model="numpy")
def push(state: Any, words: Any, at: Any, start: Any, frequency: Any) -> tuple[Any, Any]:
    """Push a symbol; return the new state and the place before which words were written."""
    limit = frequency << PROBABILITY_BITS
    while state >= limit:
        at -= 1
        words[at] = state & 0xFFFF
        state >>= 16
    # The quotient in float64 is exact: below 2**48, no quotient rounds up to the next integer.
    quotient = np.int64(state / frequency)
    return (quotient << PROBABILITY_BITS) + start + state - quotient * frequency, at


@numba.njit(cache=True, inline="always")
def pop(state: Any, words: Any, at: Any, start: Any, frequency: Any) -> tuple[Any, Any]:
    """Take a symbol off again; return the new state and the next word. Words beyond the end read as 0."""
    state = frequency * (state >> PROBABILITY_BITS) + (state & (TOTAL - 1)) - start
    while state < START:
        state = (state << 16) | (np.int64(words[at]) if at < words.size else 0)
        at += 1
    return state, at


def room(num_symbols: int) -> np.ndarray:
    """Return words enough for `num_symbols` symbols of at most 24 bits each."""
    return np.empty(2 * num_symbols + 4, np.uint16)


def finish(state: int, words: np.ndarray, at: int) -> bytes:
    """Return the stream: the last state and the words in the order in which a decoder takes them."""
    return int(state).to_bytes(_STATE_BYTES, "little") + words[at:].astype("<u2").tobytes()


def begin(stream: Buffer) -> tuple[int, np.ndarray]:
    """Return the state and the words of a stream.

    Raises
    ------
    CodecError
        When it cannot be one: too short, an odd number of bytes, or a state out of range.
    """
    if len(stream) < _STATE_BYTES or len(stream) % 2:
        raise CodecError(
            f"bitstream of {len(stream)} bytes: expected an even number, at least {_STATE_BYTES}"
        )
    state = int.from_bytes(stream[:_STATE_BYTES], "little")
    if state < START:
        raise CodecError("bitstream starts in a state that no encoder reaches")
    return state, np.frombuffer(stream[_STATE_BYTES:], "<u2").astype(np.uint16)


def check_end(state: int, at: int, words: np.ndarray) -> None:
    """Raise CodecError unless the stream ended where an encoder starts, with all words used."""
    if state != START or at != words.size:
        raise CodecError("bitstream does not end where its encoder started: damaged, or another model's")

"""Model states: the weights of a part of a model as one payload.

Both ends hold the same part, so names, shapes and types are not sent: the order of the arrays is the
contract, and the receiver says what it expects. Float weights go through the codec one array at a time (each
has its own scale), integer buffers and the arrays named in `raw` as they are, and one frame is paid for all.
"""

from collections.abc import Collection, Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfsim.codec.base import Codec, Coded, Encoded, Memory
from sfsim.codec.frame import Frame, join, split, take
from sfsim.errors import CodecError

Like = Mapping[str, tuple[tuple[int, ...], np.dtype[Any] | str]]


def encode_state(
    arrays: Mapping[str, NDArray[Any]],
    codec: Codec,
    rng: np.random.Generator | None = None,
    raw: Collection[str] = (),
    memory: Memory | None = None,
) -> Encoded:
    """Encode a model state.

    Parameters
    ----------
    arrays : mapping of name to ndarray
        In an order that both ends know.
    codec : Codec
        For the float arrays that are not in `raw`.
    rng : numpy Generator, optional
        With it a stochastic codec draws, without it is plain.
    raw : collection of str
        Names that are sent as they are (BatchNorm statistics, for example).
    memory : dict of str to ndarray, optional
        What the sender's last state left (`Encoded.memory`), for codecs that remember: ``name/key``.

    Raises
    ------
    CodecError
        When an array cannot be encoded (it is named), or `raw` names one that is not there.
    """
    _check_names(raw, arrays)
    body = bytearray()
    bits, saturated = 0.0, 0
    after: Memory = {}
    for name, array in arrays.items():
        if _is_raw(name, array.dtype, raw):
            body += array.astype(array.dtype.newbyteorder("<")).tobytes()
            bits += 8 * array.nbytes
        else:
            before = {
                key.removeprefix(f"{name}/"): value
                for key, value in (memory or {}).items()
                if key.startswith(f"{name}/")
            }
            coded = codec.code(array, rng, rng is not None, name, before or None)
            after |= {f"{name}/{key}": value for key, value in (coded.memory or {}).items()}
            body += join(coded.parts)
            bits += coded.estimated_bits
            saturated += coded.saturated
    whole = codec.squeeze(Coded((bytes(body),), bits, saturated))
    payload = Frame("state", None, (len(arrays),), whole.parts).pack(codec.signature)
    return Encoded(payload, whole.estimated_bits, saturated, after or None)


def decode_state(
    payload: bytes, codec: Codec, like: Like, raw: Collection[str] = ()
) -> dict[str, NDArray[Any]]:
    """Decode a model state.

    Parameters
    ----------
    like : mapping of name to (shape, dtype)
        What the sender encoded, in its order.

    Raises
    ------
    CodecError
        When the payload is damaged, of another codec, or does not hold exactly these arrays.
    """
    _check_names(raw, like)
    frame = Frame.unpack(payload, "state", 1, codec.signature)
    if frame.shape != (len(like),):
        raise CodecError(f"model state holds {frame.shape} arrays, expected {len(like)}")
    max_bytes = sum(64 + 8 * prod(shape) + codec.max_bytes(shape) for shape, _ in like.values())
    body = codec.expand(frame.parts, max_bytes, num_parts=1)[0]
    arrays, at = {}, 0
    for name, (shape, kind) in like.items():
        dtype = np.dtype(kind)
        try:
            if _is_raw(name, dtype, raw):
                size = prod(shape) * dtype.itemsize
                flat = np.frombuffer(bytes(take(body, at, size)), dtype.newbyteorder("<"))
                arrays[name] = flat.astype(dtype).reshape(shape)
                at += size
            else:
                parts, at = split(body, codec.num_parts, at)
                arrays[name] = codec.restore(parts, shape, dtype)
        except CodecError as error:
            raise CodecError(f"array {name!r} of the model state: {error}") from None
    if at != len(body):
        raise CodecError(f"model state holds {len(body) - at} bytes too many for these arrays")
    return arrays


def _is_raw(name: str, dtype: np.dtype[Any], raw: Collection[str]) -> bool:
    return name in raw or dtype.kind != "f"


def _check_names(raw: Collection[str], arrays: Collection[str]) -> None:
    unknown = sorted(set(raw) - set(arrays))
    if unknown:
        raise CodecError(f"raw names {unknown}, which are not in the model state")

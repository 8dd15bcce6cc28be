"""Codec: the contract of everything that turns a tensor into bytes and back.

A codec is a frozen value: the TOML table, the validated declaration, its ``repr`` and the object are one
thing. It has no state, so both ends of a link build the same one. A new codec is a declaration with ``kind``
and its parameters that implements `pack` (tensor to parts), `unpack` (parts to tensor), `estimate_bits` and
the numbers its costs are made of; this base frames, names, checks and refuses.

The rules that every codec keeps:

* `encode` takes float16, float32 or float64 of any shape and layout, empty and scalar ones too; `decode`
  returns a new, writable array of the same shape and element type. In between, values are float32.
* Only casts carry NaN and infinities; every other codec refuses them, naming tensor and index.
* A stochastic codec draws from `rng` in training, and is plain (deterministic) in evaluation.
* Ties are broken by the lowest index, bytes are little endian, bits most significant first: the payload is
  the same on every machine.
* `decode` raises `CodecError` for anything that `encode` of the same declaration did not make, and checks
  every size before it allocates.
"""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sfsim.codec.frame import Buffer, Frame
from sfsim.cost import Cost
from sfsim.errors import CodecError

_HEADER_BYTES = 16


@dataclass(frozen=True, slots=True)
class Encoded:
    """What `encode` made: the payload with its frame, and what the codec's formula says without it.

    ``saturated`` counts finite values that were too large for the wire type and were sent as its largest.
    """

    payload: bytes
    estimated_bits: float
    saturated: int = 0


@dataclass(frozen=True, slots=True)
class Coded:
    """A tensor in a codec's own words, before framing."""

    parts: tuple[Buffer, ...]
    estimated_bits: float
    saturated: int = 0


class Codec:
    """Base of every codec declaration; see the module's text for the rules."""

    kind: str  # each declaration narrows it to its own literal
    num_parts: ClassVar[int] = 2  # that `pack` makes
    # Costs, per element: operations and passes over the tensor in memory; and operators started.
    encode_flops: ClassVar[float] = 1
    encode_passes: ClassVar[float] = 1
    decode_flops: ClassVar[float] = 1
    launches: ClassVar[float] = 4

    @property
    def name(self) -> str:
        """Short text for tables."""
        raise NotImplementedError

    @property
    def lossless(self) -> bool:
        """Whether a float32 tensor comes back bit by bit."""
        return False

    @property
    def stochastic(self) -> bool:
        """Whether `encode` draws from `rng` in training."""
        return False

    @property
    def masks_gradient(self) -> bool:
        """Whether the returning gradient exists for `gradient_support` only."""
        return False

    def encode(
        self,
        x: NDArray[Any],
        rng: np.random.Generator | None = None,
        training: bool = False,
        *,
        name: str | None = None,
    ) -> Encoded:
        """Turn a tensor into bytes.

        Parameters
        ----------
        x : ndarray of float16, float32 or float64, any shape
            Axis 0 is the sample, axis 1 the channel.
        rng : numpy Generator, optional
            Needed by a stochastic codec in training.
        training : bool
            Whether a stochastic codec draws.
        name : str, optional
            What to call the tensor in an error.

        Raises
        ------
        CodecError
            For an element type that is no float, a NaN or infinity (but in casts), or a missing `rng`.
        """
        coded = self.squeeze(self.code(x, rng, training, name))
        payload = Frame(self.kind, x.dtype, x.shape, coded.parts).pack(self.signature)
        return Encoded(payload, coded.estimated_bits, coded.saturated)

    def decode(self, payload: bytes) -> NDArray[Any]:
        """Turn a payload back into a tensor; raise CodecError for anything this codec did not make."""
        frame = self.open(payload)
        return self.restore(frame.parts, frame.shape, frame.dtype)  # type: ignore[arg-type]

    def gradient_support(self, payload: bytes) -> NDArray[np.int64] | None:
        """Return the flat indices for which a gradient comes back, ascending; None means all of them."""
        return None

    def encode_cost(self, numel: int, itemsize: int) -> Cost:
        """Return what encoding `numel` elements of `itemsize` bytes needs of a machine.

        Operations and passes per element are the codec's own; the bytes on the wire are written once and read
        once for the checksum; what must be done symbol by symbol is `serial_symbols`.
        """
        wire = _HEADER_BYTES + self.estimate_bits(numel) / 8
        return Cost(
            flops=self.encode_flops * numel,
            bytes_touched=self.encode_passes * numel * itemsize + 2 * wire,
            serial_symbols=self.encode_symbols(numel),
            launches=self.launches,
        )

    def decode_cost(self, numel: int, num_bytes: int) -> Cost:
        """Return what decoding a payload of `num_bytes` into `numel` elements needs of a machine.

        The payload is read for the checksum and for the values, and the tensor is written once as float32.
        """
        return Cost(
            flops=self.decode_flops * numel,
            bytes_touched=4 * numel + 2 * num_bytes,
            serial_symbols=self.decode_symbols(numel),
            launches=self.launches,
        )

    # What a codec implements.

    def pack(self, x: NDArray[Any], rng: np.random.Generator | None, training: bool) -> Coded:
        """Turn a checked tensor of at least one axis into `num_parts` parts."""
        raise NotImplementedError

    def unpack(self, parts: Sequence[Buffer], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Turn parts into a tensor of at least one axis; check every size first."""
        raise NotImplementedError

    def estimate_bits(self, numel: int) -> float:
        """Return the formula's size of `numel` elements, without what depends on their values or shape."""
        raise NotImplementedError

    def encode_symbols(self, numel: int) -> float:
        """Return how many symbols encoding handles one by one (selecting, packing)."""
        return 0

    def decode_symbols(self, numel: int) -> float:
        """Return how many symbols decoding handles one by one."""
        return 0

    # What a codec inherits.

    @property
    def signature(self) -> bytes:
        """The parameters that are not defaults, as JSON: what the checksum covers unsent.

        Defaults are left out so that a parameter added later does not orphan yesterday's payloads.
        """
        return json.dumps(_parameters(self)).encode()

    def code(
        self, x: NDArray[Any], rng: np.random.Generator | None, training: bool, name: str | None = None
    ) -> Coded:
        """Check a tensor and `pack` it; errors start with the tensor's name."""
        label = "tensor" if name is None else f"tensor {name!r}"
        if not isinstance(x, np.ndarray) or x.dtype.kind != "f" or x.dtype.itemsize > 8:
            found = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
            raise CodecError(f"{label}: found {found}, expected an array of float16, float32 or float64")
        if training and self.stochastic and rng is None:
            raise CodecError(f"{label}: {self.name} draws in training and needs a random generator")
        try:
            return self.pack(np.atleast_1d(x), rng, training)  # numpy turns arrays of no axes into scalars
        except CodecError as error:
            raise CodecError(f"{label}: {error}") from None

    def restore(self, parts: Sequence[Buffer], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """`unpack` for any shape: the inverse of `code`."""
        return self.unpack(parts, shape or (1,), dtype).reshape(shape)

    @property
    def wire_parts(self) -> int:
        """How many parts stand in the frame: `num_parts`, or 1 behind byte stages."""
        return self.num_parts

    def squeeze(self, coded: Coded) -> Coded:
        """Send parts through byte stages into one; a plain codec has no byte stages."""
        return coded

    def expand(self, parts: Sequence[Buffer], max_bytes: int, num_parts: int) -> Sequence[Buffer]:
        """Undo `squeeze` of `num_parts` parts, refusing what would expand beyond `max_bytes`."""
        return parts

    def open(self, payload: bytes) -> Frame:
        """Read the frame around this codec's parts."""
        frame = Frame.unpack(payload, self.kind, self.wire_parts, self.signature)
        if frame.dtype is None or frame.dtype.kind != "f":
            raise CodecError(f"payload holds {frame.dtype}, expected a float tensor")
        # No codec's parts are larger than 16 bytes an element (float32 end points for each, and 16 bits).
        max_bytes = 64 + 16 * math.prod(frame.shape)
        return dataclasses.replace(frame, parts=self.expand(frame.parts, max_bytes, self.num_parts))


def _parameters(declared: Any) -> dict[str, Any]:
    """Return kind and non-default fields of a declaration, nested ones too."""
    table: dict[str, Any] = {"kind": declared.kind}
    for field in dataclasses.fields(declared):
        value = getattr(declared, field.name)
        if isinstance(value, tuple):
            table[field.name] = [_parameters(item) for item in value]
        elif field.name != "kind" and value != field.default:
            table[field.name] = value
    return table


def single(x: NDArray[Any], codec: str) -> tuple[NDArray[np.float32], int]:
    """Return `x` as contiguous float32 and how many float64 values saturated.

    Raises
    ------
    CodecError
        When a value is NaN or infinite; says which, where and how many.
    """
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(x, np.float32).reshape(x.shape)
    if values.size == 0 or (np.isfinite(values.min()) and np.isfinite(values.max())):
        return values, 0
    bad = ~np.isfinite(x)
    if bad.any():
        first = np.unravel_index(int(np.argmax(bad)), x.shape)
        index = tuple(int(i) for i in first)
        raise CodecError(
            f"found {x[index]} at index {index} ({np.count_nonzero(bad)} of {x.size} values are not finite); "
            f"{codec} cannot carry it, only casts can"
        )
    return saturate(values, x)


def as_bytes(values: NDArray[Any]) -> Buffer:
    """Return the bytes of an array as a part, without a copy where it is contiguous."""
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data if values.size else b""


def saturate(cast: NDArray[Any], x: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Replace infinities of `cast` that are finite in `x` by the largest number, in place; count them."""
    over = np.isinf(cast) & np.isfinite(x)
    limit = np.finfo(cast.dtype).max
    cast[over] = np.copysign(limit, cast[over])
    return cast, int(np.count_nonzero(over))

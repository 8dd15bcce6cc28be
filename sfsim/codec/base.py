"""Codec: the contract of everything that turns a tensor into bytes and back.

A codec is a frozen value: the TOML table, the validated declaration, its ``repr`` and the object are one
thing. It has no state, so both ends of a link build the same one. A new codec is a declaration with ``kind``
and its parameters that implements `pack` (tensor to parts), `unpack` (parts to tensor), `estimate_bits` and
the numbers its costs are made of; this base frames, names, checks and refuses. One whose gradient returns
elsewhere or changed adds `support` and `correct`; one that depends on earlier messages, `pack_after`.

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
from functools import cached_property
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sfsim.codec.frame import Buffer, Frame
from sfsim.cost import Cost
from sfsim.errors import CodecError

_HEADER_BYTES = 16

Memory: TypeAlias = dict[str, NDArray[Any]]
"""What a sender's earlier messages left, by name; it belongs to the sender, per slot and client."""
GradientPlace: TypeAlias = Literal["input", "support", "code"]


@dataclass(frozen=True, slots=True)
class Encoded:
    """What `encode` made: the payload with its frame, and what the codec's formula says without it.

    ``saturated`` counts finite values that were too large for the wire type and were sent as its largest.
    ``memory`` is what the next message of the same sender is to be encoded with; ``kept`` is what the sender
    needs until the gradient is back (`Codec.correct`). Neither travels.
    """

    payload: bytes
    estimated_bits: float
    saturated: int = 0
    memory: Memory | None = None
    kept: NDArray[Any] | None = None


@dataclass(frozen=True, slots=True)
class Coded:
    """A tensor in a codec's own words, before framing; see `Encoded`."""

    parts: tuple[Buffer, ...]
    estimated_bits: float
    saturated: int = 0
    memory: Memory | None = None
    kept: NDArray[Any] | None = None


class Codec:
    """Base of every codec declaration; see the module's text for the rules."""

    kind: str  # each declaration narrows it to its own literal
    num_parts: ClassVar[int] = 2  # that `pack` makes
    # Costs, per element: operations and passes over the tensor in memory; and operators started.
    encode_flops: ClassVar[float] = 1
    encode_passes: ClassVar[float] = 1
    decode_flops: ClassVar[float] = 1
    decode_passes: ClassVar[float] = 1
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
    def gradient_place(self) -> GradientPlace:
        """Where the returning gradient lives.

        "input": at the decoded tensor, applied unchanged. "support": only where features went
        (`gradient_support`). "code": it is the gradient of what was sent, in a shape of its own.
        """
        return "input"

    @property
    def any_shape(self) -> bool:
        """Whether each message may have another shape than the last, as gradients of what was kept have."""
        return not self.remembers

    @property
    def remembers(self) -> bool:
        """Whether `encode` depends on what its sender sent before."""
        return False

    def encode(
        self,
        x: NDArray[Any],
        rng: np.random.Generator | None = None,
        training: bool = False,
        *,
        name: str | None = None,
        memory: Memory | None = None,
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
        memory : dict of str to ndarray, optional
            What the sender's last message left (`Encoded.memory`); a first message has none.

        Raises
        ------
        CodecError
            For an element type that is no float, a NaN or infinity (but in casts), a missing `rng`, or a memory
            of another shape.
        """
        coded = self.squeeze(self.code(x, rng, training, name, memory))
        payload = Frame(self.kind, x.dtype, x.shape, coded.parts).pack(self.signature)
        return Encoded(payload, coded.estimated_bits, coded.saturated, coded.memory, coded.kept)

    def decode(self, payload: bytes) -> NDArray[Any]:
        """Turn a payload back into a tensor; raise CodecError for anything this codec did not make."""
        frame = self.open(payload)
        return self.restore(frame.parts, frame.shape, frame.dtype)  # type: ignore[arg-type]

    def gradient_support(self, payload: bytes) -> NDArray[np.int64] | None:
        """Return the flat indices for which a gradient comes back, in its shape; None means all of them.

        The gradient travels in the shape of this array: a vector of entries, or whole columns as a matrix.
        """
        if self.gradient_place != "support":
            return None
        frame = self.open(payload)
        return self.support(frame.parts, frame.shape)

    def correct(self, gradient: NDArray[Any], kept: NDArray[Any] | None) -> NDArray[Any]:
        """Return the gradient that the sender applies at the tensor it encoded.

        Parameters
        ----------
        gradient : ndarray of float32
            At the decoded tensor, of its shape; zero where nothing returned.
        kept : ndarray, optional
            `Encoded.kept` of that message.
        """
        return gradient

    def explain(self, payload: bytes) -> dict[str, Any]:
        """Return what a payload holds, as JSON can say it: kind, shape, bytes of each part, formula's bits."""
        frame = self.open(payload)
        return {
            "kind": self.kind,
            "shape": list(frame.shape),
            "parts": [len(part) for part in frame.parts],
            "estimated_bits": self.formula_bits(frame.parts, frame.shape),
            **self.facts(frame.parts, frame.shape),
        }

    def encode_cost(self, numel: int, itemsize: int, shape: tuple[int, ...] | None = None) -> Cost:
        """Return what encoding `numel` elements of `itemsize` bytes needs of a machine.

        Operations and passes per element are the codec's own; the bytes on the wire are written once and read
        once for the checksum; what must be done symbol by symbol is `serial_symbols`. Where the work depends on
        the `shape` and none is given, the elements are one vector.
        """
        wire = _HEADER_BYTES + self.estimate_bits(numel) / 8
        return Cost(
            flops=self.encode_operations(shape or (numel,)),
            bytes_touched=self.encode_passes * numel * itemsize + 2 * wire,
            serial_symbols=self.encode_symbols(numel),
            launches=self.launches,
        )

    def decode_cost(self, numel: int, num_bytes: int, shape: tuple[int, ...] | None = None) -> Cost:
        """Return what decoding a payload of `num_bytes` into `numel` elements needs of a machine.

        The payload is read for the checksum and for the values, and the tensor is written as float32 in as many
        passes as the codec says.
        """
        return Cost(
            flops=self.decode_operations(shape or (numel,)),
            bytes_touched=4 * self.decode_passes * numel + 2 * num_bytes,
            serial_symbols=self.decode_symbols(numel),
            launches=self.launches,
        )

    def correct_cost(self, numel: int) -> Cost:
        """Return what `correct` of a gradient of `numel` elements needs of the sender's machine."""
        return Cost()

    # What a codec implements.

    def pack(self, x: NDArray[Any], rng: np.random.Generator | None, training: bool) -> Coded:
        """Turn a checked tensor of at least one axis into `num_parts` parts."""
        raise NotImplementedError

    def pack_after(
        self, x: NDArray[Any], rng: np.random.Generator | None, training: bool, memory: Memory | None
    ) -> Coded:
        """`pack`, given what earlier messages left; only a codec that remembers has a use for that."""
        return self.pack(x, rng, training)

    def unpack(self, parts: Sequence[Buffer], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Turn parts into a tensor of at least one axis; check every size first."""
        raise NotImplementedError

    def estimate_bits(self, numel: int) -> float:
        """Return the formula's size of `numel` elements, without what depends on their values or shape."""
        raise NotImplementedError

    def support(self, parts: Sequence[Buffer], shape: tuple[int, ...]) -> NDArray[np.int64]:
        """Return `gradient_support` of parts; for codecs whose gradient lives there."""
        raise NotImplementedError

    def check_shape(self, shape: tuple[int, ...], training: bool = True) -> None:
        """Raise CodecError for a shape that this codec cannot encode; most take any."""

    def check_single(self, shape: tuple[int, ...]) -> None:
        """Raise CodecError where a last minibatch of one example cannot be encoded although longer ones can."""

    def remark(self, shape: tuple[int, ...]) -> str:
        """Return what a user should know who gives this codec tensors of this shape; most codecs say nothing."""
        return ""

    def max_bytes(self, shape: tuple[int, ...]) -> int:
        """Return a bound on the parts of a tensor of this shape, with their lengths."""
        # 16 bytes an element: float32 end points for each, and 16 bits.
        return 64 + 16 * math.prod(shape)

    def facts(self, parts: Sequence[Buffer], shape: tuple[int, ...]) -> dict[str, Any]:
        """Return what `explain` tells of this kind of codec alone."""
        return {}

    def formula_bits(self, parts: Sequence[Buffer], shape: tuple[int, ...]) -> float:
        """Return the formula's size of a payload, as `encode` estimated it."""
        numel = math.prod(shape)
        return self.estimate_bits(numel) if numel else 0.0

    def encode_operations(self, shape: tuple[int, ...]) -> float:
        """Return the floating-point operations of encoding."""
        return self.encode_flops * math.prod(shape)

    def decode_operations(self, shape: tuple[int, ...]) -> float:
        """Return the floating-point operations of decoding."""
        return self.decode_flops * math.prod(shape)

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
        return self._signature

    @cached_property
    def _signature(self) -> bytes:
        return json.dumps(_parameters(self)).encode()

    def code(
        self,
        x: NDArray[Any],
        rng: np.random.Generator | None,
        training: bool,
        name: str | None = None,
        memory: Memory | None = None,
    ) -> Coded:
        """Check a tensor and `pack` it; errors start with the tensor's name."""
        label = "tensor" if name is None else f"tensor {name!r}"
        if not isinstance(x, np.ndarray) or x.dtype.kind != "f" or x.dtype.itemsize > 8:
            found = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
            raise CodecError(f"{label}: found {found}, expected an array of float16, float32 or float64")
        if training and self.stochastic and rng is None:
            raise CodecError(f"{label}: {self.name} draws in training and needs a random generator")
        try:
            # numpy turns arrays of no axes into scalars
            return self.pack_after(np.atleast_1d(x), rng, training, memory)
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
        expanded = self.expand(frame.parts, self.max_bytes(frame.shape), self.num_parts)
        return dataclasses.replace(frame, parts=expanded)


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
    return measured(x, codec)[:2]


def measured(x: NDArray[Any], codec: str) -> tuple[NDArray[np.float32], int, np.float32]:
    """As `single`, and the largest magnitude; 0 of an empty tensor."""
    from sfsim.codec import kernels

    if x.dtype == np.float32:
        values = np.ascontiguousarray(x).reshape(x.shape)
    else:
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(x, np.float32).reshape(x.shape)
    largest = np.uint32(kernels.largest_magnitude(values.reshape(-1).view(np.uint32))).view(np.float32)
    if np.isfinite(largest):
        return values, 0, largest
    bad = ~np.isfinite(x)
    if bad.any():
        first = np.unravel_index(int(np.argmax(bad)), x.shape)
        index = tuple(int(i) for i in first)
        raise CodecError(
            f"found {x[index]} at index {index} ({np.count_nonzero(bad)} of {x.size} values are not finite); "
            f"{codec} cannot carry it, only casts can"
        )
    return (*saturate(values, x), np.finfo(np.float32).max)


def bounded(
    x: NDArray[Any], codec: str, rows: tuple[int, int, int]
) -> tuple[NDArray[np.float32], int, NDArray[np.float32], NDArray[np.float32]]:
    """As `single`, as (outer, channel, inner), and the least and the largest value of each channel.

    For tensors that are not empty.
    """
    from sfsim.codec import kernels

    with np.errstate(over="ignore"):
        values, saturated = np.ascontiguousarray(x, np.float32).reshape(rows), 0
    ends = np.empty((2, rows[1]), np.int32)
    kernels.extremes(values.view(np.int32), ends[0], ends[1])
    low, high = ends.view(np.float32)
    finite = np.isfinite(low).all() and np.isfinite(high).all()
    if not finite:
        values, saturated = single(x, codec)
        values = values.reshape(rows)
    # A least -0 may stand beside a 0, a largest 0 beside a -0: NumPy says which of the two it is.
    both = ((low == 0) & np.signbit(low)) | ((high == 0) & ~np.signbit(high))
    if not finite or both.any():
        one = rows[:2] == (1, 1)  # then over all at once, several times faster than over two axes
        low, high = (np.atleast_1d(end() if one else end(axis=(0, 2))) for end in (values.min, values.max))
    return values, saturated, low, high


def as_bytes(values: NDArray[Any]) -> Buffer:
    """Return the bytes of an array as a part, without a copy where it is contiguous."""
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data if values.size else b""


def saturate(cast: NDArray[Any], x: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Replace infinities of `cast` that are finite in `x` by the largest number, in place; count them."""
    over = np.isinf(cast) & np.isfinite(x)
    limit = np.finfo(cast.dtype).max
    cast[over] = np.copysign(limit, cast[over])
    return cast, int(np.count_nonzero(over))

"""Label codecs: class numbers and segmentation masks as bytes, exactly.

Labels cross the network in their own slot and are counted in their own column; how many bytes published code
spends on them (eight a label, by the data loader's default) is a choice like any other, so it can be made.
"""

from abc import abstractmethod
from math import prod
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sfsim.codec import bits as packing
from sfsim.codec.base import Encoded
from sfsim.codec.frame import Buffer, Frame
from sfsim.cost import Cost
from sfsim.declaration import declaration, validate
from sfsim.errors import CodecError

_HEADER_BYTES = 16


class LabelCodec:
    """Base of the label codecs: the face of a tensor codec, for integers and booleans of any shape."""

    kind: str

    @property
    def name(self) -> str:
        """Short text for tables."""
        return f"labels-{self.kind}"

    def encode(
        self, x: NDArray[Any], rng: np.random.Generator | None = None, training: bool = False
    ) -> Encoded:
        """Turn labels into bytes; raise CodecError for what is no integer or does not fit."""
        if not isinstance(x, np.ndarray) or x.dtype.kind not in "iub":
            found = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
            raise CodecError(f"labels: found {found}, expected an array of integers or booleans")
        body = self.pack(x.ravel())
        return Encoded(Frame(self.kind, x.dtype, x.shape, (body,)).pack(self.kind.encode()), 8.0 * len(body))

    def decode(self, payload: bytes) -> NDArray[Any]:
        """Turn a payload back into labels of the same shape and type."""
        frame = Frame.unpack(payload, self.kind, 1, self.kind.encode())
        if frame.dtype is None or frame.dtype.kind not in "iub":
            raise CodecError(f"payload holds {frame.dtype}, expected integers or booleans")
        return self.unpack(frame.parts[0], prod(frame.shape)).astype(frame.dtype).reshape(frame.shape)

    def encode_cost(self, numel: int, itemsize: int) -> Cost:
        """Return what encoding needs: a pass for the range, a pass to convert, and the bytes written."""
        return Cost(numel, 2 * numel * itemsize + numel + _HEADER_BYTES, launches=2)

    def decode_cost(self, numel: int, num_bytes: int) -> Cost:
        """Return what decoding needs: the bytes read, and int64 written."""
        return Cost(numel, 8 * numel + num_bytes, launches=2)

    @abstractmethod
    def pack(self, labels: NDArray[Any]) -> bytes:
        """Write flat labels."""

    @abstractmethod
    def unpack(self, body: Buffer, count: int) -> NDArray[Any]:
        """Read `count` labels."""


@declaration
class Smallest(LabelCodec):
    """The smallest of uint8, uint16, uint32 that holds every label sent; int64 if one is negative."""

    kind: Literal["smallest"] = "smallest"

    def pack(self, labels: NDArray[Any]) -> bytes:
        low, high = _range(labels)
        fits = (size for size in (1, 2, 4) if low >= 0 and high < 1 << 8 * size)
        size = next(fits, 8)
        return labels.astype("<i8" if size == 8 else f"<u{size}").tobytes()

    def unpack(self, body: Buffer, count: int) -> NDArray[Any]:
        # The width needs no byte of its own: it is the length of the body divided by the number of labels.
        size = len(body) // max(count, 1)
        if size not in ((1, 2, 4, 8) if count else (0,)) or len(body) != size * count:
            raise CodecError(
                f"labels: found {len(body)} bytes for {count} labels, expected 1, 2, 4 or 8 each"
            )
        return np.frombuffer(body, "<i8" if size == 8 else f"<u{max(size, 1)}")


@declaration
class Packed(LabelCodec):
    """As few bits a label as the largest one of the message needs, behind one byte that says how many."""

    kind: Literal["packed"] = "packed"

    def pack(self, labels: NDArray[Any]) -> bytes:
        low, high = _range(labels)
        if low < 0 or high >= 1 << 32:
            raise CodecError(
                f"labels from {low} to {high} cannot be packed, expected 0 to 2**32 - 1; use kind 'int64'"
            )
        bits = high.bit_length()
        return bytes((bits,)) + packing.pack(labels.astype(np.uint32), bits)

    def unpack(self, body: Buffer, count: int) -> NDArray[Any]:
        if len(body) == 0 or body[0] > 32:
            raise CodecError("labels: expected a first byte of 0 to 32 bits")
        return packing.unpack(body[1:], count, body[0], "labels")


@declaration
class Int64(LabelCodec):
    """Eight bytes a label, as published code sends them."""

    kind: Literal["int64"] = "int64"

    def pack(self, labels: NDArray[Any]) -> bytes:
        return labels.astype("<i8").tobytes()

    def unpack(self, body: Buffer, count: int) -> NDArray[Any]:
        if len(body) != 8 * count:
            raise CodecError(f"labels: found {len(body)} bytes, expected {8 * count}")
        return np.frombuffer(body, "<i8")


AnyLabelCodec = Annotated[Smallest | Packed | Int64, Field(discriminator="kind")]
"""Every codec that the slot `labels` can name."""


def parse(table: Any, place: str) -> LabelCodec:
    """Build a label codec from a TOML table."""
    return validate(AnyLabelCodec, table, place)  # type: ignore[no-any-return]


def _range(labels: NDArray[Any]) -> tuple[int, int]:
    """Return the smallest and the largest label; an empty array has 0 to 0."""
    return (int(labels.min()), int(labels.max())) if labels.size else (0, 0)

"""Chain: error feedback or nothing, one tensor codec, then byte stages over what it made.

Stages that count bytes of one kind (`by_part`) see each part of the tensor codec alone, the others all parts
behind their lengths.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Annotated, Any, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from sfsim.codec.base import Codec, Coded, GradientPlace, Memory, single
from sfsim.codec.byte_stages import BytePlane, Rans
from sfsim.codec.error_feedback import ErrorFeedback
from sfsim.codec.frame import Buffer, Frame, join, split
from sfsim.codec.plain import AnyPlain
from sfsim.codec.zstd import Zstd
from sfsim.cost import Cost
from sfsim.declaration import declaration, misfit
from sfsim.errors import CodecError

AnyStage = Annotated[
    AnyPlain | ErrorFeedback | Zstd | Rans | BytePlane,
    Field(discriminator="kind"),
]
"""What may stand in a chain: error feedback or nothing, a tensor codec, byte stages behind it."""

ByteStage: TypeAlias = Zstd | Rans | BytePlane
BYTE_STAGES = ("zstd", "rans", "byte-plane")
OTHER_STAGES = ("error-feedback", *BYTE_STAGES)


@declaration
class Chain(Codec):
    """A tensor codec whose parts go through byte stages; in TOML, a list of tables.

    Parameters
    ----------
    stages : tuple
        A tensor codec; before it error feedback, or behind it at least one byte stage, or both.

    Examples
    --------
    >>> from sfsim.codec import Cast
    >>> Chain(stages=(Cast(dtype="float16"), Zstd(level=19))).name
    'fp16+zstd19'
    """

    kind: Literal["chain"] = "chain"
    stages: tuple[AnyStage, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = [stage.kind for stage in self.stages]
        fed_back = kinds[:1] == ["error-feedback"]
        tensor, behind = kinds[fed_back : fed_back + 1], kinds[fed_back + 1 :]
        if not tensor or tensor[0] in OTHER_STAGES or any(kind not in BYTE_STAGES for kind in behind):
            expected = (
                "one tensor codec, at most error-feedback before it, and byte stages "
                f"({', '.join(BYTE_STAGES)}) behind it"
            )
            raise misfit((), f"the stages {', '.join(kinds) or 'of an empty list'}", expected)
        if not fed_back and not behind:
            raise misfit((), f"the stage {kinds[0]} alone", "a table, or another stage")
        if fed_back and self._tensor.lossless:
            raise misfit(
                (), f"error-feedback before {kinds[1]}", "a lossy codec: this one leaves no residual"
            )
        if behind and behind[-1] == "byte-plane":
            raise misfit((), "byte-plane last", "zstd or rans behind it: it makes nothing shorter")
        return self

    @property
    def name(self) -> str:
        return "+".join(stage.name for stage in self.stages)

    @property
    def lossless(self) -> bool:
        return self._tensor.lossless

    @property
    def stochastic(self) -> bool:
        return self._tensor.stochastic

    @property
    def gradient_place(self) -> GradientPlace:
        return self._tensor.gradient_place

    @property
    def any_shape(self) -> bool:
        return self._tensor.any_shape

    @property
    def feeds_back(self) -> bool:
        """Whether what was lost of a message is added to the next."""
        return self._feedback is not None

    @property
    def remembers(self) -> bool:
        return self.feeds_back or self._tensor.remembers

    def support(self, parts: Sequence[Buffer], shape: tuple[int, ...]) -> NDArray[np.int64]:
        return self._tensor.support(parts, shape)

    def check_shape(self, shape: tuple[int, ...], training: bool = True) -> None:
        self._tensor.check_shape(shape, training)

    def check_single(self, shape: tuple[int, ...]) -> None:
        self._tensor.check_single(shape)

    def remark(self, shape: tuple[int, ...]) -> str:
        return self._tensor.remark(shape)

    def max_bytes(self, shape: tuple[int, ...]) -> int:
        return self._tensor.max_bytes(shape)

    def correct_cost(self, numel: int) -> Cost:
        return self._tensor.correct_cost(numel)

    def correct(self, gradient: NDArray[Any], kept: NDArray[Any] | None) -> NDArray[Any]:
        return self._tensor.correct(gradient, kept)

    def explain(self, payload: bytes) -> dict[str, Any]:
        """Return kind, shape and parts of the payload, the stages, and the fields of the tensor codec."""
        sizes = [
            len(part) for part in Frame.unpack(payload, self.kind, self.wire_parts, self.signature).parts
        ]
        frame = self.open(payload)
        return {
            "kind": self.kind,
            "stages": [stage.kind for stage in self.stages],
            "shape": list(frame.shape),
            "parts": sizes,
            "estimated_bits": 8.0 * sum(sizes)
            if self._bytes
            else self._tensor.formula_bits(frame.parts, frame.shape),
            **self._tensor.facts(frame.parts, frame.shape),
        }

    def estimate_bits(self, numel: int) -> float:
        return self._tensor.estimate_bits(numel)

    def encode_cost(self, numel: int, itemsize: int, shape: tuple[int, ...] | None = None) -> Cost:
        num_bytes = self._tensor.estimate_bits(numel) / 8
        extra = sum(stage.encode_symbols(num_bytes) for stage in self._bytes)
        return self._tensor.encode_cost(numel, itemsize, shape) + Cost(serial_symbols=extra)

    def decode_cost(self, numel: int, num_bytes: int, shape: tuple[int, ...] | None = None) -> Cost:
        expanded = self._tensor.estimate_bits(numel) / 8
        extra = sum(stage.decode_symbols(expanded) for stage in self._bytes)
        return self._tensor.decode_cost(numel, num_bytes, shape) + Cost(
            bytes_touched=expanded, serial_symbols=extra
        )

    def pack(self, x: NDArray[Any], rng: np.random.Generator | None, training: bool) -> Coded:
        return self._tensor.pack(x, rng, training)

    def pack_after(
        self, x: NDArray[Any], rng: np.random.Generator | None, training: bool, memory: Memory | None
    ) -> Coded:
        if self._feedback is None:
            return self._tensor.pack_after(x, rng, training, memory)
        values, saturated = single(x, self.name)
        whole = self._feedback.add(values, memory)
        coded = self._tensor.pack_after(whole, rng, training, memory)
        residual = whole - self._tensor.unpack(coded.parts, whole.shape, np.dtype(np.float32))
        after = {**(coded.memory or {}), self._feedback.key: residual}
        return replace(coded, memory=after, saturated=coded.saturated + saturated)

    def unpack(self, parts: Sequence[Buffer], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        return self._tensor.unpack(parts, shape, dtype)

    def squeeze(self, coded: Coded) -> Coded:
        if not self._bytes:
            return coded
        parts: Sequence[Buffer] = coded.parts
        for stage in self._each:
            parts = [stage.compress(bytes(part)) for part in parts]
        body = join(parts)
        for stage in self._whole:
            body = stage.compress(body)
        # A byte stage has no formula: what it made is what it costs.
        return replace(coded, parts=(body,), estimated_bits=8.0 * len(body))

    @property
    def num_parts(self) -> int:  # type: ignore[misc,override]
        return self._tensor.num_parts

    @property
    def wire_parts(self) -> int:
        return 1 if self._bytes else self.num_parts

    def expand(self, parts: Sequence[Buffer], max_bytes: int, num_parts: int) -> Sequence[Buffer]:
        if not self._bytes:
            return parts
        body = parts[0]
        for stage in reversed(self._whole):
            body = stage.decompress(body, max_bytes)
        expanded, end = split(body, num_parts)
        if end != len(body):
            raise CodecError(f"{len(body) - end} bytes too many behind the parts")
        for stage in reversed(self._each):
            expanded = [stage.decompress(part, max_bytes) for part in expanded]
        return expanded

    @property
    def _feedback(self) -> ErrorFeedback | None:
        return self.stages[0] if isinstance(self.stages[0], ErrorFeedback) else None

    @property
    def _tensor(self) -> Codec:
        return self.stages[1 if self.feeds_back else 0]  # type: ignore[return-value]

    @property
    def _bytes(self) -> tuple[ByteStage, ...]:
        return self.stages[2 if self.feeds_back else 1 :]  # type: ignore[return-value]

    @property
    def _each(self) -> tuple[ByteStage, ...]:
        """Stages that see each part alone: those before the first that needs all of them."""
        return tuple(takewhile(lambda stage: stage.by_part, self._bytes))

    @property
    def _whole(self) -> tuple[ByteStage, ...]:
        return self._bytes[len(self._each) :]

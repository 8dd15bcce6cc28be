"""Chain: one tensor codec, then byte stages over everything that it made."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from sfsim.codec.base import Codec, Coded, GradientPlace, Memory
from sfsim.codec.frame import Buffer, Frame, join, split
from sfsim.codec.plain import AnyPlain
from sfsim.codec.zstd import Zstd
from sfsim.cost import Cost
from sfsim.declaration import declaration, misfit
from sfsim.errors import CodecError

AnyStage = Annotated[
    AnyPlain | Zstd,
    Field(discriminator="kind"),
]
"""What may stand in a chain: a tensor codec first, byte stages behind it."""


@declaration
class Chain(Codec):
    """A tensor codec whose parts go through byte stages; in TOML, a list of tables.

    Parameters
    ----------
    stages : tuple
        First a tensor codec, then at least one byte stage.

    Examples
    --------
    >>> Chain(stages=(Cast(dtype="float16"), Zstd(level=19))).name
    'fp16+zstd19'
    """

    kind: Literal["chain"] = "chain"
    stages: tuple[AnyStage, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = [stage.kind for stage in self.stages]
        if len(kinds) < 2 or kinds[0] == "zstd" or any(kind != "zstd" for kind in kinds[1:]):
            expected = "one tensor codec first and byte stages (zstd) behind it"
            raise misfit((), f"the stages {', '.join(kinds) or 'of an empty list'}", expected)
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
    def remembers(self) -> bool:
        return self._tensor.remembers

    def support(self, parts: Sequence[Buffer], shape: tuple[int, ...]) -> NDArray[np.int64]:
        return self._tensor.support(parts, shape)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        self._tensor.check_shape(shape)

    def max_bytes(self, shape: tuple[int, ...]) -> int:
        return self._tensor.max_bytes(shape)

    def correct_cost(self, numel: int) -> Cost:
        return self._tensor.correct_cost(numel)

    def correct(self, gradient: NDArray[Any], kept: NDArray[Any] | None) -> NDArray[Any]:
        return self._tensor.correct(gradient, kept)

    def explain(self, payload: bytes) -> dict[str, Any]:
        """Return kind, shape and parts of the payload, the stages, and the fields of the tensor codec."""
        size = len(Frame.unpack(payload, self.kind, 1, self.signature).parts[0])
        frame = self.open(payload)
        return {
            "kind": self.kind,
            "stages": [stage.kind for stage in self.stages],
            "shape": list(frame.shape),
            "parts": [size],
            "estimated_bits": 8.0 * size,
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
        return self._tensor.pack_after(x, rng, training, memory)

    def unpack(self, parts: Sequence[Buffer], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        return self._tensor.unpack(parts, shape, dtype)

    def squeeze(self, coded: Coded) -> Coded:
        body = join(coded.parts)
        for stage in self._bytes:
            body = stage.compress(body)
        # A byte stage has no formula: what it made is what it costs.
        return replace(coded, parts=(body,), estimated_bits=8.0 * len(body))

    @property
    def num_parts(self) -> int:  # type: ignore[misc,override]
        return self._tensor.num_parts

    @property
    def wire_parts(self) -> int:
        return 1

    def expand(self, parts: Sequence[Buffer], max_bytes: int, num_parts: int) -> Sequence[Buffer]:
        body = parts[0]
        for stage in reversed(self._bytes):
            body = stage.decompress(body, max_bytes)
        expanded, end = split(body, num_parts)
        if end != len(body):
            raise CodecError(f"{len(body) - end} bytes too many behind the parts")
        return expanded

    @property
    def _tensor(self) -> Codec:
        return self.stages[0]  # type: ignore[return-value]

    @property
    def _bytes(self) -> tuple[Zstd, ...]:
        return self.stages[1:]  # type: ignore[return-value]

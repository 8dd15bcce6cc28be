"""Zeros: the no-communication baseline; only a shape travels."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sfsim.codec.base import Codec, Coded, single
from sfsim.codec.frame import Buffer
from sfsim.declaration import declaration
from sfsim.errors import CodecError


@declaration
class Zeros(Codec):
    """Replace the tensor by zeros: a codec that is not better than this one sends nothing of use."""

    kind: Literal["zeros"] = "zeros"
    num_parts: ClassVar[int] = 1

    @property
    def name(self) -> str:
        return "zeros"

    def estimate_bits(self, numel: int) -> float:
        return 0.0

    def pack(self, x: NDArray[Any], rng: np.random.Generator | None, training: bool) -> Coded:
        return Coded((b"",), 0.0, single(x, self.name)[1])

    def unpack(self, parts: Sequence[Buffer], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        if len(parts[0]):
            raise CodecError(f"found {len(parts[0])} bytes behind the header, expected none")
        return np.zeros(shape, dtype)

"""Pcodec: lossless, for numbers and not for bytes; a rival of float32 with zstd."""

from collections.abc import Sequence
from math import prod
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sfsim.codec.base import Codec, Coded, single
from sfsim.codec.frame import Buffer
from sfsim.declaration import declaration
from sfsim.errors import CodecError


@declaration
class Pcodec(Codec):
    """Send float32 values as Pcodec's bytes, which come back bit by bit.

    Parameters
    ----------
    level : int
        0 (fast) to 12 (small); 8 is the library's own default.

    Source
    ------
    M. Loncaric et al., "Pcodec: Better Compression for Numerical Sequences", arXiv:2502.06112.
    """

    kind: Literal["pcodec"] = "pcodec"
    level: Annotated[int, Field(ge=0, le=12)] = 8
    num_parts: ClassVar[int] = 1

    @property
    def name(self) -> str:
        return "pcodec" if self.level == 8 else f"pcodec{self.level}"

    @property
    def lossless(self) -> bool:
        return True

    def estimate_bits(self, numel: int) -> float:
        return 32.0 * numel  # it has no formula

    def encode_symbols(self, numel: int) -> float:
        return 4.0 * numel * 2 ** ((self.level - 8) / 3)

    def decode_symbols(self, numel: int) -> float:
        return numel

    def pack(self, x: NDArray[Any], rng: np.random.Generator | None, training: bool) -> Coded:
        from pcodec import ChunkConfig, standalone

        values, saturated = single(x, self.name)
        body = b""
        if x.size:
            body = standalone.simple_compress(values.ravel(), ChunkConfig(compression_level=self.level))
        return Coded((body,), 8.0 * len(body), saturated)

    def unpack(self, parts: Sequence[Buffer], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        from pcodec import standalone

        numel = prod(shape)
        if numel == 0:
            if len(parts[0]):
                raise CodecError("an empty tensor came with bytes of content")
            return np.zeros(shape, dtype)
        out = np.empty(numel, np.float32)
        try:
            # Into memory of the frame's size: what the bytes claim of theirs takes none.
            progress = standalone.simple_decompress_into(bytes(parts[0]), out)
        except (RuntimeError, ValueError) as error:
            raise CodecError(f"pcodec: {error}") from None
        if progress.n_processed != numel or not progress.finished:
            raise CodecError(f"pcodec: found other than the {numel} numbers expected")
        if not np.isfinite(out).all():
            raise CodecError("pcodec: expected finite numbers")
        with np.errstate(over="ignore"):
            return out.astype(dtype).reshape(shape)

    def formula_bits(self, parts: Sequence[Buffer], shape: tuple[int, ...]) -> float:
        return 8.0 * len(parts[0])

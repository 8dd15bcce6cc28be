"""Zstd: a lossless byte stage behind a tensor codec."""

from typing import Annotated, ClassVar, Literal

import zstandard
from pydantic import Field

from sfsim.codec.frame import Buffer
from sfsim.declaration import declaration
from sfsim.errors import CodecError


@declaration
class Zstd:
    """Compress the codec's bytes with Zstandard (RFC 8878).

    Parameters
    ----------
    level : int
        1 (fast) to 22 (small); 3 is the library's own default.
    """

    kind: Literal["zstd"] = "zstd"
    by_part: ClassVar[bool] = False
    level: Annotated[int, Field(ge=1, le=22)] = 3

    @property
    def name(self) -> str:
        return "zstd" if self.level == 3 else f"zstd{self.level}"

    def compress(self, data: bytes) -> bytes:
        """Return the compressed bytes; they say how long `data` was."""
        return zstandard.ZstdCompressor(level=self.level).compress(data)

    def decompress(self, data: Buffer, max_bytes: int) -> bytes:
        """Undo `compress`; raise CodecError before allocating when the result is beyond `max_bytes`."""
        try:
            size = zstandard.get_frame_parameters(data).content_size
            # A block of 4 bytes gives 128 KiB at most: a claim beyond that is a lie.
            limit = min(max_bytes, 2**15 * len(data))
            if size > limit:
                raise CodecError(f"zstd claims {size} bytes, expected at most {limit}")
            return zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise CodecError(f"zstd: {error}") from None

    def encode_symbols(self, num_bytes: float) -> float:
        """Return the cost in symbols: one a byte at level 3, doubling every three levels (lzbench)."""
        return num_bytes * 2 ** ((self.level - 3) / 3)

    def decode_symbols(self, num_bytes: float) -> float:
        """Return the cost in symbols: decoding is about four times faster, at any level."""
        return num_bytes / 4

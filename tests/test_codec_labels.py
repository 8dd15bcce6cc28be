"""Label codecs: exact for every integer type, as small as they say, and closed to damage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sfsim.codec.labels import Int64, LabelCodec, Packed, Smallest, parse
from sfsim.errors import CodecError, ConfigError

CODECS = [Smallest(), Packed(), Int64()]
every_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.kind)


@every_codec
@given(
    x=arrays.arrays(
        st.sampled_from([np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]),
        arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
        elements=st.integers(0, 1) | st.integers(0, 127),
        fill=st.nothing(),
    )
)
@settings(max_examples=60, deadline=None)
def test_exact(codec: LabelCodec, x: np.ndarray) -> None:
    encoded = codec.encode(x)
    y = codec.decode(encoded.payload)
    assert y.dtype == x.dtype and y.shape == x.shape and np.array_equal(x, y) and y.flags.writeable
    for at in range(len(encoded.payload)):
        damaged = bytearray(encoded.payload)
        damaged[at] ^= 0x10
        for wrong in (bytes(damaged), encoded.payload[:at]):
            with pytest.raises(CodecError):
                codec.decode(wrong)


@pytest.mark.parametrize(
    ("labels", "smallest", "packed"),
    [
        ([0, 1, 1, 0, 1, 0, 0, 1], 8, 2),
        ([0, 9, 3, 2], 4, 3),
        ([255, 0], 2, 3),
        ([256, 0], 4, 4),
        ([2**32 - 1], 4, 5),
        ([0, 0, 0], 3, 1),
        ([], 0, 1),
    ],
)
def test_sizes(labels: list[int], smallest: int, packed: int) -> None:
    x = np.array(labels, np.int64)
    assert [codec.encode(x).estimated_bits for codec in CODECS] == [8 * smallest, 8 * packed, 64 * x.size]


def test_negative_and_large_labels() -> None:
    for x in (np.array([-1, 5]), np.array([2**40, 0])):
        for codec in (Smallest(), Int64()):
            assert np.array_equal(codec.decode(codec.encode(x).payload), x)
            assert codec.encode(x).estimated_bits == 128
    with pytest.raises(CodecError, match=r"labels from -1 to 5 cannot be packed.*use kind 'int64'"):
        Packed().encode(np.array([-1, 5]))


@every_codec
def test_only_integers(codec: LabelCodec) -> None:
    mask = np.array([[True, False]])
    assert np.array_equal(codec.decode(codec.encode(mask).payload), mask)
    with pytest.raises(CodecError, match="labels: found float32, expected an array of integers or booleans"):
        codec.encode(np.ones(3, np.float32))
    assert codec.encode_cost(10, 8).bytes_touched > codec.encode_cost(0, 8).bytes_touched > 0
    assert codec.decode_cost(10, 20).bytes_touched > codec.decode_cost(0, 10).bytes_touched > 0


def test_parse() -> None:
    assert parse({"kind": "packed"}, "a.toml") == Packed()
    with pytest.raises(
        ConfigError, match=r"a\.toml, kind: found 'pakced', expected 'smallest', 'packed' or 'int64'"
    ):
        parse({"kind": "pakced"}, "a.toml")

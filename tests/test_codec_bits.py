"""Bit packing: every width, against the definition on Python's own whole numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfsim.codec import bits as packing
from sfsim.codec.selecting import count_kept, index_bits, largest
from sfsim.errors import CodecError


@given(data=st.data(), bits=st.integers(1, 32))
@settings(deadline=None)  # machines that do other things too
def test_every_width(data: st.DataObject, bits: int) -> None:
    codes = data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=40))
    kind = np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32
    packed = packing.pack(np.array(codes, kind), bits)
    text = "".join(f"{code:0{bits}b}" for code in codes)
    text += "0" * (-len(text) % 8)
    assert packed == bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8))
    back = packing.unpack(packed, len(codes), bits)
    assert back.dtype == kind and back.tolist() == codes
    for wrong in (packed + b"\0", packed[:-1]):
        if wrong != packed:
            with pytest.raises(CodecError, match=f"codes: found {len(wrong)} bytes, expected {len(packed)}"):
                packing.unpack(wrong, len(codes), bits)


def test_no_bits_at_all() -> None:
    assert packing.pack(np.zeros(5, np.uint8), 0) == b""
    assert packing.unpack(b"", 5, 0).tolist() == [0] * 5


@given(values=st.lists(st.integers(0, 5), max_size=30), data=st.data())
@settings(deadline=None)
def test_largest_is_stable(values: list[int], data: st.DataObject) -> None:
    k = data.draw(st.integers(0, len(values)))
    expected = sorted(sorted(range(len(values)), key=lambda i: (-values[i], i))[:k])
    assert largest(np.array(values, np.float32), k).tolist() == expected


def test_how_many_are_kept() -> None:
    assert [count_kept(1 - 0.99, d) for d in (0, 1, 99, 100, 10**8)] == [0, 1, 1, 1, 10**6]
    assert [count_kept(1 - 0.9, d) for d in (10, 20, 30)] == [1, 2, 3]
    assert [index_bits(d) for d in (0, 1, 2, 3, 128, 129)] == [0, 0, 1, 2, 7, 8]

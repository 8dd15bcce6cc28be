"""Pickles of arrays: read without being run, whoever wrote them; anything else is refused."""

import pickle
import random
from pathlib import Path

import numpy as np
import pytest

from sfsim.errors import DataError
from sfsim.learning.pickles import read_pickle

DATA = np.arange(24, dtype=np.uint8).reshape(4, 6)
BATCH = {
    "data": DATA,
    "labels": [3, 1, 4, 1],
    "batch_label": "first of \u00e9",
    "none": None,
    "pair": (1.5, True),
}


def read(tmp_path: Path, content: bytes):
    path = tmp_path / "batch"
    path.write_bytes(content)
    return read_pickle(path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_protocol(tmp_path: Path, protocol: int, order: str) -> None:
    array = np.array(DATA, order=order)
    found = read(tmp_path, pickle.dumps(BATCH | {"data": array, "again": array}, protocol=protocol))
    assert np.array_equal(found.pop("data"), DATA) and np.array_equal(found.pop("again"), DATA)
    assert found == {key: value for key, value in BATCH.items() if key != "data"}


def test_what_numpy_2_writes(tmp_path: Path) -> None:
    written = pickle.dumps(BATCH, protocol=2).replace(b"numpy.core.multiarray", b"numpy._core.multiarray")
    assert np.array_equal(read(tmp_path, written)["data"], DATA)


def test_what_python_2_wrote(tmp_path: Path) -> None:
    """Protocol 2 with texts for bytes, as the official files are."""
    raw = DATA.tobytes()
    content = (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05"
        b"(K\x01K\x04K\x06\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U"
        + bytes([len(raw)]) + raw + b"tbU\x06labelsq\x08]q\x09(K\x03K\x01K\x04K\x01eu."
    )  # fmt: skip
    found = read(tmp_path, content)
    assert np.array_equal(found["data"], DATA) and found["labels"] == [3, 1, 4, 1]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros(3, np.float32), "'data': found float32, expected uint8"),
        (np.zeros(3, np.int64), "'data': found int64, expected uint8"),
        (np.zeros(3, ">u2"), "expected uint8"),
        (np.array([b"a"], object), "expected uint8"),
        (Path("x"), "pathlib.* is no part of one"),
        ({1, 2}, "opcode EMPTY_SET is no part of one"),
        (np.float64(1), "scalar is no part of one"),
    ],
)
def test_anything_else_is_refused_by_name(tmp_path: Path, value: object, text: str) -> None:
    with pytest.raises(DataError, match=text):
        read(tmp_path, pickle.dumps({"data": value}, protocol=4))


def test_an_array_of_another_size_than_its_bytes_is_refused(tmp_path: Path) -> None:
    content = pickle.dumps({"data": DATA}, protocol=2)
    forged = content.replace(b"K\x04K\x06\x86", b"K\xffK\xff\x86")
    assert forged != content
    with pytest.raises(DataError, match=r"'data': found 24 bytes for an array of shape \(255, 255\)"):
        read(tmp_path, forged)


def test_damaged_ones_are_refused_or_harmless(tmp_path: Path) -> None:
    luck = random.Random(1)
    for protocol in (0, 2, 4, 5):
        content = pickle.dumps(BATCH, protocol=protocol)
        for _ in range(150):
            at = luck.randrange(len(content))
            cut = (
                content[:at] if luck.random() < 0.3 else content[:at] + luck.randbytes(1) + content[at + 1 :]
            )
            try:
                found = read(tmp_path, cut)
            except DataError:
                continue
            arrays = [value for value in found.values() if isinstance(value, np.ndarray)]
            assert all(array.dtype == np.uint8 for array in arrays)

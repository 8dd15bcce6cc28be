"""Codecs on a user's own files: reports, round trip, and one clear line for every bad input."""

from pathlib import Path

import numpy as np
import pytest
from codec_contract import CATALOGUE, ENTRIES, rng

from sfsim.codec.tools import decode_file, encode_file
from sfsim.errors import SfsimError

X = rng().standard_normal((4, 8, 5, 5)).astype(np.float32)


@pytest.mark.parametrize("name", ENTRIES)
def test_round_trip(tmp_path: Path, name: str) -> None:
    x = X if name != "fedlite" else rng().standard_normal((2, 8, 16, 16)).astype(np.float32)  # cut into 2,048
    np.save(tmp_path / "x.npy", x)
    toml, payload, back = CATALOGUE / f"{name}.toml", tmp_path / "x.bin", tmp_path / "back"
    report = encode_file(tmp_path / "x.npy", toml, payload, seed=3)
    again = encode_file(tmp_path / "x.npy", toml, tmp_path / "again.bin", seed=3)
    assert report == again and payload.read_bytes() == (tmp_path / "again.bin").read_bytes()
    decoded = decode_file(payload, toml, back)
    y = np.load(back)
    assert y.shape == decoded.shape == report.shape == x.shape and y.dtype == x.dtype
    assert report.payload_bytes == decoded.payload_bytes == payload.stat().st_size
    assert report.ratio == pytest.approx(x.nbytes / report.payload_bytes)
    assert report.bits_per_element == pytest.approx(8 * report.payload_bytes / x.size)
    assert report.l2_error_absolute == pytest.approx(np.linalg.norm(y.astype(float) - x))
    assert report.l2_error_relative == pytest.approx(report.l2_error_absolute / np.linalg.norm(x))
    assert report.max_error_absolute == pytest.approx(np.abs(y.astype(float) - x).max())


def test_without_a_seed_it_is_plain(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    encode_file(tmp_path / "x.npy", CATALOGUE / "qsgd4.toml", tmp_path / "p")
    assert (tmp_path / "p").read_bytes() == ENTRIES["qsgd4"].encode(X).payload


def test_saturation_is_reported(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([1e5, np.nan, np.inf, 2], np.float32))
    report = encode_file(tmp_path / "x.npy", CATALOGUE / "fp16.toml", tmp_path / "p")
    assert report.saturated == 1 and report.max_error_absolute == 1e5 - 65504


def test_bad_input(tmp_path: Path) -> None:
    int8, out = CATALOGUE / "int8.toml", tmp_path / "out"
    np.save(tmp_path / "floats.npy", X)
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    np.save(tmp_path / "integers.npy", np.arange(3))
    np.save(tmp_path / "nan.npy", np.array([1, np.nan]))
    np.savez(tmp_path / "several.npz", a=X)
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "empty.npy").touch()
    ae = CATALOGUE / "ae.toml"
    for name, tool in (("floats.npy", encode_file), ("text.npy", decode_file)):
        with pytest.raises(SfsimError) as caught:
            tool(tmp_path / name, ae, out)
        assert str(caught.value) == f"{ae}, kind: found 'ae', expected a codec that needs no training"
    for name, text in (
        (
            "float.npy",
            "float.npy: found no such file, expected an array of floats in an .npy file. Did you mean",
        ),
        ("objects.npy", "objects.npy: found something else (Object arrays cannot be loaded"),
        ("integers.npy", "integers.npy: tensor 'integers.npy': found int64, expected an array of float16"),
        ("nan.npy", "found nan at index (1,)"),
        ("several.npz", "found an archive of several arrays"),
        ("text.npy", "text.npy: found something else"),
        ("empty.npy", "empty.npy: found something else"),
        ("", "Is a directory"),
    ):
        with pytest.raises(SfsimError) as caught:
            encode_file(tmp_path / name, int8, out)
        assert text in str(caught.value)
        assert not out.exists()
    with pytest.raises(SfsimError, match=r"where: cannot be written \((File exists|Not a directory)\)"):
        encode_file(tmp_path / "floats.npy", int8, tmp_path / "floats.npy" / "where")
    with pytest.raises(SfsimError, match="out: found no such file, expected a payload"):
        decode_file(out, int8, tmp_path / "y.npy")
    encode_file(tmp_path / "floats.npy", int8, out)
    with pytest.raises(SfsimError, match="out: payload was made by codec 'uniform', expected 'zeros'"):
        decode_file(out, CATALOGUE / "zeros.toml", tmp_path / "y.npy")
    with pytest.raises(SfsimError, match="where: cannot be written"):
        decode_file(out, int8, out / "where")
    with pytest.raises(SfsimError, match="no such file"):
        decode_file(out, tmp_path / "none.toml", tmp_path / "y.npy")

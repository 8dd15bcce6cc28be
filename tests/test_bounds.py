"""What files and declarations claim is bounded before memory is taken, in one clear line."""

import os
from pathlib import Path

import pytest

from sfsim import text
from sfsim.declaration import read_toml
from sfsim.errors import ConfigError, DataError
from sfsim.learning.declarations import Synthetic
from sfsim.text import read_text


def test_toml_that_is_nested_too_deeply_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.toml"
    path.write_text("a = " + "[" * 20_000 + "]" * 20_000)
    with pytest.raises(ConfigError, match=r"a\.toml: found tables or lists nested too deeply"):
        read_toml(path)
    monkeypatch.setattr("sfsim.declaration._MAX_TOML_BYTES", 10)
    with pytest.raises(ConfigError, match=r"40,004 bytes, expected at most 10"):
        read_toml(path)


def test_pipes_and_devices_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="a pipe or a device, expected a regular file"):
        read_toml(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(DataError, match="a pipe or a device, expected a regular file"):
            read_text(path)


def test_large_texts_are_refused_by_their_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rates.csv"
    path.write_text("1,2\n" * 10)
    monkeypatch.setattr(text.content_of, "__defaults__", (39,))
    with pytest.raises(
        DataError, match=r"rates\.csv: not a readable text file \(40 bytes, expected at most 39\)"
    ):
        read_text(path)


def test_synthetic_data_are_refused_before_they_are_drawn() -> None:
    with pytest.raises(ConfigError, match=r"num_train: found 1,000,000,128 images that take 1,907\.3 GiB"):
        Synthetic(num_train=10**9)
    with pytest.raises(ConfigError, match="at most 8 GiB"):
        Synthetic(image_size=10**6)

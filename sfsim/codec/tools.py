"""Tools: run a codec on a file of the user's own; what `sfsim codec encode` and `decode` call."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfsim import seeds
from sfsim.codec.base import Codec
from sfsim.codec.learned import Learned
from sfsim.codec.loading import load
from sfsim.errors import CodecError, ConfigError, did_you_mean
from sfsim.files import writing


@dataclass(frozen=True, slots=True)
class EncodeReport:
    """What encoding a file gave.

    Errors are over the values that are finite at both ends: the norm of the difference, the same over the norm
    of what was encoded (NaN for zeros), and the largest difference.
    """

    codec: str
    shape: tuple[int, ...]
    dtype: str
    raw_bytes: int
    payload_bytes: int
    ratio: float
    bits_per_element: float
    estimated_bits: float
    saturated: int
    l2_error_absolute: float
    l2_error_relative: float
    max_error_absolute: float


@dataclass(frozen=True, slots=True)
class DecodeReport:
    """What decoding a file gave."""

    codec: str
    shape: tuple[int, ...]
    dtype: str
    raw_bytes: int
    payload_bytes: int
    ratio: float
    bits_per_element: float


def encode_file(x_npy: Path, codec_toml: Path, out: Path, seed: int | None = None) -> EncodeReport:
    """Encode the array in an .npy file and write the payload.

    Parameters
    ----------
    seed : int, optional
        With it a stochastic codec draws as in training, without it is plain as in evaluation.

    Raises
    ------
    SfsimError
        For a file that is missing, no .npy, or holds what the codec cannot encode; and before `out` overwrites
        what is read.
    """
    _check_other(out, x_npy, codec_toml)
    codec = _untrained(codec_toml)
    x = _read_npy(x_npy)
    rng = None if seed is None else seeds.stream(seed, "codec", "file")
    try:
        encoded = codec.encode(x, rng, training=seed is not None, name=x_npy.name)
    except CodecError as error:
        raise CodecError(f"{x_npy}: {error}") from None
    with writing(out):
        out.write_bytes(encoded.payload)
    size = len(encoded.payload)
    back = codec.decode(encoded.payload)
    finite = np.isfinite(x) & np.isfinite(back)
    difference = back[finite].astype(np.float64) - x[finite]
    l2_error, norm = (float(np.linalg.norm(values)) for values in (difference, x[finite].astype(np.float64)))
    return EncodeReport(
        codec=codec.name,
        shape=x.shape,
        dtype=x.dtype.name,
        raw_bytes=x.nbytes,
        payload_bytes=size,
        ratio=x.nbytes / size,
        bits_per_element=8 * size / max(x.size, 1),
        estimated_bits=encoded.estimated_bits,
        saturated=encoded.saturated,
        l2_error_absolute=l2_error,
        l2_error_relative=l2_error / norm if norm else float("nan"),
        max_error_absolute=float(np.abs(difference).max(initial=0.0)),
    )


def decode_file(payload: Path, codec_toml: Path, out: Path) -> DecodeReport:
    """Decode a payload file and write the array as .npy; raise SfsimError for what the codec did not make."""
    _check_other(out, payload, codec_toml)
    codec = _untrained(codec_toml)
    data = _read(payload, "a payload written by sfsim codec encode")
    try:
        x = codec.decode(data)
    except CodecError as error:
        raise CodecError(f"{payload}: {error}") from None
    with writing(out), out.open("wb") as file:  # np.save would append .npy to a path of another name
        np.save(file, x)
    return DecodeReport(
        codec=codec.name,
        shape=x.shape,
        dtype=x.dtype.name,
        raw_bytes=x.nbytes,
        payload_bytes=len(data),
        ratio=x.nbytes / len(data),
        bits_per_element=8 * len(data) / max(x.size, 1),
    )


def _untrained(path: Path) -> Codec:
    codec = load(path)
    if isinstance(codec, Learned):
        raise ConfigError(f"{path}, kind", repr(codec.kind), "a codec that needs no training")
    return codec


def _check_other(out: Path, *inputs: Path) -> None:
    if out.is_file() and any(path.exists() and out.samefile(path) for path in inputs):
        raise ConfigError(f"--out {out}", "a file that is read", "another file: it would be overwritten")


def _read_npy(path: Path) -> NDArray[Any]:
    expected = "an array of floats in an .npy file"
    _read(path, expected)
    try:
        x = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ConfigError(str(path), f"something else ({error})", expected) from None
    if not isinstance(x, np.ndarray):
        raise ConfigError(str(path), "an archive of several arrays", expected)
    return x


def _read(path: Path, expected: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        names = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ConfigError(str(path), "no such file", expected, did_you_mean(path.name, names)) from None
    except OSError as error:
        raise ConfigError(str(path), str(error.strerror), expected) from None

"""Tools: run a codec on files of the user's own; what `sfsim codec encode`, `decode` and so on call."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfsim import seeds
from sfsim.codec.base import Codec, Encoded
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


@dataclass(frozen=True, slots=True)
class PullbackReport:
    """What sending a gradient back gave: where it lives, and what crosses the network before its own codec."""

    codec: str
    gradient_place: str
    shape: tuple[int, ...]
    travelling_shape: tuple[int, ...]
    travelling_bytes: int


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
    x, encoded = _read_npy(x_npy), _encode(codec, x_npy, seed)
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


def explain_file(payload: Path, codec_toml: Path) -> dict[str, Any]:
    """Return what a payload file holds (`Codec.explain`); raise SfsimError for what the codec did not make."""
    codec = _untrained(codec_toml)
    data = _read(payload, "a payload written by sfsim codec encode")
    try:
        return codec.explain(data)
    except CodecError as error:
        raise CodecError(f"{payload}: {error}") from None


def pullback_file(
    x_npy: Path,
    codec_toml: Path,
    gradient_npy: Path,
    out: Path,
    code_gradient: Path | None = None,
    seed: int | None = None,
) -> PullbackReport:
    """Send a gradient at the decoded tensor back to the tensor that was encoded.

    Parameters
    ----------
    gradient_npy : Path
        Gradient at what `decode` returns, of its shape.
    out : Path
        Where the gradient goes that the sender applies, as float32 of the tensor's shape.
    code_gradient : Path, optional
        Where that goes which would cross the network back.
    seed : int, optional
        As in `encode_file`.

    Raises
    ------
    SfsimError
        As `encode_file`; and for a gradient of another shape, or with a value that is not finite.
    """
    outputs = [out] if code_gradient is None else [out, code_gradient]
    for path in outputs:
        _check_other(path, x_npy, codec_toml, gradient_npy)
    if code_gradient is not None and code_gradient.resolve() == out.resolve():
        raise ConfigError(f"--code-gradient {code_gradient}", "the file of --out", "another file")
    codec = _untrained(codec_toml)
    encoded = _encode(codec, x_npy, seed)
    decoded = codec.decode(encoded.payload)
    gradient = _read_npy(gradient_npy)
    if gradient.shape != decoded.shape or gradient.dtype.kind != "f":
        raise ConfigError(
            str(gradient_npy), f"{gradient.dtype} of shape {gradient.shape}",
            f"floats of shape {decoded.shape}, which is that of the decoded tensor",
        )  # fmt: skip
    if not np.isfinite(gradient).all():
        raise ConfigError(str(gradient_npy), "values that are not finite", "finite numbers")
    back = gradient.astype(np.float32)
    travelling = back
    support = codec.gradient_support(encoded.payload)
    if support is not None:
        travelling = back.reshape(-1)[support]
        back = np.zeros_like(back)
        back.reshape(-1)[support] = travelling
    applied = codec.correct(back, encoded.kept)
    for path, array in zip(outputs, (applied, travelling), strict=False):
        with writing(path), path.open("wb") as file:
            np.save(file, array)
    return PullbackReport(
        codec=codec.name,
        gradient_place=codec.gradient_place,
        shape=applied.shape,
        travelling_shape=travelling.shape,
        travelling_bytes=travelling.nbytes,
    )


def _encode(codec: Codec, x_npy: Path, seed: int | None) -> Encoded:
    x = _read_npy(x_npy)
    rng = None if seed is None else seeds.stream(seed, "codec", "file")
    try:
        return codec.encode(x, rng, training=seed is not None, name=x_npy.name)
    except CodecError as error:
        raise CodecError(f"{x_npy}: {error}") from None


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

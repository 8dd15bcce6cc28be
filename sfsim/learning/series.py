"""Series from ``.npz`` and CSV files, and invented ones: float32 (N, C, L), with one class or any number of them."""

import csv
from pathlib import Path

import numpy as np

from sfsim.errors import DataError, did_you_mean
from sfsim.learning.dataset import TEST, Dataset, assemble, draw_roles
from sfsim.learning.medmnist import MAX_BYTES, read_npz
from sfsim.learning.series_declarations import SeriesCsv, SeriesNpz, SyntheticSeries

Loaded = tuple[np.ndarray, np.ndarray]


def load_series(
    spec: SeriesNpz | SeriesCsv, root: Path | None, validation_fraction: float, rng: np.random.Generator
) -> Dataset:
    """Load the file or the two files; without the second one `rng` draws which series are tested on."""
    read = _from_npz if isinstance(spec, SeriesNpz) else _from_csv
    x, y = read(_file(spec.path, root, spec), spec)  # type: ignore[arg-type]
    roles = draw_roles(
        np.arange(len(x)), 0 if spec.test_path else spec.test_fraction, validation_fraction, rng
    )
    if spec.max_series is not None:
        trained = np.flatnonzero(roles != TEST)
        dropped = rng.permutation(trained)[spec.max_series :]
        kept = np.setdiff1d(np.arange(len(x)), dropped)
        x, y, roles = x[kept], y[kept], roles[kept]
    if spec.test_path is not None:
        test_x, test_y = read(_file(spec.test_path, root, spec), spec)  # type: ignore[arg-type]
        roles = np.concatenate([roles, np.full(len(test_x), TEST)])
        x, y = np.concatenate([x, test_x]), np.concatenate([y, test_y])
    return assemble(x, y, roles, spec.task, spec.num_classes, labels=_unequal(y))


def load_synthetic_series(
    spec: SyntheticSeries,
    validation_fraction: float,
    split_rng: np.random.Generator,
    rng: np.random.Generator,
) -> Dataset:
    """Draw series; `rng` draws them, `split_rng` which of them are validated on."""
    total, classes = spec.num_train + spec.num_test, spec.num_classes
    strength = rng.uniform(0.5, 1, (classes, spec.in_channels))
    if spec.task == "classification":
        targets = rng.integers(classes, size=total)
        present = targets[:, None] == np.arange(classes)
    else:
        present = rng.random((total, classes)) < 0.5
        targets = present.astype(np.uint8)
    phase = rng.uniform(0, 2 * np.pi, (total, classes, 1))
    turns = 2 * np.pi * np.arange(spec.length) / spec.length
    x = spec.noise * rng.standard_normal((total, spec.in_channels, spec.length))
    for k in range(classes):
        wave = present[:, k, None] * np.sin(2 * (k + 1) * turns + phase[:, k])
        x += strength[k][:, None] * wave[:, None]
    roles = np.full(total, TEST)
    roles[: spec.num_train] = draw_roles(np.arange(spec.num_train), 0, validation_fraction, split_rng)
    return assemble(x.astype(np.float32), targets, roles, spec.task, classes, labels=_unequal(targets))


def _unequal(y: np.ndarray) -> np.ndarray:
    """Return what a Dirichlet partition deals out: the class; of several the first one, and K for none."""
    return np.where(y.any(1), y.argmax(1), y.shape[1]) if y.ndim == 2 else y


def _file(name: str, root: Path | None, spec: SeriesNpz | SeriesCsv) -> Path:
    path = (root or Path()) / name
    if not path.is_file():
        siblings = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = did_you_mean(path.name, siblings)
        raise DataError(f"no {path}: put the series ({spec.kind}) there" + (f". {hint}" if hint else ""))
    return path


def _from_npz(path: Path, spec: SeriesNpz) -> Loaded:
    x, y = read_npz(path, "x"), read_npz(path, "y")
    expected = f"(N, {spec.in_channels}, {spec.length})" + (
        f" or (N, {spec.length})" if spec.in_channels == 1 else ""
    )
    inputs = x[:, None] if x.ndim == 2 else x
    if x.dtype.kind not in "fiu" or inputs.shape[1:] != (spec.in_channels, spec.length):
        raise DataError(
            f"{path}, x: found {x.dtype} of shape {x.shape}, expected numbers of {expected} "
            "([data] in_channels, length)"
        )
    if len(x) != len(y) or len(x) == 0:
        raise DataError(f"{path}: found {len(x)} series in x and {len(y)} labels in y, expected one for each")
    with np.errstate(over="ignore", invalid="ignore"):
        inputs = np.ascontiguousarray(inputs, np.float32)
    bad = np.flatnonzero(~np.isfinite(inputs.sum((1, 2), dtype=np.float64)))
    if len(bad):
        raise DataError(
            f"{path}, x, row {bad[0]}: found a number that is not finite, expected float32 numbers"
        )
    return inputs, _labels(y, f"{path}, y", spec)


def _labels(y: np.ndarray, place: str, spec: SeriesNpz) -> np.ndarray:
    several = spec.task == "multi-label"
    if y.dtype.kind not in ("biu" if several else "iu") or y.shape[1:] != (
        (spec.num_classes,) if several else ()
    ):
        expected = f"0 or 1 of (N, {spec.num_classes})" if several else "whole numbers of (N,)"
        raise DataError(
            f"{place}: found {y.dtype} of shape {y.shape}, expected {expected} ([data] task, num_classes)"
        )
    most = 1 if several else spec.num_classes - 1
    wrong = np.argwhere((y < 0) | (y > most))
    if len(wrong):
        at = tuple(int(index) for index in wrong[0])
        where = f"row {at[0]}" + (f", column {at[1]}" if several else "")
        raise DataError(
            f"{place}, {where}: found {y[at]}, expected 0 to {most} ([data] {'task' if several else 'num_classes'})"
        )
    return y.astype(np.uint8 if several else np.int64)


def _from_csv(path: Path, spec: SeriesCsv) -> Loaded:
    """Read a file row after row."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise DataError(f"{path}: found {size:,} bytes, expected at most {MAX_BYTES:,}")
    series, labels = [], []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            label = _label_column(path, next(rows, []), spec) if spec.header else int(spec.label_column)
            for fields in rows:
                place = f"{path}, row {rows.line_num}"
                if len(fields) != spec.length + 1:
                    raise DataError(
                        f"{place}: found {len(fields)} columns, expected {spec.length + 1}: the label and "
                        f"{spec.length} samples ([data] length)"
                    )
                labels.append(_class(fields.pop(label), f"{place}, column {label}", spec))
                series.append(_samples(fields, place, label))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error})".replace("\n", " ")) from None
    if not series:
        raise DataError(f"{path}: found no row of samples, expected at least one")
    return np.stack(series)[:, None], np.array(labels, dtype=np.int64)


def _label_column(path: Path, names: list[str], spec: SeriesCsv) -> int:
    names = [name.strip() for name in names]
    if names.count(spec.label_column) != 1:
        hint = did_you_mean(spec.label_column, names)
        raise DataError(
            f"{path}, row 1: found {names.count(spec.label_column)} columns {spec.label_column!r} among {len(names)}, "
            "expected one ([data] label_column, header)" + (f". {hint}" if hint else "")
        )
    return names.index(spec.label_column)


def _class(text: str, place: str, spec: SeriesCsv) -> int:
    value = _number(text)
    if value is None or value != value // 1 or not 0 <= value < spec.num_classes:
        raise DataError(
            f"{place}: found the label {text[:20]!r}, expected a whole number from 0 to {spec.num_classes - 1} "
            "([data] label_column, num_classes)"
        )
    return int(value)


def _samples(fields: list[str], place: str, label: int) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):
            found = np.array(fields, dtype=np.float64).astype(np.float32)
        if np.isfinite(found).all():
            return found
    except ValueError:
        pass
    at, text = next((at, text) for at, text in enumerate(fields) if _number(text) is None)
    raise DataError(
        f"{place}, column {at + (at >= label)}: found {text[:20]!r}, expected a finite float32 number"
    )


def _number(text: str) -> float | None:
    """Return what a field says, or None for what is no finite float32."""
    try:
        with np.errstate(over="ignore"):
            value = np.float64(text)
            return float(value) if np.isfinite(np.float32(value)) else None
    except ValueError:
        return None

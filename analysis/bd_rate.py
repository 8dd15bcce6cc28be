"""How much rate does one codec save against another at equal accuracy? Bjontegaard's deltas, or why there are none.

    python analysis/bd_rate.py runs/splitfedzip --out figures
    python analysis/bd_rate.py --csv points.csv --anchor "F AE"

reads run directories or folders of them (curves over lambda, mean over seeds; the anchor of each scheme is its AE), or
a CSV with the columns curve, rate, quality, and writes ``bd_rate.csv``. A pair of curves is refused, with the reason in
the table, when fewer than four points of a curve are left, the curves do not overlap, or there is no other curve.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from sfsim.console import script
from sfsim.errors import ConfigError, DataError
from sfsim.report.bjontegaard import compare
from sfsim.report.rates import curve_name, point, spread
from sfsim.results import find_runs
from sfsim.text import number, read_table

RATES = ("published_bpp_t", "bpp_t", "payload_bytes")
Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def from_csv(path: Path) -> dict[str, tuple[list[float], list[float]]]:
    """Read curves by name from a CSV with the columns curve, rate, quality."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for line, row in read_table(path, ("curve", "rate", "quality")):
        if not row["curve"]:
            raise DataError(f"{path}, line {line}: found no curve, expected its name")
        for column, values in zip(
            ("rate", "quality"), curves.setdefault(row["curve"], ([], [])), strict=True
        ):
            try:
                values.append(number(row[column]))
            except ValueError as error:
                raise DataError(f"{path}, line {line}, column {column!r}: {error}") from None
    if not curves:
        raise DataError(f"{path}: found no rows, expected points of curves")
    return curves


def from_points(points: pd.DataFrame, rate: str) -> dict[str, tuple[list[float], list[float]]]:
    """Return the curves over lambda among points of `sfsim.report.rates.spread`, test accuracy over one rate."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for _, row in points[points["lambda"].notna()].iterrows():
        rates, qualities = curves.setdefault(curve_name(row), ([], []))
        rates.append(row[rate])
        qualities.append(row["test"])
    return curves


def table(points: pd.DataFrame, anchor: str | None = None) -> pd.DataFrame:
    """Return the deltas of every curve against its anchor, on every rate axis."""
    rows = []
    for rate in RATES:
        curves = from_points(points, rate)
        for first in dict.fromkeys(anchor or _anchor_of(name, curves) for name in curves):
            same = {
                name: curve for name, curve in curves.items() if anchor or _anchor_of(name, curves) == first
            }
            pairs = compare(same, _known(first, curves))
            alone = {"anchor": first, "refused": "no other codec has a curve over lambda in its scheme"}
            rows += [{"rate": rate, **row} for row in pairs or [alone]]
        if not curves:
            rows.append(
                {"rate": rate, "refused": "no run has a codec with a lambda, over which there were a curve"}
            )
    return pd.DataFrame(rows)


def _anchor_of(name: str, curves: Curves) -> str:
    """The AE of the same scheme where there is one, else the scheme's first curve."""
    scheme = name.split()[0]
    mine = [other for other in curves if other.split()[0] == scheme]
    return f"{scheme} ae" if f"{scheme} ae" in mine else mine[0]


def _known(anchor: str, curves: Curves) -> str:
    if anchor not in curves:
        raise ConfigError("--anchor", repr(anchor), f"one of: {', '.join(curves)}")
    return anchor


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, help="run directories, or folders of them")
    parser.add_argument("--csv", type=Path, help="instead: a table with the columns curve, rate, quality")
    parser.add_argument("--anchor", help="curve that the others are compared with; default: see above")
    parser.add_argument(
        "--out", type=Path, default=Path("runs") / "figures", help="folder (default: runs/figures)"
    )
    options = parser.parse_args(arguments)
    if bool(options.runs) == bool(options.csv):
        raise ConfigError("bd_rate", "both" if options.csv else "nothing", "run directories, or --csv")
    if options.csv:
        curves = from_csv(options.csv)
        rows = pd.DataFrame(compare(curves, _known(options.anchor or next(iter(curves)), curves)))
    else:
        rows = table(spread(pd.DataFrame([point(run) for run in find_runs(options.runs)])), options.anchor)
    options.out.mkdir(parents=True, exist_ok=True)
    rows.to_csv(options.out / "bd_rate.csv", index=False)
    print(rows.to_string(index=False, na_rep=""))


if __name__ == "__main__":
    script(main)

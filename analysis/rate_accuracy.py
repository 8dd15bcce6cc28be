"""What does accuracy cost in bits? As published, as really sent, and with every byte counted.

    python analysis/rate_accuracy.py runs/splitfedzip --out figures

reads run directories, or folders of them, and writes

* ``rate_accuracy.png``: test accuracy against BPP-T as published, BPP-T as sent, and all bytes on the wire
* ``training_rates.png``: bits per pixel over the rounds, by slot and lambda, sent beside published
* ``byte_shares.png``: what the bytes were: data, gradients, client models, codec updates
* ``qualitative_*.png``: image, ground truth, prediction per lambda (runs with ``evaluation.keep_predictions``)
* ``rate_accuracy_runs``, ``rate_accuracy`` (over seeds), ``estimated_actual`` and ``bd_rate``: tables, CSV

Every accuracy is read against the no-communication baseline, the runs whose smashed data were ``zeros``.
docs/rate-accuracy.md defines every figure.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import bd_rate
import pandas as pd

from sfsim.console import script
from sfsim.errors import ResultsError
from sfsim.report.rate_figures import byte_shares, qualitative, rate_accuracy, training_rates
from sfsim.report.rates import BASELINE, bits_by_slot, curve_name, describe, point, spread
from sfsim.report.style import save
from sfsim.results import Result, find_runs


def tables(results: Sequence[Result], at: str = "best") -> dict[str, pd.DataFrame]:
    """Return the tables by name: runs, points over seeds, estimated beside actual bits, Bjontegaard deltas."""
    runs = pd.DataFrame([point(result, at) for result in results])
    if len(set(runs["metric"])) > 1:
        raise ResultsError(f"found runs of {', '.join(sorted(set(runs['metric'])))}, expected one metric")
    points = spread(runs)
    bits = pd.concat([bits_by_slot(result).assign(**describe(result)) for result in results])
    keys = ["scheme", "codec", "updates", "lambda", "slot"]
    sums = ["messages", "actual_bits", "estimated_bits", "likelihood_bits"]
    ratios = bits.groupby(keys, sort=False, dropna=False)[sums].sum().reset_index()
    for name in ("estimated", "likelihood"):
        ratios[f"actual_over_{name}"] = ratios["actual_bits"] / ratios[f"{name}_bits"].where(
            ratios[f"{name}_bits"] > 0
        )
    return {
        "rate_accuracy_runs": runs,
        "rate_accuracy": points,
        "estimated_actual": ratios,
        "bd_rate": bd_rate.table(points),
    }


def report(results: Sequence[Result], out: Path, at: str = "best") -> dict[str, pd.DataFrame]:
    """Write all tables and pictures of `results` to the folder `out`; return the tables."""
    found = tables(results, at)
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in found.items():
        rows.to_csv(out / f"{name}.csv", index=False)
    points = found["rate_accuracy"]
    save(rate_accuracy(points), out / "rate_accuracy.png", "png")
    save(training_rates(results), out / "training_rates.png", "png")
    save(byte_shares(points), out / "byte_shares.png", "png")
    for name, shown in pages(results).items():
        save(qualitative(shown), out / f"qualitative_{name}.png", "png")
    return found


def pages(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Return the runs of each qualitative page: NC and baseline, then one curve over lambda, of the first seed."""
    kept = [result for result in results if (result.directory / "predictions.npz").exists()]
    rows = [(describe(result), result) for result in kept]
    rows = [(row, result) for row, result in rows if row["seed"] == rows[0][0]["seed"]]
    rows.sort(key=lambda pair: (pair[0]["scheme"] != "NC", pair[0]["codec"] != BASELINE, pair[0]["lambda"]))
    plain = [result for row, result in rows if row["scheme"] == "NC" or row["codec"] == BASELINE]
    found: dict[str, list[Result]] = {}
    for row, result in rows:
        if result not in plain:
            name = re.sub(r"\W+", "_", curve_name(row)) if row["lambda"] > 0 else "classical"
            found.setdefault(name, list(plain)).append(result)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, write figures and tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run directories, or folders of them")
    parser.add_argument(
        "--at",
        choices=("best", "last"),
        default="best",
        help="which round's test accuracy (default: best validation)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs") / "figures", help="folder (default: runs/figures)"
    )
    options = parser.parse_args(arguments)
    results = find_runs(options.runs)
    found = report(results, options.out, options.at)
    show(found)
    if not any(row["codec"] == BASELINE for row in map(describe, results)):
        print(
            "no run without communication is among these: no accuracy can be read against it", file=sys.stderr
        )


def show(found: dict[str, pd.DataFrame]) -> None:
    """Print what a reader wants first."""
    points = found["rate_accuracy"]
    columns = ["scheme", "codec", "updates", "lambda", "seeds", "test", "test_min", "test_max"]
    columns += [
        "published_bpp_t",
        "bpp_t",
        "payload_bytes",
        "cr_published",
        "cr_cuts",
        "cr_everything",
    ]
    print(points[[column for column in columns if column in points]].to_string(index=False))
    print(found["estimated_actual"].to_string(index=False))
    print(found["bd_rate"].drop(columns="dropped", errors="ignore").to_string(index=False, na_rep=""))


if __name__ == "__main__":
    script(main)

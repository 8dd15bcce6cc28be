"""How long until the target? One row per run, and the accuracy of all runs over simulated time.

    python analysis/time_to_accuracy.py runs/a runs/b --target 0.9 --out figures

writes ``time_to_accuracy.png`` and ``time_to_accuracy.csv``.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from sfsim.console import script
from sfsim.report.figures import accuracy_over_time
from sfsim.report.style import save
from sfsim.report.tables import labels
from sfsim.results import Result, find_runs


def table(results: Sequence[Result], target: float | None = None) -> pd.DataFrame:
    """Return one row per run; `time_s` is empty where the target was not reached."""
    rows = []
    for result, label in zip(results, labels(results), strict=True):
        reached = result.time_to(target)
        rows.append(
            {
                "run": label,
                "metric": result.metric,
                "target": reached.target,
                "reached": reached.reached,
                "time_s": reached.time_s,
                "round": reached.round,
                "best": reached.best,
                "best_time_s": reached.best_time_s,
                "last_time_s": reached.last_time_s,
                "diverged": reached.diverged,
            }
        )
    return pd.DataFrame(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, write the figure and the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run directories, or folders of them")
    parser.add_argument("--target", type=float, help="value to reach; default: each scenario's own")
    parser.add_argument(
        "--out", type=Path, default=Path("runs") / "figures", help="folder (default: runs/figures)"
    )
    options = parser.parse_args(arguments)
    results = find_runs(options.runs)
    rows = table(results, options.target)
    options.out.mkdir(parents=True, exist_ok=True)
    rows.to_csv(options.out / "time_to_accuracy.csv", index=False)
    save(accuracy_over_time(results), options.out / "time_to_accuracy.png", "png")
    print(rows.to_string(index=False))


if __name__ == "__main__":
    script(main)

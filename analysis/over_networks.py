"""When would finished runs have reached an accuracy over other networks? Retimed, not learnt again.

    python analysis/over_networks.py runs/splitfedzip/*-seed* --target 0.65 \\
        --over scenarios/papers/splitfedzip/ham10000-small.toml scenarios/papers/splitfedzip/ham10000-small-cell.toml

retimes each run (`sfsim.retime`) over network and devices of each scenario file, codec updates and codec compute
included, and writes ``over_networks.csv`` and ``.png``: per network and codec how many seeds reached the
target, the median time by Kaplan and Meier, bytes up and down, and clients' operations with and without the codec's.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

import sfsim
from sfsim.console import script
from sfsim.report.rates import CURVE, curve_name, point
from sfsim.report.style import COLOURS, figure, save
from sfsim.results import Result, find_runs, kaplan_meier_quantile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GROUP = [*CURVE, "lambda"]


def retimed(run: Path, over: Path, out: Path) -> Result:
    """Return a run over another network; what is there already is kept."""
    folder = out / over.stem / run.name
    if (folder / "summary.json").exists():
        return Result(folder)
    return sfsim.retime(run, sfsim.load(over), out=folder)


def measure(run: Path, over: Path, out: Path, target: float) -> dict[str, Any]:
    """Return the row of one run over one network."""
    result = retimed(run, over, out)
    reached, sent = result.time_to(target), result.messages.groupby("direction")["payload_bytes"].sum()
    row = point(Result(run))
    return {key: row[key] for key in GROUP} | {
        "network": over.stem,
        "reached": reached.reached,
        "time_s": reached.time_s if reached.reached else result.end_s,
        "simulated_s": result.end_s,
        "up_MB": sent.get("up", 0) / 1e6,
        "down_MB": sent.get("down", 0) / 1e6,
        "updates_MB": row.get("bytes_codec_update", 0) / 1e6,
        "model_GFLOP": row["client_flops"] / 1e9,
        "codec_GFLOP": row["client_codec_flops"] / 1e9,
    }


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per network, curve and lambda."""
    found = []
    for keys, group in rows.groupby(["network", *GROUP], sort=False, dropna=False):
        labels = dict(zip(["network", *GROUP], keys, strict=True))
        times, reached = list(group["time_s"]), list(group["reached"])
        columns = ("simulated_s", "up_MB", "down_MB", "updates_MB", "model_GFLOP", "codec_GFLOP")
        found.append(
            {"network": labels["network"], "curve": curve_name(labels), "lambda": labels["lambda"]}
            | {"reached": sum(reached), "runs": len(group)}
            | {"median_s": kaplan_meier_quantile(times, reached, 0.5)}
            | {column: group[column].mean() for column in columns}
        )
    return pd.DataFrame(found)


def draw(rows: pd.DataFrame, table: pd.DataFrame, target: float) -> "Figure":
    """Draw when each run reached the target, or its end where it missed it; a panel per network, a line per curve."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    networks = list(dict.fromkeys(table["network"]))
    names = list(dict.fromkeys(table["curve"] + table["lambda"].map(_lambda)))
    places = (rows.apply(curve_name, axis=1) + rows["lambda"].map(_lambda)).map(names.index)
    medians = (table["curve"] + table["lambda"].map(_lambda)).map(names.index)
    with figure(10, 1.3 + 0.26 * len(names), 1, len(networks), sharex=True, sharey=True) as (drawing, axes):
        for network, axis in zip(networks, axes[0], strict=True):
            for reached, fill, label in (
                (True, COLOURS[0], "reached"),
                (False, "white", "missed: the run's end"),
            ):
                mine = rows[(rows["network"] == network) & (rows["reached"] == reached)]
                axis.plot(mine["time_s"], places[mine.index], linestyle="", marker="o", markersize=6,
                          color=COLOURS[0], markerfacecolor=fill, label=label)  # fmt: skip
            if len(rows) > len(table):
                mine = table[table["network"] == network]
                axis.plot(mine["median_s"].astype(float), medians[mine.index], linestyle="", marker="|",
                          markersize=13, markeredgewidth=2, color=COLOURS[3],
                          label="median (Kaplan and Meier)")  # fmt: skip
            axis.set(title=network, xscale="log", xlabel=f"simulated time to {target:g} (s)")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.5, -0.5)
        drawing.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return drawing


def _lambda(value: float) -> str:
    return "" if pd.isna(value) else f", λ {value:g}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Retime, write table and figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run directories, or folders")
    parser.add_argument("--over", nargs="+", type=Path, required=True, metavar="FILE", help="scenarios")
    parser.add_argument("--target", type=float, required=True, help="accuracy on the validation split")
    parser.add_argument("--out", type=Path, default=Path("runs") / "over-networks", help="folder")
    options = parser.parse_args(arguments)
    runs = [result.directory for result in find_runs(options.runs)]
    rows = pd.DataFrame(
        [measure(run, over, options.out, options.target) for over in options.over for run in runs]
    )
    table = summarise(rows.sort_values("lambda", kind="stable"))
    table = table.sort_values(["network", "curve"], kind="stable")
    table.to_csv(options.out / "over_networks.csv", index=False)
    save(draw(rows, table, options.target), options.out / "over_networks.png", "png")
    print(table.round(2).to_string(index=False))


if __name__ == "__main__":
    script(main)

"""What crossed the network? Bytes by run, kind and direction: raw, encoded, on the wire.

    python analysis/bytes_on_the_wire.py runs/a runs/b --out figures

writes ``bytes_on_the_wire.png`` and ``bytes_on_the_wire.csv``.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sfsim.console import script
from sfsim.report.style import COLOURS, figure, label, save
from sfsim.report.tables import labels
from sfsim.results import Result, find_runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = ["raw_bytes", "payload_bytes", "label_bytes", "wire_bytes", "lost_bytes"]


def table(results: Sequence[Result]) -> pd.DataFrame:
    """Return one row per run, kind, direction and codec, with messages, bytes and resent packets."""
    parts = []
    for result, name in zip(results, labels(results), strict=True):
        groups = result.messages.groupby(["kind", "direction", "codec"], sort=False)
        sums = groups[[*SIZES, "retransmissions"]].sum()
        sums.insert(0, "messages", groups.size())
        parts.append(sums.reset_index().assign(run=name))
    rows = pd.concat(parts, ignore_index=True)
    return rows[["run", *(column for column in rows.columns if column != "run")]]


def draw(rows: pd.DataFrame) -> "Figure":
    """Draw wire bytes per run, stacked by kind and direction."""
    from matplotlib.ticker import EngFormatter

    rows = rows.assign(part=rows["kind"] + ", " + rows["direction"])
    runs, parts = list(dict.fromkeys(rows["run"])), list(dict.fromkeys(rows["part"]))
    sums = rows.pivot_table(index="run", columns="part", values="wire_bytes", aggfunc="sum", fill_value=0)
    with figure(10, 1.6 + 0.4 * len(runs)) as (drawing, axes):
        ax = axes[0, 0]
        left = np.zeros(len(runs))
        for i, part in enumerate(parts):
            widths = sums.loc[runs, part].to_numpy(dtype=float)
            # Fourteen parts can be told apart: seven colours, plain and hatched.
            hatch = "//" if i >= len(COLOURS) else None
            ax.barh(
                range(len(runs)), widths, left=left, color=COLOURS[i % len(COLOURS)], hatch=hatch, label=part
            )
            left += widths
        ax.set_yticks(range(len(runs)), [label(run) for run in runs])
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
        ax.xaxis.set_major_formatter(EngFormatter(unit="B"))
        ax.set_xlabel("bytes on the wire, headers and retransmissions included")
        drawing.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return drawing


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, write the figure and the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run directories, or folders of them")
    parser.add_argument(
        "--out", type=Path, default=Path("runs") / "figures", help="folder (default: runs/figures)"
    )
    options = parser.parse_args(arguments)
    rows = table(find_runs(options.runs))
    options.out.mkdir(parents=True, exist_ok=True)
    rows.to_csv(options.out / "bytes_on_the_wire.csv", index=False)
    save(draw(rows), options.out / "bytes_on_the_wire.png", "png")
    print(rows.to_string(index=False))


if __name__ == "__main__":
    script(main)

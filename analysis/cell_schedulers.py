"""What does it cost that phones share a cell? One round and the time to accuracy, per scheduler and codec.

    python analysis/cell_schedulers.py --jobs 2

runs scenarios/lte-cell.toml for 3 codecs under round robin, proportional fair and private links, and writes
``cell_schedulers.png`` (time to target), ``cell_round.png`` (one global round of the first codec under each
scheduler) and ``cell_schedulers.csv`` (one row per run) beside the run directories. Finished runs are kept
and skipped. The codec stands in every slot of smashed data and gradients.

All runs of a codec learn exactly the same: a synchronous protocol over a reliable network does not depend on
the network. Only the clock differs.
"""

import argparse
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sfsim import study
from sfsim.console import script
from sfsim.errors import ConfigError
from sfsim.report.style import COLOURS, figure, save
from sfsim.report.timeline import one_round_of_each
from sfsim.results import Result
from sfsim.scenario import load

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
ACCESSES = ("round-robin", "proportional-fair", "private")
CODECS = ("fp32", "int8", "topk-4pct")


def case(scenario: Path, codec: Path, access: str, folder: Path, changes: dict[str, Any]) -> study.Cell:
    """Return the run in which every cell has the access and every slot the codec; it ends at the target."""
    plain = load(scenario, changes)
    if not plain.cell:
        raise ConfigError(f"{scenario}, cell", "nothing", "a radio cell, [cell.NAME]")
    if plain.target is None:
        raise ConfigError(f"{scenario}, target", "nothing", "a target to measure the time to")
    slots = ["smashed_up", "gradient_down"] + ["smashed_down", "gradient_up"] * plain.u_shaped
    changes = changes | {f"codecs.{slot}": str(codec.resolve()) for slot in slots} | {"target.stop": True}
    changes |= {f"cell.{name}.access": access for name in plain.cell}
    labels = {"codec": codec.stem, "access": access}
    return study.Cell(scenario, folder / f"{codec.stem}-{access}", changes, labels)


def measure(result: Result) -> dict[str, Any]:
    """Return the columns of a run."""
    reached, times = result.time_to(), result.rounds["time_s"]
    return {
        "round_s": float(times.iloc[-1] / len(times)),
        "reached": reached.reached,
        "time_s": reached.time_s,
        "round": reached.round,
        "best": reached.best,
        "last_time_s": reached.last_time_s,
    }


def table(cells: Sequence[study.Cell]) -> pd.DataFrame:
    """Return one row per run; `against_private` is how many times longer it takes than with private links."""
    frame = study.table(cells, measure)
    private = frame[frame["access"] == "private"].set_index("codec")["round_s"]
    frame["against_private"] = frame["round_s"] / frame["codec"].map(private)
    return frame


def draw(rows: pd.DataFrame, title: str) -> "Figure":
    """Draw the time to the target: a group of bars per codec, a bar per scheduler; hatched where missed."""
    codecs, accesses = list(dict.fromkeys(rows["codec"])), list(dict.fromkeys(rows["access"]))
    with figure(8, 4.5) as (drawing, axes):
        ax = axes[0, 0]
        width = 0.8 / len(accesses)
        for index, access in enumerate(accesses):
            mine = rows[rows["access"] == access].set_index("codec").loc[codecs]
            times = mine["time_s"].where(mine["reached"], mine["last_time_s"]).astype(float)
            places = [place + (index - (len(accesses) - 1) / 2) * width for place in range(len(codecs))]
            bars = ax.bar(places, times, width * 0.95, color=COLOURS[index % len(COLOURS)], label=access)
            for bar, hit in zip(bars, mine["reached"], strict=True):
                bar.set_hatch("" if hit else "//")
            ax.bar_label(bars, [f"{time_s:.3g}" for time_s in times], fontsize=8)
        ax.set_xticks(range(len(codecs)), codecs)
        ax.set(ylabel="simulated time to target (s)", title=title)
        ax.grid(axis="x", visible=False)
        ax.legend(title="access")
    return drawing


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run the cases, write figures and table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--scenario", type=Path, default=ROOT / "scenarios" / "lte-cell.toml")
    add("--codecs", nargs="+", default=CODECS, help="names in codecs/, or TOML files")
    add("--access", nargs="+", default=ACCESSES, help="access policies of the cell")
    add("--rounds", type=int, help="global rounds; default: the scenario's")
    add("--round", type=int, default=1, help="the global round that is drawn")
    add("--jobs", type=int, default=2, help="runs at a time")
    add("--out", type=Path, default=Path("runs") / "cell-schedulers", help="default: runs/cell-schedulers")
    options = parser.parse_args(arguments)
    codecs = [
        Path(name).resolve() if name.endswith(".toml") else ROOT / "codecs" / f"{name}.toml"
        for name in options.codecs
    ]
    changes = {} if options.rounds is None else {"global_rounds": options.rounds}
    cases = [
        case(options.scenario, codec, access, options.out, changes)
        for codec, access in product(codecs, options.access)
    ]
    study.run(cases, options.jobs)
    rows = table(cases)
    study.write_table(rows, options.out / "cell_schedulers")
    first = Result(cases[0].out)
    target = first.time_to().target
    save(
        draw(rows, f"{first.name}: time to {first.metric} {target:.4g}"),
        options.out / "cell_schedulers.png",
        "png",
    )
    shown = {str(c.labels["access"]): Result(c.out) for c in cases if c.labels["codec"] == codecs[0].stem}
    save(one_round_of_each(shown, options.round), options.out / "cell_round.png", "png")
    print(rows.to_string(index=False))
    print(f"figures: {options.out / 'cell_schedulers.png'}, {options.out / 'cell_round.png'}")


if __name__ == "__main__":
    script(main)

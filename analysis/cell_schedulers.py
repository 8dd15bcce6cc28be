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
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sfsim.errors import ConfigError, ResultsError, SfsimError
from sfsim.report.style import COLOURS, figure, save
from sfsim.report.timeline import one_round_of_each
from sfsim.results import Result
from sfsim.scenario import Scenario, load

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
ACCESSES = ("round-robin", "proportional-fair", "private")
CODECS = ("fp32", "int8", "topk-4pct")


@dataclass(frozen=True)
class Case:
    """One run of the study."""

    scenario: Path
    codec: Path
    access: str
    out: Path
    changes: dict[str, Any] = field(default_factory=dict)

    def load(self) -> Scenario:
        """Return the scenario of this run: every cell has the access, every slot the codec."""
        plain = load(self.scenario, self.changes)
        if not plain.cell:
            raise ConfigError(f"{self.scenario}, cell", "nothing", "a radio cell, [cell.NAME]")
        if plain.target is None:
            raise ConfigError(f"{self.scenario}, target", "nothing", "a target to measure the time to")
        slots = ["smashed_up", "gradient_down"] + ["smashed_down", "gradient_up"] * plain.u_shaped
        changes: dict[str, Any] = {f"codecs.{slot}": str(self.codec.resolve()) for slot in slots}
        changes |= {f"cell.{name}.access": self.access for name in plain.cell}
        scenario = load(self.scenario, self.changes | changes)
        assert scenario.target is not None
        return replace(scenario, target=replace(scenario.target, stop=True))


def run_case(case: Case) -> str:
    """Run one case in a process of its own; return the error, if any, as text."""
    from sfsim import simulation

    try:
        simulation.run(case.load(), out=case.out, jobs=1)
    except SfsimError as error:  # as text: an error with a constructor of its own does not cross processes
        return str(error)
    return ""


def run(cases: Sequence[Case], jobs: int) -> None:
    """Run what is not there yet, `jobs` at a time; another configuration's run is refused."""
    todo = []
    for case in cases:
        if not (case.out / "summary.json").exists():
            todo.append(case)
        elif Result(case.out).scenario != case.load().to_table():
            raise ResultsError(f"{case.out}: holds a run of another configuration; give another --out")
    print(f"{len(cases)} runs, {len(cases) - len(todo)} of them already there", file=sys.stderr)
    # Processes start afresh: a fork of a process that has loaded torch may hang.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(run_case, case): case for case in todo}
        for number, future in enumerate(as_completed(futures), 1):
            case, error = futures[future], future.result()
            if error:
                pool.shutdown(cancel_futures=True)
                raise ResultsError(f"{case.out.name}: {error}")
            print(f"{number}/{len(todo)}: {case.out.name}", file=sys.stderr)


def table(cases: Sequence[Case]) -> pd.DataFrame:
    """Return one row per run; `against_private` is how many times longer it takes than with private links."""
    rows = []
    for case in cases:
        result = Result(case.out)
        reached = result.time_to()
        times = result.rounds["time_s"]
        rows.append(
            {
                "codec": case.codec.stem,
                "access": case.access,
                "round_s": float(times.iloc[-1] / len(times)),
                "reached": reached.reached,
                "time_s": reached.time_s,
                "round": reached.round,
                "best": reached.best,
                "last_time_s": reached.last_time_s,
            }
        )
    frame = pd.DataFrame(rows)
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
        Case(options.scenario, codec, access, options.out / f"{codec.stem}-{access}", changes)
        for codec, access in product(codecs, options.access)
    ]
    run(cases, options.jobs)
    rows = table(cases)
    rows.to_csv(options.out / "cell_schedulers.csv", index=False)
    first = Result(cases[0].out)
    target = first.time_to().target
    save(
        draw(rows, f"{first.name}: time to {first.metric} {target:.4g}"),
        options.out / "cell_schedulers.png",
        "png",
    )
    shown = {case.access: Result(case.out) for case in cases if case.codec == codecs[0]}
    save(one_round_of_each(shown, options.round), options.out / "cell_round.png", "png")
    print(rows.to_string(index=False))
    print(f"figures: {options.out / 'cell_schedulers.png'}, {options.out / 'cell_round.png'}")


if __name__ == "__main__":
    try:
        main()
    except SfsimError as error:
        sys.exit(f"error: {error}")

"""Which codec gets there first? Simulated time to accuracy against uplink rate, one line per codec.

    python analysis/codec_choice.py --jobs 2

runs the quickstart for 5 codecs x 5 uplink rates x 5 seeds and writes ``codec_choice.png``,
``codec_choice.csv`` (one row per run) and ``codec_choice_summary.csv`` (one row per point) beside the run
directories. Finished runs are kept and skipped, so the study can be interrupted and extended.

The codec stands in every slot of smashed data and gradients; client models travel as the scenario says.
Every client's uplink gets the asked mean rate: a fading channel keeps its fades and gets the bandwidth that
gives the mean, a trace is scaled, a plain link gets the rate. Latency, loss and downlinks stay.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sfsim import study
from sfsim.channel import Channel, Constant, Trace
from sfsim.console import script
from sfsim.errors import ConfigError
from sfsim.network.declarations import Link
from sfsim.report.style import COLOURS, MARKERS, figure, save
from sfsim.results import Result, kaplan_meier_quantile
from sfsim.scenario import Scenario, load

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
CODECS = ("fp32", "int8", "int2", "ms", "topk-4pct")
RATES_MBPS = (0.1, 0.5, 2.0, 10.0, 100.0)
SEEDS = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Cell(study.Cell):
    """One run of the study: every client's uplink at a mean rate."""

    rate_bps: float = 0.0

    def load(self) -> Scenario:
        """Return the scenario of this run."""
        scenario = super().load()
        if scenario.target is None:
            raise ConfigError(f"{self.scenario}, target", "nothing", "a target to measure the time to")
        groups = []
        for group in scenario.clients:
            if group.uplink is None:
                raise ConfigError(f"{self.scenario}, clients.{group.name}.uplink", "nothing", "a link to set")
            groups.append(replace(group, uplink=with_mean_rate(group.uplink, self.rate_bps)))
        return replace(scenario, clients=tuple(groups), target=replace(scenario.target, stop=True))


def with_mean_rate(link: Link, rate_bps: float) -> Link:
    """Return the same link with a mean rate of `rate_bps` (see the top of this file)."""
    channel: Any = link.channel
    if channel is None or isinstance(channel, Constant):
        return replace(link, rate_bps=rate_bps, channel=None)
    factor = rate_bps / mean_rate_bps(channel)
    if isinstance(channel, Trace):
        return replace(link, rate_bps=None, channel=replace(channel, scale=factor * channel.scale))
    return replace(link, rate_bps=None, channel=replace(channel, bandwidth_hz=factor * channel.bandwidth_hz))


def mean_rate_bps(channel: Channel, pieces: int = 4096) -> float:
    """Return the mean rate over the first pieces of one fixed realisation, bit/s."""
    realisation, time_s, bits = channel.realise(0, "mean rate"), 0.0, 0.0
    for _ in range(pieces):
        rate_bps, until_s = realisation.segment(time_s)
        if np.isinf(until_s):
            return rate_bps
        bits, time_s = bits + rate_bps * (until_s - time_s), until_s
    return bits / time_s


def cell(scenario: Path, codec: Path, rate_bps: float, seed: int, folder: Path) -> Cell:
    """Return the run of one codec, rate and seed."""
    slots = ["smashed_up", "gradient_down"]
    if load(scenario).u_shaped:
        slots += ["smashed_down", "gradient_up"]
    changes: dict[str, Any] = {f"codecs.{slot}": str(codec) for slot in slots} | {"seed": seed}
    labels = {"codec": codec.stem, "uplink_bps": rate_bps, "seed": seed}
    out = folder / f"{codec.stem}-{rate_bps / 1e6:g}Mbps-seed{seed}"
    return Cell(scenario, out, changes, labels, rate_bps)


def measure(result: Result) -> dict[str, Any]:
    """Return the columns of a run; a missed target has no `time_s` and was watched for until `last_time_s`."""
    reached = result.time_to()
    return {
        "reached": reached.reached,
        "time_s": reached.time_s,
        "round": reached.round,
        "target": reached.target,
        "best": reached.best,
        "last_time_s": reached.last_time_s,
        "diverged": reached.diverged,
        "wire_bytes_up": result.summary["wire_bytes"]["up"],
        "wire_bytes_down": result.summary["wire_bytes"]["down"],
    }


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per codec and rate: reached k of n, Kaplan-Meier median and quartiles, seconds."""
    points = []
    for (codec, rate_bps), group in rows.groupby(["codec", "uplink_bps"], sort=False):
        times = group["time_s"].where(group["reached"], group["last_time_s"]).astype(float).tolist()
        reached = group["reached"].tolist()
        points.append(
            {
                "codec": codec,
                "uplink_bps": rate_bps,
                "reached": sum(reached),
                "runs": len(reached),
                "lower_quartile_s": kaplan_meier_quantile(times, reached, 0.25),
                "median_s": kaplan_meier_quantile(times, reached, 0.5),
                "upper_quartile_s": kaplan_meier_quantile(times, reached, 0.75),
                "watched_until_s": max(times),
            }
        )
    return pd.DataFrame(points)


def draw(points: pd.DataFrame, title: str) -> "Figure":
    """Draw medians against uplink rate; hollow where a run missed, an arrow where there is no median."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    with figure(9, 5.4) as (drawing, axes):
        ax = axes[0, 0]
        codecs = list(dict.fromkeys(points["codec"]))
        for i, codec in enumerate(codecs):
            mine = points[points["codec"] == codec].sort_values("uplink_bps")
            colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
            # Side by side, so that spreads do not hide each other.
            x = mine["uplink_bps"] * 1.04 ** (i - (len(codecs) - 1) / 2)
            middle = mine["median_s"].astype(float)
            y = middle.fillna(mine["watched_until_s"])
            low = mine["lower_quartile_s"].astype(float).fillna(y)
            high = mine["upper_quartile_s"].astype(float).fillna(mine["watched_until_s"])
            ax.vlines(x, low, high, color=colour, linewidth=2.5, alpha=0.5)
            ax.plot(x, middle, color=colour, linewidth=1.8)
            for at, time_s, missed, censored in zip(
                x, y, mine["reached"] < mine["runs"], middle.isna(), strict=True
            ):
                face = "white" if missed else colour
                ax.plot(
                    at, time_s, marker=marker, color=colour, markerfacecolor=face, linestyle="", markersize=7
                )
                if censored:
                    ax.annotate(
                        "",
                        (at, time_s * 1.35),
                        (at, time_s),
                        arrowprops={"arrowstyle": "->", "color": colour},
                    )
            ax.plot([], [], color=colour, marker=marker, label=codec)
        ax.set(xscale="log", yscale="log", xlabel="mean uplink rate of every client (Mbit/s)")
        ax.set_ylabel("simulated time to target (s)")
        rates = sorted(set(points["uplink_bps"]))
        ax.set_xticks(rates, [f"{rate / 1e6:g}" for rate in rates])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.set_title(title)
        drawing.legend(*ax.get_legend_handles_labels(), title="codec", loc="outside right center")
        note = (
            "line: median over seeds (Kaplan-Meier); bar: quartiles; "
            "hollow: not every seed reached the target; arrow: fewer than half did"
        )
        ax.text(0, -0.16, note, transform=ax.transAxes, fontsize=8, color="#555555")
    return drawing


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run the cells, write the figure and the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--scenario", type=Path, default=ROOT / "scenarios" / "quickstart.toml")
    add("--codecs", nargs="+", default=CODECS, help="names in codecs/, or TOML files")
    add("--rates", nargs="+", type=float, default=RATES_MBPS, help="mean uplink rates in Mbit/s")
    add("--seeds", nargs="+", type=int, default=SEEDS)
    add("--jobs", type=int, default=2, help="runs at a time")
    add("--out", type=Path, default=Path("runs") / "codec-choice", help="folder (default: runs/codec-choice)")
    options = parser.parse_args(arguments)
    codecs = [
        Path(name).resolve() if name.endswith(".toml") else ROOT / "codecs" / f"{name}.toml"
        for name in options.codecs
    ]
    cells = [
        cell(options.scenario, codec, 1e6 * rate, seed, options.out)
        for codec, rate, seed in product(codecs, options.rates, options.seeds)
    ]
    study.run(cells, options.jobs)
    rows = study.table(cells, measure)
    points = summarise(rows)
    study.write_table(rows, options.out / "codec_choice")
    points.to_csv(options.out / "codec_choice_summary.csv", index=False)
    first = Result(cells[0].out)
    seeds = f"{len(options.seeds)} seeds" if len(options.seeds) > 1 else "1 seed"
    title = f"{first.name}: time to {first.metric} {rows['target'].iloc[0]:.4g}, {seeds}"
    save(draw(points, title), options.out / "codec_choice.png", "png")
    print(points.to_string(index=False))
    print(f"figure: {options.out / 'codec_choice.png'}")


if __name__ == "__main__":
    script(main)

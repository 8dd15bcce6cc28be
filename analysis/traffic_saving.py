"""How many times less traffic until the accuracy of the uncompressed run? Mask-encoded sparsification's Table 1.

    python analysis/traffic_saving.py runs/codec-shelf --out figures

reads run directories, or folders of them, that differ in codecs and seed, and writes
``traffic_saving_runs.csv`` (one row per run) and ``traffic_saving.csv`` (one row per codec and cut). The goal of
a run is the best accuracy of the run of the same seed, data, model and cut that sends float32 both ways, less
``--within`` points. Its cost is what had arrived at its first evaluation that reached the goal; its saving is the
baseline's cost of the same goal over that. INF, as in the paper's table: never reached.

``uplink_only`` counts the smashed data without labels, as the published table does; ``everything`` all bytes of all
messages, both ways, with headers. The median over seeds is the lower one, with 0 for a run that never got there.
"""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sfsim.console import script
from sfsim.errors import ResultsError
from sfsim.results import Result, find_runs

RAW = {"kind": "cast", "dtype": "float32"}


def curve(result: Result, split: str) -> pd.DataFrame:
    """Return one row per evaluation: accuracy, and the bytes that had been delivered by then, counted in two ways."""
    rows = result.rounds
    column = f"{split}_{result.metric}"
    if column not in rows:
        raise ResultsError(
            f"{result.directory}: found no {column} in its rounds, expected an evaluation of it"
        )
    sent = result.messages[result.messages["delivered"]]
    smashed = sent[sent["kind"].eq("smashed data") & sent["direction"].eq("up")]
    return pd.DataFrame(
        {
            "accuracy": rows[column],
            "uplink_only": [
                (mine["payload_bytes"] - mine["label_bytes"]).sum()
                for mine in (smashed[smashed["delivered_s"] <= time_s] for time_s in rows["time_s"])
            ],
            "everything": [
                sent.loc[sent["delivered_s"] <= time_s, "wire_bytes"].sum() for time_s in rows["time_s"]
            ],
        }
    ).dropna(subset="accuracy")


def cost(points: pd.DataFrame, goal: float, way: str) -> float:
    """Return the bytes of the first evaluation at or above `goal`; infinity if there is none."""
    reached = points[points["accuracy"] >= goal]
    return float(reached[way].iloc[0]) if len(reached) else math.inf


def setting(result: Result) -> str:
    """Return everything of a run's scenario but its codecs: runs that share it can be compared."""
    kept = {key: value for key, value in result.scenario.items() if key not in ("codecs", "name")}
    return json.dumps(kept, sort_keys=True)


def codecs(result: Result) -> str:
    """Return the codecs of a run as the ledger names them: of smashed data, and of what else is coded."""
    sent = result.messages[result.messages["kind"] != "codec update"]
    names = sent.groupby(["kind", "direction"], sort=False)["codec"].first()
    return ", ".join(
        f"{kind} {direction} {name}"
        for (kind, direction), name in names.items()
        if name != "fp32" or kind == "smashed data"
    )


def is_raw(result: Result) -> bool:
    """Whether all smashed data and gradients of a run travel as float32."""
    slots = [
        codec for slot, codec in result.scenario["codecs"].items() if slot.startswith(("smashed", "gradient"))
    ]
    return all({key: codec.get(key) for key in RAW} == RAW for codec in slots)


def savings(results: Sequence[Result], within: float, split: str) -> pd.DataFrame:
    """Return one row per compressed run: goal, bytes until it, and the saving; see the top of this file."""
    baselines = {setting(result): result for result in results if is_raw(result)}
    if not baselines:
        raise ResultsError("found no run that sends float32 both ways, expected one for each seed and cut")
    rows: list[dict[str, Any]] = []
    for result in results:
        base = baselines.get(setting(result))
        if base is None:
            raise ResultsError(
                f"{result.directory}: found no run of the same scenario and seed with float32, expected a baseline"
            )
        if result is base or is_raw(result):
            continue
        theirs, mine = curve(base, split), curve(result, split)
        goal = theirs["accuracy"].max() - within / 100
        row = {
            "scenario": result.name,
            "cut": "-".join(result.scenario["cut_layers"]),
            "codecs": codecs(result),
            "seed": str(result.scenario["seed"]),
            "goal": goal,
            "best": mine["accuracy"].max(),
        }
        for way in ("uplink_only", "everything"):
            row[f"{way}_bytes"] = cost(mine, goal, way)
            row[f"{way}_saving"] = cost(theirs, goal, way) / row[f"{way}_bytes"]
        rows.append(row)
    return pd.DataFrame(rows)


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per scenario, cut and codecs: reached k of n, median savings (0: never)."""
    keys = ["scenario", "cut", "codecs"]
    groups = rows.groupby(keys, sort=False)
    found = groups.agg(
        seeds=("seed", "size"),
        reached=("everything_bytes", lambda values: int((values < math.inf).sum())),
        uplink_only=("uplink_only_saving", _lower_median),
        everything=("everything_saving", _lower_median),
        smallest=("everything_saving", "min"),
        largest=("everything_saving", "max"),
    )
    return found.reset_index().sort_values(["scenario", "cut", "everything"], ascending=[True, True, False])


def _lower_median(values: "pd.Series[float]") -> float:
    return float(values.quantile(0.5, interpolation="lower"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("runs", nargs="+", type=Path, help="run directories, or folders of them")
    add(
        "--within",
        type=float,
        default=1.0,
        help="points below the baseline's best that are enough (default: 1)",
    )
    add("--split", choices=("validation", "test"), default="test")
    add("--out", type=Path, default=Path("runs") / "figures", help="folder (default: runs/figures)")
    options = parser.parse_args(arguments)
    rows = savings(find_runs(options.runs), options.within, options.split)
    options.out.mkdir(parents=True, exist_ok=True)
    rows.to_csv(options.out / "traffic_saving_runs.csv", index=False)
    table = summarise(rows)
    table.to_csv(options.out / "traffic_saving.csv", index=False)
    shown = table.assign(
        **{way: table[way].map(lambda x: f"{x:.2f}" if x else "INF") for way in ("uplink_only", "everything")}
    )
    print(shown.to_string(index=False))


if __name__ == "__main__":
    script(main)

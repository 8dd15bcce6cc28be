"""How often should the weights of a learned codec travel? Accuracy, rate and bytes, per update policy.

    python analysis/codec_updates.py --jobs 2

runs scenarios/codec-updates.toml (global rounds of thousands of minibatches) with codec weights that travel never
(frozen), every round, every local epoch, every k minibatches, as float32 or as 8-bit differences, and free of charge at
every step (ideal: as published, on no real network). It writes ``codec_updates.csv`` and ``codec_updates.png`` beside
the run directories: what the wire codec was behind the trainee, what the codec's weights and its payloads took, and
what accuracy came of it. Finished runs are kept and skipped.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sfsim import study
from sfsim.console import script
from sfsim.report.style import COLOURS, figure, log_labels, save
from sfsim.results import Result

ROOT = Path(__file__).resolve().parents[1]
COARSE = {"codec": str(ROOT / "codecs" / "int8.toml"), "of": "delta"}
POLICIES: dict[str, dict[str, Any]] = {
    "frozen": {"update": "frozen"},
    "round": {"update": "round"},
    "epoch": {"update": "epoch"},
    "epoch, 8-bit": {"update": "epoch", "update_codec": COARSE},
    "300 minibatches": {"update_every_minibatches": 300},
    "30 minibatches": {"update_every_minibatches": 30},
    "30, 8-bit": {"update_every_minibatches": 30, "update_codec": COARSE},
    "ideal (free)": {"update": "ideal"},
}


def cells(options: argparse.Namespace) -> list[study.Cell]:
    """Return one run per policy."""
    changes: dict[str, Any] = {}
    if options.local_epochs is not None:
        changes["local_epochs"] = options.local_epochs
    return [
        study.Cell(
            options.scenario,
            options.out / name.replace(" ", "-").replace(",", "").replace("(", "").replace(")", ""),
            changes | {f"codec_training.{key}": value for key, value in keys.items()},
            {"updates": name},
        )
        for name, keys in POLICIES.items()
    ]


def measure(result: Result) -> dict[str, Any]:
    """Return the columns of a run; errors and payloads are means over the last round."""
    rows, last = result.messages, int(result.rounds["round"].iloc[-1])
    sent = rows[(rows["slot"] == "smashed_up") & (rows["kind"] == "smashed data")]
    carried = rows[rows["kind"] == "codec update"]
    found = result.evaluations
    found = found[(found["round"] == last) & (found["codec"] == "on")].set_index(["split", "metric"])["value"]
    return {
        "minibatches_per_round": len(sent) / last / sent["source"].nunique(),
        "updates": len(carried),
        "update_kB": carried["payload_bytes"].sum() / 1e3,
        "smashed_kB": sent["payload_bytes"].sum() / 1e3,
        "update_share": carried["payload_bytes"].sum() / rows["payload_bytes"].sum(),
        "last_payload_B": sent[sent["round"] == last]["payload_bytes"].mean(),
        "wire_mse": found["train", "smashed_up_wire_mse"],
        "trainee_mse": found["train", "smashed_up_trainee_mse"],
        "test_accuracy": found["test", "accuracy"],
        "simulated_s": result.end_s,
    }


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw bytes, error and accuracy per policy."""
    names = list(table.index)
    with figure(11, 3.4, 1, 3, sharey=True) as (drawing, axes):
        sizes, errors, ends = axes[0]
        smashed = table["smashed_kB"] / 1e3
        sizes.barh(names, smashed, color=COLOURS[0], label="smashed data")
        sizes.barh(names, table["update_kB"] / 1e3, left=smashed, color=COLOURS[1], label="codec weights")
        sizes.set_xlabel("payload (MB)")
        errors.plot(table["wire_mse"], names, "o", color=COLOURS[1], label="as sent")
        errors.plot(table["trainee_mse"], names, "o", mfc="none", color=COLOURS[0], label="by the trainee")
        errors.set_xscale("log")
        log_labels(errors.xaxis)
        errors.set_xlabel("squared error, last round")
        ends.plot(table["test_accuracy"], names, "o", color=COLOURS[2])
        ends.set_xlabel("test accuracy at the end")
        sizes.invert_yaxis()
        for axis in (sizes, errors):
            axis.legend(frameon=False, fontsize="small")
        save(drawing, path, "png")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the policies, write table and figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenario", type=Path, default=ROOT / "scenarios" / "codec-updates.toml")
    parser.add_argument("--local-epochs", type=int, help="default: the scenario's")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--out", type=Path, default=Path("runs") / "codec-updates", help="folder")
    options = parser.parse_args(arguments)
    runs = cells(options)
    study.run(runs, options.jobs, None)
    rows = [{**run.labels, **measure(Result(run.out))} for run in runs]
    table = pd.DataFrame(rows)
    table.index = pd.Index([run.labels["updates"] for run in runs], name="policy")
    table.to_csv(options.out / "codec_updates.csv")
    draw(table, options.out / "codec_updates.png")
    print(table.round(4).to_string())


if __name__ == "__main__":
    script(main)

"""Accuracy against bytes for every codec of the shelf, and whether a codec's error tells its accuracy.

    python analysis/codec_shelf.py --data-root DIR --jobs 2

runs two small tasks (CIFAR-10 pixels from DIR, and handwritten digits) for every arm and 6 seeds, and writes
``codec_shelf.png``, ``codec_shelf_runs`` (one row per run), ``codec_shelf.csv`` (one row per arm),
``codec_shelf_order.csv`` (does the order of the errors agree with that of the accuracies?) and
``codec_shelf_claims.csv`` (what the paper on mask-encoded sparsification claims) beside the run directories.
Finished runs are kept and skipped. Seeds are run one after the other, so a study that was cut short is complete
for its first ones: start it with fewer ``--seeds`` to read these.

Arms named in `ARMS` code both directions by the codec's own rule; "paper's" arms (`CLAIMED`) code the smashed data
alone, as the paper does, at three cuts. Bytes are all that crossed the clients' links: smashed data, labels, gradients,
models, codec weights, frames, headers. The error is the normalised mean squared error of the test images' smashed
data, in evaluation mode: sum of squared differences over sum of squares. All arms of a seed share data, initial weights
and order of the minibatches: differences are paired.
"""

import argparse
from collections.abc import Mapping, Sequence
from itertools import combinations
from math import ceil, log2
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from sfsim import study
from sfsim.console import script
from sfsim.errors import ConfigError
from sfsim.report.rates import point
from sfsim.report.style import COLOURS, MARKERS, figure, save
from sfsim.results import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
SCENARIOS = ROOT / "scenarios" / "shelf"
TASKS = ("cifar10", "digits")
SEEDS = (1, 2, 3, 4, 5, 6)
CUTS = ("conv1", "conv2", "conv3")
# Numbers of a sample at the three cuts of the two scenarios.
ELEMENTS = {"cifar10": (4096, 2048, 4096), "digits": (128, 64, 128)}
MS_BITS = 2.32  # per element: ms.toml


def stages(*tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return a codec of several stages, as a table."""
    return {"stage": [dict(table) for table in tables]}


INT4 = {"kind": "uniform", "bits": 4}
#: Arm: codecs of smashed data and gradients (names in codecs/, or tables), and of client models where not float32.
ARMS: dict[str, tuple[Any, ...]] = {
    "fp32": ("fp32", "fp32"),
    "pcodec": ("pcodec", "pcodec"),
    "bf16": ("bf16", "bf16"),
    "bf16, planes, zstd": ("bf16-planes-zstd", "bf16-planes-zstd"),
    "QU 8": ("int8", "int8"),
    "QU 4": ("int4", "int4"),
    "QU 4, rANS": (stages(INT4, {"kind": "rans"}),) * 2,
    "QU 4 by channel": ("int4-channel", "int4-channel"),
    "QU 2": ("int2", "int2"),
    "QSGD 4": ("qsgd4", "qsgd4"),
    "SP 10 %": ("topk-10pct", "topk-10pct"),
    "SP 1 %": ("topk-1pct-shortest", "topk-1pct-shortest"),
    "RandTopk 10 %": ("randtopk-10pct", "fp32"),
    "MS": ("ms", "ms"),
    "MS, floor": ("ms-floor", "ms-floor"),
    "SL-FAC*": ("sl-fac", "sl-fac-gradient"),
    "SL-ACC*": ("sl-acc", "sl-acc"),
    "SplitFC": ("splitfc", "fp32"),
    "SplitFC, FWQ": ("splitfc-fwq", {"kind": "feature-wise", "reduction": 1.0, "bits_per_entry": 4.0}),
    "FedLite": ("product-quantization", "fp32"),
    "QU 4, models SP 10 %": ("int4", "int4", "topk-10pct-feedback"),
    "AE": ("ae", "fp32"),
    "no smashed data": ("zeros", "zeros"),
}
LOSSLESS = ("fp32", "pcodec")
#: Drops features in training only: what is measured in evaluation is not the error that training met.
DROPS = ("SplitFC", "SplitFC, FWQ")
#: The comparison of the paper on mask-encoded sparsification: smashed data alone, gradients as float32.
CLAIMED = ("raw", "MS", "MS, floor", "QU 3", "QU 2", "SP", "RT")


def _codec(name: Any, elements: int) -> Any:
    """A slot's codec: a file's path or a table; FedLite's pieces are four values each, of any sample."""
    if name == "product-quantization":
        return {"kind": name, "subvectors": elements // 4, "centroids": 32, "correction": 1e-4}
    return name if isinstance(name, dict) else str(ROOT / "codecs" / f"{name}.toml")


def _claimed(name: str, elements: int) -> Any:
    """A codec of the paper's comparison; SP and RT have the bits of MS (QU cannot: 2 is below and 3 above)."""
    if name == "RT":
        return {"kind": "randtopk", "keep": MS_BITS / (32 + ceil(log2(elements))), "alpha": 0.1}
    files = {
        "raw": "fp32",
        "MS": "ms",
        "MS, floor": "ms-floor",
        "QU 3": "int3",
        "QU 2": "int2",
        "SP": "topk-4pct",
    }
    return _codec(files[name], elements)


def cells(tasks: Sequence[str], seeds: Sequence[int], folder: Path) -> list[study.Cell]:
    """Return all runs, seed by seed."""
    found = []
    for seed in seeds:
        for task in tasks:
            runs: list[tuple[str, str, str, dict[str, Any]]] = []
            for arm, codecs in ARMS.items():
                slots = dict(zip(("smashed_up", "gradient_down", "client_model_up"), codecs, strict=False))
                runs.append(
                    ("both", arm, CUTS[0], {s: _codec(c, ELEMENTS[task][0]) for s, c in slots.items()})
                )
            for cut, elements in zip(CUTS, ELEMENTS[task], strict=True):
                runs += [("paper's", arm, cut, {"smashed_up": _claimed(arm, elements)}) for arm in CLAIMED]
            for family, arm, cut, slots in runs:
                changes = {f"codecs.{slot}": codec for slot, codec in slots.items()}
                changes |= {"seed": seed, "cut_layers": [cut]}
                labels = {"task": task, "family": family, "arm": arm, "cut": cut, "seed": seed}
                name = "-".join(str(part) for part in labels.values())
                out = folder / "".join(c if c.isalnum() or c in "-." else "_" for c in name)
                found.append(study.Cell(SCENARIOS / f"{task}.toml", out, changes, labels))
    return found


def measure(result: Result) -> dict[str, Any]:
    """Return the columns of a run: test accuracy and error after the round of best validation, bytes of the run."""
    row = point(result)
    rounds = result.rounds.set_index("round")
    return {
        "accuracy": row["test"],
        "round": row["round"],
        "nmse": float(rounds.loc[row["round"], "test_nmse_s1"]),
        "wire_bytes": sum(result.summary["wire_bytes"].values()),
        "wire_bytes_up": result.summary["wire_bytes"]["up"],
        "raw_bytes": int(result.messages["raw_bytes"].sum()),
        "simulated_s": result.end_s,
    }


def interval(differences: Sequence[float], comparisons: int = 1) -> tuple[float, float, float]:
    """Return the mean of paired differences and the ends of its 95 % Student interval.

    With `comparisons` above one the interval is Bonferroni's: all of them hold together with 95 %.

    >>> interval([1.0, 2.0, 3.0])
    (2.0, -0.48..., 4.48...)
    """
    values = np.round(np.asarray(differences, float), 9)  # percents of equal counts are equal
    if len(values) < 2:
        raise ConfigError("--seeds", f"{len(values)} seed", "at least 2: one has no interval")
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
    reach = float(stats.t.ppf(1 - 0.025 / comparisons, len(values) - 1)) * error
    return mean, mean - reach, mean + reach


def arms(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per task and arm: accuracy, its paired difference to float32, bytes, error."""
    rows = []
    both = runs[runs["family"] == "both"]
    for (task, arm), mine in both.groupby(["task", "arm"], sort=False):
        plain = _by_seed(both, "accuracy", task=task, arm="fp32")
        mean, low, high = interval(100 * (_by_seed(mine, "accuracy") - plain))
        bytes_ = mine["wire_bytes"].mean()
        rows.append(
            {
                "task": task,
                "arm": arm,
                "accuracy": mine["accuracy"].mean(),
                "points_to_fp32": mean,
                "low": low,
                "high": high,
                "wire_bytes": bytes_,
                "times_fewer": _by_seed(both, "wire_bytes", task=task, arm="fp32").mean() / bytes_,
                "times_fewer_up": _by_seed(both, "wire_bytes_up", task=task, arm="fp32").mean()
                / mine["wire_bytes_up"].mean(),
                "nmse": mine["nmse"].mean(),
            }
        )
    return pd.DataFrame(rows)


def order(runs: pd.DataFrame) -> pd.DataFrame:
    """Return, per task, how far the order of the errors is the order of the accuracies, for lossy arms but `DROPS`.

    ``tau`` is Kendall's between error and accuracy lost, 1 for the same order, mean over seeds with its interval;
    ``always_reversed`` counts pairs of arms of which in every seed the one with the smaller error has the lower
    accuracy, and ``by_chance`` how many of all pairs would if accuracies were coin throws.
    """
    rows = []
    lossy = runs[(runs["family"] == "both") & ~runs["arm"].isin(LOSSLESS + DROPS)]
    for task, mine in lossy.groupby("task", sort=False):
        error = mine.pivot(index="seed", columns="arm", values="nmse")
        accuracy = mine.pivot(index="seed", columns="arm", values="accuracy")
        taus = [float(stats.kendalltau(error.loc[s], -accuracy.loc[s]).statistic) for s in error.index]
        pairs = list(combinations(error.columns, 2))
        ahead = [(a, b) if error[a].mean() < error[b].mean() else (b, a) for a, b in pairs]
        wrong = [
            f"{a} below {b}"
            for a, b in ahead
            if (error[a] < error[b]).all() and (accuracy[a] < accuracy[b]).all()
        ]
        mean, low, high = interval(taus)
        rows.append(
            {
                "task": task,
                "arms": len(error.columns),
                "tau": mean,
                "low": low,
                "high": high,
                "pairs": len(pairs),
                "always_reversed": len(wrong),
                "by_chance": len(pairs) / 2 ** len(error),
                "which": "; ".join(wrong),
            }
        )
    return pd.DataFrame(rows)


def claims(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the paper's claims with intervals that hold together, per task: its order, and its shallow cuts."""
    rows = []
    published = runs[runs["family"] == "paper's"]
    for task in dict.fromkeys(published["task"]):
        compared = [
            (
                f"MS above {other}, {cut}",
                _by_seed(published, "accuracy", task=task, arm="MS", cut=cut),
                other,
                cut,
            )
            for cut in CUTS
            for other in CLAIMED[2:]
        ]
        found = [
            (claim, 100 * (mine - _by_seed(published, "accuracy", task=task, arm=other, cut=cut)))
            for claim, mine, other, cut in compared
        ]
        for arm in CLAIMED[1:]:
            lost = {
                cut: _by_seed(published, "accuracy", task=task, arm="raw", cut=cut)
                - _by_seed(published, "accuracy", task=task, arm=arm, cut=cut)
                for cut in (CUTS[0], CUTS[-1])
            }
            found.append(
                (f"{arm} loses more at {CUTS[0]} than at {CUTS[-1]}", 100 * (lost[CUTS[0]] - lost[CUTS[-1]]))
            )
        for claim, points in found:
            mean, low, high = interval(points, len(found))
            verdict = "yes" if low > 0 else "no, the opposite" if high < 0 else "undecided"
            rows.append(
                {"task": task, "claim": claim, "points": mean, "low": low, "high": high, "holds": verdict}
            )
    return pd.DataFrame(rows)


def _by_seed(runs: pd.DataFrame, column: str, **where: Any) -> "pd.Series[float]":
    for name, value in where.items():
        runs = runs[runs[name] == value]
    return runs.set_index("seed")[column].astype(float)


def draw(runs: pd.DataFrame, points: pd.DataFrame) -> "Figure":
    """Draw accuracy against bytes and against the error, a row per task; dots are seeds, markers their means."""
    tasks = list(dict.fromkeys(points["task"]))
    with figure(11.5, 4.6 * len(tasks), len(tasks), 2) as (drawing, axes):
        both = runs[runs["family"] == "both"]
        smallest = points.loc[points["nmse"] > 0, "nmse"].min() / 3
        for row, task in enumerate(tasks):
            for column, (name, label) in enumerate(
                (
                    ("wire_bytes", "bytes on the wire, everything (MB)"),
                    ("nmse", "error of smashed data (NMSE)"),
                )
            ):
                ax = axes[row, column]
                for number, arm in enumerate(ARMS):
                    mine = both[(both["task"] == task) & (both["arm"] == arm)]
                    x = mine[name] / 1e6 if name == "wire_bytes" else mine[name].clip(lower=smallest)
                    y = 100 * mine["accuracy"]
                    colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number // len(COLOURS)]
                    ax.plot(x, y, ".", color=colour, alpha=0.35, markersize=3)
                    label_of = arm if row == column == 0 else None
                    ax.plot(
                        x.mean(), y.mean(), marker, color=colour, markersize=7, linestyle="", label=label_of
                    )
                ax.set(xscale="log", xlabel=label, ylabel="test accuracy (%)", title=task)
                if name == "nmse":
                    ax.set_title(f"{task} (lossless at the left edge)")
        drawing.legend(*axes[0, 0].get_legend_handles_labels(), title="codec", loc="outside right center")
    return drawing


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run the cells, write the figure and the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--tasks", nargs="+", choices=TASKS, default=TASKS)
    add("--seeds", nargs="+", type=int, default=SEEDS)
    add("--jobs", type=int, default=2, help="runs at a time")
    add("--data-root", type=Path, help="where cifar-10-batches-py is")
    add("--out", type=Path, default=Path("runs") / "codec-shelf", help="folder (default: runs/codec-shelf)")
    options = parser.parse_args(arguments)
    todo = cells(options.tasks, options.seeds, options.out)
    study.run(todo, options.jobs, options.data_root)
    runs = study.table(todo, measure)
    study.write_table(runs, options.out / "codec_shelf_runs")
    points = arms(runs)
    for name, rows in (("", points), ("_order", order(runs)), ("_claims", claims(runs))):
        rows.to_csv(options.out / f"codec_shelf{name}.csv", index=False)
        print(rows.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
    save(draw(runs, points), options.out / "codec_shelf.png", "png")
    print(f"* our reference design; figure: {options.out / 'codec_shelf.png'}")


if __name__ == "__main__":
    script(main)

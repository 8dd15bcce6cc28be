"""SplitFedZip, scaled down and with everything counted: lesion Jaccard against bits, over codecs, schemes and lambdas.

    python analysis/splitfedzip.py --data-root DIR --jobs 2

runs scenarios/papers/splitfedzip/ham10000-small.toml for

* NC (float32), the no-communication baseline (zeros in all slots), mask-encoded sparsification (FG),
* AE and Cheng_AT, each with schemes F and FG and four lambdas, codec weights travelling every round,

two seeds each, and draws what ``rate_accuracy.py`` draws into the study's folder. Finished runs are kept and
skipped: the study may be interrupted, extended (``--lambdas``, ``--seeds``, ``--updates``) and repeated at no cost.
``--codecs`` also takes any other name in codecs/. ``--weights`` with ``--updates frozen`` makes two-stage codecs of
them (``scenarios/papers/splitfedzip/stage-one-small.toml`` is a first stage). ``--scenario`` runs the grid over another
file, such as a full-scale one beside the small. AE has 32 channels and Cheng_AT 16: 134,352 and 206,345 parameters
(published: 64 channels, which ``--channels 64`` gives).
"""

import argparse
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rate_accuracy

from sfsim import study
from sfsim.console import script
from sfsim.errors import ConfigError
from sfsim.report.rates import BASELINE, point
from sfsim.results import Result

ROOT = Path(__file__).resolve().parents[1]
SMALL = ROOT / "scenarios" / "papers" / "splitfedzip" / "ham10000-small.toml"
CODECS = ("nc", "zeros", "ms", "ae", "cheng-at")
SLOTS: dict[str, tuple[str, ...]] = {
    "F": ("smashed_up", "smashed_down"),
    "G": ("gradient_up", "gradient_down"),
}
SLOTS["FG"] = SLOTS["F"] + SLOTS["G"]
LAMBDAS = (4.0, 32.0, 256.0, 4096.0)
SEEDS = (1, 2)
CHANNELS = {"ae": 32, "cheng-at": 16}


def cells(options: argparse.Namespace) -> list[study.Cell]:
    """Return the runs of the study: seeds outermost, so that a whole first seed is there soon."""
    return [
        cell(options, codec, scheme, value, seed)
        for seed in options.seeds
        for codec in options.codecs
        for scheme in (options.schemes if is_learned(codec) else ["NC" if codec == "nc" else "FG"])
        for value in (options.lambdas if is_learned(codec) else [None])
    ]


def cell(options: argparse.Namespace, codec: str, scheme: str, value: float | None, seed: int) -> study.Cell:
    """Return one run; a learned codec is four instances, those of gradients normalised."""
    changes: dict[str, Any] = {"seed": seed}
    if options.rounds is not None:
        changes["global_rounds"] = options.rounds
    name = codec if codec == "nc" else f"{codec}-{scheme}"
    for slot in SLOTS.get(scheme, ()):
        changes[f"codecs.{slot}"] = str(codec_file(codec))
        if value is not None:
            changes[f"codecs.{slot}.lambda_"] = value
            changes[f"codecs.{slot}.normalise"] = slot in SLOTS["G"]
            changes[f"codecs.{slot}.channels"] = options.channels or CHANNELS.get(codec, 32)
    if value is not None:
        optimiser = {"kind": "adam", "learning_rate": options.codec_learning_rate}
        changes |= {"codec_training.optimiser": optimiser, "codec_training.update": options.updates}
        changes["codec_training.entropy_learning_rate"] = 10 * options.codec_learning_rate
        name += f"-{options.updates}-lambda{value:g}"
        if options.weights:
            for slot in SLOTS[scheme]:
                changes[f"codecs.{slot}.weights"] = str((options.weights / f"{slot}.safetensors").resolve())
            name += "-two-stage"
        if options.as_published:
            changes["codec_training.as_published"] = list(options.as_published)
            name += "-as-published"
    return study.Cell(options.scenario, options.out / f"{name}-seed{seed}", changes)


def codec_file(codec: str) -> Path:
    """Return the file of a codec, by its name in codecs/."""
    path = ROOT / "codecs" / f"{codec}.toml"
    if not path.exists():
        raise ConfigError("--codecs", repr(codec), "nc, or a name in codecs/")
    return path


def is_learned(codec: str) -> bool:
    """Whether a codec has a lambda, so that it is run over the grid of them."""
    return codec != "nc" and "lambda_" in tomllib.loads(codec_file(codec).read_text())


def is_hard_enough(results: Sequence[Result]) -> str:
    """Return one sentence: whether NC beats the no-communication baseline by more than the seeds' spread."""
    rows = [point(result) for result in results]
    plain = [row["test"] for row in rows if row["scheme"] == "NC"]
    silent = [row["test"] for row in rows if row["codec"] == BASELINE]
    if not plain or not silent:
        return "without NC and zeros among the codecs nothing is said about how hard the task is"
    gap = min(plain) - max(silent)
    spread = max(max(plain) - min(plain), max(silent) - min(silent))
    verdict = "hard enough" if gap > spread else "TOO EASY: put more of the network behind the cut"
    return (
        f"NC {min(plain):.3f} to {max(plain):.3f}, no communication {min(silent):.3f} to {max(silent):.3f}: "
        f"apart by {gap:.3f} at least, seeds by {spread:.3f} at most; {verdict}"
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--scenario", type=Path, default=SMALL)
    add("--codecs", nargs="+", default=CODECS, help="nc, or names in codecs/")
    add("--schemes", nargs="+", default=("F", "FG"), choices=tuple(SLOTS), help="of learned codecs")
    add("--lambdas", nargs="+", type=float, default=LAMBDAS)
    add("--seeds", nargs="+", type=int, default=SEEDS)
    add(
        "--updates",
        default="round",
        choices=("round", "epoch", "frozen", "ideal"),
        help="when codec weights travel",
    )
    add("--channels", type=int, help="of learned codecs; published: 64, default: 32, and 16 of cheng-at")
    add(
        "--codec-learning-rate",
        type=float,
        default=2e-3,
        help="of Adam; published: 1e-4, over 12 x 604 steps a round",
    )
    add(
        "--weights",
        type=Path,
        help="begin with the codecs in this folder: `codecs/` of a `sfsim codec train`",
    )
    add("--as-published", nargs="+", help="switches of codec_training.as_published")
    add("--rounds", type=int, help="global rounds; default: the scenario's")
    add(
        "--data-root",
        type=Path,
        help="where the data set lives; default: the environment variable SFSIM_DATA",
    )
    add("--jobs", type=int, default=2, help="runs at a time")
    add("--out", type=Path, default=Path("runs") / "splitfedzip", help="folder (default: runs/splitfedzip)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the grid, write figures and tables."""
    options = parse(arguments)
    runs = cells(options)
    study.run(runs, options.jobs, options.data_root)
    results = [Result(run.out) for run in runs]
    rate_accuracy.show(rate_accuracy.report(results, options.out / "figures"))
    print(is_hard_enough(results))
    print(f"figures: {options.out / 'figures'}")


if __name__ == "__main__":
    script(main)

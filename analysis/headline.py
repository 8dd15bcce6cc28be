"""Firmness of the quickstart's headline: time to the target over seeds, and over the instruction sets of processors.

    python analysis/headline.py

runs scenarios/quickstart.toml to its target with 5 seeds, each with every instruction set that PyTorch can be held to
on this machine, on which the last bits of sums depend. It prints by how many points of accuracy the evaluation before
missed the target and those from then on passed it, and the median of the seeds with their spread. The scenario's own
seed was chosen among the five for its margin on both sides.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from sfsim.console import script
from sfsim.errors import ResultsError
from sfsim.results import Result

ROOT = Path(__file__).resolve().parents[1]
SEEDS = (4, 1, 2, 3, 7)
# As PyTorch calls them, and as oneDNN does, which computes its convolutions.
INSTRUCTION_SETS = {"DEFAULT": "SSE41", "AVX2": "AVX2", "AVX512": "AVX512_CORE"}


@dataclass(frozen=True)
class Headline:
    """A run's time to its target.

    Attributes
    ----------
    time_s : float
        Simulated.
    round : int
        The global round after which it was reached.
    below, above : float
        By how much the best evaluation before missed the target, and the worst from then on passed it.
    """

    time_s: float
    round: int
    below: float
    above: float


def headline(result: Result) -> Headline:
    """Read it from a run.

    Raises
    ------
    ResultsError
        The run missed its target.
    """
    reached = result.time_to()
    if reached.time_s is None or reached.round is None:
        raise ResultsError(f"{result.directory}: did not reach its target")
    values = result.rounds.set_index("round")[f"validation_{result.metric}"]
    before, after = values[values.index < reached.round], values[values.index >= reached.round]
    return Headline(
        reached.time_s, reached.round, reached.target - before.max(), after.min() - reached.target
    )


def run(scenario: Path, out: Path, seed: int, environment: Mapping[str, str]) -> Headline:
    """Run a scenario in a process of its own (PyTorch chooses its instructions when it is imported)."""
    changes = ["--set", f"seed={seed}"]
    command = [
        sys.executable,
        "-m",
        "sfsim",
        "run",
        str(scenario),
        "--out",
        str(out),
        "--quiet",
        "--no-report",
    ]
    subprocess.run([*command, *changes], cwd=ROOT, env=os.environ | environment, check=True)
    return headline(Result(out))


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenario", type=Path, default=ROOT / "scenarios" / "quickstart.toml")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="default: %(default)s")
    options = parser.parse_args(arguments)
    widest = list(INSTRUCTION_SETS).index(torch.backends.cpu.get_cpu_capability())
    sets = list(INSTRUCTION_SETS.items())[: widest + 1]
    times_s, alike = [], True
    with tempfile.TemporaryDirectory(prefix="sfsim-") as folder:
        for seed in options.seeds:
            found = {}
            for torch_set, onednn_set in sets:
                environment = {"ATEN_CPU_CAPABILITY": torch_set.lower(), "ONEDNN_MAX_CPU_ISA": onednn_set}
                one = run(options.scenario, Path(folder) / f"{seed}-{torch_set}", seed, environment)
                found[one.time_s, one.round] = one
                print(
                    f"seed {seed}, {torch_set}: {one.time_s:.1f} s, round {one.round} "
                    f"({100 * one.below:.1f} points below before, {100 * one.above:.1f} above from then on)",
                    flush=True,
                )
            alike &= len(found) == 1
            times_s.append(one.time_s)
    print(
        f"{len(times_s)} seeds: median {median(times_s):.1f} s, from {min(times_s):.1f} to {max(times_s):.1f} s"
    )
    print(f"{len(sets)} instruction sets: {'the same headlines' if alike else 'different headlines'}")


if __name__ == "__main__":
    script(main)

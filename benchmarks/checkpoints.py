"""What checkpoints cost: the quickstart with none, with the default share, and with one behind every round.

    python benchmarks/checkpoints.py [SCENARIO.toml [RUNS]]

Runs of the three kinds take turns on one job; medians of wall seconds, and the seconds that were spent in writing
checkpoints (waiting for works under way, the state, the file system) as a share of their run.
"""

import math
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import sfsim
from sfsim.workload.checkpoint import CheckpointFolder
from sfsim.workload.recording import Recorder

ROOT = Path(__file__).resolve().parents[1]
SHARES = (0.0, 0.01, math.inf)


def main(file: Path, runs: int) -> None:
    """Run and print."""
    scenario = sfsim.load(file)
    spent_s = 0.0
    sizes: list[int] = []
    count = 0
    save, write = Recorder._save_if_possible, CheckpointFolder.write

    def timed(recorder: Recorder) -> None:
        nonlocal spent_s
        began_s = perf_counter()
        save(recorder)
        spent_s += perf_counter() - began_s

    def weighed(folder: CheckpointFolder, *arguments: object) -> None:
        nonlocal count
        write(folder, *arguments)  # type: ignore[arg-type]
        count += 1
        sizes.append(sum(path.stat().st_size for path in folder.folder.iterdir()))

    Recorder._save_if_possible = timed  # type: ignore[assignment,method-assign]
    CheckpointFolder.write = weighed  # type: ignore[assignment,method-assign]
    walls: dict[float, list[float]] = {share: [] for share in SHARES}
    shares: dict[float, list[float]] = {share: [] for share in SHARES}
    counts: dict[float, int] = {}
    for _ in range(runs + 1):
        for share in SHARES:
            spent_s, count = 0.0, 0
            with tempfile.TemporaryDirectory() as folder:
                began_s = perf_counter()
                sfsim.run(scenario, out=Path(folder) / "run", checkpoint_share=share)
                walls[share].append(perf_counter() - began_s)
            shares[share].append(spent_s / walls[share][-1])
            counts[share] = count
    for share in SHARES:  # the first run of each kind warms up
        print(
            f"checkpoint share {share:g}: {counts[share]} checkpoints, {median(walls[share][1:]):.2f} s wall, "
            f"{median(shares[share][1:]):.2%} of it in checkpoints"
        )
    print(f"ratio to none: {median(walls[0.01][1:]) / median(walls[0.0][1:]):.3f} with the default share")
    print(f"on disk at most {max(sizes):,} bytes")


if __name__ == "__main__":
    given = sys.argv[1:]
    main(
        Path(given[0]) if given else ROOT / "scenarios" / "quickstart.toml", int(given[1]) if given[1:] else 5
    )

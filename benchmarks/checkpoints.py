"""What checkpoints cost, and how long it takes to go on from one, on the quickstart.

Runs without checkpoints, with the default share and with one after every round take turns on one job. Printed are
medians of CPU seconds, the share of wall time that was spent in writing checkpoints (waiting for works under way,
the state, the file system), and what the last checkpoint takes to be replayed.
"""

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import sfsim
from sfsim.learning.declarations import Iid, Synthetic
from sfsim.results import Progress
from sfsim.workload.checkpoint import CheckpointFolder
from sfsim.workload.recording import Recorder

ROOT = Path(__file__).resolve().parents[1]
RUNS = 5
SHARES = (0.0, 0.01, math.inf)


class Meter:
    """Counts checkpoints, their seconds and their bytes, until it is closed."""

    def __init__(self) -> None:
        self.spent_s, self.count, self.num_bytes = 0.0, 0, 0
        self._own = Recorder._save_if_possible, CheckpointFolder.write
        save, write = Recorder._save_if_possible, CheckpointFolder.write

        def timed(recorder: Recorder) -> None:
            began_s = perf_counter()
            save(recorder)
            self.spent_s += perf_counter() - began_s

        def weighed(folder: CheckpointFolder, *arguments: Any) -> None:
            write(folder, *arguments)
            self.count += 1
            self.num_bytes = sum(path.stat().st_size for path in folder.folder.iterdir())

        Recorder._save_if_possible = timed  # type: ignore[assignment,method-assign]
        CheckpointFolder.write = weighed  # type: ignore[assignment,method-assign]

    def close(self) -> None:
        """Leave things as they were."""
        Recorder._save_if_possible, CheckpointFolder.write = self._own  # type: ignore[method-assign]


def main(toy: bool = False) -> None:
    """Run and print."""
    scenario, meter = sfsim.load(ROOT / "scenarios" / "quickstart.toml"), Meter()
    runs, warm_up = (1, 0) if toy else (RUNS, 1)
    if toy:
        images = Synthetic(num_train=60, num_test=8, image_size=8, in_channels=1, num_classes=4)
        scenario = replace(scenario, data=images, partition=Iid(), target=None, global_rounds=2)
    cpu_s: dict[float, list[float]] = {share: [] for share in SHARES}
    part: dict[float, list[float]] = {share: [] for share in SHARES}
    counts = dict.fromkeys(SHARES, 0)
    for _ in range(runs + warm_up):
        for share in SHARES:
            meter.spent_s, meter.count = 0.0, 0
            with tempfile.TemporaryDirectory() as folder:
                began_s, cpu_began_s = perf_counter(), process_time()
                sfsim.run(scenario, out=Path(folder) / "run", checkpoint_share=share)
                cpu_s[share].append(process_time() - cpu_began_s)
                part[share].append(meter.spent_s / (perf_counter() - began_s))
            counts[share] = meter.count
    for share in SHARES:  # the first run of each kind warms up
        print(
            f"checkpoint share {share:g}: {counts[share]} checkpoints, {median(part[share][warm_up:]):.2%} of the wall "
            f"time; {median(cpu_s[share][warm_up:]):.2f} s CPU"
        )
    ratios = [b / a for a, b in zip(cpu_s[0.0][warm_up:], cpu_s[0.01][warm_up:], strict=True)]
    print(f"CPU with the default share / without checkpoints: {median(ratios):.3f}")
    print(f"on disk: {meter.num_bytes:,} bytes")
    meter.close()
    replay(scenario)


def replay(scenario: sfsim.Scenario) -> None:
    """Break a run off in its last round, and time how long it takes to be there again."""

    class Cut(BaseException):
        pass

    marks: list[tuple[int, float]] = []

    def cut(now: Progress) -> None:
        marks.append((now.round, process_time()))
        if len(marks) > 1 and now.round > rounds - 1:
            raise Cut

    with tempfile.TemporaryDirectory() as folder:
        rounds = len(sfsim.run(scenario, out=Path(folder) / "whole").rounds)
        try:
            sfsim.run(scenario, out=Path(folder) / "run", checkpoint_share=math.inf, progress=cut)
        except Cut:
            before_s = marks[-2][1] - marks[0][1]
        last_s = marks[-1][1] - marks[-2][1]
        marks.clear()
        try:
            sfsim.resume(Path(folder) / "run", progress=cut)
        except Cut:
            again_s = marks[-1][1] - marks[0][1] - last_s
    print(
        f"{rounds - 1} rounds replayed in {again_s:.2f} s CPU, which took {before_s:.2f} s: {again_s / before_s:.1%}"
    )


if __name__ == "__main__":
    main()

"""Networks a second that a finished run is timed over: `Recording.retime` beside `sfsim.retime`, in CPU time, in turn.

``python -m benchmarks.retiming --against DIR`` also runs `sfsim.retime` of another checkout, on a run of its own of the
same scenario.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import process_time
from typing import Any

import sfsim

ROOT = Path(__file__).resolve().parents[1]
REPEATS, ROUNDS = 9, 3
_THEIRS = """
import statistics, sys, tempfile
from pathlib import Path
from time import process_time
import sfsim
scenario = sfsim.load(sys.argv[1])
with tempfile.TemporaryDirectory() as folder:
    run = sfsim.run(scenario, out=Path(folder) / "run", checkpoint_share=0).directory
    times = []
    for number in range(int(sys.argv[2]) + 1):
        began = process_time()
        sfsim.retime(run, scenario, out=Path(folder) / str(number))
        times.append(process_time() - began)
print(statistics.median(times[1:]))
"""


def measure(scenario: sfsim.Scenario, repeats: int) -> tuple[float, float, int]:
    """Return the median CPU seconds of `sfsim.retime` and `Recording.retime`, and the number of messages."""
    times: tuple[list[float], list[float]] = ([], [])
    with tempfile.TemporaryDirectory() as folder:
        run = sfsim.run(scenario, out=Path(folder) / "run", checkpoint_share=0)
        recording = sfsim.Recording(run.directory)
        for number in range(repeats + 1):
            began = process_time()
            sfsim.retime(run.directory, scenario, out=Path(folder) / str(number))
            between = process_time()
            recording.retime(scenario)
            times[0].append(between - began)
            times[1].append(process_time() - between)
        return *(statistics.median(found[1:]) for found in times), len(run.messages)  # type: ignore[return-value]


def elsewhere(folder: Path, scenario: Path, repeats: int) -> float:
    """Return the median CPU seconds of `sfsim.retime` of another checkout."""
    environment: dict[str, Any] = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _THEIRS, str(scenario), str(repeats)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def main(toy: bool = False, against: Path | None = None) -> None:
    """Print networks a second, and ratios."""
    path = ROOT / "scenarios" / "quickstart.toml"
    scenario = sfsim.load(path, {"global_rounds": 1} if toy else {})
    ours, theirs, messages = [], [], 0
    for _ in range(1 if toy else ROUNDS):
        written, kept, messages = measure(scenario, 1 if toy else REPEATS)
        ours.append((written, kept))
        if against:
            theirs.append(elsewhere(against.resolve(), path, REPEATS))
    written, kept = (statistics.median(found[i] for found in ours) for i in (0, 1))
    print(f"the quickstart, {messages:,} messages")
    print(f"sfsim.retime      {1 / written:6.1f} networks a second")
    print(f"Recording.retime  {1 / kept:6.1f} networks a second: {written / kept:.2f} times as many")
    if theirs:
        other = statistics.median(theirs)
        print(f"there, retime     {1 / other:6.1f} networks a second: {other / kept:.2f} times as many here")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--against", type=Path, metavar="DIR", help="another checkout of sfsim")
    main(against=parser.parse_args().against)

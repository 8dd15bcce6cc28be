"""Time until something is seen: the first round with nothing compiled, and `sfsim check` with all compiled.

``python -m benchmarks.startup --against DIR`` also runs the build in another checkout, in turn, and prints the ratios
of the medians. Seconds to round 1 are wall time, those of `check` CPU time. With more clients than the quickstart's
six, the data are as many synthetic images, dealt evenly.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter, sleep

ROOT = Path(__file__).resolve().parents[1]
CLIENTS = (6, 1_000, 10_000)
ROUNDS = 3


def to_round_1_s(tree: Path) -> float:
    """Return the wall time from the start of the quickstart to the line of its round 1, with nothing compiled."""
    with tempfile.TemporaryDirectory(prefix="sfsim-") as folder:
        cache = Path(folder) / "cache"
        environment = _environment(tree) | {"NUMBA_CACHE_DIR": str(cache)}
        command = ["run", "scenarios/quickstart.toml", "--out", f"{folder}/run", "--set", "global_rounds=1"]
        began_s = perf_counter()
        with subprocess.Popen(
            [*_SFSIM, *command, "--no-report"],
            cwd=tree,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            seconds = next(
                (perf_counter() - began_s for line in process.stdout if line.startswith("round 1")), None
            )
            process.communicate()
        if seconds is None:
            raise RuntimeError(f"{tree}: the quickstart came to no round 1")
        # What compiles beside the run must not take its time from the next measurement.
        while (tree / "sfsim/network/solver/interim.py").exists() and not any(
            cache.rglob("*.change_cell-*.nbi")
        ):
            sleep(0.2)
        return seconds


def check_s(tree: Path, clients: int) -> float:
    """Return the CPU time of `sfsim check` for the quickstart with so many clients."""
    changes = []
    if clients != CLIENTS[0]:
        data = {
            "kind": "synthetic",
            "num_train": 2 * clients,
            "num_test": 10,
            "image_size": 8,
            "num_classes": 10,
        }
        table = ", ".join(f"{key} = {value!r}" for key, value in data.items())
        changes = [f"data={{ {table} }}", "partition={ kind = 'iid' }", f"clients.pi.count={clients - 4}"]
    changes = [argument for change in changes for argument in ("--set", change)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [*_SFSIM, "check", "scenarios/quickstart.toml", *changes],
        cwd=tree,
        env=_environment(tree),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


_SFSIM = (sys.executable, "-u", "-m", "sfsim")


def _environment(tree: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(tree)}


def main(toy: bool = False, against: Path | None = None) -> None:
    """Print seconds, and ratios to another build."""
    trees = [ROOT] if against is None else [against.resolve(), ROOT]
    what: dict[str, Callable[[Path], float]] = {
        f"check, {clients:,} clients": partial(check_s, clients=clients) for clients in CLIENTS
    }
    what["round 1, nothing compiled"] = to_round_1_s
    if toy:
        what = dict(list(what.items())[:1])
    for name, measure in what.items():
        seconds: dict[Path, list[float]] = {tree: [] for tree in trees}
        for _ in range(1 if toy else ROUNDS):
            for tree in trees:
                seconds[tree].append(measure(tree))
        medians = [statistics.median(seconds[tree]) for tree in trees]
        ratio = (
            f", {medians[-1] / medians[0]:.2f} x that of {against} ({medians[0]:.2f} s)" if against else ""
        )
        print(f"{name}: {medians[-1]:.2f} s{ratio}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, metavar="DIR", help="another checkout to compare with")
    main(against=parser.parse_args().against)

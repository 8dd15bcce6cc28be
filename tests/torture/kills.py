"""Killed runs: whatever the moment, going on ends in the same bytes.

``python -m tests.torture.kills --count 50 --seed 1`` runs small scenarios whole, then again and again with SIGKILL at a
random moment, and goes on (sometimes killed once more). The finished directory must hold, byte for byte, what the
whole run's does; a user's file in a directory that is run again must still be there; and nothing half-done may be left
beside it. The exit code is 1 if one differs.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.torture.mutations import become
from tests.torture.subjects import prepare

SCENARIOS = ("star", "fading", "tcp", "wifi")
ENVIRONMENT = "environment.json"  # wall-clock seconds and how often a run went on


def contents(out: Path) -> dict[str, bytes]:
    """Return what equal runs have in common."""
    paths = (path for path in out.rglob("*") if path.is_file() and path.name != ENVIRONMENT)
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def run(arguments: list[str], folder: Path, kill_after_s: float | None = None) -> int:
    """Call the command in a process of its own, killed after so long; return its exit code, -9 when killed."""
    child = os.fork()
    if child == 0:
        become(arguments, folder / "said.txt", folder)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def trial(
    scenario: Path, whole: dict[str, bytes], seconds: float, luck: random.Random, folder: Path
) -> str | None:
    """Kill one run at random moments and let it end; return what is wrong with its end, or None."""
    out = folder / "run"
    options = ["--quiet", "--no-report", "--checkpoint-share", "inf"]
    again = luck.random() < 0.3
    if again:  # over a finished run that holds a file of the user's
        run(["run", str(scenario), "--out", str(out), *options], folder)
        (out / "mine.txt").write_text("mine")
    code = run(["run", str(scenario), "--out", str(out), *options], folder, luck.uniform(0, 1.1 * seconds))
    for _ in range(luck.randrange(2)):
        if not again and (folder / "run.partial" / "checkpoint" / "checkpoint.json").is_file():
            code = run(["resume", str(out), *options], folder, luck.uniform(0, seconds))
    if code != 0:
        verb = ["run", str(scenario), "--out", str(out), "--resume"]
        code = run([*verb, *options], folder)
    if code != 0:
        return f"exit code {code}: {(folder / 'said.txt').read_text().strip()}"
    found = contents(out)
    if again and found.pop("mine.txt", None) != b"mine":
        return "the user's file is lost"
    if found != whole:
        return f"differs in {sorted(name for name in whole | found if whole.get(name) != found.get(name))}"
    left = sorted(path.name for path in folder.iterdir() if path.name not in ("run", "said.txt"))
    return f"left behind: {left}" if left else None


def main() -> None:
    """Read the arguments, kill runs and say what came of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    import torch  # once, before the processes divide

    import sfsim.simulation  # noqa: F401

    torch.set_num_threads(1)
    luck, faults = random.Random(asked.seed), 0
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        top = Path(name)
        prepare(top)
        wholes, seconds = {}, {}
        for scenario in SCENARIOS:
            path = top / "toys" / f"{scenario}.toml"
            for _ in range(2):  # the first time compiles
                began = time.perf_counter()
                out = top / f"whole-{scenario}"
                arguments = [
                    "run",
                    str(path),
                    "--out",
                    str(out),
                    "--quiet",
                    "--no-report",
                    "--checkpoint-share",
                    "inf",
                ]
                assert run(arguments, top) == 0, (top / "said.txt").read_text()
                seconds[scenario] = time.perf_counter() - began
            wholes[scenario] = contents(out)
        for number in range(asked.count):
            scenario = SCENARIOS[number % len(SCENARIOS)]
            with tempfile.TemporaryDirectory(prefix="trial-", dir=top) as folder:
                path = top / "toys" / f"{scenario}.toml"
                fault = trial(path, wholes[scenario], seconds[scenario], luck, Path(folder))
            if fault:
                faults += 1
                print(f"kill {number}, {scenario}: {fault}", flush=True)
    print(f"kills: {asked.count}, faults: {faults}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()

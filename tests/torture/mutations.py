"""Damaged inputs: each ends in success or in one clear error.

``python -m tests.torture.mutations --count 2000 --seed 1`` damages valid scenarios, codecs, channels, devices, traces,
graphs, images and run directories, one small damage each, and gives them to the command. Right is exit code 0, or 2 or
3 with one line on stderr. A traceback, another exit code, silence, a process that dies, or one that does not end is a
failure, which is printed with its damage; the exit code is then 1. A case depends on seed and number alone:
``--only 17`` repeats one. Before all, every input is read as it is, which must succeed.
"""

import argparse
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import zlib
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.torture import mutate
from tests.torture.subjects import Subject, prepare

LIMIT_S = 90.0
MEMORY_BYTES = 6 << 30
# A larger value of these may honestly mean a longer run; being slow is then no fault, not reacting to an interrupt is.
SIZES = (
    "global_rounds", "local_epochs", "count", "num_train", "num_test", "image_size", "batch_size", "width", "rate_bps",
    "bandwidth_hz", "mean_snr_db", "latency_s", "learning_rate", "coherence_time_s", "every_s", "time_s",
)  # fmt: skip

SUBJECTS: list[Subject] = []  # filled before the worker processes divide from this one


@dataclass(frozen=True)
class Ended:
    """How one call of the command ended."""

    damage: str
    arguments: list[str]
    code: int | None
    said: str
    seconds: float

    @property
    def fault(self) -> str | None:
        """What is wrong with it, or None."""
        lines = [line for line in self.said.splitlines() if line.strip()]
        if "Traceback (most recent call last)" in self.said:
            return "traceback"
        if self.code is None:
            return None if any(f"{size}" in self.damage for size in SIZES) else f"not ended after {LIMIT_S} s"
        if self.code < 0:
            return f"killed by signal {-self.code}"
        if self.code == 0:
            return None
        if self.code not in (2, 3):
            return f"exit code {self.code}"
        return None if len(lines) == 1 else f"{len(lines)} lines of error"


def run_unharmed() -> list[Ended]:
    """Call every command with every input as it is; return those that did not succeed."""
    ends = []
    for subject in SUBJECTS:
        for file in subject.files:
            with tempfile.TemporaryDirectory(prefix="torture-") as name:
                target = _copy(file, Path(name))
                ends += [
                    _call(make(target, Path(name)), f"{file.name} as it is", Path(name))
                    for make in subject.commands
                ]
    return [end for end in ends if end.code != 0]


def run_case(seed: int, until: float, number: int) -> list[Ended]:
    """Damage one file of one subject and call its commands, each in a process of its own; nothing after `until`."""
    if time.perf_counter() > until:
        return []
    rng = random.Random(zlib.crc32(f"{seed}/{number}".encode()))
    subject = SUBJECTS[number % len(SUBJECTS)]
    file = rng.choice(subject.files)
    if subject.whole:
        return _run_whole(rng, subject, file)
    content = file.read_bytes()
    if subject.binary:
        damaged, damage = mutate.data(rng, content)
    else:
        text, damage = mutate.text(rng, content.decode())
        damaged = text.encode()
    with tempfile.TemporaryDirectory(prefix="torture-") as name:
        folder = Path(name)
        target = _copy(file, folder)
        target.write_bytes(damaged)
        place = f"{subject.kind} {file.name}: {damage}"
        return [_call(make(target, folder), place, folder) for make in subject.commands]


def _run_whole(rng: random.Random, subject: Subject, file: Path) -> list[Ended]:
    """Damage something in the folder of a file, anew for each command: some of them write into it."""
    ends, state = [], rng.getstate()
    for make in subject.commands:
        rng.setstate(state)
        with tempfile.TemporaryDirectory(prefix="torture-") as name:
            target = _copy(file, Path(name))
            assert subject.whole is not None
            ends.append(_call(make(target, Path(name)), subject.whole(rng, target.parent), Path(name)))
    return ends


def _copy(file: Path, folder: Path) -> Path:
    """Copy the whole set of files of which one is damaged, so that cases can run side by side."""
    top = next(
        parent for parent in file.parents if (parent / "toys").is_dir() and (parent / "codecs").is_dir()
    )
    shutil.copytree(top, folder / "all")
    return folder / "all" / file.relative_to(top)


def _call(arguments: list[str], damage: str, folder: Path) -> Ended:
    said = folder / "stderr.txt"
    began = time.perf_counter()
    child = os.fork()
    if child == 0:
        become(arguments, said, folder)
    code = _wait(child)
    return Ended(damage, arguments, code, said.read_text(errors="replace"), time.perf_counter() - began)


def become(arguments: list[str], said: Path, folder: Path, printed: Path = Path(os.devnull)) -> None:
    """Be the command: limited in memory, its errors in a file, its output in another. Does not return."""
    code = 70
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
        os.chdir(folder)
        null, create = os.open(os.devnull, os.O_RDWR), os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        for descriptor, where in ((0, null), (1, os.open(printed, create)), (2, os.open(said, create))):
            os.dup2(where, descriptor)
        from sfsim.__main__ import main

        sys.argv = ["sfsim", *arguments]
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(child: int) -> int | None:
    """Wait for a process; one that does not end in time is interrupted, and killed if it does not react."""
    for limit_s, signal_ in ((LIMIT_S, signal.SIGINT), (30.0, signal.SIGKILL)):
        until = time.perf_counter() + limit_s
        while time.perf_counter() < until:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status) if limit_s == LIMIT_S else None
            time.sleep(0.01)
        os.kill(child, signal_)
    os.waitpid(child, 0)
    return -signal.SIGKILL


def main() -> None:
    """Read the arguments, run the cases and say what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--no-valid", action="store_true", help="do not read the inputs as they are first")
    parser.add_argument("--kind", help="damage inputs of this kind only, such as 'run directory'")
    parser.add_argument("--only", type=int, help="the number of one case")
    parser.add_argument("--minutes", type=float, default=40.0, help="begin no case after this")
    asked = parser.parse_args()
    import torch  # once, before the processes divide

    import sfsim.simulation  # noqa: F401

    torch.set_num_threads(1)
    until = time.perf_counter() + 60 * asked.minutes
    with tempfile.TemporaryDirectory(prefix="torture-") as name:
        SUBJECTS.extend(one for one in prepare(Path(name)) if asked.kind in (None, one.kind))
        numbers = range(asked.count) if asked.only is None else [asked.only]

        counts: Counter[str] = Counter()
        faults = 0
        for end in [] if asked.no_valid or asked.only is not None else run_unharmed():
            faults += 1
            print(
                f"{end.damage}: sfsim {' '.join(end.arguments)}: exit code {end.code}\n{end.said}", flush=True
            )
        with multiprocessing.get_context("fork").Pool(asked.jobs) as workers:
            for number, ends in zip(
                numbers, workers.imap(partial(run_case, asked.seed, until), numbers), strict=True
            ):
                for end in ends:
                    counts["slow, interrupted" if end.code is None else f"exit {end.code}"] += 1
                    if end.fault or asked.only is not None:
                        faults += end.fault is not None
                        print(f"case {number}: {end.fault}: {end.damage}\n  sfsim {' '.join(end.arguments)}")
                        print("  " + "\n  ".join(end.said.strip().splitlines()[-6:]), flush=True)
                counts["cases"] += bool(ends)
    print(
        ", ".join(f"{name}: {count}" for name, count in sorted(counts.items())), f"faults: {faults}", sep=", "
    )
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()

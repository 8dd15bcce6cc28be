"""A study: many runs of one question, side by side in processes, kept when done, and their table.

Every run has a directory of its own below the study's folder. A finished one is kept, so that a study can be
interrupted and extended; a damaged one is run again. A run sees nothing of the others: whatever the order and
the number of jobs, the tables of every run directory are the same, byte for byte.
"""

import multiprocessing
import os
import shutil
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sfsim.checksums import LIST
from sfsim.errors import ConfigError, ResultsError, SfsimError
from sfsim.interruption import Interrupted
from sfsim.results import Result
from sfsim.scenario import Scenario, load

if TYPE_CHECKING:
    import pandas as pd

_OURS = {
    "summary.json",
    "scenario.json",
    "environment.json",
    LIST,
    "report.html",
    "figures",
    "predictions.npz",
    "codecs",
}


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Parameters
    ----------
    scenario : Path
        The scenario file.
    out : Path
        The run directory.
    changes : mapping of str to Any
        Dotted keys and what to put there (`sfsim.load`).
    labels : mapping of str to Any
        What tells this run from the others: columns of the study's table.

    A study that changes more than keys overrides `load`.
    """

    scenario: Path
    out: Path
    changes: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> Scenario:
        """Return the scenario of this run."""
        return load(self.scenario, self.changes)


def is_done(cell: Cell) -> bool:
    """Whether the run directory of the cell is there and whole; another configuration's is refused.

    Raises
    ------
    ResultsError
        The directory holds another run, or things that are no run.
    """
    if not cell.out.is_dir() or not any(cell.out.iterdir()):
        return False
    if (cell.out / "summary.json").is_file() and not (cell.out / LIST).is_file():
        # An older version's, which may have taken days; a kill leaves nothing like that.
        raise ResultsError(
            f"{cell.out}: found no {LIST}, expected every file of a run; delete it to run it again, "
            "or give another --out"
        )
    try:
        result = Result(cell.out)
        result.verify()
    except ResultsError as error:
        if foreign := sorted(p.name for p in cell.out.iterdir() if not _is_ours(p)):
            raise ResultsError(
                f"{cell.out}: found {foreign[0]!r}, which is no part of a run; give another --out"
            ) from None
        print(f"{cell.out.name} is run again: {error}", file=sys.stderr)
        shutil.rmtree(cell.out)
        return False
    if result.scenario != cell.load().to_table():
        raise ResultsError(f"{cell.out}: holds a run of another configuration; give another --out")
    return True


def run(cells: Sequence[Cell], jobs: int = 1, data_root: Path | None = None) -> None:
    """Run what is not there yet.

    Parameters
    ----------
    cells : sequence of Cell
        Their order decides which are run first, and nothing else.
    jobs : int
        Runs at a time, each in a process with one thread.
    data_root : Path, optional
        Where data sets live; see `sfsim.run`.

    Raises
    ------
    ResultsError
        Some runs failed, named with their reasons; all others have been run.
    """
    if jobs < 1:
        raise ConfigError("--jobs", str(jobs), "a whole number of at least 1")
    twice = {cell.out for cell in cells if sum(cell.out == other.out for other in cells) > 1}
    if twice:
        raise ConfigError("the study", f"two runs in {min(twice)}", "a directory for each run")
    todo = [cell for cell in cells if not is_done(cell)]
    _say(f"{len(cells)} runs, {len(cells) - len(todo)} of them already there")
    failures, started_s = [], perf_counter()
    # Processes start afresh: a fork of a process that has loaded torch may hang.
    pool = ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent
    )
    try:
        futures: dict[Future[tuple[str, float]], Cell] = {
            pool.submit(_run, cell, data_root): cell for cell in todo
        }
        for number, future in enumerate(as_completed(futures), 1):
            cell = futures[future]
            error, wall_s = future.result()
            if error:
                failures.append(f"{cell.out.name}: {error}")
            left_s = (perf_counter() - started_s) / number * (len(todo) - number)
            done = f"{number}/{len(todo)}: {cell.out.name}{' FAILED' if error else ''}, {wall_s:.0f} s"
            _say(f"{done}; about {_duration(left_s)} left" if left_s else done)
    except Interrupted as stopped:
        for child in multiprocessing.active_children():  # the pool would wait for whole runs
            child.terminate()
        stopped.way_out = "; finished runs are kept, start the study again to go on"
        raise
    except BrokenProcessPool:
        raise ResultsError(
            "a run's process was killed (out of memory?); finished runs are kept, start the study again"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupt must not run all the others first
    if failures:
        raise ResultsError(f"{len(failures)} of {len(todo)} runs failed:\n  " + "\n  ".join(failures))


def table(cells: Sequence[Cell], measure: Callable[[Result], Mapping[str, Any]]) -> "pd.DataFrame":
    """Return one row per run, in the order of `cells`: its labels and what `measure` reads off it."""
    import pandas as pd

    return pd.DataFrame([{**cell.labels, **measure(Result(cell.out))} for cell in cells])


def write_table(rows: "pd.DataFrame", path: Path) -> None:
    """Write a table as ``PATH.csv`` and ``PATH.parquet`` (without a time stamp in it)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_csv(path.with_name(path.name + ".csv"), index=False)
    rows.to_parquet(path.with_name(path.name + ".parquet"), index=False)


def _end_with_parent() -> None:
    """End this process when the study is killed: left alone it would write where the next study writes."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _run(cell: Cell, data_root: Path | None) -> tuple[str, float]:
    """Run one cell in a process of its own; return the error, if any, as text, and wall seconds."""
    from sfsim import simulation

    started_s = perf_counter()
    try:
        simulation.run(cell.load(), out=cell.out, jobs=1, data_root=data_root)
    except SfsimError as error:  # as text: an error with a constructor of its own does not cross processes
        return str(error), perf_counter() - started_s
    return "", perf_counter() - started_s


def _is_ours(path: Path) -> bool:
    return path.name in _OURS or path.suffix == ".parquet"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    """Return a duration in words.

    >>> _duration(42), _duration(600), _duration(5400)
    ('42 s', '10 min', '1 h 30 min')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"

"""Run a world from the first round to the last, and write down what happened."""

from __future__ import annotations

import gc
import math
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sfsim import __version__
from sfsim.errors import ConfigError, Diverged, ResultsError, SimulationError
from sfsim.ledger import EvaluationRecord
from sfsim.results import Progress, Result, claim, write
from sfsim.scenario import Scenario, scenario_hash

if TYPE_CHECKING:
    from sfsim.world import World

_VERSIONS = ("simpy", "torch", "numpy", "networkx", "pandas", "pyarrow", "compressai")


def run(
    scenario: Scenario,
    *,
    out: Path | str | None = None,
    device: str = "cpu",
    jobs: int = 1,
    data_root: Path | str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Result:
    """Run a scenario and write its run directory.

    Parameters
    ----------
    scenario : Scenario
        From `sfsim.load`.
    out : Path, optional
        The run directory; default ``runs/NAME-<hash>``. See `sfsim.results.claim`.
    device : str
        Torch device of the training itself, ``"cpu"`` or ``"cuda"``; simulated devices are the scenario's.
    jobs : int
        Clients that are trained side by side, in threads. The result does not depend on it.
    data_root : Path, optional
        Folder of the data sets that are not embedded; default: the environment variable ``SFSIM_DATA``.
    progress : callable, optional
        Called at the end of every global round.

    Returns
    -------
    Result
        The finished run.

    Raises
    ------
    SfsimError
        Anything that a user can mend; nothing has been written then.
    """
    # Only a run needs torch; naming one must not.
    import torch

    from sfsim import world as worlds

    started_s = perf_counter()
    if not isinstance(scenario, Scenario):
        hint = (
            f"Write sfsim.run(sfsim.load({str(scenario)!r}))." if isinstance(scenario, str | Path) else None
        )
        raise ConfigError("sfsim.run", repr(scenario), "a Scenario", hint)
    _check_machine(device, jobs)
    goal = _goal(scenario)
    root = data_root if data_root is not None else os.environ.get("SFSIM_DATA")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    world = None
    try:
        world = worlds.build(
            scenario,
            data_root=None if root is None else Path(root),
            device=device,
            jobs=jobs,
            on_round=lambda world, round: _on_round(scenario, goal, world, round, progress),
        )
        digest = scenario_hash(scenario, world.data_fingerprint, __version__)
        directory = claim(None if out is None else Path(out), scenario.name, digest)
        if progress:
            progress(Progress(0, scenario.global_rounds, 0.0))
        notes = _simulate(scenario, world)
    finally:
        if world is not None:
            world.workload.close()
        torch.set_num_threads(threads)
    written = write(
        directory,
        world.ledger,
        scenario_table=scenario.to_table(),
        scenario_hash=digest,
        environment=_environment(device, jobs, started_s),
        target=scenario.target,
        notes=[*notes, *worlds.notes(scenario, world)],
        predictions=world.workload.predictions,
    )
    return Result(written)


@contextmanager
def patient_collector() -> Iterator[None]:
    """Let Python's cyclic garbage collector look less often: a run makes many objects and hardly any cycles."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _simulate(scenario: Scenario, world: World) -> list[str]:
    """Run a world to its end, and return what there is to say about that end."""
    env, notes = world.env, []
    everybody = env.all_of(world.processes)
    try:
        with patient_collector():
            env.run(until=everybody | world.over)
    except Diverged as error:
        # A result like a missed target: what happened until now is kept.
        notes.append(str(error))
        split = "validation" if len(world.workload.setting.dataset.validation) else "test"
        nan = EvaluationRecord(error.round, env.now, split, "on", _metric(scenario), math.nan, "")
        world.ledger.evaluations.append(nan)
    except RuntimeError as error:
        # SimPy's word for an empty schedule: somebody waits for what nobody will send.
        if "scheduled events" not in str(error):
            raise
        raise SimulationError(
            f"at {env.now:g} s nothing is left to happen, but the run is not over"
        ) from None
    world.network.finish()
    world.network.check_conservation()
    return notes


def _metric(scenario: Scenario) -> str:
    """The headline metric."""
    if scenario.target:
        return scenario.target.metric
    return "mji" if scenario.data.task == "segmentation" else "accuracy"


def _goal(scenario: Scenario) -> float:
    """The value to reach; one that is relative to a baseline run needs that run now, not at the end."""
    target = scenario.target
    if target is None:
        return math.inf
    if target.relative_to is None:
        return target.value
    try:
        return target.value * Result(target.relative_to).best(target.metric)
    except ResultsError as error:
        expected = f"a run that measured {target.metric}"
        raise ConfigError(
            "[target] relative_to", f"a baseline that cannot be used ({error})", expected
        ) from None


def _on_round(
    scenario: Scenario,
    goal: float,
    world: World,
    round: int,
    progress: Callable[[Progress], None] | None,
) -> None:
    target, metric = scenario.target, _metric(scenario)
    values = [
        row.value
        for row in world.ledger.evaluations
        if (row.split, row.codec, row.metric, row.client) == ("validation", "on", metric, "")
    ]
    newest = values[-1] if values else math.nan
    if progress:
        progress(Progress(round, scenario.global_rounds, world.env.now, metric, newest))
    if target and target.stop and _reached(values, goal, target.hold):
        world.over.succeed()


def _reached(values: list[float], target: float, hold: int) -> bool:
    return len(values) >= hold and all(value >= target for value in values[-hold:])


def _check_machine(device: str, jobs: int) -> None:
    import torch

    if jobs < 1:
        raise ConfigError("--jobs", str(jobs), "a whole number of at least 1")
    if device not in ("cpu", "cuda"):
        raise ConfigError("--device", repr(device), "cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device", "'cuda'", "a machine on which torch finds a CUDA device, or cpu")


def _environment(device: str, jobs: int, started_s: float) -> dict[str, Any]:
    return {
        "sfsim": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "versions": {name: version(name) for name in _VERSIONS},
        "device": device,
        "bits_promised": device == "cpu",
        "jobs": jobs,
        "wall_s": perf_counter() - started_s,
    }

"""Run a world from the first round to the last, and write down what happened."""

from __future__ import annotations

import math
import os
import platform
import shlex
import sys
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sfsim import __version__, interruption
from sfsim.collector import patient_collector
from sfsim.compiling import WORDS, announced
from sfsim.declaration import validate
from sfsim.errors import ConfigError, DataError, Diverged, ResultsError, SfsimError, SimulationError
from sfsim.interruption import Interrupted
from sfsim.ledger import EvaluationRecord
from sfsim.results import Progress, Result, first_divergence, hold, write
from sfsim.resuming import find, open_folder
from sfsim.scenario import Scenario, scenario_hash
from sfsim.scenario.checks import METRICS
from sfsim.workload.recording import OutOfStep

if TYPE_CHECKING:
    import simpy

    from sfsim.ledger import Ledger
    from sfsim.workload.checkpoint import CheckpointFolder
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
    checkpoint_share: float = 0.01,
    resume: bool = False,
) -> Result:
    """Run a scenario and write its run directory.

    Parameters
    ----------
    scenario : Scenario
        From `sfsim.load`.
    out : Path, optional
        The run directory; default ``runs/NAME-<hash>``. See `sfsim.results.hold`.
    device : str
        Torch device of the training itself, ``"cpu"`` or ``"cuda"``; simulated devices are the scenario's.
    jobs : int
        Clients that are trained side by side, in threads. The result does not depend on it.
    data_root : Path, optional
        Folder of the data sets that are not embedded; default: the environment variable ``SFSIM_DATA``.
    progress : callable, optional
        Called at the end of every global round.
    checkpoint_share : float
        The most of the wall time that checkpoints may take: one is made after a round when enough time has gone
        by. Infinite: after every round; 0: never.
    resume : bool
        Go on from the checkpoint of an equal run that was interrupted, if there is one, instead of starting anew.

    Returns
    -------
    Result
        The finished run.

    Raises
    ------
    SfsimError
        Anything that a user can mend; nothing has been written then, but for the checkpoint of a run that came to
        the end of a round and failed for what is not its own (data, the file system).
    """
    if not isinstance(scenario, Scenario):
        hint = (
            f"Write sfsim.run(sfsim.load({str(scenario)!r}))." if isinstance(scenario, str | Path) else None
        )
        raise ConfigError("sfsim.run", repr(scenario), "a Scenario", hint)
    _check_machine(device, jobs)
    if not checkpoint_share >= 0:
        raise ConfigError("--checkpoint-share", f"{checkpoint_share:g}", "a number of at least 0")
    root = data_root if data_root is not None else os.environ.get("SFSIM_DATA")
    options = _Options(
        None if out is None else Path(out),
        device,
        jobs,
        None if root is None else Path(root),
        progress,
        checkpoint_share,
    )
    try:
        return _run(scenario, options, resume, [])
    except OutOfStep as error:
        return _run(
            scenario,
            options,
            False,
            [f"the run was interrupted and started anew: its checkpoint does not fit this program ({error})"],
        )


def resume(
    directory: Path | str,
    *,
    device: str | None = None,
    jobs: int = 1,
    data_root: Path | str | None = None,
    progress: Callable[[Progress], None] | None = None,
    checkpoint_share: float = 0.01,
) -> Result:
    """Go on with a run that was interrupted; its ledger becomes that of a run that was not.

    Parameters
    ----------
    directory : Path
        The run directory, as it was given to `run` or chosen by it. A finished run is returned as it is.
    device : str, optional
        Has to be what the run began with, which is the default.
    data_root : Path, optional
        Default: the environment variable ``SFSIM_DATA``, or else what the run began with.
    jobs, progress, checkpoint_share
        As of `run`.

    Returns
    -------
    Result
        The finished run. Where the program does not ask for the works that the checkpoint holds any more, the
        run was started anew, and a note says so.

    Raises
    ------
    SfsimError
        Nothing was interrupted there; scenario files, data, sfsim or libraries are not what they were.
    """
    out = Path(str(directory).removesuffix(".partial"))
    pointer = find(out)
    if pointer is None:
        return Result(out)
    scenario = validate(Scenario, pointer["scenario"], f"checkpoint of {out}")
    return run(
        scenario,
        out=out,
        device=device or pointer["identity"]["device"],
        jobs=jobs,
        data_root=data_root or os.environ.get("SFSIM_DATA") or pointer["data_root"],
        progress=progress,
        checkpoint_share=checkpoint_share,
        resume=True,
    )


@dataclass(frozen=True, slots=True)
class _Options:
    """What `run` was told beside the scenario."""

    out: Path | None
    device: str
    jobs: int
    data_root: Path | None
    progress: Callable[[Progress], None] | None
    checkpoint_share: float


def _run(scenario: Scenario, options: _Options, resume: bool, remarks: list[str]) -> Result:
    # Only a run needs torch; naming one must not.
    import torch

    from sfsim import world as worlds

    started_s = perf_counter()
    goal, progress, share = goal_of(scenario), options.progress, options.checkpoint_share
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    world, folder, held = None, None, ExitStack()
    if progress:
        show = progress
        held.enter_context(announced(lambda: show(Progress(0, scenario.global_rounds, 0.0, note=WORDS))))
    try:
        scenario.remarks()  # refuses files in other units before anything is trained; the notes come at the end
        world = worlds.build(
            scenario,
            data_root=options.data_root,
            device=options.device,
            jobs=options.jobs,
            on_round=lambda world, round: _on_round(scenario, goal, world, round, progress),
            recorded=resume or share > 0,
        )
        digest = scenario_hash(scenario, world.data_fingerprint, __version__)
        directory = held.enter_context(hold(options.out, scenario.name, digest))
        note = ""
        if world.recorder:
            folder, note = open_folder(
                directory, scenario, _identity(world, digest, options), options.data_root, resume
            )
            world.recorder.open(folder, share)
        if progress:
            progress(Progress(0, scenario.global_rounds, 0.0, note=note))
        with interruption.saving() if folder and share > 0 else nullcontext():
            notes = _simulate(scenario, world)
        written = write(
            directory,
            world.ledger,
            scenario_table=scenario.to_table(),
            scenario_hash=digest,
            environment=_environment(options, world, started_s),
            target=scenario.target,
            notes=[*remarks, *notes, *worlds.notes(scenario, world)],
            predictions=world.workload.predictions,
            add_files=lambda folder: world.workload.save_codecs(folder / "codecs"),
        )
    except Interrupted as stopped:
        stopped.way_out = _way_out(scenario, folder, options)
        raise
    except SfsimError as error:
        if folder and not (folder.saved and isinstance(error, DataError | ResultsError)):
            folder.discard()
        raise
    finally:
        if folder:
            folder.close()
        held.close()
        if world is not None:
            world.workload.close()
        torch.set_num_threads(threads)
    return Result(written)


def _way_out(scenario: Scenario, folder: CheckpointFolder | None, options: _Options) -> str:
    """Say how to go on with a run that was interrupted."""
    if folder is None or folder.saved is None:
        return " before anything was saved; start it again"
    place = folder.folder.parent
    shown = options.out if options.out is not None else place.with_name(place.name.removesuffix(".partial"))
    after = f"after round {folder.saved['round']} of {scenario.global_rounds}"
    return f"; go on {after} with: sfsim resume {shlex.quote(str(shown))}"


def _simulate(scenario: Scenario, world: World) -> list[str]:
    """Run a world to its end, and return what there is to say about that end."""
    notes = []
    try:
        play(world.env, world.processes, world.over)
    except Diverged as error:
        # A result like a missed target: what happened until now is kept.
        notes.append(str(error))
        split = "validation" if len(world.workload.setting.dataset.validation) else "test"
        nan = EvaluationRecord(error.round, world.env.now, split, "on", metric_of(scenario), math.nan, "")
        world.ledger.evaluations.append(nan)
    else:
        notes += filter(None, [first_divergence(world.ledger.evaluations)])
    if world.recorder:
        world.recorder.check_end()
    world.network.finish()
    world.network.check_conservation()
    return notes


def play(env: simpy.Environment, processes: list[simpy.Process], over: simpy.Event) -> None:
    """Let simulated time pass until all processes have ended, or `over` fires."""
    try:
        with patient_collector():
            env.run(until=env.all_of(processes) | over)
    except RuntimeError as error:
        # SimPy's word for an empty schedule: somebody waits for what nobody will send.
        if "scheduled events" not in str(error):
            raise
        raise SimulationError(
            f"at {env.now:g} s nothing is left to happen, but the run is not over"
        ) from None


def metric_of(scenario: Scenario) -> str:
    """The headline metric."""
    if scenario.target:
        return scenario.target.metric
    return METRICS[scenario.data.task]


def goal_of(scenario: Scenario) -> float:
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
    target, metric = scenario.target, metric_of(scenario)
    values = validated(world.ledger, metric)
    newest = values[-1] if values else math.nan
    if progress and not (world.recorder and world.recorder.replaying):
        progress(Progress(round, scenario.global_rounds, world.env.now, metric, newest))
    if target and target.stop and is_reached(values, goal, target.hold):
        world.over.succeed()


def validated(ledger: Ledger, metric: str) -> list[float]:
    """What a target looks at: the global model on the validation split, codecs on, evaluation by evaluation."""
    return [
        row.value
        for row in ledger.evaluations
        if (row.split, row.codec, row.metric, row.client) == ("validation", "on", metric, "")
    ]


def is_reached(values: list[float], target: float, hold: int) -> bool:
    """Whether the last `hold` values are at or above the target."""
    return len(values) >= hold and all(value >= target for value in values[-hold:])


def _check_machine(device: str, jobs: int) -> None:
    import torch

    if jobs < 1:
        raise ConfigError("--jobs", str(jobs), "a whole number of at least 1")
    if device not in ("cpu", "cuda"):
        raise ConfigError("--device", repr(device), "cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device", "'cuda'", "a machine on which torch finds a CUDA device, or cpu")


def _identity(world: World, digest: str, options: _Options) -> dict[str, str]:
    """All that must be the same for a run to go on bit for bit."""
    fixed = {
        "sfsim": __version__,
        "data": world.data_fingerprint,
        "scenario": digest,
        "device": options.device,
    }
    return fixed | {name: version(name) for name in _VERSIONS}


def _environment(options: _Options, world: World, started_s: float) -> dict[str, Any]:
    from sfsim import machine  # torch

    recorder = world.recorder
    return {
        "sfsim": __version__,
        "commit": machine.commit(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "versions": {name: version(name) for name in _VERSIONS},
        "device": options.device,
        "bits_promised": options.device == "cpu",
        **machine.facts(options.device),
        "jobs": options.jobs,
        "threads_per_job": 1,
        "wall_s": perf_counter() - started_s + (recorder.earlier_wall_s if recorder else 0.0),
        "resumed_after_rounds": recorder.resumed if recorder else [],
    }

"""Retiming: a finished run over another network or other devices, in seconds, without learning again.

In a synchronous protocol over a reliable network, what is learnt does not depend on when messages arrive. So a run's
ledger says all that another network needs: what every party computed, what that cost, and how many bytes went where.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from sfsim import __version__
from sfsim.declaration import validate
from sfsim.errors import ConfigError, ResultsError
from sfsim.ledger import Ledger
from sfsim.results import Result, first_divergence, hold, write
from sfsim.scenario import Scenario, scenario_hash

# What decides the clock and nothing else.
TIMING = ("name", "clients", "main_server", "fed_server", "cell", "topology", "network", "target")


def retime(run: Path | str, over: Scenario, *, out: Path | str | None = None) -> Result:
    """Run the recorded works of a finished run over the network and on the devices of another scenario.

    Parameters
    ----------
    run : Path
        A run directory.
    over : Scenario
        Its clients (the same names), servers, cells, topology, network, target and network seed are taken; all that
        decides the learning stays the run's.
    out : Path, optional
        The run directory; default ``runs/NAME-<hash>``.

    Returns
    -------
    Result
        A run directory like any other; a note says where its learning comes from. Predictions and learned codecs
        are those of the run, unless this one ends after fewer rounds: then there are none, and a note says so.

    Raises
    ------
    ResultsError
        `run` is no finished run.
    ConfigError
        The learning depends on the clock: asynchronous order, datagrams that may be lost, SL with learned codecs; or
        the clients are others, or a device has less memory and the model does not fit into it (which is found out
        with the run's data: the environment variable ``SFSIM_DATA``).
    NetworkError
        Over the other network a message loses bytes for good: a direct run would learn from the rest, or stop.

    Examples
    --------
    ``sfsim.retime("runs/a", sfsim.load("scenarios/lte-cell.toml"), out="runs/a-in-a-cell")``
    """
    from sfsim import world as worlds

    started_s = perf_counter()
    result = Result(run)
    before: Scenario = validate(Scenario, result.scenario, f"{run}, scenario.json")
    scenario = _over(before, over, result)
    if _has_less_memory(scenario, before):
        root = os.environ.get("SFSIM_DATA")
        worlds.untrained(scenario, None if root is None else Path(root)).executor.close()
    digest = scenario_hash(scenario, str(result.summary["scenario_hash"]), __version__)
    with hold(None if out is None else Path(out), scenario.name, digest) as directory:
        return _retimed(result, before, scenario, digest, directory, started_s)


def _retimed(
    result: Result, before: Scenario, scenario: Scenario, digest: str, directory: Path, started_s: float
) -> Result:
    """Let the recorded works pass on the clock of `scenario`, and write what came of it."""
    from sfsim import world as worlds
    from sfsim.clock import Clock
    from sfsim.simulation import goal_of, is_reached, play, validated
    from sfsim.workload.recorded import RecordedWorkload

    workload = RecordedWorkload(
        result.computations.itertuples(index=False),
        result.messages.itertuples(index=False),
        result.evaluations.itertuples(index=False),
        result.accesses.itertuples(index=False),
        scenario.codec_training.update_codec,
        scenario.codecs.client_model_down,
    )
    env, ledger = Clock(), Ledger()
    network = worlds.network_of(scenario, env, ledger)
    target, goal, ended = scenario.target, goal_of(scenario), env.event()

    def on_round(round: int) -> None:
        if target and target.stop and is_reached(validated(ledger, target.metric), goal, target.hold):
            ended.succeed()

    play(env, worlds.populate(scenario, env, ledger, network, workload, on_round), ended)
    network.finish()
    network.check_conservation()
    learnt = result.learnt()
    notes = [
        f"retimed: learnt in {result.directory.name} ({result.summary['scenario_hash']}), on another network"
    ]
    if scenario.global_rounds < before.global_rounds:
        notes.append(
            f"retimed: the run reached its target after round {scenario.global_rounds} of {before.global_rounds}, "
            "so this is a run of as many rounds"
        )
        if learnt:
            notes.append(f"retimed: {', '.join(learnt)}: left out, for they are of a later round")
            learnt = {}
    notes += filter(None, [first_divergence(ledger.evaluations)])
    notes += scenario.remarks() + [note for note in result.notes if worlds.is_saturation_note(note)]
    environment = {**result.environment, "wall_s": perf_counter() - started_s, "jobs": 1}
    return Result(
        write(
            directory,
            ledger,
            scenario_table=scenario.to_table(),
            scenario_hash=digest,
            environment=environment,
            target=scenario.target,
            notes=[*notes, *worlds.clock_notes(scenario, ledger)],
            add_files=lambda folder: _put(learnt, folder),
        )
    )


def _put(files: Mapping[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def not_taken(run: Path | str, over: Scenario) -> list[str]:
    """Return what `retime` does not take from `over` although it differs from the run's: names of keys.

    Examples
    --------
    ``["seed", "global_rounds", "data"]``
    """
    before: Scenario = validate(Scenario, Result(run).scenario, f"{run}, scenario.json")
    seeds = replace(over.seeds, network=before.seeds.network)
    mine, theirs = replace(before, seed=before.seeds).to_table(), replace(over, seed=seeds).to_table()
    return [key for key in mine | theirs if key not in TIMING and mine.get(key) != theirs.get(key)]


def _has_less_memory(scenario: Scenario, before: Scenario) -> bool:
    """Return whether a device has less memory than the one that the run is known to have fitted into."""
    devices = [(scenario.main_server.device, before.main_server.device)]
    devices += [(group.device, before.groups[name].device) for name, group in scenario.groups.items()]
    return any(now.memory_bytes < then.memory_bytes for now, then in devices)


def _over(before: Scenario, over: Scenario, result: Result) -> Scenario:
    """The scenario that learns as `before` did and takes its time as `over` does."""
    if before.client_names != over.client_names:
        raise ConfigError(
            "clients", ", ".join(over.client_names), f"those of the run: {', '.join(before.client_names)}"
        )
    if before.protocol == "splitfed-v2" and before.server_order == "arrival":
        raise ConfigError(
            "server_order", "'arrival'", "'permutation': with 'arrival' the network decides what is learnt"
        )
    for scenario, whose in ((before, "the run"), (over, "the other scenario")):
        if scenario.network.transport.kind == "udp":
            raise ConfigError(
                "network.transport", f"udp in {whose}", "a reliable one: lost datagrams change what is learnt"
            )
    if before.protocol == "sl" and (result.messages["kind"] == "codec update").any():
        raise ConfigError(
            "protocol", "'sl' with learned codecs", "SplitFedV1 or V2, whose updates follow global rounds"
        )
    if result.evaluations["value"].isna().any():
        raise ResultsError(f"{result.directory}: diverged; there is nothing to retime")
    if result.evaluations.empty:
        raise ResultsError(f"{result.directory}: came to no evaluation; there is nothing to retime")
    rounds = int(result.evaluations["round"].max())
    if rounds < before.global_rounds and before.gradient_gate is not None:
        raise ConfigError(
            "gradient_gate",
            f"a gate in a run that stopped after {rounds} of {before.global_rounds} rounds",
            "a run of all its rounds, because a gate opens by the share of them that is over",
        )
    seeds = replace(before.seeds, network=over.seeds.network)
    return replace(before, seed=seeds, global_rounds=rounds, **{key: getattr(over, key) for key in TIMING})

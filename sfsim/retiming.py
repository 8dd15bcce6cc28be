"""Retiming: a finished run over another network or other devices, in seconds, without learning again.

In a synchronous protocol over a reliable network, what is learnt does not depend on when messages arrive. So a run's
ledger says all that another network needs: what every party computed, what that cost, and how many bytes went where.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from sfsim import __version__
from sfsim.declaration import validate
from sfsim.errors import ConfigError, ResultsError
from sfsim.ledger import Ledger
from sfsim.results import Result, bytes_of, end_of, first_divergence, hold, time_to, wanted, write
from sfsim.scenario import Scenario, scenario_hash

if TYPE_CHECKING:
    from sfsim.report.delays import Delay
    from sfsim.results import TimeToTarget
    from sfsim.scenario import Target

# What decides the clock and nothing else.
TIMING = ("name", "clients", "main_server", "fed_server", "cell", "topology", "network", "target")


class Recording:
    """What a finished run learnt, in memory, to be timed over as many networks as one likes.

    Parameters
    ----------
    run : Path
        A run directory.

    Raises
    ------
    ResultsError
        `run` is no finished run.

    Examples
    --------
    ``Recording("runs/a").retime(scenario).time_to(0.9).time_s``
    """

    def __init__(self, run: Path | str) -> None:
        from sfsim.workload.recorded import RecordedWorkload

        self.result = Result(run)
        self.scenario: Scenario = validate(Scenario, self.result.scenario, f"{run}, scenario.json")
        result = self.result
        self._workload = RecordedWorkload(
            result.computations.itertuples(index=False),
            result.messages.itertuples(index=False),
            result.evaluations.itertuples(index=False),
            result.accesses.itertuples(index=False),
            self.scenario.codec_training.update_codec,
            self.scenario.codecs.client_model_down,
        )

    def over(self, over: Scenario) -> Scenario:
        """Return the scenario that learns as the run did and takes its time as `over` does.

        Raises
        ------
        ConfigError, ResultsError
            There is none; see `retime`.
        """
        scenario = _over(self.scenario, over, self.result)
        if _has_less_memory(scenario, self.scenario):
            from sfsim import world as worlds

            root = os.environ.get("SFSIM_DATA")
            worlds.untrained(scenario, None if root is None else Path(root)).executor.close()
        return scenario

    def retime(self, over: Scenario) -> Timing:
        """Let what was learnt happen on the clock of another scenario, without writing anything.

        Parameters
        ----------
        over : Scenario
            As of `sfsim.retime`, and what is raised is, too.

        Returns
        -------
        Timing
            Equal to the direct run's in every row of its ledger.
        """
        import simpy

        from sfsim import world as worlds
        from sfsim.simulation import goal_of, is_reached, play, validated

        scenario = self.over(over)
        env, ledger = simpy.Environment(), Ledger()
        network = worlds.network_of(scenario, env, ledger)
        target, goal, ended = scenario.target, goal_of(scenario), env.event()

        def on_round(round: int) -> None:
            if target and target.stop and is_reached(validated(ledger, target.metric), goal, target.hold):
                ended.succeed()

        self._workload.rewind()
        play(env, worlds.populate(scenario, env, ledger, network, self._workload, on_round), ended)
        network.finish()
        network.check_conservation()
        return Timing(scenario, ledger, self.result.metric)


@dataclass(frozen=True)
class Timing:
    """When everything of a recording happened over one network.

    Attributes
    ----------
    scenario : Scenario
        What was timed.
    ledger : Ledger
        Every message, computation, access, evaluation and link, as rows; times in seconds, sizes in bytes.
    metric : str
        The headline metric.
    """

    scenario: Scenario
    ledger: Ledger
    metric: str

    @cached_property
    def end_s(self) -> float:
        """Simulated second at which the last thing happened."""
        return end_of(self.ledger)

    @property
    def round_times_s(self) -> dict[int, float]:
        """Simulated second at which each evaluated round's global model was there, by round."""
        return {row.round: row.time_s for row in self.ledger.evaluations if not row.client}

    @property
    def payload_bytes(self) -> dict[str, int]:
        """Payload of all messages: up from clients, down to them, other."""
        return bytes_of(self.ledger, "payload_bytes")

    @property
    def wire_bytes(self) -> dict[str, int]:
        """The same with headers and retransmissions."""
        return bytes_of(self.ledger, "wire_bytes")

    def time_to(self, target: Target | float | None = None) -> TimeToTarget:
        """Return when `target` was reached; see `Result.time_to`."""
        own = None if self.scenario.target is None else asdict(self.scenario.target)
        place = f"retimed {self.scenario.name}"
        metric, value, hold = wanted(
            target, own, lambda: self.metric, place, lambda run, metric: Result(run).best(metric)
        )
        rows = [
            row
            for row in self.ledger.evaluations
            if (row.split, row.codec, row.metric, row.client) == ("validation", "on", metric, "")
        ]
        if not rows:
            raise ResultsError(f"{place}: found no measurement of {metric!r} on the validation split")
        columns = ([row.time_s for row in rows], [row.round for row in rows], [row.value for row in rows])
        found = time_to(*columns, value, hold)
        return replace(found, diverged=found.diverged or bool(first_divergence(self.ledger.evaluations)))

    def where_time_went(self) -> list[Delay]:
        """Return where each client's seconds went; see `sfsim.report.where_time_went`."""
        from sfsim.report.delays import delays

        return delays(self.ledger.messages, self.ledger.computations, self.end_s)


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
    started_s = perf_counter()
    recording = Recording(run)
    scenario = recording.over(over)
    digest = scenario_hash(scenario, str(recording.result.summary["scenario_hash"]), __version__)
    with hold(None if out is None else Path(out), scenario.name, digest) as directory:
        return _retimed(recording, over, digest, directory, started_s)


def _retimed(recording: Recording, over: Scenario, digest: str, directory: Path, started_s: float) -> Result:
    """Time a recording, and write what came of it."""
    from sfsim import world as worlds

    timing, result, before = recording.retime(over), recording.result, recording.scenario
    scenario, ledger = timing.scenario, timing.ledger
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

"""Build the world of a scenario: the one place where everything is wired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import simpy
import torch

from sfsim.clock import Clock
from sfsim.device import check_memory
from sfsim.device.server import DeviceServer
from sfsim.errors import ConfigError
from sfsim.learning.data import load_dataset
from sfsim.learning.normalising import normalised
from sfsim.learning.partition import partition
from sfsim.ledger import Ledger
from sfsim.network import AnyNetwork, Network, PacketNetwork, framing, unused_effects
from sfsim.scenario import build_graph
from sfsim.scenario.cells import why_unicast
from sfsim.seeds import stream
from sfsim.splitfed.client import Client
from sfsim.splitfed.fed_server import FedServer
from sfsim.splitfed.main_server import MainServer
from sfsim.splitfed.meeting import Meeting
from sfsim.splitfed.parties import Parties
from sfsim.splitfed.party import FED_SERVER, MAIN_SERVER
from sfsim.splitfed.referee import Referee
from sfsim.splitfed.schedule import Schedule
from sfsim.workload.live import LiveWorkload
from sfsim.workload.recording import Recorder
from sfsim.workload.setting import Setting

if TYPE_CHECKING:
    from sfsim.learning.dataset import Dataset
    from sfsim.scenario import Scenario
    from sfsim.workload.work import Workload

_SATURATED = "values were beyond its range and sent as its largest number"
_PROTOCOLS = {"sl": "sl", "splitfed-v1": "splitfed_v1", "splitfed-v2": "splitfed_v2"}


@dataclass
class World:
    """Parties on a network, ready to run.

    Attributes
    ----------
    env : simpy.Environment
        Simulated time.
    ledger : Ledger
        Filled while the world runs.
    over : simpy.Event
        Fires to end the run early (the target was reached).
    processes : list of simpy.Process
        All parties.
    recorder : Recorder or None
        Stands between parties and workload, for a run that can be interrupted.
    """

    env: simpy.Environment
    ledger: Ledger
    network: AnyNetwork
    workload: LiveWorkload
    data_fingerprint: str
    over: simpy.Event
    processes: list[simpy.Process]
    recorder: Recorder | None = None


def build(
    scenario: Scenario,
    *,
    data_root: Path | None = None,
    device: str = "cpu",
    jobs: int = 1,
    on_round: Callable[[World, int], None] = lambda world, round: None,
    recorded: bool = False,
) -> World:
    """Wire a scenario.

    Parameters
    ----------
    data_root : Path, optional
        Where data sets that are not embedded live.
    device : str
        Torch device of the training itself (not a simulated device).
    jobs : int
        Threads that train clients side by side; the ledger does not depend on it.
    on_round : callable
        Called at the end of every global round.
    recorded : bool
        Whether there may be checkpoints.
    """
    protocol = protocol_of(scenario)
    dataset, shards = load_data(scenario, data_root)
    setting = Setting(scenario, dataset, shards, protocol.ONE_SERVER_MODEL, jobs, torch.device(device))
    check_memories(scenario, setting)
    env, ledger = Clock(), Ledger()
    network = network_of(scenario, env, ledger)
    workload = LiveWorkload(setting)
    recorder = Recorder(workload, env, network, scenario.global_rounds) if recorded else None
    world = World(env, ledger, network, workload, dataset.fingerprint, env.event(), [], recorder)
    world.processes = populate(
        scenario, env, ledger, network, recorder or workload, lambda round: on_round(world, round)
    )
    return world


def network_of(scenario: Scenario, env: simpy.Environment, ledger: Ledger) -> AnyNetwork:
    """Return the network of a scenario, without anybody in it."""
    graph, hosts = build_graph(scenario)
    table, seed = scenario.network, scenario.seeds.network
    frames = framing(table.framing or table.transport.preset)
    given = (env, graph, hosts, frames, seed, ledger, set(scenario.client_names))
    if table.engine == "packet":
        unreliable = table.transport.kind == "udp"
        return PacketNetwork(
            *given, transport="udp" if unreliable else "arq", discipline=table.discipline or "drr"
        )
    return Network(
        *given,
        transport=table.transport,
        cells=scenario.cell,
        store_and_forward=table.store_and_forward,
        usage_every_s=table.usage_every_s,
    )


def populate(
    scenario: Scenario,
    env: simpy.Environment,
    ledger: Ledger,
    network: AnyNetwork,
    workload: Workload,
    on_round: Callable[[int], None],
) -> list[simpy.Process]:
    """Put the parties of a scenario on their devices and start them; return their processes."""
    protocol, seed = protocol_of(scenario), scenario.seeds.network
    schedule = Schedule(
        scenario.client_names, scenario.client_fraction, scenario.global_rounds, scenario.seeds.training
    )
    every = scenario.evaluation.every_rounds
    referee = Referee(env, workload, ledger, every, scenario.global_rounds, on_round)
    u_shaped = scenario.u_shaped
    main_device = DeviceServer(env, scenario.main_server.device, MAIN_SERVER, seed, ledger)
    fed_device = (
        DeviceServer(env, scenario.fed_server.device, FED_SERVER, seed, ledger)
        if scenario.fed_server.device is not None
        else main_device
    )
    common = (env, network)
    meeting = Meeting(env, workload, needed=scenario.aggregate == "best-validation")
    main_server = MainServer(
        MAIN_SERVER,
        *common,
        main_device,
        workload,
        ledger,
        u_shaped=u_shaped,
        one_model=protocol.ONE_SERVER_MODEL,
        meeting=meeting,
    )
    fed_server = FedServer(
        FED_SERVER, *common, fed_device, workload, ledger, multicast=not why_unicast(scenario)
    )
    clients = {
        name: Client(
            name,
            *common,
            DeviceServer(env, group.device, name, seed, ledger, group.variation),
            workload,
            ledger,
            u_shaped=u_shaped,
            meeting=meeting,
            start_s=group.start_s,
        )
        for name, group in scenario.groups.items()
    }
    parties = Parties(clients, main_server, fed_server, schedule, referee)
    return [env.process(process) for process in protocol.processes(parties, scenario.server_order)]


def protocol_of(scenario: Scenario) -> ModuleType:
    """The module of `sfsim.splitfed` that a scenario's protocol names."""
    return import_module(f"sfsim.splitfed.{_PROTOCOLS[scenario.protocol]}")


def load_data(scenario: Scenario, data_root: Path | None) -> tuple[Dataset, dict[str, np.ndarray]]:
    """Load the data set and deal its training split to the clients."""
    names, seed = scenario.client_names, scenario.seeds.data
    dataset = load_dataset(scenario.data, data_root, seed, scenario.validation_fraction)
    _check_splits(scenario, dataset)
    dataset = normalised(dataset, scenario.normalisation)
    dealt = partition(
        dataset.partition_labels,
        scenario.partition,
        len(names),
        stream(seed, "data", "partition"),
        dataset.client_indices,
    )
    return dataset, dict(zip(names, dealt, strict=True))


def untrained(scenario: Scenario, data_root: Path | None) -> Setting:
    """Load the data and build the model of a scenario; refuse what does not fit into its device's memory."""
    dataset, shards = load_data(scenario, data_root)
    one_model = protocol_of(scenario).ONE_SERVER_MODEL
    setting = Setting(scenario, dataset, shards, one_model, 1, torch.device("cpu"), is_trained=False)
    check_memories(scenario, setting)
    return setting


def _check_splits(scenario: Scenario, dataset: Dataset) -> None:
    """Refuse an empty validation split that something asks for, which the training would only find out later."""
    asks = "target is looked for on" if scenario.target else "aggregate = 'best-validation' looks at"
    if not len(dataset.validation) and (scenario.target or scenario.aggregate == "best-validation"):
        raise ConfigError(
            "validation_fraction",
            f"no validation example beside {len(dataset.train):,} to train on",
            f"a share that leaves some, because the {asks} the validation split",
        )


def check_memories(scenario: Scenario, setting: Setting) -> None:
    """Refuse a part of the model, with its learned codecs, that does not fit into the memory of its device."""
    prices, largest = setting.prices, 0

    @cache
    def held(batch: int) -> dict[str, tuple[int, int]]:
        return {name: slot.memory_bytes(batch) for name, slot in setting.slots.items()}

    learned = " and its codecs" if any(map(sum, held(1).values())) else ""
    for name, group in scenario.groups.items():
        batch = min(scenario.batch_size, len(setting.shards[name]))
        largest = max(largest, batch)
        parts = setting.clients[name].parts
        needed = sum(prices.memory_bytes(part, batch, scenario.optimiser) for part in parts)
        needed += sum(needs[slot.endswith("_down")] for slot, needs in held(batch).items())
        place = f'[clients "{group.name}" device] memory_bytes'
        check_memory(group.device, needed, f"the client-side model{learned} with {batch} examples", place)
    clients = len(setting.shards)
    copies = 1 if setting.one_server_model else clients
    optimiser = scenario.server_optimiser or scenario.optimiser
    needed = copies * prices.memory_bytes("server_side", largest, optimiser)
    for slot, (sends, receives) in held(largest).items():  # it decodes with what each client sent
        needed += copies * sends if slot.endswith("_down") else clients * receives
    what = "the server-side model" if copies == 1 else f"{copies} copies of the server-side model"
    place = "[main_server.device] memory_bytes"
    check_memory(scenario.main_server.device, needed, f"{what}{learned} with {largest} examples", place)


def notes(scenario: Scenario, world: World) -> list[str]:
    """What a reader of the results must know: effects that were configured and never happened."""
    lines = [*scenario.remarks(), *world.workload.setting.notes]
    for slot, count in world.workload.saturated().items():
        lines.append(f"codec {slot}: {count:,} {_SATURATED}")
    return lines + clock_notes(scenario, world.ledger)


def is_saturation_note(note: str) -> bool:
    """Return whether a note tells of values beyond a codec's range, which is so on every network."""
    return note.endswith(_SATURATED)


def clock_notes(scenario: Scenario, ledger: Ledger) -> list[str]:
    """The part of `notes` that a ledger tells: who did nothing, and what never happened on the network."""
    active = {record.party for record in ledger.computations if record.operation != "wait"}
    idle = [name for name in scenario.client_names if name not in active]
    return [f"client {name!r} took part in no global round" for name in idle] + unused_effects(ledger)

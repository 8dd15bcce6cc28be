"""What does the network cost in a run of many clients? Its share of the wall clock.

    python analysis/many_clients.py --graphml Uninett2010.graphml --trace Verizon-LTE-short.up --data-root DIR

runs scenarios/ham10000-unet.toml with 200 clients, 2 global rounds and 2 minibatches each: the clients hang on
the nodes of a real topology (GraphML), every uplink replays the trace from a place of its own. Then the same
messages are sent again at the same instants over the same network, without any training: the seconds that this
takes are the network's part of the run, written to ``many_clients.json`` beside the run directory.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Literal

import simpy

import sfsim
from sfsim import world as worlds
from sfsim.channel import Trace
from sfsim.console import script
from sfsim.learning.declarations import Ham10000, Iid
from sfsim.ledger import Ledger
from sfsim.network import Outgoing
from sfsim.network.declarations import Link
from sfsim.network.topology import read_graphml
from sfsim.results import Result
from sfsim.scenario import ClientGroup, GraphML, Scenario

ROOT = Path(__file__).resolve().parents[1]


def large(graphml: Path, trace: Path, clients: int, pairs: int) -> Scenario:
    """Return the HAM10000 scenario with many clients on a real topology."""
    base = sfsim.load(ROOT / "scenarios" / "ham10000-unet.toml")
    core = Link(rate_bps=1e9, latency_s=0.005)
    topology = GraphML(path=graphml, link=core)
    nodes = sorted(read_graphml(graphml, core).nodes)
    kind: Literal["csv", "mahimahi"] = "csv" if trace.suffix == ".csv" else "mahimahi"
    uplink = Link(channel=Trace(path=trace, format=kind, bin_s=0.1), latency_s=0.02)
    group = ClientGroup(
        name="client",
        count=clients,
        device=base.clients[0].device,
        uplink=uplink,
        downlink=Link(rate_bps=20e6, latency_s=0.02),
        nodes=tuple(nodes[number % len(nodes)] for number in range(clients)),
    )
    return replace(
        base,
        name="many-clients",
        clients=(group,),
        data=Ham10000(image_size=64, max_pairs=pairs),
        partition=Iid(),
        global_rounds=2,
        local_epochs=None,
        local_steps=2,
        topology=topology,
        main_server=replace(base.main_server, node=nodes[0]),
        target=None,
    )


def resend(scenario: Scenario, result: Result) -> float:
    """Return the wall seconds that the messages of a run take to cross its network, training left out."""
    env, ledger = simpy.Environment(), Ledger()
    network = worlds.network_of(scenario, env, ledger)
    rows = result.messages.sort_values(["queued_s", "message_id"])
    plan = list(zip(rows.queued_s, rows.source, rows.destination, rows.kind, rows.payload_bytes, strict=True))

    def sender():  # type: ignore[no-untyped-def]
        for queued_s, source, destination, kind, num_bytes in plan:
            if queued_s > env.now:
                yield env.timeout(queued_s - env.now)
            network.send(source, destination, Outgoing(kind, b"", size=num_bytes))

    started = perf_counter()
    env.process(sender())
    env.run()
    network.finish()
    network.check_conservation()
    return perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, send again, and print one line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--graphml", type=Path, required=True)
    parser.add_argument("--trace", type=Path, required=True)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/many-clients"))
    asked = parser.parse_args(arguments)
    scenario = large(asked.graphml, asked.trace, asked.clients, asked.pairs)
    started = perf_counter()
    result = sfsim.run(scenario, out=asked.out / "run", jobs=asked.jobs, data_root=asked.data_root)
    wall_s = perf_counter() - started
    network_s = resend(scenario, result)
    found = {
        "messages": len(result.messages),
        "simulated_s": result.end_s,
        "wall_s": wall_s,
        "network_s": network_s,
        "network_share": network_s / wall_s,
    }
    (asked.out / "many_clients.json").write_text(json.dumps(found, indent=2) + "\n")
    print(
        f"{found['messages']:,} messages, {result.end_s:.1f} simulated s: {wall_s:.1f} s wall, of which the "
        f"network {network_s:.2f} s = {100 * network_s / wall_s:.2f} %"
    )


if __name__ == "__main__":
    script(main)

"""One transmission for several clients of a cell: times by hand, who pays the bytes, conservation, protocols."""

import networkx as nx
import pytest
import simpy
from worlds import ACCESS, clients, finished, scenario

from sfsim.channel import Bernoulli, ConstantLatency, RayleighBlock
from sfsim.codec import Cast
from sfsim.ledger import Ledger
from sfsim.network import Link, Network, Outgoing, framing
from sfsim.network.cell import Cellular, WifiCell
from sfsim.network.cell.radio import CellAccess
from sfsim.network.transport import TcpCubic
from sfsim.scenario import Codecs, ModelCodec, NetworkTable
from sfsim.scenario.cells import why_unicast

CALM = {"wake_up_s": 0.0, "sr_period_s": 0.0, "grant_delay_s": 0.0}
MBIT = 10**6 // 8


def cell(**keys):
    return Cellular(**({"model_delivery": "multicast", **CALM} | keys))


def world(peaks_bps, declared, wired=None, **down):
    """Clients c0, c1, ... with these peak rates around one cell behind one wire."""
    env, ledger = simpy.Environment(), Ledger()
    graph = nx.DiGraph()
    for number, peak_bps in enumerate(peaks_bps):
        name = f"c{number}"
        keys = {"latency_s": 0.01 * number, "rate_bps": peak_bps} | down
        graph.add_edge(name, "hub", link=Link(**keys), cell=CellAccess("lte", name, False))
        graph.add_edge("hub", name, link=Link(**keys), cell=CellAccess("lte", name, True))
    for edge in (("hub", "server"), ("server", "hub")):
        graph.add_edge(*edge, link=wired or Link(rate_bps=1e12, latency_s=0.0), cell=None)
    hosts = {node: node for node in graph if node != "hub"}
    names = {name for name in hosts if name != "server"}
    network = Network(env, graph, hosts, framing("none"), 7, ledger, names, cells={"lte": declared})
    return env, network, ledger


def send_to_all(env, network, ledger, names, num_bytes=MBIT):
    events = network.send_to_all("server", names, Outgoing("client model", bytes(num_bytes)))
    env.run(until=env.all_of(events))
    assert [event.value.destination for event in events] == list(names)
    network.check_conservation()
    return {row.destination: row for row in ledger.messages}


def test_multicast_against_unicast_by_hand():
    """Peaks of 4 and 1 Mbit/s, 1 Mbit. Unicast: half of the air each, then the slow one alone: 0.5 and 1.25 s.

    Multicast: at 1 Mbit/s for both: 1 s, and the latency of each.
    """
    rows = send_to_all(*world([4e6, 1e6], cell(model_delivery="unicast")), ["c0", "c1"])
    assert [rows[name].delivered_s for name in ("c0", "c1")] == pytest.approx([0.5, 1.26], rel=1e-9)
    rows = send_to_all(*world([4e6, 1e6], cell()), ["c0", "c1"])
    assert [rows[name].delivered_s for name in ("c0", "c1")] == pytest.approx([1.0, 1.01], rel=1e-9)
    assert [rows[name].wire_bytes for name in ("c0", "c1")] == [MBIT, 0]
    assert [rows[name].payload_bytes for name in ("c0", "c1")] == [MBIT, MBIT]
    assert rows["c1"].first_byte_s == 0.0
    assert rows["c1"].sharing_s == 0.0


def test_it_is_one_member_beside_others_and_crosses_the_wire_once():
    """Beside a message to c2 (2 Mbit/s): 0.5 and 1 Mbit/s until 1 s, then 1 Mbit/s: 0.5 + 0.5 Mbit at 1.5 s."""
    env, network, ledger = world([4e6, 1e6, 2e6], cell())
    beside = network.send("server", "c2", Outgoing("gradient", bytes(MBIT)))
    rows = send_to_all(env, network, ledger, ["c0", "c1"])
    assert rows["c0"].delivered_s == pytest.approx(1.5)
    assert rows["c0"].sharing_s == rows["c1"].sharing_s == pytest.approx(0.5)
    assert beside.value.delivered_s == pytest.approx(1.02)
    network.finish()
    links = {(row.source, row.destination): row for row in ledger.links}
    assert links["server", "hub"].wire_bytes == 2 * MBIT
    assert links["server", "hub"].messages == 2
    air = links["hub", "lte multicast"]
    assert (air.wire_bytes, air.messages, air.busy_s) == (MBIT, 1, pytest.approx(1.5))
    assert links["hub", "c0"].wire_bytes == links["hub", "c1"].wire_bytes == 0
    assert sum(row.wire_bytes for row in ledger.messages) == 2 * MBIT


def test_a_slow_wire_and_jitter():
    wired = Link(rate_bps=5e5, latency_s=0.1, latency=ConstantLatency(latency_s=0.2))
    rows = send_to_all(*world([4e6, 1e6], cell(), wired), ["c0", "c1"])
    assert [rows[name].delivered_s for name in ("c0", "c1")] == pytest.approx([2.3, 2.31])


def test_it_waits_until_the_last_receiver_is_awake():
    env, network, ledger = world([4e6, 1e6], cell(wake_up_s=0.05))
    rows = send_to_all(env, network, ledger, ["c0"], 1000)
    assert rows["c0"].delivered_s == pytest.approx(0.05 + 0.002)
    rows = send_to_all(env, network, ledger, ["c0", "c1"])
    assert rows["c0"].delivered_s == pytest.approx(0.052 + 0.05 + 1.0)


ACCESSES = ["round-robin", "max-rate", "ofdma", "lte-grid", "private", "equal-rate"]


@pytest.mark.parametrize(
    "declared", [WifiCell(model_delivery="multicast"), *(cell(access=access) for access in ACCESSES)]
)
def test_fading_peaks_conserve_bytes_at_every_instant(declared):
    fading = RayleighBlock(bandwidth_hz=1e6, mean_snr_db=10, coherence_time_s=0.02)
    env, network, _ = world([9e6, 9e6, 9e6], declared, rate_bps=None, channel=fading)
    events = [
        *network.send_to_all("server", ["c0", "c1", "c2"], Outgoing("client model", bytes(MBIT))),
        *network.send_to_all("server", ["c2", "c0"], Outgoing("client model", bytes(MBIT))),
        network.send("server", "c1", Outgoing("gradient", bytes(MBIT))),
    ]
    for until_s in (0.01, 0.11, 0.25):
        env.run(until_s)
        network.check_conservation()
    env.run(until=env.all_of(events))
    network.check_conservation()
    assert ("hub", "lte multicast 2") in network.links


def test_where_something_has_to_be_acknowledged_it_is_unicast():
    env, network, ledger = world([4e6, 1e6], cell(), loss=Bernoulli(probability=0.01))
    rows = send_to_all(env, network, ledger, ["c0", "c1"])
    assert min(row.wire_bytes for row in rows.values()) >= MBIT
    assert ("hub", "lte multicast") not in network.links


def protocol(delivery="multicast", **changes):
    downlink = Link(rate_bps=1e6, latency_s=0.01)
    group = clients(3, uplink=ACCESS, downlink=downlink, cell="lte")
    return scenario(clients=group, cell={"lte": cell(model_delivery=delivery)}, **changes)


@pytest.mark.parametrize("name", ["splitfed-v1", "splitfed-v2"])
def test_the_global_model_goes_to_all_at_once(name):
    runs = {}
    for delivery in ("unicast", "multicast"):
        runs[delivery] = finished(protocol(delivery, protocol=name))
    models = {
        delivery: [
            row for row in world.ledger.messages if row.kind == "client model" and row.direction == "down"
        ]
        for delivery, world in runs.items()
    }
    one, each = (sum(row.wire_bytes for row in models[delivery]) for delivery in ("multicast", "unicast"))
    assert 3 * one == each
    first, slow = (max(row.delivered_s for row in models[key] if row.round == 1) for key in models)
    assert first - 0.01 == pytest.approx(3 * (slow - 0.01), abs=1e-5)
    values = [[row.value for row in world.ledger.evaluations] for world in runs.values()]
    assert values[0] == values[1], "what is learnt does not depend on how the model came"


def test_why_not():
    delta = Codecs(client_model_down=ModelCodec(codec=Cast(dtype="float32"), of="delta"))
    assert why_unicast(protocol()) == ""
    assert protocol().remarks() == []
    assert why_unicast(protocol("unicast")) == "no cell multicasts"
    assert protocol(protocol="sl").remarks() == [
        "cell.lte: model_delivery = 'multicast' has no effect: in 'sl' the model goes from client to client"
    ]
    assert "differences" in why_unicast(protocol(codecs=delta))
    assert "'tcp-cubic'" in why_unicast(protocol(network=NetworkTable(transport=TcpCubic())))

"""Cells in a running network: airtime is shared, grants are waited for, bytes are conserved."""

import networkx as nx
import pytest
import simpy

from sfsim.ledger import Ledger, MessageRecord
from sfsim.network import Link, Network, Outgoing, framing
from sfsim.network.cell import AnyCell, Cellular, WifiCell
from sfsim.network.cell.radio import CellAccess

NO_WAIT = {"wake_up_s": 0.0, "sr_period_s": 0.0, "grant_delay_s": 0.0}


def run(
    cell: AnyCell,
    peaks_bps: list[float],
    messages: list[tuple[float, str, str, int]],
    wired_bps: float = 1e12,
) -> list[MessageRecord]:
    """Clients c0, c1, ... around one cell; messages are (start, source, destination, bits)."""
    env, ledger = simpy.Environment(), Ledger()
    graph: nx.DiGraph = nx.DiGraph()
    names = [f"c{number}" for number in range(len(peaks_bps))]
    for name, peak_bps in zip(names, peaks_bps, strict=True):
        link = Link(rate_bps=peak_bps, latency_s=0.0)
        for edge, down in (((name, "hub"), False), (("hub", name), True)):
            graph.add_edge(*edge, link=link, cell=CellAccess("cell", name, down))
    for edge in (("hub", "server"), ("server", "hub")):
        graph.add_edge(*edge, link=Link(rate_bps=wired_bps, latency_s=0.0), cell=None)
    hosts = {node: node for node in graph if node != "hub"}
    network = Network(env, graph, hosts, framing("none"), 7, ledger, set(names), cells={"cell": cell})

    def sender(start_s: float, source: str, destination: str, bits: int):  # type: ignore[no-untyped-def]
        yield env.timeout(start_s)
        yield network.send(source, destination, Outgoing("control", bytes(bits // 8)))

    env.run(until=env.all_of([env.process(sender(*message)) for message in messages]))
    network.finish()
    network.check_conservation()
    return sorted(ledger.messages, key=lambda row: row.message_id)


def test_equal_airtime_by_hand() -> None:
    """Peaks of 4 and 1 Mbit/s, half the time each: 2 and 0.5 Mbit/s; then the slow one has the air alone."""
    rows = run(
        Cellular(access="round-robin", uplink_overhead=0.0, **NO_WAIT),
        [4e6, 1e6],
        [(0.0, "c0", "server", 1_000_000), (0.0, "c1", "server", 1_000_000)],
    )
    assert [row.delivered_s for row in rows] == pytest.approx([0.5, 0.5 + 0.75], rel=1e-9)
    assert rows[0].sharing_s == pytest.approx(0.25), "half of its half second went to the other"


def test_private_access_shares_nothing() -> None:
    messages = [(0.0, "c0", "server", 1_000_000), (0.0, "c1", "server", 1_000_000)]
    rows = run(Cellular(access="private", uplink_overhead=0.0, **NO_WAIT), [4e6, 1e6], messages)
    assert [row.delivered_s for row in rows] == pytest.approx([0.25, 1.0], rel=1e-9)


def test_up_and_down_share_the_air_only_when_half_duplex() -> None:
    messages = [(0.0, "c0", "server", 1_000_000), (0.0, "server", "c1", 1_000_000)]
    duplexes = {}
    for duplex in ("fdd", "half"):
        cell = Cellular(
            access="round-robin", duplex=duplex, uplink_overhead=0.0, downlink_overhead=0.0, **NO_WAIT
        )
        duplexes[duplex] = [row.delivered_s for row in run(cell, [1e6, 1e6], messages)]
    assert duplexes["fdd"] == pytest.approx([1.0, 1.0])
    assert duplexes["half"] == pytest.approx([2.0, 2.0])


def test_a_wired_bottleneck_returns_airtime_to_the_others() -> None:
    """The wired link lets 1 Mbit/s through in all: two members of 10 Mbit/s peak get half of it each."""
    cell = Cellular(access="proportional-fair", uplink_overhead=0.0, **NO_WAIT)
    rows = run(cell, [1e7, 1e7], [(0.0, name, "server", 1_000_000) for name in ("c0", "c1")], wired_bps=1e6)
    assert [row.delivered_s for row in rows] == pytest.approx([2.0, 2.0], rel=1e-6)


@pytest.mark.parametrize("access", ["max-rate", "ofdma", "lte-grid", "equal-rate", "tdma"])
def test_every_access_delivers_everything(access: str) -> None:
    cell = Cellular(access=access)
    peaks = [2e6, 5e6, 9e6]
    messages = [(0.1 * k, f"c{k % 3}", "server", 400_000) for k in range(7)]
    messages += [(0.05 * k, "server", f"c{k % 3}", 400_000) for k in range(5)]
    assert all(row.delivered for row in run(cell, peaks, messages))


def test_csma_shows_the_performance_anomaly() -> None:
    """A slow station drags a fast one down to its own rate."""
    cell = WifiCell(standard="802.11a")
    rows = run(cell, [5.27e6, 29.89e6], [(0.0, name, "server", 8_000_000) for name in ("c0", "c1")])
    assert rows[1].delivered_s == pytest.approx(rows[0].delivered_s, rel=0.2)
    assert rows[1].delivered_s > 5 * 8e6 / 29.89e6


def test_a_small_message_waits_for_its_grant() -> None:
    cell = Cellular(access="round-robin", sr_wait="mean")
    (row,) = run(cell, [1e9], [(0.0, "c0", "server", 800)])
    assert row.delivered_s == pytest.approx(0.050 + 0.005 + 0.008, abs=1e-4)
    assert row.first_byte_s == pytest.approx(row.delivered_s, abs=1e-4)


def test_a_tiny_message_takes_its_time() -> None:
    """Fast wires behind the cell must not carry it off before the cell has said what it gets."""
    for access in ("round-robin", "proportional-fair", "max-rate"):
        rows = run(
            Cellular(access=access, uplink_overhead=0.0, **NO_WAIT), [4e6], [(0.0, "c0", "server", 800)]
        )
        assert [row.delivered_s for row in rows] == pytest.approx([800 / 4e6], rel=1e-6)
        assert rows[0].first_byte_s == 0.0

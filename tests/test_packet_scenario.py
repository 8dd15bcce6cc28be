"""Whole runs packet by packet: the same training and bytes as on the fluid engine, at about the same time."""

from pathlib import Path

import pytest
from typer.testing import CliRunner
from worlds import finished, scenario

from sfsim import simulation
from sfsim.__main__ import app
from sfsim.channel import Bernoulli
from sfsim.errors import ConfigError
from sfsim.network import Link, Network, PacketNetwork
from sfsim.scenario import load
from sfsim.scenario.networks import NetworkTable

QUICKSTART = Path(__file__).resolve().parents[1] / "scenarios" / "quickstart.toml"
ENGINES = {"fluid": Network, "packet": PacketNetwork}


def what_crossed(world):
    """All messages but for their times: engines differ in times only."""
    columns = (
        "kind",
        "source",
        "destination",
        "round",
        "epoch",
        "minibatch",
        "codec",
        "payload_bytes",
        "wire_bytes",
    )
    more = ("label_bytes", "payload_crc32", "packets", "retransmissions", "lost_bytes", "hops", "delivered")
    return sorted(tuple(getattr(row, name) for name in columns + more) for row in world.ledger.messages)


@pytest.mark.parametrize("protocol", ["sl", "splitfed-v1", "splitfed-v2"])
@pytest.mark.parametrize("loss", [None, Bernoulli(probability=0.05)], ids=["loss-free", "lossy"])
def test_the_engine_changes_times_only(protocol, loss):
    from worlds import clients

    uplink = Link(rate_bps=10e6, latency_s=0.01, loss=loss)
    worlds = {}
    for engine, network_class in ENGINES.items():
        table = NetworkTable(engine=engine)
        worlds[engine] = finished(scenario(protocol=protocol, network=table, clients=clients(2, uplink)))
        assert type(worlds[engine].network) is network_class
    fluid, packet = worlds.values()
    assert what_crossed(fluid) == what_crossed(packet)
    assert [row.value for row in fluid.ledger.evaluations] == [row.value for row in packet.ledger.evaluations]
    assert packet.env.now == pytest.approx(fluid.env.now, rel=0.05 if loss else 0.01)


def test_a_round_of_the_quickstart_takes_as_long_packet_by_packet():
    # With these fades. With others a frame that begins a little later ends behind a deep fade: one coherence time more.
    ends = {}
    for engine in ENGINES:
        world = finished(load(QUICKSTART, {"global_rounds": 1, "seed": 7, "network.engine": engine}))
        ends[engine] = world.ledger.evaluations[-1].time_s
    assert ends["packet"] == pytest.approx(ends["fluid"], rel=1e-3)


def test_the_option_overrides_the_file(monkeypatch, tmp_path):
    """`sfsim run --network packet` is the key network.engine."""
    seen = []

    def stop(scenario, **_):
        seen.append(scenario.network.engine)
        raise ConfigError("here", "enough", "no run")

    monkeypatch.setattr(simulation, "run", stop)
    for option in ([], ["--network", "packet"], ["--network", "fluid", "--set", "network.engine=packet"]):
        CliRunner().invoke(app, ["run", str(QUICKSTART), "--quiet", "--out", str(tmp_path / "x"), *option])
    assert seen == ["fluid", "packet", "fluid"]
    assert CliRunner().invoke(app, ["run", str(QUICKSTART), "--network", "packets"]).exit_code == 2


def test_queues_are_for_packets():
    assert NetworkTable(engine="packet", discipline="fifo").discipline == "fifo"
    world = finished(scenario(network=NetworkTable(engine="packet", discipline="fifo")))
    assert world.network._discipline == "fifo"
    with pytest.raises(ConfigError) as raised:
        NetworkTable(discipline="drr")
    assert "discipline: found 'drr', expected nothing: only engine = \"packet\" has queues" in str(
        raised.value
    )

"""TCP against ns-3 3.44, flow by flow and in law, and against its own closed form."""

import csv
from collections import defaultdict
from functools import cache
from pathlib import Path as File

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mrg32k3a import uniforms
from scipy.stats import ks_2samp

from sfsim.channel import Bernoulli, GilbertElliott
from sfsim.errors import NetworkError
from sfsim.network import framing
from sfsim.network.transport import Path, TcpCubic, TcpReno, tcp
from sfsim.network.transport import tcp_kernel as kernel
from sfsim.network.transport.base import Window
from sfsim.network.transport.measure import transfer

FRAMES = framing("tcp-ipv4")
# The seed of the golden runs, found by matching their losses; the run of each is its seed.
NS3_SEED = 12345


def line(rate_mbps: float, rtt_ms: float) -> Path:
    return Path(rate_mbps * 1e6, rate_mbps * 1e6, rtt_ms / 2e3, rtt_ms / 2e3)


@pytest.fixture(scope="module")
def golden(shared: File) -> list[dict[str, str]]:
    """The rows of the golden data."""
    file = shared / "specs" / "network-golden" / "tcp_ns3.csv"
    if not file.is_file():
        pytest.skip("no golden data of ns-3")
    with file.open() as rows:
        return list(csv.DictReader(rows))


@cache
def ns3_luck(run: int, count: int) -> np.ndarray:
    return uniforms(NS3_SEED, run, count)


def flown(law, row) -> float:
    """The time of one golden flow under the losses that it really met."""
    loss, num_bytes = float(row["loss"]), int(row["bytes"])
    lost = ns3_luck(int(row["seed"]), 8192 if num_bytes > 10**6 else 1024) < loss
    path = line(float(row["rate_mbps"]), float(row["rtt_ms"]))
    return law.fly(FRAMES, num_bytes, path, lambda count: lost[:count]).delivered_s


def test_every_golden_flow_takes_the_same_time(golden):
    law = TcpCubic()
    errors = [flown(law, row) / float(row["done_s"]) - 1 for row in golden]
    assert np.abs(errors).max() < 1e-6


def test_the_golden_loss_free_cells(golden):
    rows = [row for row in golden if float(row["loss"]) == 0]
    assert len(rows) == 27
    errors = [
        transfer(int(r["bytes"]), float(r["rate_mbps"]) * 1e6, float(r["rtt_ms"]) / 1e3)["seconds"][0]
        / float(r["done_s"])
        - 1
        for r in rows
    ]
    assert np.abs(errors).max() < 1e-6


def test_the_golden_lossy_cells_in_law(golden):
    """Rows 9 and 11 of the validation matrix, with luck of our own.

    The median of a short flow jumps with the number of losses: 200 seeds are not enough for it.
    """
    cells = defaultdict(list)
    for row in golden:
        if float(row["loss"]) > 0:
            cell = tuple(float(row[key]) for key in ("bytes", "rate_mbps", "rtt_ms", "loss"))
            cells[cell].append(float(row["done_s"]))
    errors = []
    for (num_bytes, rate_mbps, rtt_ms, loss), theirs in cells.items():
        seeds = 1000 if num_bytes < 10**6 else 200 if num_bytes == 10**6 else 100
        ours = transfer(int(num_bytes), rate_mbps * 1e6, rtt_ms / 1e3, loss, seeds=seeds)["seconds"]
        if num_bytes < 10**6:
            assert np.median(ours) == pytest.approx(np.median(theirs), rel=0.15)
            assert ks_2samp(np.round(ours, 3), np.round(theirs, 3)).pvalue > 0.001
            continue
        mean, spread = np.mean(theirs), np.std(theirs, ddof=1) / np.sqrt(len(theirs))
        errors.append(abs(np.mean(ours) / mean - 1))
        assert errors[-1] <= max(0.1, 3 * spread / mean)
    assert len(errors) == 36
    assert np.median(errors) <= 0.05


# Flows of ns-3 3.44 made for this test, in the same world as the golden data (two nodes, point to point):
# socket type, Mbit/s, RTT in ms, loss, bytes, run, done_s.
FLOWS = """
TcpLinuxReno,59.842,112.05,0.2,1246,30,0.168271518
TcpLinuxReno,1.621,161.59,0.1,3362,5,0.260615721
TcpLinuxReno,3.44,12.43,0.002,1224942,17,3.029872687
TcpLinuxReno,10.546,4.87,0.02,1651309,2,1.335309912
TcpLinuxReno,116.323,2.19,0.1,16158,1,3.005716536
TcpLinuxReno,222.967,3.17,0.02,49261,24,0.221163539
TcpLinuxReno,1.42,2.55,0.2,57630,26,3.383937684
TcpLinuxReno,1.601,24.1,0.2,380769,33,6.660893544
TcpLinuxReno,0.753,112.03,0.02,195960,3,2.778399773
TcpLinuxReno,10,50,0.01,1000000,1,1.2146608
TcpLinuxReno,10,100,0.05,1000000,1,7.1472976
TcpLinuxReno,10,50,0.001,10000000,1,9.3804784
TcpLinuxReno,10,10,0.05,1000000,1,2.3114384
TcpLinuxReno,1,100,0.05,1000000,5,14.024912
TcpLinuxReno,16.693,36.53,0,258765,27,0.244959647
TcpLinuxReno,4.82,57.22,0,88622,16,0.283576224
TcpCubic,4.258,125.4,0.2,1026,22,0.565347065
TcpCubic,3.697,126.11,0.1,198694,12,3.668469157
TcpCubic,1.036,128.39,0.2,1470254,32,108.1365336
TcpCubic,110.29,230.27,0.1,8578,6,0.346063046
TcpCubic,32.895,191.42,0,16862,16,0.479575322
TcpCubic,0.718,206.71,0,442071,22,5.478346018
TcpCubic,0.51,32.89,0,851537,35,13.90836227
"""


@pytest.mark.parametrize("flow", FLOWS.split())
def test_flows_outside_the_golden_cells(flow: str):
    kind, *words, done_s = flow.split(",")
    row = dict(zip(("rate_mbps", "rtt_ms", "loss", "bytes", "seed"), words, strict=True))
    law = TcpCubic() if kind == "TcpCubic" else TcpReno()
    assert flown(law, row) == pytest.approx(float(done_s), rel=1e-6)


@settings(max_examples=200, deadline=None)
@given(
    num_bytes=st.integers(1, 3 * 10**6),
    rate_bps=st.floats(1e5, 3e9),
    rtt_s=st.floats(1e-4, 0.5),
    back=st.floats(0.01, 10),
)
def test_the_closed_form_is_the_kernel_without_losses(num_bytes, rate_bps, rtt_s, back):
    path, law = Path(rate_bps, rate_bps * back, rtt_s * 0.4, rtt_s * 0.6), TcpCubic()
    closed = law.fly(FRAMES, num_bytes, path, None)
    by_packet = law.fly(FRAMES, num_bytes, path, lambda count: np.zeros(count, bool))
    assert closed.delivered_s == pytest.approx(by_packet.delivered_s, rel=1e-9)
    assert (closed.data_packets, closed.wire_bytes) == (by_packet.data_packets, by_packet.wire_bytes)


def test_lost_syns_cost_3_s_and_then_6_s():
    calm = transfer(1000, 1e7, 0.05)["seconds"][0]
    law, path = TcpCubic(), line(10, 50)
    for losses, extra_s in ((1, 3.0), (2, 9.0), (6, 3.0 * 63)):
        flight = law.fly(FRAMES, 1000, path, lambda count, n=losses: np.arange(count) < n)
        assert flight.delivered_s == pytest.approx(calm + extra_s, rel=1e-9)
        assert flight.met.sum() == losses + 3  # SYNs, the acknowledgement of the handshake, one segment


def always():
    return lambda count: np.ones(count, dtype=bool)


def test_a_connection_gives_up_as_linux_does():
    path = line(10, 50)
    # 7 SYNs after 3, 6, 12, ... s, the last of which is waited for too; with the timer capped at 120 s.
    with pytest.raises(tcp._GaveUp, match=r"7 SYNs in a row were lost \(syn_retries = 6\)") as raised:
        TcpCubic().fly(FRAMES, 1000, path, always())
    assert raised.value.after_s == 3.0 * 63 + 120
    with pytest.raises(tcp._GaveUp) as raised:
        TcpCubic(syn_timeout_s=100.0, syn_retries=3).fly(FRAMES, 1000, path, always())
    assert raised.value.after_s == 100 + 3 * 120
    # An open connection: the 16th time-out in a row, each twice as long as the last, at most 60 s.
    window = Window(10 * 1448, tcp.UNLIMITED, 0.05, 0.0)
    for law in (TcpCubic(), TcpReno(retries=3)):
        with pytest.raises(tcp._GaveUp, match=f"{law.retries + 1} time-outs in a row") as raised:
            law.fly(FRAMES, 100_000, path, always(), window)
        assert raised.value.after_s == pytest.approx(sum(min(0.2 * 2**k, 60) for k in range(law.retries + 1)))


def test_giving_up_ends_the_network_with_the_connection_s_name():
    with pytest.raises(
        NetworkError, match=r"TCP from '\S+' to '\S+' gives up a message of 1,000 bytes at .* s: .*retries = "
    ):
        transfer(1000, 1e7, 0.05, 0.99, "tcp-cubic", seeds=20)


def test_time_outs_in_a_row_are_counted_afresh_after_progress():
    # Fifteen losses in a row, twice, with an acknowledged segment between them.
    lost = np.array([False, False] + [True] * 15 + [False] + [True] * 15 + [False] * 40)
    flight = TcpReno(initial_window=1, retries=15).fly(
        FRAMES, 4000, line(10, 50), lambda count: np.resize(lost, count)
    )
    assert flight.data_packets > 30


def test_bursts_end_while_a_connection_waits():
    """A state that lasts 10 packets of 12 ms is forgotten in a time-out of 3 s: SYNs are lost independently."""
    law = GilbertElliott(p=0.05, r=0.1)
    bad, opened = 0.05 / 0.15, []
    assert 0.85**law.memory <= 1e-9 < 0.85 ** (law.memory - 1)
    for message in range(4000):
        tcp_law = TcpCubic(syn_retries=100)
        ahead = lambda count, m=message: law.lost(1, "a->b", m, 1, count)  # noqa: E731
        opened.append(tcp_law._syn(ahead, law.memory, 0.012)[1])
    tries = np.array([len(used) - 1 for used in opened])
    # Geometric with the stationary share of the bad state, whatever the length of a burst.
    for count in range(4):
        share, expected = np.mean(tries == count), bad**count * (1 - bad)
        assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / 4000)
    assert all(0 < gap - 1 <= law.memory for used in opened for gap in np.diff(used))


def test_without_memory_nothing_is_skipped():
    lost = np.random.default_rng(5).random(4000) < 0.1
    for law in (TcpCubic(), TcpReno()):
        flight = law.fly(FRAMES, 300_000, line(5, 30), lambda count: lost[:count])
        assert flight.met.all() or flight.met[: int(flight.met.sum())].all()
        assert Bernoulli(probability=0.1).memory == 0


def test_a_longer_message_meets_the_same_luck():
    """The losses of the i-th transmission are the same, whatever the length."""
    law, path = TcpReno(), line(10, 50)
    asked = []

    def ahead(count):
        asked.append(count)
        return np.random.default_rng(5).random(count) < 0.05

    for num_bytes in (10**5, 10**6):
        law.fly(FRAMES, num_bytes, path, ahead)
    assert max(asked) > 700
    assert np.array_equal(ahead(100), ahead(1000)[:100])


@pytest.mark.parametrize("law", [TcpCubic(), TcpReno()])
def test_the_compiled_kernel_is_its_python_source(law, monkeypatch):
    path, lost = line(5, 30), np.random.default_rng(3).random(4000) < 0.05
    compiled = law.fly(FRAMES, 300_000, path, lambda count: lost[:count])
    monkeypatch.setattr(kernel, "run", kernel.run.py_func)
    assert law.fly(FRAMES, 300_000, path, lambda count: lost[:count]) == compiled


def test_a_starved_kernel_starts_again_with_more_room_and_the_same_luck():
    """Heavy loss needs many more transmissions than segments."""
    law, path = TcpCubic(), line(10, 20)
    rng = np.random.default_rng(0)
    lost = rng.random(1 << 16) < 0.5
    flight = law.fly(FRAMES, 100_000, path, lambda count: lost[:count])
    assert flight.data_packets > 70
    assert flight.wire_bytes >= 100_000 + 70 * 54

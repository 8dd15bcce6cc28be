"""Selective-repeat ARQ against ns-3 3.44 and against the law of its losses."""

import csv
from collections import defaultdict
from itertools import pairwise
from pathlib import Path as File

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, ks_2samp

from sfsim.network import framing
from sfsim.network.transport import Arq, Path
from sfsim.network.transport import arq_kernel as kernel
from sfsim.network.transport.measure import transfer

FRAMES = framing("udp-ipv4")


def test_the_golden_cells_in_law(shared: File):
    """Row 12 of the validation matrix.

    All 36 cells of the golden data share their random numbers, which lose less than they should: 130 of 200
    messages of 11 frames lose none, where 114 are expected (2.3 standard errors).
    """
    file = shared / "specs" / "network-golden" / "arq_ns3.csv"
    if not file.is_file():
        pytest.skip("no golden data of ns-3")
    cells = defaultdict(list)
    with file.open() as rows:
        for row in csv.DictReader(rows):
            cell = tuple(float(row[key]) for key in ("bytes", "rate_mbps", "rtt_ms", "loss"))
            cells[cell].append((float(row["done_s"]), int(row["tx"])))
    assert len(cells) == 36
    for (num_bytes, rate_mbps, rtt_ms, loss), rows in cells.items():
        theirs, sent = np.array(rows).T
        found = transfer(int(num_bytes), rate_mbps * 1e6, rtt_ms / 1e3, loss, "arq", seeds=200)
        ours = np.array(found["seconds"])
        spread = np.hypot(theirs.std(ddof=1) / len(theirs) ** 0.5, ours.std(ddof=1) / len(ours) ** 0.5)
        allowed = max((0.01 if num_bytes >= 10**6 else 0.05) * theirs.mean(), 3 * spread)
        assert abs(ours.mean() - theirs.mean()) <= allowed
        assert ks_2samp(np.round(ours, 3), np.round(theirs, 3)).pvalue > 0.001
        assert np.mean(found["sent_packets"]) == pytest.approx(sent.mean(), rel=0.03)


def test_single_losses_of_the_golden_data_to_the_nanosecond():
    """11 frames at 1 Mbit/s and 10 ms in ns-3: none lost, one in the middle, the last, the one before it."""
    path = Path(1e6, 1e6, 0.005, 0.005)
    for lost, done_s in ((None, 0.12764), (4, 0.139656), (10, 0.140233), (9, 0.147289)):
        found = Arq().repeat(FRAMES, 15_000, path, lambda count, k=lost: np.arange(count) == k)
        assert found.arrived_s == pytest.approx(done_s, abs=1e-9)
        assert found.sent == (11 if lost is None else 12)


@pytest.mark.parametrize("retries", [0, 1, 2, 4])
def test_what_retries_leave_lost(retries: int):
    """A packet stays lost with probability p^(retries + 1)."""
    loss, packets = 0.3, 2000
    found = transfer(packets * 1472, 1e7, 0.02, loss, "arq", retries=retries, seeds=10)
    gone = sum(found["lost_bytes"]) // 1472
    assert binomtest(gone, packets * 10, loss ** (retries + 1)).pvalue > 0.001
    expected = sum(loss**k for k in range(retries + 1))
    assert np.mean(found["sent_packets"]) == pytest.approx(packets * expected, rel=0.01)
    for missing, lost_bytes in zip(found["missing"], found["lost_bytes"], strict=True):
        assert sum(end - start for start, end in missing) == lost_bytes
        assert all(end < start for (_, end), (start, _) in pairwise(missing))


@settings(max_examples=100, deadline=None)
@given(
    num_bytes=st.integers(1, 10**5),
    rtt_s=st.floats(0, 0.3),
    seed=st.integers(0, 10**6),
    loss=st.floats(0, 0.7),
    retries=st.none() | st.integers(0, 3),
)
def test_the_kernel_keeps_its_books(num_bytes, rtt_s, seed, loss, retries):
    path, law = Path(5e6, 5e6, rtt_s / 2, rtt_s / 2), Arq(retries=retries)
    lost = np.random.default_rng(seed).random(1 << 14) < loss
    found = law.repeat(FRAMES, num_bytes, path, lambda count: lost[:count])
    frames = FRAMES.packets(num_bytes)
    assert found.sent - lost[: found.sent].sum() == frames - found.given_up.sum()
    if not lost[: found.sent].any():
        assert found.arrived_s == pytest.approx(FRAMES.wire_bytes(num_bytes) * 8 / 5e6 + rtt_s / 2, rel=1e-9)
    if retries is None:
        assert not found.given_up.any()


def test_the_compiled_kernel_is_its_python_source(monkeypatch):
    path, lost = Path(5e6, 5e6, 0.02, 0.02), np.random.default_rng(3).random(1000) < 0.2
    compiled = Arq(retries=1).repeat(FRAMES, 300_000, path, lambda count: lost[:count])
    monkeypatch.setattr(kernel, "run", kernel.run.py_func)
    plain = Arq(retries=1).repeat(FRAMES, 300_000, path, lambda count: lost[:count])
    assert (plain.arrived_s, plain.sent, plain.wire_bytes) == (
        compiled.arrived_s,
        compiled.sent,
        compiled.wire_bytes,
    )
    assert np.array_equal(plain.given_up, compiled.given_up)

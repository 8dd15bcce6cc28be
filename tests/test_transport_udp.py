"""Datagrams: which bytes are missing, and what an erasure code brings back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from sfsim.errors import ConfigError
from sfsim.network import framing
from sfsim.network.transport import Fec, Sending, Udp
from sfsim.network.transport.base import lost_ranges
from sfsim.network.transport.measure import transfer

FRAMES = framing("udp-ipv4")


class Fixed:
    """Luck that was decided before."""

    def __init__(self, lost):
        self.lost = np.asarray(lost, dtype=bool)

    def __call__(self, attempt, packets):
        assert packets == len(self.lost)
        return self.lost


def send(law, num_bytes, lost):
    sending = Sending(
        num_bytes=num_bytes,
        framing=FRAMES,
        rtt_s=lambda: 0.1,
        path=lambda: pytest.fail("datagrams do not look at the path"),
        luck=Fixed(lost),
        now_s=0.0,
        parties=("a", "b"),
        windows={},
        rng=np.random.default_rng,
    )
    (attempt,) = law.attempts(sending)
    return attempt


def test_what_is_lost_stays_lost():
    attempt = send(Udp(), 5 * 1472 + 100, [0, 1, 1, 0, 0, 1])
    assert attempt.missing == ((1472, 3 * 1472), (5 * 1472, 5 * 1472 + 100))
    assert attempt.wire_bytes == 5 * 1502 + 130
    assert attempt.lost_bytes == attempt.missing_wire_bytes == 2 * 1502 + 130
    assert attempt.lost_packets == 3


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 1472))
def test_missing_ranges_are_sorted_disjoint_and_hold_the_lost_bytes(lost, last_bytes):
    num_bytes = (len(lost) - 1) * 1472 + last_bytes
    byte_lost = np.repeat(lost, 1472)[:num_bytes]
    found = np.zeros(num_bytes, dtype=bool)
    ranges = lost_ranges(np.array(lost), 1472, num_bytes)
    for start, end in ranges:
        assert start < end
        assert not found[max(0, start - 1) : end].any()  # neither overlapping nor touching
        found[start:end] = True
    assert np.array_equal(found, byte_lost)
    assert list(ranges) == sorted(ranges)


def test_a_block_is_whole_with_any_k_of_its_n():
    law = Udp(fec=Fec(n=5, k=3))
    # Blocks: 3 + 2, 3 + 2, and a last one of 2 + 2.
    ok, bad, last = [1, 0, 0, 1, 0], [1, 1, 0, 1, 0], [1, 0, 1, 0]
    attempt = send(law, 8 * 1472, ok + bad + last)
    assert attempt.packets == 14
    assert attempt.missing == ((3 * 1472, 5 * 1472),)
    assert attempt.wire_bytes == 14 * 1502
    assert attempt.lost_bytes == 14 * 1502 - 8 * 1502 + 2 * 1502
    assert send(law, 8 * 1472, ok + ok + [1, 0, 1, 1]).missing == ((6 * 1472, 7 * 1472),)


def test_residual_block_loss_is_binomial():
    law = Udp(fec=Fec(n=10, k=8))
    found = transfer(8 * 1472 * 500, 1e7, 0.01, 0.1, law, seeds=8)
    failed = sum(len({start // (8 * 1472) for start, _ in missing}) for missing in found["missing"])
    # A block that fails without losing a message packet needs 3 of its 2 parity packets: it does not exist.
    assert binomtest(failed, 4000, law.fec.residual(0.1)).pvalue > 0.001


def test_time_and_bytes_do_not_depend_on_luck():
    found = transfer(100_000, 1e7, 0.05, 0.2, "udp", seeds=4)
    assert found["seconds"] == pytest.approx([(100_000 + 68 * 30) * 8 / 1e7 + 0.025] * 4, rel=1e-12)
    assert found["sent_packets"] == [68] * 4
    assert len(set(found["lost_bytes"])) > 1


def test_a_code_cannot_have_more_message_packets_than_packets():
    with pytest.raises(ConfigError) as error:
        Fec(n=3, k=4)
    assert str(error.value) == "Fec, n: found 3, expected at least k = 4"

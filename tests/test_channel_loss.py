"""Loss laws: their means and bursts, and the luck that two codecs share."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfsim.channel import Bernoulli, GilbertElliott, LossTrace, parse_loss
from sfsim.errors import ConfigError, NetworkError

LAWS = [
    Bernoulli(probability=0.1),
    GilbertElliott(),
    GilbertElliott(p=0.7, r=0.9, good_loss=0.1, bad_loss=0.6),
]


@pytest.mark.parametrize("law", LAWS)
@given(sizes=st.tuples(st.integers(0, 300), st.integers(0, 300)), message=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_two_sizes_meet_the_same_luck_on_their_shared_prefix(law, sizes, message):
    short, long = (law.lost(7, "a->b", message, 1, size) for size in sorted(sizes))
    assert short.dtype == bool
    assert np.array_equal(short, long[: len(short)])


def test_luck_differs_by_link_message_attempt_and_seed():
    keys = [(7, "a->b", 0, 1), (8, "a->b", 0, 1), (7, "b->a", 0, 1), (7, "a->b", 1, 1), (7, "a->b", 0, 2)]
    drawn = {Bernoulli(probability=0.5).lost(*key, 64).tobytes() for key in keys}
    assert len(drawn) == len(keys)


def slow_chain(law, steps):
    """The chain of Gilbert and Elliott, packet by packet, from the same uniforms."""
    bad = bool(steps[0] < law.p / (law.p + law.r))
    states = [bad]
    for step in steps[1:]:
        bad = bool(step < (1 - law.r if bad else law.p))
        states.append(bad)
    return np.array(states)


@pytest.mark.parametrize(
    ("p", "r"), [(0.002, 0.1), (0.3, 0.3), (0.7, 0.9), (0.5, 0.5), (0.0, 1.0), (1.0, 1.0)]
)
def test_the_vectorised_chain_is_the_chain(p, r):
    law = GilbertElliott(p=p, r=r)
    steps = np.random.default_rng(1).random(5000)
    assert np.array_equal(law._bad(steps), slow_chain(law, steps))


def test_gilbert_elliott_mean_and_burst_length():
    law = GilbertElliott()
    lost = law.lost(1, "a->b", 0, 1, 3_000_000)
    bursts = np.count_nonzero(np.diff(lost.astype(int)) == 1) + lost[0]
    assert lost.mean() == pytest.approx(0.002 / 0.102, rel=0.03)
    assert lost.sum() / bursts == pytest.approx(1 / 0.1, rel=0.03)


def test_gilbert_elliott_counts_vary_as_its_memory_says():
    law, packets = GilbertElliott(p=0.02, r=0.2), 1000
    counts = [law.lost(1, "a->b", message, 1, packets).sum() for message in range(3000)]
    share, memory = 0.02 / 0.22, 1 - 0.02 - 0.2
    expected = packets * share * (1 - share) * (1 + memory) / (1 - memory)
    assert np.var(counts) == pytest.approx(expected, rel=0.1)


def test_bernoulli_mean():
    assert LAWS[0].lost(1, "a->b", 0, 1, 400_000).mean() == pytest.approx(0.1, rel=0.02)


def test_a_link_that_loses_everything_is_refused():
    with pytest.raises(ConfigError, match="probability: found 1"):
        Bernoulli(probability=1.0)


def test_gilbert_elliott_row_19():
    """Mean loss within 1 %, inflation of the count's variance (1 + lambda) / (1 - lambda) within 10 %."""
    law = GilbertElliott(p=0.01, r=0.1)
    counts = np.array([law.lost(3, "a->b", message, 1, 2000).sum() for message in range(6000)])
    share, memory = 0.01 / 0.11, 1 - 0.01 - 0.1
    assert counts.mean() == pytest.approx(2000 * share, rel=0.01)
    inflation = counts.var() / (2000 * share * (1 - share))
    assert inflation == pytest.approx((1 + memory) / (1 - memory), rel=0.1)


@pytest.fixture
def record(tmp_path):
    (tmp_path / "sdec").write_text("0 30\n1 128\n3 31\n4 29\n7 30\n")
    return tmp_path / "sdec"


def test_a_record_of_losses(record):
    law = LossTrace(path=record, packets=6)
    whole = np.array([False, True, True, False, False, True])
    assert np.array_equal(law.record(), whole)
    starts = set()
    for message in range(40):
        lost = law.lost(1, "a->b", message, 1, 20)
        start = next(k for k in range(6) if np.array_equal(lost[:6], np.roll(whole, -k)))
        starts.add(start)
        assert np.array_equal(lost, np.resize(np.roll(whole, -start), 20))
        assert np.array_equal(law.lost(1, "a->b", message, 1, 7), lost[:7])
    assert starts == set(range(6))


def test_bad_records(record, tmp_path):
    (tmp_path / "words").write_text("0 30\nno packet\n")
    with pytest.raises(NetworkError, match="words, line 2: found 'no packet', expected a sequence number"):
        LossTrace(path=tmp_path / "words").lost(1, "a->b", 0, 1, 5)
    (tmp_path / "none").write_text("")
    with pytest.raises(NetworkError, match="none: all 300 packets were lost; no message would ever arrive"):
        LossTrace(path=tmp_path / "none").lost(1, "a->b", 0, 1, 5)
    assert parse_loss({"kind": "loss-trace", "path": "sdec"}, "x", tmp_path).path == record

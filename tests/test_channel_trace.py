"""Trace-driven channels: both formats, all ends, and what is refused with which words."""

from math import inf
from pathlib import Path

import pytest

from sfsim.channel import Trace
from sfsim.errors import NetworkError


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "trace.txt"
        path.write_text(text)
        return path

    return write


def pieces(channel: Trace, until_s: float) -> list[tuple[float, float, float]]:
    """Walk over the pieces as the engine does: (start, end, rate)."""
    drawn, time_s, found = channel.realise(1, "a->b"), 0.0, []
    while time_s < until_s:
        rate_bps, end_s = drawn.segment(time_s)
        found.append((time_s, end_s, rate_bps))
        time_s = end_s
    return found


@pytest.mark.parametrize("text", ["time_s,rate_bps\n5,10\n7,0\n8,30\n", "# cooked\n5 10\n7\t0\n\n8 30"])
def test_rows_hold_until_the_next_and_wrap(write, text):
    channel = Trace(path=write(text))
    assert pieces(channel, 8) == [(0, 2, 10), (2, 3, 0), (3, 4, 30), (4, 6, 10), (6, 7, 0), (7, 8, 30)]


def test_hold_keeps_the_last_rate_for_ever(write):
    channel = Trace(path=write("0,10\n2,20\n"), end="hold", scale=1e3)
    assert pieces(channel, 3) == [(0, 2, 1e4), (2, inf, 2e4)]


def test_error_says_where_the_trace_ends(write):
    channel = Trace(path=write("0,10\n2,20\n"), end="error")
    assert pieces(channel, 4) == [(0, 2, 10), (2, 4, 20)]
    with pytest.raises(
        NetworkError, match=r"trace.txt: the trace ends at 4 s, asked for 4 s; set end = 'wrap'"
    ):
        channel.realise(1, "a->b").segment(4.0)
    with pytest.raises(NetworkError, match=r"asked for 9 s"):
        channel.realise(1, "a->b").segment(9.0)


def test_equal_neighbours_are_one_piece_and_a_constant_never_ends(write):
    assert pieces(Trace(path=write("0,5\n1,5\n2,5\n")), 1) == [(0, inf, 5)]


def test_a_trace_of_zeros_is_down_for_ever(write):
    assert Trace(path=write("0,0\n1,0\n")).realise(1, "a->b").segment(0.5) == (0.0, inf)


def test_mahimahi_serves_1500_bytes_per_line(write):
    # Opportunities at 1, 1, 3 and 4 ms serve (0, 1] twice, (2, 3] and (3, 4]; then the trace begins again.
    channel = Trace(path=write("1\n1\n3\n4\n"), format="mahimahi")
    assert pieces(channel, 0.004) == [(0, 0.001, 24e6), (0.001, 0.002, 0), (0.002, 0.004, 12e6)]
    assert channel.realise(1, "x").segment(0.0045) == (24e6, 0.005)


def test_mahimahi_bins_keep_the_bytes(write):
    path = write("0\n2\n3\n9\n10\n11\n")
    for bin_s in (0.001, 0.003, 0.005, 0.02):
        found = pieces(Trace(path=path, format="mahimahi", bin_s=bin_s), 0.011)
        if found[-1][1] == inf:
            found = [(0, 0.011, found[-1][2])]
        assert sum((end - start) * rate for start, end, rate in found) == pytest.approx(6 * 12000)


def test_a_random_start_is_the_links_own(write):
    path = write("0,1\n1,2\n2,3\n3,4\n")
    channel = Trace(path=path, start="random")
    ends = {name: channel.realise(1, name).segment(0.0)[1] for name in ("a", "b", "c")}
    assert len(set(ends.values())) == 3
    assert channel.realise(1, "a").segment(0.0)[1] == ends["a"]
    with pytest.raises(NetworkError, match="start = 'random' needs end = 'wrap', found 'hold'"):
        Trace(path=path, start="random", end="hold").realise(1, "a")


def test_no_piece_is_empty_far_out(write):
    drawn = Trace(path=write("0,1\n0.1,2\n0.3,3\n")).realise(1, "x")
    time_s = 123456.7
    for _ in range(50):
        _, end_s = drawn.segment(time_s)
        assert end_s > time_s
        time_s = end_s


@pytest.mark.parametrize(
    ("text", "format", "message"),
    [
        ("", "csv", "an empty trace; expected rows of time and rate"),
        ("time_s,rate_bps\n", "csv", "an empty trace"),
        ("0,1\n1,-2\n", "csv", "line 2: found rate -2, expected a rate of at least 0"),
        ("0,1\n1,nan\n", "csv", "line 2: found rate nan"),
        ("0,1\n2,1\n2,3\n", "csv", "line 3: time 2 is not after 2; times must increase"),
        ("0,1\n1\n", "csv", "line 2: found '1', expected a time and a rate"),
        ("words of a licence\nand more words\n", "csv", "line 2: found 'and more words'"),
        ("0,1\n1,fast\n", "csv", "line 2: found '1,fast', expected a time and a rate"),
        ("", "mahimahi", "an empty trace; expected delivery times in milliseconds"),
        ("0\n0\n", "mahimahi", "an empty trace"),
        ("1\n2.5\n", "mahimahi", "line 2: found '2.5', expected a whole number of milliseconds"),
        ("1\n-3\n", "mahimahi", "line 2: found '-3'"),
        ("5\n3\n", "mahimahi", "line 2: time 3 ms is before 5 ms; times must not decrease"),
    ],
)
def test_bad_traces_are_refused_in_one_line(write, text, format, message):
    with pytest.raises(NetworkError) as raised:
        Trace(path=write(text), format=format).realise(1, "a->b")
    assert f"trace.txt{',' if 'line' in message else ':'} {message}" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_trace_says_what_is_there_instead(write):
    path = write("0,1\n")
    with pytest.raises(NetworkError, match=r"trase.txt: no such trace file. Did you mean 'trace.txt'"):
        Trace(path=path.with_name("trase.txt")).realise(1, "a->b")

"""Trace-driven channels: both formats, all ends, and what is refused with which words."""

from math import inf
from pathlib import Path

import pytest

from sfsim.channel import Columns, Trace, UserSpeeds
from sfsim.errors import ConfigError, NetworkError


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
        ("0,1\n1,nan\n", "csv", "line 2: found '1,nan', expected a time and a rate (rate: found 'nan'"),
        ("0,1\nnan,1\n", "csv", "line 2: found 'nan,1', expected a time and a rate (time: found 'nan'"),
        (
            "0,1\n1700000000000,1\n",
            "csv",
            "line 2: found time 1.7e+12 s, expected a time in s (a moment in ms",
        ),
        ("0,1\n2,1\n1,3\n", "csv", "line 3: time goes back by 1 s; times must not decrease"),
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


LOG = """Timestamp,State,Kbit,Note
2020.02.14_09.38.22,D,10,a
2020.02.14_09.38.22,D,30,b
2020.02.14_09.38.23,I,0,c
2020.02.14_09.38.24,D,40,d
2020.02.14_09.38.25,D,-,e
2020.02.14_09.38.26,D,50,f
2020.02.14_09.48.00,D,60,g
"""
MAPPING = Columns(time="Timestamp", time_format="%Y.%m.%d_%H.%M.%S", rate="Kbit", where={"State": "D"})


def test_a_table_through_its_mapping(write):
    cut = {"gaps": "cut", "gap_s": 2.0}
    channel = Trace(path=write(LOG), format="table", columns=MAPPING, scale=1e3, end="hold", **cut)
    # Rows of one second share it; what is left out is held over, and the gap of minutes is cut to gap_s.
    assert pieces(channel, 99) == [
        (0, 1, 10e3),
        (1, 2, 30e3),
        (2, 4, 40e3),
        (4, 6, 50e3),
        (6, inf, 60e3),
    ]


@pytest.mark.parametrize(
    ("time_format", "times"),
    [
        ("seconds", ["0.5", "1.5", "2.5"]),
        ("milliseconds", ["500", "1500", "2500"]),
        (
            "iso",
            [
                "2024-04-19 16:23:00.001039872",
                "2024-04-19 16:23:01.001039872",
                "2024-04-19T16:23:02.001039872",
            ],
        ),
        ("%H:%M", ["00:00", "00:01", "00:02"]),
    ],
)
def test_formats_of_time(write, time_format, times):
    path = write("t;r\n" + "".join(f"{time};{rate}\n" for time, rate in zip(times, (3, 5, 7), strict=True)))
    columns = Columns(time="t", time_format=time_format, rate="r", delimiter=";")
    step_s = 60 if time_format == "%H:%M" else 1
    found = pieces(Trace(path=path, format="table", columns=columns), 3 * step_s)
    assert [rate for _, _, rate in found] == [3, 5, 7]
    assert [end for _, end, _ in found] == pytest.approx([step_s, 2 * step_s, 3 * step_s])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": "kbit"}, "no column 'kbit'; found Timestamp, State, Kbit, Note. Did you mean 'Kbit'"),
        ({"where": {"State": "X"}}, "no row has a 'Kbit' where State = 'X'"),
        ({"where": {"Stat": "X"}}, "no column 'Stat'"),
        ({"rate": "Note"}, "line 2, column 'Note': found 'a', expected a number"),
        ({"time_format": "iso"}, "line 2: found time '2020.02.14_09.38.22', expected the time_format 'iso'"),
    ],
)
def test_bad_mappings(write, change, message):
    columns = Columns(**({"time": "Timestamp", "time_format": MAPPING.time_format, "rate": "Kbit"} | change))
    with pytest.raises(NetworkError, match=f"trace.txt(:|,) {message}"):
        Trace(path=write(LOG), format="table", columns=columns).realise(1, "a->b")


def test_bad_tables(write):
    columns = Columns(time="t", rate="r")
    for text, message in (
        ("", "no column 't'; found nothing"),
        ("t,r\n0,1\n2\n", "line 3: found 1 columns, expected 2"),
        ("t,r\n5,1\n3,1\n", "line 3: time goes back by 2 s; times must not decrease"),
        ("t,r\n5,-1\n", "line 2: found rate -1"),
    ):
        with pytest.raises(NetworkError, match=message):
            Trace(path=write(text), format="table", columns=columns).realise(1, "a->b")


def test_a_mapping_belongs_to_a_table(write):
    with pytest.raises(ConfigError, match="columns: found nothing, expected a table that says which columns"):
        Trace(path=write(LOG), format="table")
    with pytest.raises(ConfigError, match="columns: found a mapping of columns for 'csv'"):
        Trace(path=write(LOG), columns=MAPPING)


def test_pantheon(write):
    path = write('{"timestamps": [0, 0.5, 1], "bandwidths": [1, 0, 3], "delays": [9], "loss": 0}')
    assert pieces(Trace(path=path, format="pantheon"), 1.5) == [(0, 0.5, 1e6), (0.5, 1, 0), (1, 1.5, 3e6)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,1", "not JSON, expected an object with lists 'timestamps'"),
        ('{"timestamps": [0]}', "expected an object with lists"),
        ('{"timestamps": [0, 1], "bandwidths": [1]}', "alike long and not empty"),
        ('{"timestamps": [], "bandwidths": []}', "alike long and not empty"),
        ('{"timestamps": [2, 0], "bandwidths": [1, 2]}', "line 2: time goes back by 2 s"),
        ('{"timestamps": [0], "bandwidths": [-2]}', "line 1: found rate -2e"),
        ("[1, 2]", "expected an object with lists"),
    ],
)
def test_bad_pantheon(write, text, message):
    with pytest.raises(NetworkError, match=message):
        Trace(path=write(text), format="pantheon").realise(1, "a->b")


def test_users_speeds(write):
    path = write('{"ann": {"down_u": 9, "down_sigma": 3, "up_u": 5, "up_sigma": 2}, "bob": '
                 '{"down_u": 90, "down_sigma": 0, "up_u": 50, "up_sigma": 0}}')  # fmt: skip
    assert UserSpeeds(path=path, direction="up", user="b").realise(1, "x").segment(0.0)[0] == 50e3
    found = {
        UserSpeeds(path=path, direction="down").realise(1, f"a{i}->b").segment(0.0)[0] for i in range(20)
    }
    assert 90e3 in found and len(found) > 2
    with pytest.raises(NetworkError, match=r"0 users begin with 'bobby', expected one. Did you mean 'bob'"):
        UserSpeeds(path=path, direction="up", user="bobby").realise(1, "x")
    with pytest.raises(NetworkError, match=r"user 'c': found .*, expected an object"):
        UserSpeeds(path=write('{"c": {"up_u": 1}}'), direction="up").realise(1, "x")


BURSTS = [(2 * burst + 0.0003 * row, 20 if burst < 15 else 5) for burst in range(30) for row in range(4)]


@pytest.mark.parametrize("rows", [BURSTS, [(0, 1), (0, 3), (7, 5), (7.5, 0), (20, 4)]])
@pytest.mark.parametrize("gaps", [{}, {"gaps": "cut", "gap_s": 1.0}])
def test_rows_and_tables_agree_on_one_file(write, rows, gaps):
    path = write("time,mbps\n" + "".join(f"{time_s:.4f},{rate}\n" for time_s, rate in rows))
    table = Trace(path=path, format="table", columns=Columns(time="time", rate="mbps"), **gaps)
    ours, theirs = Trace(path=path, **gaps).pieces(), table.pieces()
    assert theirs.rates.tolist() == ours.rates.tolist() and theirs.notes == ours.notes
    assert theirs.starts_s == pytest.approx(ours.starts_s) and theirs.period_s == pytest.approx(ours.period_s)


def test_no_wait_is_cut_out_of_a_log_unsaid(write):
    path = write("".join(f"{time_s:.4f},{rate}\n" for time_s, rate in BURSTS))
    held = Trace(path=path, rate_unit="Mbit/s")
    assert held.pieces().period_s == pytest.approx(58.0012)
    assert held.realise(1, "x").segment(0.0) == (20e6, pytest.approx(30.0))
    assert "29 of 119 waits for the next row take more than 3 times the median" in held.notes()[0]
    cut = Trace(path=path, rate_unit="Mbit/s", gaps="cut", gap_s=0.5)
    # 29 waits of 2 s - 0.9 ms keep half a second each.
    assert cut.pieces().period_s == pytest.approx(29 * 0.5 + 30 * 0.0009 + 0.0003)
    assert (
        "29 waits of more than 0.5 s for the next row: 43.4739 s of 58.0009 s are cut out" in cut.notes()[0]
    )
    with pytest.raises(
        NetworkError, match=r"29 waits of more than 0.5 s .* the first 0.0009 s after the first row"
    ):
        Trace(path=path, gaps="error", gap_s=0.5).pieces()
    with pytest.raises(ConfigError, match="gap_s: found nothing, expected the longest wait"):
        Trace(path=path, gaps="cut")


@pytest.mark.parametrize(
    ("unit", "rate_bps"), [(None, 12.0), ("kbit/s", 12e3), ("Mbit/s", 12e6), ("byte/s", 96.0), ("MB/s", 96e6)]
)
def test_a_unit_is_declared_or_remarked(write, unit, rate_bps):
    trace = Trace(path=write("0,12\n1,12\n"), rate_unit=unit)
    assert trace.realise(1, "x").segment(0.0)[0] == rate_bps
    if unit is None:
        with pytest.raises(NetworkError) as error:
            trace.notes()
        assert str(error.value).endswith(
            "found a mean rate of 12 bit/s, expected 100 kbit/s to 1 Tbit/s, as links have. "
            "Write rate_unit = 'Mbit/s' or 'MB/s', or rate_unit = 'bit/s' if it is right"
        )
    else:
        assert len(trace.notes()) == (rate_bps < 1e5)


def test_gigabit_links_in_mbit_do_not_pass_as_bits(write):
    with pytest.raises(NetworkError, match=r"a mean rate of 1850 bit/s.* or 'Mbit/s' or "):
        Trace(path=write("0,1700\n1,2000\n")).notes()
    with pytest.raises(NetworkError, match=r"1e\+13 bit/s.* rate_unit = the file's, or rate_unit = 'bit/s'"):
        Trace(path=write("0,1e13\n1,1e13\n")).notes()


@pytest.mark.parametrize(
    ("header", "unit", "refused"),
    [
        ("rate_mbps", None, "Mbit/s"),
        ("rate (Mbit/s)", "kbit/s", "Mbit/s"),
        ("bytes_per_second", None, "byte/s"),
        ("throughput kB/s", None, "kB/s"),
        ("rate_mbps", "Mbit/s", None),
        ("rate_bps", None, None),
        ("bandwidth", None, None),
    ],
)
def test_a_header_that_names_another_unit_is_refused(write, header, unit, refused):
    path = write(f"time_s,{header}\n0,2e5\n1,2e5\n")
    columns = Columns(time="time_s", rate=header)
    for trace in (
        Trace(path=path, rate_unit=unit),
        Trace(path=path, format="table", columns=columns, rate_unit=unit),
    ):
        if refused is None:
            assert trace.notes() == []
            continue
        with pytest.raises(NetworkError) as error:
            trace.notes()
        assert str(error.value) == (
            f"{path}: found rates called {header!r}, expected {unit or 'bit/s'}. "
            f"Write rate_unit = {refused!r}, or another scale than 1 if the name is wrong"
        )
    assert Trace(path=path, rate_unit="bit/s", scale=1.5).notes() == []


@pytest.mark.parametrize(
    ("time_format", "times"),
    [
        ("iso", ["2023-10-29T02:59:59+02:00", "2023-10-29T02:00:00+01:00", "2023-10-29T01:00:00.000000500Z"]),
        ("nanoseconds", ["1700000000000000000", "1700000001000000000", "1700000001000000500"]),
        ("microseconds", ["1700000000000000", "1700000001000000", "1700000001000000.5"]),
        ("milliseconds", ["1700000000000", "1700000001000", "1700000001000.0005"]),
    ],
)
def test_times_are_exact_to_the_nanosecond(write, time_format, times):
    path = write("t,r\n" + "".join(f"{time},{rate}\n" for rate, time in enumerate(times, start=1)))
    columns = Columns(time="t", rate="r", time_format=time_format)
    assert Trace(path=path, format="table", columns=columns).pieces().starts_s.tolist() == [0, 1, 1.0000005]


def test_what_a_table_does_not_guess(write):
    columns = Columns(time="t", rate="r")
    for text, message in (
        ("t,r\n1,NA\n", "line 2, column 'r': found 'NA', expected a number; no value stands there"),
        ("t;r\n1;2,5\n", "line 2, column 'r': found '2,5', expected a number; it has a decimal comma"),
        ("t,r\n1,2,5\n", "line 2: found 3 columns, expected 2"),
        ("t,r\nnan,5\n", "line 2: found time 'nan'"),
        ("t,r\n1700000000000,5\n", "line 2: found time 1.7e.12 s, expected a time in s .a moment in ms"),
    ):
        with pytest.raises(NetworkError, match=message):
            Trace(path=write(text), format="table", columns=columns).pieces()
    trace = Trace(path=write("t,r\n0,1e6\n1,-\n2,2e6\n"), format="table", columns=columns)
    assert "1 rows without a 'r' are left out" in trace.notes()[0]
    comma = Columns(time="t", rate="r", decimal=",")
    assert Trace(path=write("t;r\n0,5;2,5\n"), format="table", columns=comma).pieces().rates.tolist() == [2.5]
    mixed = Columns(time="t", rate="r", time_format="iso")
    with pytest.raises(NetworkError, match=r"line 3: .* expected all times with an offset or all without"):
        Trace(
            path=write("t,r\n2024-01-01T00:00Z,1\n2024-01-01T00:01,1\n"), format="table", columns=mixed
        ).pieces()

"""Every entry of channels/ loads, says its source, offers a rate, and stands in the README."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sfsim.channel import Constant, Trace, load, load_loss, parse, parse_loss
from sfsim.channel.survey import survey
from sfsim.declaration import read_toml
from sfsim.errors import ConfigError
from sfsim.network import FRAMINGS

CATALOGUE = Path(__file__).resolve().parents[1] / "channels"
ENTRIES = sorted(CATALOGUE.glob("*.toml"))


@pytest.mark.parametrize("path", ENTRIES, ids=lambda path: path.stem)
def test_entry(path):
    if path.stem.endswith("-loss"):
        entry = load_loss(path)
        assert 0 < entry.lost(1, "a->b", 0, 1, 100_000).mean() < 0.05
    else:
        entry = load(path)
        drawn = entry.realise(1, "a->b")
        assert any(drawn.segment(float(t))[0] > 0 for t in range(200))
    assert entry.title
    assert entry.source
    assert f"[{path.stem}]({path.name})" in (CATALOGUE / "README.md").read_text()


def test_the_readme_says_what_the_entries_give():
    rows = re.findall(
        r"\[([\w-]+)\]\(\S+\) \| \S+ \| ([\d.]+) (\w*)bit/s", (CATALOGUE / "README.md").read_text()
    )
    assert len(rows) == len(ENTRIES) - 3  # two losses, and one that depends on where the client stands
    for name, number, prefix in rows:
        said = float(number) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[prefix]
        if not load(CATALOGUE / f"{name}.toml").outage:
            found = survey(load(CATALOGUE / f"{name}.toml"), 180.0, seed=1).mean_rate_bps
            assert found == pytest.approx(said, rel=0.05), name


def test_a_traces_path_starts_at_the_file_that_names_it():
    entry = load(CATALOGUE / "leo.toml")
    assert isinstance(entry, Trace)
    assert entry.path == CATALOGUE / "leo.csv"


def test_parse_is_load_of_a_table():
    assert parse({"kind": "constant", "rate_bps": 5}, "a.toml, channel") == Constant(rate_bps=5)
    assert load_loss(CATALOGUE / "random-loss.toml") == parse_loss(
        read_toml(CATALOGUE / "random-loss.toml"), "x"
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"kind": "raleigh"}, "a.toml, kind: found 'raleigh', expected"),
        ({"kind": "constant", "rate_bps": -1}, "a.toml, rate_bps: found -1, expected"),
        ({"kind": "constant", "rate_bps": True}, "a.toml, rate_bps: found true"),
        ({"kind": "constant", "rate_mbps": 3}, "a.toml, rate_mbps: found an unknown key"),
        ({"kind": "trace"}, "a.toml, path: found nothing"),
    ],
)
def test_wrong_tables(table, message):
    with pytest.raises(ConfigError) as raised:
        parse(table, "a.toml")
    assert str(raised.value).startswith(message)


def test_a_loss_is_not_a_channel():
    with pytest.raises(ConfigError, match="kind: found 'gilbert-elliott', expected"):
        load(CATALOGUE / "bursty-loss.toml")


def test_what_real_frames_leave() -> None:
    """Goodput of TCP with timestamps over full frames, by the standards' own numbers."""
    tcp = FRAMINGS["tcp-ipv4-ethernet"]
    frame, payload = tcp.payload_bytes + tcp.overhead_bytes, tcp.payload_bytes
    wired, dsl = load(CATALOGUE / "wired.toml"), load(CATALOGUE / "dsl.toml")
    assert wired.rate_bps * payload / frame == pytest.approx(1e9 * 1448 / 1538, rel=1e-4)  # 941 Mbit/s
    # A packet of 1,492 bytes with 1,440 of data behind PPPoE, VLAN and PTM; 64 of 65 bytes of the line.
    assert dsl.rate_bps * payload / frame == pytest.approx(10e6 * 64 / 65 * 1440 / 1525, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "blocks", "block_hz", "carrier_hz", "symbols", "overhead"),
    [
        ("lte-pedestrian", 50, 180e3, 10e6, 1.0, 2 / 14),
        ("lte-vehicular", 50, 180e3, 10e6, 1.0, 2 / 14),
        ("markov-vehicular", 50, 180e3, 10e6, 1.0, 2 / 14),
        ("5g-midband", 273, 360e3, 100e6, (14 + 2) / 70, 0.08),
        ("5g-mmwave", 66, 1.44e6, 100e6, (14 + 2) / 70, 0.10),
    ],
)
def test_what_the_grid_leaves(name, blocks, block_hz, carrier_hz, symbols, overhead) -> None:
    """Data take the resource blocks of the carrier, this direction's symbols, and what pilots and control leave."""
    entry = load(CATALOGUE / f"{name}.toml")
    assert entry.snr_to_rate.share == pytest.approx(
        blocks * block_hz / carrier_hz * symbols * (1 - overhead), abs=5e-4
    )
    whole = replace(entry, snr_to_rate=replace(entry.snr_to_rate, share=1.0))
    times_s = np.linspace(0.0, 5.0, 50)
    ours, all_of_it = entry.realise(1, "x"), whole.realise(1, "x")
    for time_s in times_s:
        assert ours.segment(time_s)[0] == pytest.approx(
            entry.snr_to_rate.share * all_of_it.segment(time_s)[0], rel=1e-12
        )


@pytest.mark.parametrize("name", ["cell-walk", "lte-vehicular", "markov-vehicular", "5g-mmwave"])
def test_who_stands_almost_still_has_blocks_that_end(name):
    """A walk of 1e-308 m/s: blocks of 100 s, not of 1e300, over which a wandering client would be followed."""
    entry = replace(load(CATALOGUE / f"{name}.toml"), speed_m_per_s=1e-308)
    drawn = entry.realise(1, "x")
    with np.errstate(over="raise", invalid="raise"):
        _, until_s = drawn.segment(0.0)
        assert 0 < until_s < 1e7
        drawn.segment(1e6)

"""What a channel or a law of loss does over a while: the numbers and curves of `sfsim show channel`."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from sfsim.channel.catalogue import AnyChannel, AnyLoss, parse_either
from sfsim.channel.loss import Loss
from sfsim.channel.realisation import Channel, Realisation
from sfsim.channel.trace import Trace
from sfsim.declaration import read_toml
from sfsim.errors import NetworkError

_BINS = 1000
_AT_ONCE = 8192
_DEFAULT_S = 60.0
_MOST_PIECES = 20_000_000


@dataclass(frozen=True, eq=False)
class ChannelSurvey:
    """A channel from time 0 on.

    Parameters
    ----------
    seconds : float
        How long.
    mean_rate_bps : float
        Mean rate over that time.
    outage_share : float
        Share of the time with rate 0.
    mean_burst_s : float
        Mean length of the outages; 0 when there is none.
    num_bursts : int
        How many outages.
    edges_s, rate_bps, down : array
        Curves: mean rate and share of outage between two edges.
    snr_db : array or None
        SNR in the middle between two edges.
    """

    seconds: float
    mean_rate_bps: float
    outage_share: float
    mean_burst_s: float
    num_bursts: int
    edges_s: np.ndarray
    rate_bps: np.ndarray
    down: np.ndarray
    snr_db: np.ndarray | None


@dataclass(frozen=True, eq=False)
class LossSurvey:
    """A law of loss over many packets in a row: mean, bursts, and the share lost between two edges."""

    packets: int
    loss_share: float
    mean_burst_packets: float
    num_bursts: int
    edges: np.ndarray
    lost: np.ndarray


Picture = tuple[np.ndarray, str, list[tuple[str, np.ndarray]], str]


def show(path: Path, seconds: float | None, packets: int, seed: int) -> tuple[dict[str, Any], Picture]:
    """Return the figures of a channel or a law of loss, and what `sfsim.report.channel.draw` needs.

    Raises
    ------
    ConfigError, NetworkError
        The file, or a trace that it names, is missing or malformed.
    """
    entry = load_either(path)
    title = entry.title or path.stem
    if isinstance(entry, Loss):
        found = survey_loss(entry, packets, seed)
        return _figures(found), (found.edges, "packet", [("share of packets lost", found.lost)], title)
    notes = entry.notes() if isinstance(entry, Trace) else []
    seen = survey(entry, seconds, seed)
    panels = [("rate (Mbit/s)", seen.rate_bps / 1e6)]
    if seen.snr_db is not None:
        panels.append(("SNR (dB)", seen.snr_db))
    panels.append(("share of outage", seen.down))
    return _figures(seen) | ({"notes": notes} if notes else {}), (
        seen.edges_s,
        "simulated time (s)",
        panels,
        title,
    )


def _figures(found: "ChannelSurvey | LossSurvey") -> dict[str, Any]:
    values = {field.name: getattr(found, field.name) for field in fields(found)}
    return {name: value for name, value in values.items() if isinstance(value, int | float)}


def load_either(path: Path) -> Channel | Loss:
    """Read a channel or a law of loss, whichever the file's ``kind`` says."""
    return parse_either(read_toml(path, AnyChannel | AnyLoss), str(path), path.parent)


def survey(channel: Channel, seconds: float | None, seed: int) -> ChannelSurvey:
    """Walk over a channel; by default over one period of a trace, and over a minute of anything else."""
    drawn = channel.realise(seed, "show->channel")
    seconds = seconds or drawn.period_s or _DEFAULT_S
    ends_s, rates = pieces(drawn, seconds)
    bounds = np.append(0.0, ends_s)
    lengths_s = np.diff(bounds)
    edges_s = np.linspace(0.0, seconds, _BINS + 1)
    width_s = seconds / _BINS
    down = rates == 0

    def mean_of(values: np.ndarray) -> np.ndarray:
        area = np.append(0.0, np.cumsum(values * lengths_s))
        return np.asarray(np.diff(np.interp(edges_s, bounds, area)) / width_s)

    bursts = _bursts(down)
    return ChannelSurvey(
        seconds=seconds,
        mean_rate_bps=float(rates @ lengths_s / seconds),
        outage_share=float(down @ lengths_s / seconds),
        mean_burst_s=float(down @ lengths_s / max(bursts, 1)),
        num_bursts=bursts,
        edges_s=edges_s,
        rate_bps=mean_of(rates),
        down=mean_of(down),
        snr_db=drawn.snr_db(edges_s[:-1] + width_s / 2),
    )


def pieces(drawn: Realisation, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends in s and the rates in bit/s of all pieces up to `seconds`."""
    ends: list[np.ndarray] = []
    rates: list[np.ndarray] = []
    time_s, count = 0.0, 0
    while time_s < seconds:
        some_ends_s, some_rates = drawn.blocks(time_s, _AT_ONCE)
        ends.append(some_ends_s)
        rates.append(some_rates)
        time_s, count = float(some_ends_s[-1]), count + len(some_ends_s)
        if count > _MOST_PIECES:
            raise NetworkError(f"the channel changes more than {_MOST_PIECES:,} times; look at fewer seconds")
    ends_s = np.minimum(np.concatenate(ends), seconds)
    used = int(np.searchsorted(ends_s, seconds)) + 1
    return ends_s[:used], np.concatenate(rates)[:used]


def survey_loss(loss: Loss, packets: int, seed: int) -> LossSurvey:
    """Send many packets in a row."""
    lost = loss.lost(seed, "show->channel", 0, 1, packets)
    edges = np.linspace(0, packets, min(_BINS, packets) + 1).astype(int)
    bursts = _bursts(lost)
    return LossSurvey(
        packets=packets,
        loss_share=float(lost.mean()),
        mean_burst_packets=float(lost.sum() / max(bursts, 1)),
        num_bursts=bursts,
        edges=edges,
        lost=np.add.reduceat(lost.astype(float), edges[:-1]) / np.diff(edges),
    )


def _bursts(flags: np.ndarray) -> int:
    return int(np.count_nonzero(np.diff(np.append(False, flags).astype(np.int8)) == 1))

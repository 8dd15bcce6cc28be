"""From a distance to a peak rate: power control, link budget, and what stale channel knowledge costs.

SNR per resource block, in dB, with all power on the whole carrier of M blocks:

    up:    P = min(Pmax, P0 + alpha PL + 10 log10 M);   SNR = P - 10 log10 M - PL + G - N
    down:  SNR = P - 10 log10 M - PL + G - N
    N = -174 + 10 log10(width of a block) + noise figure + interference margin

Source: 3GPP TS 36.213 5.1.1.1 for the uplink power.
Left out: the closed-loop corrections (delta_TF, f) of the power, interference that changes.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import log10, pi

import numpy as np

from sfsim.channel import Constant, RayleighBlock, RicianBlock
from sfsim.errors import ConfigError
from sfsim.network.cell.declarations import Cellular, WifiCell
from sfsim.network.declarations import Link

_FADING = {"rayleigh": RayleighBlock, "rician": RicianBlock}
# Above the mean: what one of 2^20 blocks exceeds; a run calls a link that waits longer down for ever.
_BEST_FADE_DB = {"none": 0.0, "rayleigh": 11.4, "rician": 6.6}
_RAYLEIGH_DB = 5.57  # standard deviation of a Rayleigh-faded power in dB: 10 / ln 10 * pi / sqrt 6
_TYPICAL_M = 200.0
_OUTAGE_QUANTILE = 1.2816  # of the normal law: 10 % of the blocks fall below


@dataclass(frozen=True)
class CellAccess:
    """One direction of a client's way into a cell; stands at the edge of the network graph, beside the link.

    Parameters
    ----------
    cell : str
        Name of the cell.
    client : str
        Whose way it is.
    down : bool
        From the cell to the client.
    phy_bps : float
        PHY rate (Wi-Fi); 0: the one that fits the peak rate.
    snr, snr_limit : float
        Linear, see `sfsim.network.cell.policy.Members`.
    """

    cell: str
    client: str
    down: bool
    phy_bps: float = 0.0
    snr: float = float("inf")
    snr_limit: float = float("inf")

    @property
    def traits(self) -> dict[str, float]:
        """What the cell's policy wants to know of this way, by the names of `Members`."""
        return {"down": self.down, "phy_bps": self.phy_bps, "snr": self.snr, "snr_limit": self.snr_limit}


def cell_link(
    cell: Cellular | WifiCell, name: str, client: str, distance_m: float, down: bool, seed: int
) -> tuple[Link, CellAccess]:
    """Return the link of a client at `distance_m`: its capacity is the client's peak rate over time.

    What is random about its path loss depends on the seed of the network, the cell's name and the client's.
    Raises ConfigError where the cell does not reach.
    """
    lost_db = loss_db(cell, distance_m, seed, f"{name}: {client}")
    if isinstance(cell, WifiCell):
        return _wifi_link(cell, name, client, distance_m, lost_db, down)
    snr_db, most_db = snr(cell, lost_db, down)
    margin_db = csi_margin_db(cell)
    mapping = cell.downlink_snr_to_rate if down else cell.uplink_snr_to_rate
    highest_bps = cell.bandwidth_hz * cell.max_bits_per_hz
    best_db = snr_db - margin_db + _BEST_FADE_DB[cell.fading]
    efficiency = float(mapping.bits_per_hz(np.array(10 ** (best_db / 10))))
    if efficiency <= 0:
        raise _out_of_reach(name, client, distance_m, snr_db)
    if cell.fading == "none":
        channel = Constant(rate_bps=cell.bandwidth_hz * efficiency)
    else:
        channel = _FADING[cell.fading](
            mean_snr_db=snr_db - margin_db,
            bandwidth_hz=cell.bandwidth_hz,
            coherence_time_s=cell.coherence_time_s,
            snr_to_rate=mapping,
        )
    overhead = cell.downlink_overhead if down else cell.uplink_overhead
    link = Link(rate_bps=highest_bps, channel=channel, latency_s=cell.latency_s, efficiency=1.0 - overhead)
    gap = 10 ** (getattr(mapping, "gap_db", 0.0) / 10)
    limit_db = min(target_snr_db(cell, lost_db), 10 * log10(gap * (2**cell.max_bits_per_hz - 1)))
    return link, CellAccess(
        name,
        client,
        down,
        snr=10 ** (most_db / 10),
        snr_limit=10 ** (limit_db / 10) if not down else float("inf"),
    )


@lru_cache(maxsize=2**17)  # both directions ask, and every look at a scenario
def loss_db(cell: Cellular | WifiCell, distance_m: float, seed: int, place: str) -> float:
    """Return the path loss in dB of the client at `place`, shadowing included.

    >>> round(loss_db(Cellular(), 500.0, seed=7, place="lte: phone"), 1)
    116.8
    """
    drawn = cell.path_loss.realise(seed, place, cell.carrier_hz)
    return float(drawn.db(np.array([distance_m]), np.zeros(1))[0])


def typical_snr_db(cell: Cellular, down: bool) -> float:
    """Return the median SNR at 200 m, of places that are drawn without regard to the run's seed."""
    losses_db = [loss_db(cell, _TYPICAL_M, 0, f"typical {number}") for number in range(25)]
    return snr(cell, float(np.median(losses_db)), down)[0]


def snr(cell: Cellular, lost_db: float, down: bool) -> tuple[float, float]:
    """Return the SNR in dB on the whole carrier, behind `lost_db` of path loss.

    As power control has it, and with all power.

    >>> [round(value, 1) for value in snr(Cellular(resource_blocks=25), 122.3, down=False)]
    [3.2, 3.2]
    """
    below_gain_db = lost_db - cell.antenna_gain_db
    spread_db = 10 * log10(cell.resource_blocks)
    if down:
        value = cell.downlink_power_dbm - spread_db - below_gain_db - _noise_dbm(cell, down)
        return value, value
    most_dbm = cell.uplink_power_dbm
    power_dbm = min(most_dbm, spread_db + cell.p0_dbm + cell.alpha * lost_db)
    below_db = spread_db + below_gain_db + _noise_dbm(cell, down)
    return power_dbm - below_db, most_dbm - below_db


def target_snr_db(cell: Cellular, lost_db: float) -> float:
    """Return the uplink SNR per block that power control aims at."""
    return cell.p0_dbm + (cell.alpha - 1) * lost_db + cell.antenna_gain_db - _noise_dbm(cell, down=False)


def freshness(cell: Cellular) -> float:
    """Return the squared correlation of the channel with the scheduler's knowledge: ``J0(2 pi f_D delay)^2``.

    The Doppler frequency f_D is ``0.423 / coherence_time_s``. Source: Clarke's model; Rappaport, section 5.4.
    """
    from scipy.special import j0

    return float(j0(2 * pi * 0.423 / cell.coherence_time_s * cell.csi_delay_s)) ** 2


def csi_margin_db(cell: Cellular) -> float:
    """Return by how much the modem has to underrate its SNR so that 10 % of the blocks fail, not more.

    1.28 standard deviations of what it does not know: the error of the measurement and, when the channel
    fades, what the channel has moved since, ``5.57 dB * sqrt(1 - correlation^2)``, taken as independent and
    normal in dB.
    """
    moved = (1 - freshness(cell)) if cell.fading != "none" else 0.0
    return float(_OUTAGE_QUANTILE * np.sqrt(cell.csi_error_db**2 + _RAYLEIGH_DB**2 * moved))


def _noise_dbm(cell: Cellular, down: bool) -> float:
    figure_db = cell.downlink_noise_figure_db if down else cell.uplink_noise_figure_db
    return -174 + 10 * log10(cell.block_hz) + figure_db + cell.interference_margin_db


def _wifi_link(
    cell: WifiCell, name: str, client: str, distance_m: float, lost_db: float, down: bool
) -> tuple[Link, CellAccess]:
    from sfsim.network.cell.wifi import BANDWIDTH_HZ, STANDARDS

    power_dbm = cell.downlink_power_dbm if down else cell.uplink_power_dbm
    noise_dbm = -174 + 10 * log10(BANDWIDTH_HZ) + cell.noise_figure_db + cell.interference_margin_db
    snr_db = power_dbm - lost_db - noise_dbm
    phy_bps = STANDARDS[cell.standard].phy_bps(snr_db)
    if phy_bps is None:
        raise _out_of_reach(name, client, distance_m, snr_db)
    link = Link(rate_bps=STANDARDS[cell.standard].rate_bps(phy_bps), latency_s=cell.latency_s)
    return link, CellAccess(name, client, down, phy_bps=phy_bps)


def _out_of_reach(name: str, client: str, distance_m: float, snr_db: float) -> ConfigError:
    found = f"{distance_m:g} m for {client!r}, where the SNR is {snr_db:.1f} dB"
    return ConfigError("distance_m", found, f"a place that cell {name!r} reaches")

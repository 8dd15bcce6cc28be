"""Access policies: how the members that are active in one cell at this instant share its airtime.

All of them keep ``sum r_i / R_i <= budget`` in one form or another, where ``R_i`` is what member i would get
alone on the air (its peak rate) and ``r_i`` what it gets. A member that can use less than its share, because
the rest of its route lets no more through, returns the rest to the others.

A message that crosses the medium more than once (half duplex, from one client to another) is a member for each
crossing: each has its turn and takes its airtime, and all have the rate of the slowest (`Members.flows`).

Most are "weight times a common level": ``r_i = min(cap_i, weight_i * level)`` with
``sum cost_i * r_i <= budget``. Those say `weights`, so that an engine can treat the cell as one more resource
of its progressive filling; the others only `allocate`.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from sfsim.network.cell import csma, gain, grid, ofdma
from sfsim.network.cell.filling import fill, serve_best

Weights = tuple[np.ndarray, np.ndarray, float]


@dataclass(frozen=True)
class Members:
    """What some policies want to know of the active members; every array has shape (n,).

    Parameters
    ----------
    down : bool array, optional
        Who receives from the cell; default: nobody (csma: all downlinks share the access point's FIFO).
    phy_bps : float64 array, optional
        PHY rates (csma); 0 or absent: those that fit the peak rates.
    snr : float64 array, optional
        SNR with all power on the whole band, linear (ofdma); infinite or absent: power is no limit.
    snr_limit : float64 array, optional
        SNR per block that power control and the best modulation do not exceed, linear (ofdma).
    flows : int64 array, optional
        Numbers from 0 on that do not decrease; members of the same number are crossings of one message and
        have one rate. Default: each is a message of its own.
    """

    down: np.ndarray | None = None
    phy_bps: np.ndarray | None = None
    snr: np.ndarray | None = None
    snr_limit: np.ndarray | None = None
    flows: np.ndarray | None = None

    def firsts(self) -> np.ndarray:
        """Return the place of the first crossing of every message: int64, shape (messages,)."""
        return np.flatnonzero(np.diff(np.asarray(self.flows), prepend=-1))


NOBODY = Members()


@dataclass(frozen=True)
class Policy:
    """Base of all policies.

    Parameters
    ----------
    budget : float
        Share of the time that the cell has for these members: 1, or less with time division duplex.
    """

    budget: float = 1.0

    def allocate(self, peak_bps: np.ndarray, cap_bps: np.ndarray, members: Members = NOBODY) -> np.ndarray:
        """Return the rates of the active members.

        Parameters
        ----------
        peak_bps : float64 array, shape (n,)
            What each would get alone on the air; 0 in an outage.
        cap_bps : float64 array, shape (n,)
            What the rest of its route lets through at most; infinite when nothing limits it.
        members : Members
            What else there is to know of them.

        Returns
        -------
        rate_bps : float64 array, shape (n,)
        """
        known = self.weights(peak_bps, len(peak_bps))
        if known is None:
            raise NotImplementedError
        weight, cost, budget = known
        caps = np.asarray(cap_bps, float)
        if members.flows is None:
            return np.asarray(fill(weight, cost, caps, budget))
        firsts = members.firsts()
        least = np.minimum.reduceat
        rates = fill(least(weight, firsts), np.add.reduceat(cost, firsts), least(caps, firsts), budget)
        return np.asarray(rates)[members.flows]

    def weights(self, peak_bps: np.ndarray, n: int) -> Weights | None:
        """Return ``(weight, cost, budget)`` when `n` members are active, or None for a policy of another
        form.

        `peak_bps` may be of any number of members: weight and cost of one depend on its own peak and on `n`.
        """
        return None


@dataclass(frozen=True)
class EqualAirtime(Policy):
    """Round robin, TDMA: everybody gets the same share of the time."""

    def weights(self, peak_bps: np.ndarray, n: int) -> Weights:
        peak_bps = np.asarray(peak_bps, float)
        return peak_bps, _inverse(peak_bps), self.budget


@dataclass(frozen=True)
class ProportionalFair(EqualAirtime):
    """Equal airtime, each served while its own channel is good: all rates grow by the multi-user gain.

    Parameters
    ----------
    gain : str
        Law of the gain, see `sfsim.network.cell.gain`.
    mean_snr_db : float
        Mean SNR, for the law "rayleigh".
    freshness : float
        Squared correlation of the channel with what the scheduler knows of it; scales the gain above 1.
    """

    gain: str = "measured"
    mean_snr_db: float = 10.0
    freshness: float = 1.0

    def weights(self, peak_bps: np.ndarray, n: int) -> Weights:
        weight, cost, budget = super().weights(peak_bps, n)
        more = gain.multi_user(self.gain, n, self.mean_snr_db) - 1
        return weight, cost, budget * (1 + self.freshness * more)


@dataclass(frozen=True)
class EqualRate(Policy):
    """Everybody gets the same rate: the slow decide. A member in outage stands aside."""

    def weights(self, peak_bps: np.ndarray, n: int) -> Weights:
        peak_bps = np.asarray(peak_bps, float)
        return (peak_bps > 0).astype(float), _inverse(peak_bps), self.budget


@dataclass(frozen=True)
class MaxRate(Policy):
    """Who has the highest peak rate is served first; equals share the time.

    The peak rate of a message with several crossings is that of one crossing after the other.
    """

    def allocate(self, peak_bps: np.ndarray, cap_bps: np.ndarray, members: Members = NOBODY) -> np.ndarray:
        peak, caps = np.asarray(peak_bps, float), np.asarray(cap_bps, float)
        if members.flows is None:
            return np.asarray(serve_best(peak, caps, self.budget))
        # What counts is the rate for the airtime of all crossings.
        firsts = members.firsts()
        slowest = np.minimum.reduceat(peak, firsts)
        together = np.where(slowest > 0, 1 / np.add.reduceat(_inverse(peak), firsts), 0.0)
        return np.asarray(serve_best(together, np.minimum.reduceat(caps, firsts), self.budget))[members.flows]


@dataclass(frozen=True)
class Private(Policy):
    """Nobody shares: everybody has a link of its own. What other simulators assume; for comparison."""

    def allocate(self, peak_bps: np.ndarray, cap_bps: np.ndarray, members: Members = NOBODY) -> np.ndarray:
        return np.minimum(np.asarray(peak_bps, float) * self.budget, cap_bps)


@dataclass(frozen=True)
class Ofdma(Policy):
    """Sub-bands side by side, of one width for all that need it; see `sfsim.network.cell.ofdma`.

    Parameters
    ----------
    gap : float
        SNR gap of the modem to Shannon's bound, linear.
    sub_bands : int, optional
        Fixed number of sub-bands, so that nobody gets more than one; default: as many as active members.
    """

    gap: float = 1.0
    sub_bands: int | None = None

    def allocate(self, peak_bps: np.ndarray, cap_bps: np.ndarray, members: Members = NOBODY) -> np.ndarray:
        peak_bps = np.asarray(peak_bps, float)
        endless = np.full(len(peak_bps), np.inf)
        snr = endless if members.snr is None else np.asarray(members.snr, float)
        limit = endless if members.snr_limit is None else np.asarray(members.snr_limit, float)
        if members.down is not None:  # a base station's power is spread over the whole band anyway
            snr = np.where(members.down, np.inf, snr)
        widest = 1.0 if self.sub_bands is None else 1.0 / self.sub_bands
        caps = np.asarray(cap_bps, float)
        flows = np.arange(len(peak_bps)) if members.flows is None else np.asarray(members.flows)
        peaks, snr, limit = peak_bps * self.budget, snr / self.gap, limit / self.gap
        return np.asarray(ofdma.share(peaks, caps, snr, limit, widest, flows))


@dataclass(frozen=True)
class LteGrid(Policy):
    """Equal airtime on LTE's grid of whole resource blocks, less the header of every block.

    Parameters
    ----------
    resource_blocks : int
        Of the carrier.
    scheduler : {"rr", "pf"}
        Of the downlink: round robin loses what whole groups of blocks leave over, proportional fair does not.
    downlink : bool
        Which direction the members have.
    """

    resource_blocks: int = 25
    scheduler: str = "rr"
    downlink: bool = False

    def weights(self, peak_bps: np.ndarray, n: int) -> Weights:
        blocks = partial(grid.downlink, self.scheduler) if self.downlink else grid.uplink
        rate = grid.rate_alone(np.asarray(peak_bps, float), *blocks(self.resource_blocks, max(1, n)))
        return rate, _inverse(rate), self.budget


@dataclass(frozen=True)
class Csma(Policy):
    """802.11 DCF; see `sfsim.network.cell.csma`.

    Parameters
    ----------
    standard : {"802.11a", "802.11n"}
        Durations of frames, and whether an access carries a burst.
    """

    standard: str = "802.11n"

    def allocate(self, peak_bps: np.ndarray, cap_bps: np.ndarray, members: Members = NOBODY) -> np.ndarray:
        peak_bps = np.asarray(peak_bps, float)
        down = np.zeros(len(peak_bps), bool) if members.down is None else np.asarray(members.down)
        caps = np.asarray(cap_bps, float)
        return csma.rates(self.standard, peak_bps, caps, down, members.phy_bps, members.flows)


def _inverse(rate: np.ndarray) -> np.ndarray:
    return np.divide(1.0, rate, out=np.zeros_like(rate), where=rate > 0)

"""A cell in operation: members that join and leave, and whose peak rates change, share one medium.

The engine that moves flows asks it three things: who shares now and how (`Medium.weights`, or
`Medium.allocate` for policies that are not a weight times a level), when the next peak rate changes
(`Medium.changes_at_s`), and what changed (`Medium.follow`). It knows no SimPy.

One flow is one member: two messages of one client at a time count as two.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from math import inf

import numpy as np

from sfsim.channel import Shannon
from sfsim.network.cell import policy as policies
from sfsim.network.cell.declarations import Cellular, WifiCell
from sfsim.network.cell.policy import Members, Policy, Weights
from sfsim.network.cell.radio import freshness, snr

Segment = Callable[[float], tuple[float, float]]


@dataclass(eq=False, slots=True)
class _Member:
    peak: Segment
    down: bool
    phy_bps: float
    snr: float
    snr_limit: float
    peak_bps: float = 0.0
    until_s: float = -inf


class Medium:
    """Members on one shared medium, in the order in which they joined.

    Parameters
    ----------
    policy : Policy
        How they share it.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._members: dict[Hashable, _Member] = {}
        self._arrays: tuple[np.ndarray, Members] | None = None

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._members

    @property
    def keys(self) -> list[Hashable]:
        """The members; all arrays are in this order."""
        return list(self._members)

    @property
    def peak_bps(self) -> np.ndarray:
        """What each member would get alone on the air at the instant of the last `join` or `follow`."""
        return self._read()[0]

    @property
    def changes_at_s(self) -> float:
        """When the next peak rate changes; infinite for never."""
        return min((member.until_s for member in self._members.values()), default=inf)

    def join(
        self,
        key: Hashable,
        now_s: float,
        peak: Segment,
        *,
        down: bool = False,
        phy_bps: float = 0.0,
        snr: float = inf,
        snr_limit: float = inf,
    ) -> None:
        """Let a member in.

        Parameters
        ----------
        key : hashable
            Who it is; not a member yet.
        now_s : float
            The instant.
        peak : callable
            ``peak(time_s)`` returns ``(peak_bps, valid_until_s)``, as a channel's realisation does.
        down : bool
            It receives from the cell.
        phy_bps, snr, snr_limit : float
            See `sfsim.network.cell.policy.Members`.
        """
        if key in self._members:
            raise ValueError(f"{key!r} is a member already")
        member = _Member(peak, down, phy_bps, snr, snr_limit)
        member.peak_bps, member.until_s = peak(now_s)
        self._members[key] = member
        self._arrays = None

    def leave(self, key: Hashable) -> None:
        """Let a member go."""
        del self._members[key]
        self._arrays = None

    def follow(self, now_s: float) -> list[Hashable]:
        """Bring all peak rates up to `now_s`; return the members whose rate changed."""
        changed: list[Hashable] = []
        for key, member in self._members.items():
            if member.until_s <= now_s:
                before = member.peak_bps
                member.peak_bps, member.until_s = member.peak(now_s)
                if member.peak_bps != before:
                    changed.append(key)
        if changed:
            self._arrays = None
        return changed

    def allocate(self, cap_bps: np.ndarray | None = None) -> np.ndarray:
        """Return the rates of all members, shape (n,); `cap_bps`: what the rest of each route allows."""
        peak_bps, members = self._read()
        if not len(peak_bps):
            return np.empty(0)
        cap_bps = np.full(len(peak_bps), inf) if cap_bps is None else np.asarray(cap_bps, float)
        return self.policy.allocate(peak_bps, cap_bps, members)

    def weights(self) -> Weights | None:
        """Return ``(weight, cost, budget)`` of all members, or None where only `allocate` can tell."""
        return self.policy.weights(self.peak_bps, len(self))

    def _read(self) -> tuple[np.ndarray, Members]:
        if self._arrays is None:
            rows = self._members.values()
            self._arrays = (
                np.array([member.peak_bps for member in rows], float),
                Members(
                    down=np.array([member.down for member in rows], bool),
                    phy_bps=np.array([member.phy_bps for member in rows], float),
                    snr=np.array([member.snr for member in rows], float),
                    snr_limit=np.array([member.snr_limit for member in rows], float),
                ),
            )
        return self._arrays


def media(cell: Cellular | WifiCell, mean_snr_db: float | None = None) -> tuple[Medium, Medium]:
    """Return the media of a cell's uplink and downlink: one and the same when it is half duplex.

    `mean_snr_db` is what the law "rayleigh" of the multi-user gain reckons with; default: at 200 m.
    """
    if isinstance(cell, WifiCell) or cell.duplex == "half":
        both = Medium(policy_of(cell, down=False, mean_snr_db=mean_snr_db))
        return both, both
    return (
        Medium(policy_of(cell, down=False, mean_snr_db=mean_snr_db)),
        Medium(policy_of(cell, down=True, mean_snr_db=mean_snr_db)),
    )


def policy_of(cell: Cellular | WifiCell, *, down: bool, mean_snr_db: float | None = None) -> Policy:
    """Return the policy that a declared cell has in one direction."""
    if isinstance(cell, WifiCell):
        simple = {"round-robin": policies.EqualAirtime, "equal-rate": policies.EqualRate}
        if cell.access == "csma":
            return policies.Csma(standard=cell.standard)
        return simple.get(cell.access, policies.Private)()
    budget = cell.airtime(down)
    if cell.access in ("round-robin", "tdma"):
        return policies.EqualAirtime(budget)
    if cell.access == "proportional-fair":
        return policies.ProportionalFair(
            budget,
            gain=cell.pf_gain if cell.fading != "none" else "none",
            mean_snr_db=snr(cell, _TYPICAL_M, down)[0] if mean_snr_db is None else mean_snr_db,
            freshness=freshness(cell),
        )
    if cell.access == "ofdma":
        modem = cell.downlink_snr_to_rate if down else cell.uplink_snr_to_rate
        gap = 10 ** (modem.gap_db / 10) if isinstance(modem, Shannon) else 1.0
        return policies.Ofdma(budget, gap=gap, sub_bands=cell.sub_bands)
    if cell.access == "lte-grid":
        return policies.LteGrid(budget, cell.resource_blocks, cell.grid_scheduler, down)
    return {"max-rate": policies.MaxRate, "equal-rate": policies.EqualRate, "private": policies.Private}[
        cell.access
    ](budget)


def multicast(peaks: Iterable[Segment]) -> Segment:
    """Return the peak rate of one transmission to all receivers: at each time the slowest one's."""
    peaks = list(peaks)

    def slowest(time_s: float) -> tuple[float, float]:
        now = [peak(time_s) for peak in peaks]
        return min(rate_bps for rate_bps, _ in now), min(until_s for _, until_s in now)

    return slowest


_TYPICAL_M = 200.0

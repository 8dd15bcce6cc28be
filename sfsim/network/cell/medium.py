"""What a declared cell is in operation: who shares with whom, by which policy, and what multicast gets."""

from collections.abc import Callable, Iterable

from sfsim.channel import Shannon
from sfsim.network.cell import policy as policies
from sfsim.network.cell.declarations import Cellular, WifiCell
from sfsim.network.cell.policy import Policy
from sfsim.network.cell.radio import freshness, typical_snr_db

Segment = Callable[[float], tuple[float, float]]


def is_half_duplex(cell: Cellular | WifiCell) -> bool:
    """Say whether up and down share one medium."""
    return isinstance(cell, WifiCell) or cell.duplex == "half"


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
            mean_snr_db=typical_snr_db(cell, down) if mean_snr_db is None else mean_snr_db,
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

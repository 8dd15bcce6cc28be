"""How long an 802.11 access takes: frames, acknowledgements and bursts (A-MPDU) of the standards that are
modelled.

Source: IEEE 802.11-2020, clauses 17 (OFDM, "802.11a") and 19 (HT, "802.11n", 20 MHz, long guard interval, one
spatial stream); table 17-18 and 19-23 for the sensitivities (noise figure 10 dB, implementation margin 5 dB).
Left out: RTS/CTS, lost beacons, rate adaptation, 40 MHz and more streams.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import numpy as np

from sfsim.network.cell.backoff import SLOTS_ALONE

SLOT_S = 9e-6
BANDWIDTH_HZ = 20e6
PAYLOAD_BYTES = 1472  # of one UDP datagram in one MPDU
_SIFS_S, _SYMBOL_S = 16e-6, 4e-6
_ACK_BYTES, _BLOCK_ACK_BYTES = 14, 32
_LONGEST_PPDU_S = 5.484e-3
_MPDU_BYTES = PAYLOAD_BYTES + 8 + 20 + 8 + 28  # UDP, IPv4, LLC/SNAP, MAC header and checksum
_HT_MPDU_BYTES = _MPDU_BYTES + 2 + 6  # QoS control; delimiter and padding of an A-MPDU subframe


@dataclass(frozen=True)
class Standard:
    """One physical layer.

    Parameters
    ----------
    name : str
        What a scenario calls it.
    rates_bps : tuple of float
        Its PHY rates.
    min_snr_db : tuple of float
        SNR that each rate needs, from the receiver sensitivity.
    preamble_s : float
        What precedes the data symbols of a frame.
    spacing_s : float
        Idle time before the backoff: DIFS, or AIFS of best effort.
    mpdu_bytes : int
        One datagram with all headers.
    aggregates : bool
        Whether an access carries a burst of datagrams.
    """

    name: str
    rates_bps: tuple[float, ...]
    min_snr_db: tuple[float, ...]
    preamble_s: float
    spacing_s: float
    mpdu_bytes: int
    aggregates: bool

    def burst(self, phy_bps: float) -> int:
        """Return how many datagrams one access carries at most."""
        if not self.aggregates:
            return 1
        data_s = _LONGEST_PPDU_S - self.preamble_s
        return max(1, int(data_s * phy_bps / 8 / self.mpdu_bytes))

    def frame_s(self, phy_bps: float, datagrams: int) -> float:
        """Return how long the frame with so many datagrams is on the air."""
        return self.preamble_s + _symbols_s(self.mpdu_bytes * datagrams, phy_bps)

    def answer_s(self, phy_bps: float) -> float:
        """Return how long the acknowledgement lasts, sent at the highest mandatory rate up to `phy_bps`."""
        control_bps = max((rate for rate in (6e6, 12e6, 24e6) if rate <= phy_bps), default=6e6)
        return 20e-6 + _symbols_s(_BLOCK_ACK_BYTES if self.aggregates else _ACK_BYTES, control_bps)

    def rate_bps(self, phy_bps: float) -> float:
        """Return the goodput of a station alone, in bit/s.

        >>> [round(STANDARDS["802.11a"].rate_bps(phy) / 1e6, 2) for phy in (6e6, 54e6)]
        [5.27, 29.93]
        """
        count = self.burst(phy_bps)
        cycle_s = SLOTS_ALONE * SLOT_S + self.spacing_s + self.frame_s(phy_bps, count) + _SIFS_S
        return 8 * PAYLOAD_BYTES * count / (cycle_s + self.answer_s(phy_bps))

    def collision_extra_s(self, phy_bps: float) -> float:
        """Return how much longer a collision blocks the medium than a success: EIFS in place of the answer.

        EIFS = SIFS + an ACK at 6 Mbit/s (44 us) + the usual spacing.
        """
        return 44e-6 - self.answer_s(phy_bps)

    def phy_bps(self, snr_db: float) -> float | None:
        """Return the highest PHY rate that works at `snr_db`, or None out of range."""
        fit = [
            rate for rate, least_db in zip(self.rates_bps, self.min_snr_db, strict=True) if least_db <= snr_db
        ]
        return max(fit, default=None)

    def nearest_phy_bps(self, rate_bps: float) -> float:
        """Return the PHY rate whose goodput alone is nearest to `rate_bps`."""
        return min(self.rates_bps, key=lambda phy: abs(np.log(self.rate_bps(phy) / rate_bps)))


def _symbols_s(num_bytes: int, phy_bps: float) -> float:
    """Return how long OFDM symbols for so many bytes (with 16 service and 6 tail bits) last."""
    return ceil((16 + 8 * num_bytes + 6) / (phy_bps * _SYMBOL_S)) * _SYMBOL_S


STANDARDS = {
    entry.name: entry
    for entry in (
        Standard(
            "802.11a",
            rates_bps=(6e6, 9e6, 12e6, 18e6, 24e6, 36e6, 48e6, 54e6),
            min_snr_db=(4, 5, 7, 9, 12, 16, 20, 21),
            preamble_s=20e-6,
            spacing_s=34e-6,
            mpdu_bytes=_MPDU_BYTES,
            aggregates=False,
        ),
        Standard(
            "802.11n",
            rates_bps=(6.5e6, 13e6, 19.5e6, 26e6, 39e6, 52e6, 58.5e6, 65e6),
            min_snr_db=(4, 7, 9, 12, 16, 20, 21, 22),
            preamble_s=36e-6,
            spacing_s=43e-6,
            mpdu_bytes=_HT_MPDU_BYTES,
            aggregates=True,
        ),
    )
}


@lru_cache(maxsize=4096)
def access(standard: str, peak_bps: float, phy_bps: float) -> tuple[float, float, float, float]:
    """Return what one saturated access of a station is.

    Parameters
    ----------
    standard : str
        Name of the standard.
    peak_bps : float
        Goodput of the station alone; decides the duration, so that one station alone gets exactly this.
    phy_bps : float
        PHY rate; 0: the one that fits `peak_bps`.

    Returns
    -------
    burst_bytes, success_s, byte_s, collision_s : float
        Payload of an access, how long it holds the medium without backoff, how much of that is due to each
        byte, and how long it holds it when it collides.
    """
    layer = STANDARDS[standard]
    phy_bps = phy_bps or layer.nearest_phy_bps(peak_bps)
    count = layer.burst(phy_bps)
    burst_bytes = float(PAYLOAD_BYTES * count)
    # A rate that no such station has (a channel of the user's own) becomes a longer or shorter access; one
    # beyond what backoff alone allows is not reached.
    success_s = max(8 * burst_bytes / peak_bps - SLOTS_ALONE * SLOT_S, 1e-6)
    byte_s = 8 * layer.mpdu_bytes / PAYLOAD_BYTES / phy_bps
    collision_s = success_s + layer.collision_extra_s(phy_bps)
    return burst_bytes, success_s, min(byte_s, success_s / burst_bytes), collision_s

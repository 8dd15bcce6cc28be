"""From a signal-to-noise ratio to a rate: Shannon with a gap or a ceiling, or the CQI table of a modem."""

from collections.abc import Callable
from math import inf
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from sfsim.declaration import declaration
from sfsim.declaration.units import Decibel, Loss

# 3GPP TS 38.214 table 5.2.2.1-2, CQI 1 to 15: bits per symbol, and 1024 times the code rate.
_BITS = np.repeat([2, 4, 6], [6, 3, 6])
_CODE_RATES = np.array([78, 120, 193, 308, 449, 602, 378, 490, 616, 466, 567, 666, 772, 873, 948])
CQI_EFFICIENCY = _BITS * _CODE_RATES / 1024
# SNR in dB at which a 2000-bit block of that CQI has 10 % block errors. CQI 4 to 14: Sionna's link-level
# tables (grid 1.8 dB, so +-0.5 dB). CQI 1 to 3, 15: estimated, Shannon's SNR + 3 dB, the gap of CQI 4 and 14.
CQI_SNR_DB = np.array([-6.5, -4.5, -2.2, 0.1, 2.1, 3.8, 5.5, 7.7, 9.9, 11.7, 12.7, 14.0, 15.7, 18.3, 19.6])
_BLER_SLOPE_PER_DB = 3.5  # logistic; 3 to 4 in Sionna's tables

SnrAt = Callable[[int], np.ndarray]


class Law:
    """What every law of this file can do."""

    def bits_per_hz(self, snr: np.ndarray) -> np.ndarray:
        """Return the spectral efficiency in bit/s/Hz of linear `snr`, for a channel that stands still."""
        raise NotImplementedError

    def over_time(self, snr: SnrAt, block_s: float) -> np.ndarray:
        """Return the same for a channel that changes: ``snr(shift)`` is the SNR `shift` blocks later."""
        return self.bits_per_hz(snr(0))


@declaration
class Shannon(Law):
    """``rate = B * log2(1 + SNR / gap)``.

    Parameters
    ----------
    gap_db : float
        How many dB a real modem needs more than Shannon's bound. Coded 10 % block error rate: 0.4 to 2.4 dB
        (LDPC), about 3 dB with the blocks of a modem, 7.4 dB for the LTE formula of ns-3 (default 0: the
        bound itself).

    Source: Goldsmith, *Wireless Communications*, section 9.3 (SNR gap).
    """

    kind: Literal["shannon"] = "shannon"
    gap_db: Loss = 0.0

    def bits_per_hz(self, snr: np.ndarray) -> np.ndarray:
        return np.asarray(np.log2(1 + snr / 10 ** (self.gap_db / 10)))


@declaration
class TruncatedShannon(Law):
    """A share of Shannon's bound, nothing below a least SNR, and a ceiling.

    Parameters
    ----------
    share : float
        0.6 for an LTE downlink, 0.4 for its uplink.
    min_snr_db : float
        Below it nothing gets through.
    max_bits_per_hz : float
        Ceiling in bit/s/Hz: 4.4 downlink, 2.0 uplink.

    Source: 3GPP TR 36.942, annex A.
    """

    kind: Literal["truncated-shannon"] = "truncated-shannon"
    share: Annotated[float, Field(gt=0, le=1)] = 0.6
    min_snr_db: Decibel = -10.0
    max_bits_per_hz: Annotated[float, Field(gt=0)] = 4.4

    def bits_per_hz(self, snr: np.ndarray) -> np.ndarray:
        bits = np.minimum(self.share * np.log2(1 + snr), self.max_bits_per_hz)
        return np.where(snr >= 10 ** (self.min_snr_db / 10), bits, 0.0)


@declaration
class Cqi(Law):
    """The best of 15 modulation and coding schemes with at most 10 % block errors; below the first, nothing.

    Blocks that fail are sent again and combined (HARQ, chase combining: their SNRs add up), and what still
    fails after the last transmission begins anew (ARQ). Both take time on the air, so they are a factor of
    the rate: with ``P_k`` the block error rate at the SNR of k transmissions together and N =
    `max_transmissions`, ``rate = efficiency * (1 - P_N) / (1 + P_1 + ... + P_(N-1))``.

    Parameters
    ----------
    max_transmissions : int
        Of one block; 1 is plain ARQ.
    harq_rtt_s : float
        From one transmission of a block to the next: 8 ms in LTE, 4 ms in 5G at 30 kHz. Where the channel
        changes within it, the transmissions meet different fades.
    outdated : bool
        Choose the scheme by the SNR of the block before: the modem knows it only afterwards.
    share : float
        Of bandwidth and time, what carries data: without guard bands, reference and control symbols, and of a TDD
        pattern the slots of this direction. 0.77 for an LTE uplink, 0.9 for an NR one, times its slots.

    Source: 3GPP TS 38.214 table 5.2.2.1-2; thresholds see `CQI_SNR_DB`; chase combining: Chase, IEEE Trans.
    Communications 33(5), 1985. Block errors are logistic in the SNR, 10 % at the threshold, 3.5 per dB.
    Left out: the delay of a message's last block by (N - 1)
    round trips; incremental redundancy.
    """

    kind: Literal["cqi"] = "cqi"
    max_transmissions: Annotated[int, Field(ge=1, le=16)] = 4
    harq_rtt_s: Annotated[float, Field(ge=0)] = 0.008
    outdated: bool = False
    share: Annotated[float, Field(gt=0, le=1)] = 1.0

    def bits_per_hz(self, snr: np.ndarray) -> np.ndarray:
        return self.over_time(lambda shift: snr, inf)

    def over_time(self, snr: SnrAt, block_s: float) -> np.ndarray:
        now = np.asarray(snr(0), dtype=float)
        scheme = np.searchsorted(10 ** (CQI_SNR_DB / 10), snr(-1) if self.outdated else now, side="right")
        together, transmissions, failed = np.zeros_like(now), np.zeros_like(now), np.ones_like(now)
        for number in range(self.max_transmissions):
            transmissions += failed
            together = together + (now if number == 0 else snr(round(number * self.harq_rtt_s / block_s)))
            failed = block_error_rate(together, scheme)
        efficiency = self.share * np.concatenate(([0.0], CQI_EFFICIENCY))
        return efficiency[scheme] * (1 - failed) / transmissions


def block_error_rate(snr: np.ndarray, scheme: np.ndarray) -> np.ndarray:
    """Return the share of blocks of CQI `scheme` (1 to 15) that fail at linear `snr`; scheme 0 always fails.

    >>> block_error_rate(10 ** (CQI_SNR_DB[[4]] / 10), np.array([5])).round(6)
    array([0.1])
    """
    margin_db = 10 * np.log10(np.maximum(snr, 1e-30)) - np.append(inf, CQI_SNR_DB)[scheme]
    return np.asarray(1 / (1 + 9 * np.exp(_BLER_SLOPE_PER_DB * np.minimum(margin_db, 99))))


SnrToRate = Annotated[Shannon | TruncatedShannon | Cqi, Field(discriminator="kind")]

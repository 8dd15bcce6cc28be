"""From a signal-to-noise ratio to a rate: Shannon with a gap, or the CQI table of an LTE/5G modem."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from sfsim.declaration import declaration

# 3GPP TS 38.214 table 5.2.2.1-2, CQI 1 to 15: bits per symbol, and 1024 times the code rate.
_BITS = np.repeat([2, 4, 6], [6, 3, 6])
_CODE_RATES = np.array([78, 120, 193, 308, 449, 602, 378, 490, 616, 466, 567, 666, 772, 873, 948])
CQI_EFFICIENCY = _BITS * _CODE_RATES / 1024
# SNR in dB at which a 2000-bit block of that CQI has 10 % block errors. CQI 4 to 14: Sionna's link-level
# tables (grid 1.8 dB, so +-0.5 dB). CQI 1 to 3, 15: estimated, Shannon's SNR + 3 dB, the gap of CQI 4 and 14.
CQI_SNR_DB = np.array([-6.5, -4.5, -2.2, 0.1, 2.1, 3.8, 5.5, 7.7, 9.9, 11.7, 12.7, 14.0, 15.7, 18.3, 19.6])


@declaration
class Shannon:
    """``rate = B * log2(1 + SNR / gap)``.

    Parameters
    ----------
    gap_db : float
        How many dB a real modem needs more than Shannon's bound. Coded 10 % block error rate: 0.4 to 2.4 dB
        (LDPC), about 3 dB with the blocks of a modem (default 0: the bound itself).

    Source: Goldsmith, *Wireless Communications*, section 9.3 (SNR gap).
    """

    kind: Literal["shannon"] = "shannon"
    gap_db: Annotated[float, Field(ge=0)] = 0.0

    def bits_per_hz(self, snr: np.ndarray) -> np.ndarray:
        """Return the spectral efficiency in bit/s/Hz of linear `snr`."""
        return np.asarray(np.log2(1 + snr / 10 ** (self.gap_db / 10)))


@declaration
class Cqi:
    """The best of 15 modulation and coding schemes with at most 10 % block errors; below the first, nothing.

    Source: 3GPP TS 38.214 table 5.2.2.1-2; thresholds see `CQI_SNR_DB`.
    Left out: the repair of the remaining 10 % (HARQ) and control overhead; both fit into the link's
    ``efficiency``. The scheme follows the block's own SNR at once.
    """

    kind: Literal["cqi"] = "cqi"

    def bits_per_hz(self, snr: np.ndarray) -> np.ndarray:
        """Return the spectral efficiency in bit/s/Hz of linear `snr`."""
        scheme = np.searchsorted(10 ** (CQI_SNR_DB / 10), snr, side="right")
        return np.concatenate(([0.0], CQI_EFFICIENCY))[scheme]


SnrToRate = Annotated[Shannon | Cqi, Field(discriminator="kind")]

"""A channel whose rate never changes."""

from math import inf
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from sfsim.channel.realisation import Channel, Realisation
from sfsim.declaration import declaration


@declaration
class Constant(Channel):
    """The same rate for ever.

    Parameters
    ----------
    rate_bps : float
        Wire rate in bit/s; 0 is a link that is down for ever.
    """

    kind: Literal["constant"] = "constant"
    rate_bps: Annotated[float, Field(ge=0)]

    def words(self) -> str:
        return f"{self.rate_bps / 1e6:g} Mbit/s"

    def _realise(self, seed: int, name: str) -> Realisation:
        return ConstantRealisation(self.rate_bps)


class ConstantRealisation(Realisation):
    """One rate, and the SNR that it comes from where there is one."""

    def __init__(self, rate_bps: float, snr_db: float | None = None) -> None:
        super().__init__()
        self._rate_bps, self._snr_db = rate_bps, snr_db

    def snr_db(self, time_s: np.ndarray) -> np.ndarray | None:
        return None if self._snr_db is None else np.full(np.shape(time_s), self._snr_db)

    def _segment(self, time_s: float) -> tuple[float, float]:
        return self._rate_bps, inf

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
    duty_cycle : float
        Share of the time in which a device may send, where a law of access says so: after a frame of T s it is silent
        for T * (1 / duty_cycle - 1). The rate offered is the mean over both, ``rate_bps * duty_cycle``.
    """

    kind: Literal["constant"] = "constant"
    rate_bps: Annotated[float, Field(ge=0)]
    duty_cycle: Annotated[float, Field(gt=0, le=1)] = 1.0

    def words(self) -> str:
        limited = "" if self.duty_cycle == 1 else f", {self.duty_cycle:.3g} of the time"
        return f"{self.rate_bps / 1e6:g} Mbit/s{limited}"

    def _realise(self, seed: int, name: str) -> Realisation:
        return ConstantRealisation(self.rate_bps * self.duty_cycle)


class ConstantRealisation(Realisation):
    """One rate, and the SNR that it comes from where there is one."""

    def __init__(self, rate_bps: float, snr_db: float | None = None) -> None:
        super().__init__()
        self._rate_bps, self._snr_db = rate_bps, snr_db

    def snr_db(self, time_s: np.ndarray) -> np.ndarray | None:
        return None if self._snr_db is None else np.full(np.shape(time_s), self._snr_db)

    def _segment(self, time_s: float) -> tuple[float, float]:
        return self._rate_bps, inf

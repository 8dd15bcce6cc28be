"""A channel whose rate never changes."""

from math import inf
from typing import Annotated, Literal

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

    def realise(self, seed: int, name: str) -> Realisation:
        """Return the constant; `seed` and `name` do not matter."""
        return _Constant(self.rate_bps)


class _Constant(Realisation):
    def __init__(self, rate_bps: float) -> None:
        super().__init__()
        self._rate_bps = rate_bps

    def _segment(self, time_s: float) -> tuple[float, float]:
        return self._rate_bps, inf

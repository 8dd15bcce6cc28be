"""Path loss by distance, for members of a cell that say only how far away they are."""

from math import log10
from typing import Annotated, Literal

from pydantic import Field

from sfsim.declaration import declaration


@declaration
class InterceptSlope:
    """``PL = intercept_db + slope_db * log10(d / 1 m)``.

    Parameters
    ----------
    intercept_db : float
        Loss at 1 m.
    slope_db : float
        Loss per decade of distance.

    Source: the default is the urban macro cell of 3GPP TR 36.814 at 2 GHz as ns-3 3.44 uses it, 15.3 + 37.6
    log10 d.

    Examples
    --------
    >>> round(InterceptSlope().loss_db(500), 1)
    116.8
    """

    kind: Literal["intercept-slope"] = "intercept-slope"
    intercept_db: float = 15.3
    slope_db: Annotated[float, Field(ge=0)] = 37.6

    def loss_db(self, distance_m: float) -> float:
        """Return the loss in dB at `distance_m`, which counts as at least 1 m."""
        return self.intercept_db + self.slope_db * log10(max(1.0, distance_m))

"""How much slower or faster than its profile a device is in one minibatch."""

from functools import lru_cache
from math import exp
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from sfsim import seeds
from sfsim.declaration import declaration


@declaration
class Variation:
    """A law of the factor by which the seconds of a minibatch differ from the profile's.

    Parameters
    ----------
    law : {"none", "lognormal", "shifted-exponential"}
        ``"lognormal"``: exp(sigma Z - sigma^2 / 2) with Z standard normal, so the mean is 1.
        ``"shifted-exponential"``: 1 + E with E exponential, so the profile is the fastest case and the mean
        is 1 + `mean_excess`.
    sigma : float, optional
        Standard deviation of the logarithm; with ``"lognormal"`` only.
    mean_excess : float, optional
        Mean of E, which is 1/mu with mu the straggling parameter; with ``"shifted-exponential"`` only.

    Notes
    -----
    Source of the shifted exponential: K. Lee et al., "Speeding up distributed machine learning using codes",
    IEEE Trans. Inf. Theory 64(3), 2018, section III.

    Examples
    --------
    >>> Variation().factor(7, "client-0")
    1.0
    """

    law: Literal["none", "lognormal", "shifted-exponential"] = "none"
    sigma: Annotated[float, Field(gt=0)] | None = None
    mean_excess: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _check(self) -> "Variation":
        for law, key in (("lognormal", "sigma"), ("shifted-exponential", "mean_excess")):
            if (self.law == law) != (getattr(self, key) is not None):
                raise PydanticCustomError("variation", f"{key} with law = {law!r}, and only there")
        return self

    def factor(self, seed: int, *names: str | int) -> float:
        """Return the factor that `seed` and `names` (party, client, round, epoch, minibatch) decide.

        Drawn from a stream of its own, so two runs that differ in their codec meet the same variation.
        """
        if self.sigma is not None:
            return exp(self.sigma * _draw("normal", seed, names) - self.sigma**2 / 2)
        if self.mean_excess is not None:
            return 1.0 + self.mean_excess * _draw("exponential", seed, names)
        return 1.0


@lru_cache(maxsize=1 << 16)
def _draw(law: str, seed: int, names: tuple[str | int, ...]) -> float:
    """Return the standard normal or exponential number of a stream; one network after another asks for the same."""
    rng = seeds.stream(seed, "variation", *names)
    return float(rng.standard_normal() if law == "normal" else rng.standard_exponential())

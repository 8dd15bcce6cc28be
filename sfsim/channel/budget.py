"""From transmit power and distance to the mean signal-to-noise ratio of a radio link."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from sfsim.channel.growing import CorrelatedGauss
from sfsim.channel.mobility import AnyMobility, Standing
from sfsim.channel.pathloss import (
    BASE_HEIGHT_M,
    SHADOWING_CORRELATION_M,
    SHADOWING_DB,
    SIGHT_CORRELATION_M,
    USER_HEIGHT_M,
    Scenario,
    los_probability,
    path_loss_db,
)
from sfsim.declaration import declaration, misfit
from sfsim.declaration.units import Decibel, Loss
from sfsim.seeds import stream

Metres = Annotated[float, Field(gt=0)]
_NOISE_DBM_PER_HZ = -174.0


class Attenuation:
    """One drawn path loss: a function of the distance, and of the metres gone since time 0."""

    def db(self, distance_m: np.ndarray, travelled_m: np.ndarray) -> np.ndarray:
        """Return the loss in dB, shadowing included."""
        raise NotImplementedError


@declaration
class PathLoss:
    """Base of the path-loss declarations."""

    def realise(self, seed: int, place: str, carrier_hz: float) -> Attenuation:
        """Draw what is random about the loss at `place`."""
        raise NotImplementedError


@declaration
class InterceptSlope(PathLoss):
    """``PL = intercept_db + slope_db * log10(d / 1 m)`` from 1 m on, at whatever carrier it was measured.

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
    >>> drawn = InterceptSlope().realise(seed=7, place="anywhere", carrier_hz=2e9)
    >>> round(float(drawn.db(np.array(500.0), np.array(0.0))), 1)
    116.8
    """

    kind: Literal["intercept-slope"] = "intercept-slope"
    intercept_db: Decibel = 15.3
    slope_db: Loss = 37.6

    def realise(self, seed: int, place: str, carrier_hz: float) -> Attenuation:
        return _InterceptSlopeAttenuation(self)


class _InterceptSlopeAttenuation(Attenuation):
    def __init__(self, law: InterceptSlope) -> None:
        self._law = law

    def db(self, distance_m: np.ndarray, travelled_m: np.ndarray) -> np.ndarray:
        law = self._law
        return np.asarray(law.intercept_db + law.slope_db * np.log10(np.maximum(distance_m, 1.0)))


@declaration
class LogDistance(PathLoss):
    """Loss that grows with a power of the distance, from free space at 1 m on, and log-normal shadowing.

    ``PL = 32.45 + 20 log10(f / GHz) + 10 exponent log10(d / m) + X``, X normal with `shadowing_db`,
    correlated over the way of a moving client.

    Parameters
    ----------
    exponent : float
        2 in free space, 2.7 to 3.5 in a town, up to 6 inside buildings.
    shadowing_db : float
        Standard deviation of the shadowing; 4 to 8 are usual, 0 switches it off.
    shadowing_correlation_m : float
        Distance after which the shadowing has 1 / e of its correlation left.

    Source: Rappaport, *Wireless Communications*, section 4.9; Gudmundson 1991 (correlation).
    """

    kind: Literal["log-distance"] = "log-distance"
    exponent: Annotated[float, Field(gt=0)] = 3.0
    shadowing_db: Loss = 6.0
    shadowing_correlation_m: Metres = 50.0

    def realise(self, seed: int, place: str, carrier_hz: float) -> Attenuation:
        return _LogDistanceAttenuation(self, seed, place, carrier_hz)


class _LogDistanceAttenuation(Attenuation):
    def __init__(self, law: LogDistance, seed: int, place: str, carrier_hz: float) -> None:
        self._law, self._free_db = law, 32.45 + 20 * np.log10(carrier_hz / 1e9)
        self._shadow = _gauss(law.shadowing_correlation_m, seed, "shadow", place)

    def db(self, distance_m: np.ndarray, travelled_m: np.ndarray) -> np.ndarray:
        median = self._free_db + 10 * self._law.exponent * np.log10(np.maximum(distance_m, 1.0))
        return np.asarray(median + self._law.shadowing_db * self._shadow.at(travelled_m))


@declaration
class Tr38901(PathLoss):
    """The path loss of 3GPP TR 38.901, with its shadowing and its chance of a line of sight.

    Parameters
    ----------
    scenario : "uma", "umi", "inh" or "rma"
        Urban macro cell, urban street canyon, indoor office, rural macro cell.
    sight : "drawn", "los" or "nlos"
        Line of sight with the report's probability at the distance, always, or never. A drawn one is the
        link's own and changes along the way of a moving client.
    base_height_m : float, optional
        Height of the base station's antenna; default: the scenario's (25 / 10 / 3 / 35 m).
    user_height_m : float, optional
        Height of the user's antenna; default: the scenario's (1.5 / 1.5 / 1 / 1.5 m).
    shadowing : bool
        Add log-normal shadowing with the report's deviation and correlation distance.

    Source: 3GPP TR 38.901, see `sfsim.channel.pathloss`.
    Left out: see there; RMa's larger shadowing beyond the breakpoint; correlation between links.
    """

    kind: Literal["tr38901"] = "tr38901"
    scenario: Scenario
    sight: Literal["drawn", "los", "nlos"] = "drawn"
    base_height_m: Metres | None = None
    user_height_m: Metres | None = None
    shadowing: bool = True

    def realise(self, seed: int, place: str, carrier_hz: float) -> Attenuation:
        return _Tr38901Attenuation(self, seed, place, carrier_hz)


class _Tr38901Attenuation(Attenuation):
    def __init__(self, law: Tr38901, seed: int, place: str, carrier_hz: float) -> None:
        self._law, self._fc_ghz = law, carrier_hz / 1e9
        self._heights_m = (
            law.base_height_m or BASE_HEIGHT_M[law.scenario],
            law.user_height_m or USER_HEIGHT_M[law.scenario],
        )
        self._sight = _gauss(SIGHT_CORRELATION_M[law.scenario], seed, "sight", place)
        # One way of walls, felt over the correlation distance of each case.
        self._shadows = [
            _gauss(metres, seed, "shadow", place) for metres in SHADOWING_CORRELATION_M[law.scenario]
        ]

    def db(self, distance_m: np.ndarray, travelled_m: np.ndarray) -> np.ndarray:
        sees = self._sees(distance_m, travelled_m)
        los, nlos = (self._case(case, distance_m, travelled_m) for case in (0, 1))
        return np.asarray(np.where(sees, los, nlos))

    def _sees(self, distance_m: np.ndarray, travelled_m: np.ndarray) -> np.ndarray:
        from scipy.special import ndtr

        if self._law.sight != "drawn":
            return np.full(np.shape(distance_m), self._law.sight == "los")
        chance = los_probability(self._law.scenario, distance_m, self._heights_m[1])
        return np.asarray(ndtr(self._sight.at(travelled_m)) < chance)

    def _case(self, case: int, distance_m: np.ndarray, travelled_m: np.ndarray) -> np.ndarray:
        scenario = self._law.scenario
        model = f"{scenario}-{('los', 'nlos')[case]}"
        median = path_loss_db(model, self._fc_ghz, distance_m, *self._heights_m)
        deviation = SHADOWING_DB[scenario][case] if self._law.shadowing else 0.0
        return np.asarray(median + deviation * self._shadows[case].at(travelled_m))


def _gauss(correlation_m: float, seed: int, what: str, place: str) -> CorrelatedGauss:
    return CorrelatedGauss(correlation_m, lambda chunk: stream(seed, what, place, chunk))


AnyPathLoss = Annotated[InterceptSlope | LogDistance | Tr38901, Field(discriminator="kind")]


@declaration
class LinkBudget:
    """What decides the mean SNR of a link.

    In dB: ``SNR = P + gain - PL(d) - margin - (-174 + 10 log10 B + NF)``.

    Parameters
    ----------
    path_loss : InterceptSlope, LogDistance or Tr38901
        How much is lost on the way.
    distance_m : float, optional
        Horizontal distance of a client that stands still.
    mobility : PathMobility or RandomWaypoint, optional
        How the client moves; one of the two must be given.
    tx_power_dbm : float
        Transmit power: 23 for a phone, 46 / 33 / 24 for a macro, micro and indoor base station are usual.
    gain_db : float
        Gains of both antennas, less cable losses.
    noise_figure_db : float
        Of the receiver: 5 for a base station, 9 for a phone are usual.
    interference_margin_db : float
        How far the interference of other cells lifts the noise.

    Both directions of a link have the same place, sight and shadowing.

    Source: 3GPP TR 38.901 and its evaluation assumptions (TR 38.802, annex A).
    """

    path_loss: AnyPathLoss
    distance_m: Annotated[float, Field(ge=0)] | None = None
    mobility: AnyMobility | None = None
    tx_power_dbm: Decibel = 23.0
    gain_db: Decibel = 0.0
    noise_figure_db: Decibel = 5.0
    interference_margin_db: Loss = 0.0

    def __post_init__(self) -> None:
        if (self.distance_m is None) == (self.mobility is None):
            found = "nothing" if self.distance_m is None else "both a distance and a mobility"
            raise misfit("distance_m", found, "either a distance in m, or a mobility")

    def realise(self, seed: int, name: str, bandwidth_hz: float, carrier_hz: float) -> "MeanSnr":
        """Draw the budget of the link called `name`."""
        return MeanSnr(self, seed, name, bandwidth_hz, carrier_hz)


class MeanSnr:
    """The mean SNR of one link over time.

    >>> budget = LinkBudget(path_loss=LogDistance(exponent=2, shadowing_db=0), distance_m=100)
    >>> budget.realise(7, "a->b", 1e6, 1e9).db(np.array([0.0])).round(2)
    array([59.55])
    """

    def __init__(
        self, budget: LinkBudget, seed: int, name: str, bandwidth_hz: float, carrier_hz: float
    ) -> None:
        # One place for both directions: "a->b" and "b->a".
        place = "<->".join(sorted(name.split("->")))
        noise_dbm = _NOISE_DBM_PER_HZ + 10 * np.log10(bandwidth_hz) + budget.noise_figure_db
        received = budget.tx_power_dbm + budget.gain_db - budget.interference_margin_db
        self._before_loss_db = received - noise_dbm
        self._loss = budget.path_loss.realise(seed, place, carrier_hz)
        self.moves = budget.mobility is not None
        self._way = (
            budget.mobility.realise(seed, place)
            if budget.mobility is not None
            else Standing(budget.distance_m or 0.0)
        )

    def distance_m(self, time_s: np.ndarray) -> np.ndarray:
        """Return the horizontal distance in m."""
        return self._way.distance_m(time_s)

    def db(self, time_s: np.ndarray) -> np.ndarray:
        """Return the mean SNR in dB at times `time_s`."""
        return np.asarray(
            self._before_loss_db - self._loss.db(self._way.distance_m(time_s), self._way.travelled_m(time_s))
        )

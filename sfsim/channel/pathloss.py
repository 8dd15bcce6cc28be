"""How much weaker a radio signal arrives: the path-loss models of 3GPP TR 38.901, as plain formulas.

Source: 3GPP TR 38.901 V16.1, table 7.4.1-1 (path loss, standard deviation of shadowing), table 7.4.2-1
(probability of line of sight), table 7.5-6 (correlation distance of shadowing), table 7.6.3.1-2 (of the line
of sight). Agrees with ns-3.44 to 1e-4 dB.
Left out: the ranges for which 3GPP made the models are not enforced (`out_of_range` tells); the effective
environment height is 1 m, also where the report draws it for users above 13 m (UMa); optional models; indoor
penetration.
"""

from typing import Literal, get_args

import numpy as np

from sfsim.errors import ConfigError, did_you_mean

Scenario = Literal["uma", "umi", "inh", "rma"]
Sight = Literal["los", "nlos"]
Metres = float | np.ndarray
MODELS = tuple(f"{scenario}-{sight}" for scenario in get_args(Scenario) for sight in get_args(Sight))

SPEED_OF_LIGHT = 3.0e8  # the report's value, in m/s
BASE_HEIGHT_M = {"uma": 25.0, "umi": 10.0, "inh": 3.0, "rma": 35.0}
USER_HEIGHT_M = {"uma": 1.5, "umi": 1.5, "inh": 1.0, "rma": 1.5}
SHADOWING_DB = {"uma": (4.0, 6.0), "umi": (4.0, 7.82), "inh": (3.0, 8.03), "rma": (4.0, 8.0)}
SHADOWING_CORRELATION_M = {"uma": (37.0, 50.0), "umi": (10.0, 13.0), "inh": (10.0, 6.0), "rma": (37.0, 120.0)}
SIGHT_CORRELATION_M = {"uma": 50.0, "umi": 50.0, "inh": 10.0, "rma": 60.0}
# Table 7.4.1-1: from where to where the models hold; NLOS in RMa ends at 5 km. The report gives uma, umi and inh
# a base station of one height: those heights are the formulas' own business here.
_HOLDS = {
    "uma": {"fc_ghz": (0.5, 100.0), "d2d_m": (10.0, 5e3), "hut_m": (1.5, 22.5)},
    "umi": {"fc_ghz": (0.5, 100.0), "d2d_m": (10.0, 5e3), "hut_m": (1.5, 22.5)},
    "inh": {"fc_ghz": (0.5, 100.0), "d3d_m": (1.0, 150.0)},
    "rma": {"fc_ghz": (0.5, 30.0), "d2d_m": (10.0, 10e3), "hut_m": (1.0, 10.0), "hbs_m": (10.0, 150.0)},
}
_BUILDING_M, _STREET_M = 5.0, 20.0  # RMa's usual average height of buildings and width of streets


def path_loss_db(
    model: str, fc_ghz: float, d2d_m: float | np.ndarray, hbs_m: float, hut_m: float
) -> np.ndarray:
    """Return the median path loss in dB.

    Parameters
    ----------
    model : str
        One of `MODELS`: ``uma``, ``umi`` (street canyon), ``inh`` (office) or ``rma``, then ``-los`` or
        ``-nlos``.
    fc_ghz : float
        Carrier frequency in GHz.
    d2d_m : float or array
        Horizontal distance in m.
    hbs_m, hut_m : float
        Heights of base station and user terminal in m.

    Returns
    -------
    array of the shape of `d2d_m`

    Raises
    ------
    ConfigError
        An unknown model, or a value that the formula has no meaning for.

    Examples
    --------
    >>> round(float(path_loss_db("uma-los", 2.0, 200, 25, 1.5)), 4)
    84.7088
    """
    scenario, sight = _checked(model, fc_ghz, d2d_m, hbs_m, hut_m)
    d2d = np.asarray(d2d_m, dtype=float)
    d3d = np.maximum(np.hypot(d2d, hbs_m - hut_m), 1.0)
    los = _LOS[scenario](fc_ghz, d2d, d3d, hbs_m, hut_m)
    if sight == "los":
        return los
    return np.maximum(los, _NLOS[scenario](fc_ghz, d3d, hbs_m, hut_m))


def out_of_range(model: str, fc_ghz: float, d2d_m: float, hbs_m: float, hut_m: float) -> list[str]:
    """Return what lies outside the range that the report gives for `model` (one of `MODELS`).

    >>> out_of_range("uma-los", 2.0, 300e3, 25.0, 1.5), out_of_range("uma-los", 2.0, 200.0, 25.0, 1.5)
    (['d2d_m = 300000, not 10 to 5000'], [])
    """
    holds = _HOLDS[model.partition("-")[0]] | ({"d2d_m": (10.0, 5e3)} if model == "rma-nlos" else {})
    d3d_m = float(np.hypot(d2d_m, hbs_m - hut_m))
    said = {"fc_ghz": fc_ghz, "d2d_m": d2d_m, "d3d_m": d3d_m, "hbs_m": hbs_m, "hut_m": hut_m}
    return [
        f"{name} = {said[name]:g}, not {low:g} to {high:g}"
        for name, (low, high) in holds.items()
        if not low <= said[name] <= high
    ]


def los_probability(scenario: Scenario, d2d_m: Metres, hut_m: float = 1.5) -> np.ndarray:
    """Return the probability of line of sight at horizontal distance `d2d_m`; ``inh`` is the mixed office.

    >>> float(los_probability("umi", 18.0)), float(los_probability("inh", 1.0))
    (1.0, 1.0)
    """
    d = np.maximum(np.asarray(d2d_m, dtype=float), 1e-9)
    if scenario == "rma":
        return np.asarray(np.exp(-np.maximum(d - 10, 0) / 1000))
    if scenario == "inh":
        near, far = np.exp(-np.maximum(d - 1.2, 0) / 4.7), 0.32 * np.exp(-(d - 6.5) / 32.6)
        return np.where(d < 6.5, near, far)
    edge = np.minimum(18 / d, 1.0)
    open_ = edge + np.exp(-d / (63 if scenario == "uma" else 36)) * (1 - edge)
    if scenario == "umi" or hut_m <= 13:
        return np.asarray(open_)
    c = ((min(hut_m, 23.0) - 13) / 10) ** 1.5
    tall = open_ * (1 + c * 1.25 * (d / 100) ** 3 * np.exp(-d / 150))
    return np.asarray(np.where(d <= 18, 1.0, tall))


def _checked(
    model: str, fc_ghz: float, d2d_m: float | np.ndarray, hbs_m: float, hut_m: float
) -> tuple[str, str]:
    if model not in MODELS:
        raise ConfigError(
            "path loss, model", repr(model), "one of " + ", ".join(MODELS), did_you_mean(model, MODELS)
        )
    for name, value in (("fc_ghz", fc_ghz), ("hbs_m", hbs_m), ("hut_m", hut_m)):
        if not 0 < value < np.inf:
            raise ConfigError(f"path loss, {name}", f"{value:g}", "a number greater than 0")
    if not np.all(np.isfinite(d2d_m)) or np.any(np.asarray(d2d_m) < 0):
        raise ConfigError("path loss, d2d_m", f"{np.min(d2d_m):g}", "a distance of at least 0")
    scenario, _, sight = model.partition("-")
    if scenario in ("uma", "umi") and min(hbs_m, hut_m) < 1:
        name = "hut_m" if hut_m < 1 else "hbs_m"
        low = f"{min(hbs_m, hut_m):g}"
        raise ConfigError(
            f"path loss, {name}", low, f"a height of at least 1 m, which {scenario} is made for"
        )
    return scenario, sight


def _two_slopes(d2d: np.ndarray, breakpoint_m: float, near: np.ndarray, far: np.ndarray) -> np.ndarray:
    return np.asarray(np.where(d2d <= breakpoint_m, near, far))


def _uma_los(fc: float, d2d: np.ndarray, d3d: np.ndarray, hbs: float, hut: float) -> np.ndarray:
    bp = _urban_breakpoint(fc, hbs, hut)
    common = 28 + 20 * np.log10(fc)
    far = common + 40 * np.log10(d3d) - 9 * np.log10(bp**2 + (hbs - hut) ** 2 + 1e-300)
    return _two_slopes(d2d, bp, common + 22 * np.log10(d3d), far)


def _umi_los(fc: float, d2d: np.ndarray, d3d: np.ndarray, hbs: float, hut: float) -> np.ndarray:
    bp = _urban_breakpoint(fc, hbs, hut)
    common = 32.4 + 20 * np.log10(fc)
    far = common + 40 * np.log10(d3d) - 9.5 * np.log10(bp**2 + (hbs - hut) ** 2 + 1e-300)
    return _two_slopes(d2d, bp, common + 21 * np.log10(d3d), far)


def _urban_breakpoint(fc: float, hbs: float, hut: float) -> float:
    return 4 * (hbs - 1) * (hut - 1) * fc * 1e9 / SPEED_OF_LIGHT


def _inh_los(fc: float, d2d: np.ndarray, d3d: np.ndarray, hbs: float, hut: float) -> np.ndarray:
    return np.asarray(32.4 + 17.3 * np.log10(d3d) + 20 * np.log10(fc))


def _rma_los(fc: float, d2d: np.ndarray, d3d: np.ndarray, hbs: float, hut: float) -> np.ndarray:
    bp = 2 * np.pi * hbs * hut * fc * 1e9 / SPEED_OF_LIGHT
    h = _BUILDING_M

    def near(d: np.ndarray) -> np.ndarray:
        return np.asarray(
            20 * np.log10(40 * np.pi * d * fc / 3)
            + min(0.03 * h**1.72, 10) * np.log10(d)
            - min(0.044 * h**1.72, 14.77)
            + 0.002 * np.log10(h) * d
        )

    return _two_slopes(d2d, bp, near(d3d), near(np.asarray(bp)) + 40 * np.log10(d3d / bp))


def _uma_nlos(fc: float, d3d: np.ndarray, hbs: float, hut: float) -> np.ndarray:
    return np.asarray(13.54 + 39.08 * np.log10(d3d) + 20 * np.log10(fc) - 0.6 * (hut - 1.5))


def _umi_nlos(fc: float, d3d: np.ndarray, hbs: float, hut: float) -> np.ndarray:
    return np.asarray(22.4 + 35.3 * np.log10(d3d) + 21.3 * np.log10(fc) - 0.3 * (hut - 1.5))


def _inh_nlos(fc: float, d3d: np.ndarray, hbs: float, hut: float) -> np.ndarray:
    return np.asarray(17.3 + 38.3 * np.log10(d3d) + 24.9 * np.log10(fc))


def _rma_nlos(fc: float, d3d: np.ndarray, hbs: float, hut: float) -> np.ndarray:
    h, lg = _BUILDING_M, np.log10
    return np.asarray(
        161.04
        - 7.1 * lg(_STREET_M)
        + 7.5 * lg(h)
        - (24.37 - 3.7 * (h / hbs) ** 2) * lg(hbs)
        + (43.42 - 3.1 * lg(hbs)) * (lg(d3d) - 3)
        + 20 * lg(fc)
        - (3.2 * lg(11.75 * hut) ** 2 - 4.97)
    )


_LOS = {"uma": _uma_los, "umi": _umi_los, "inh": _inh_los, "rma": _rma_los}
_NLOS = {"uma": _uma_nlos, "umi": _umi_nlos, "inh": _inh_nlos, "rma": _rma_nlos}

"""Bjontegaard's deltas: how much rate one curve saves against another, and how much quality it gains.

The mean distance between two rate-quality curves over the range that both of them cover: along the rate axis (BD-rate,
per cent; here BD-BPP) or along the quality axis (BD-quality; here BD-MJI). What the curves do not share says
nothing, so a pair that shares nothing, or too little for a fit, is refused with the reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, get_args

import numpy as np

from sfsim.errors import ResultsError

Fit = Literal["cubic", "pchip"]
FEWEST_POINTS = 4


@dataclass(frozen=True)
class Curve:
    """A cleaned rate-quality curve: rate and quality both strictly rise.

    Attributes
    ----------
    name : str
    rates, qualities : array of float64 (N,)
        Rates above zero in any unit.
    dropped : tuple of str
        Which points are not on it, and why.
    """

    name: str
    rates: np.ndarray
    qualities: np.ndarray
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Delta:
    """A Bjontegaard delta.

    Attributes
    ----------
    value : float
        Per cent of rate (negative: the test curve needs less), or units of quality (positive: it is better).
    low, high : float
        The range that was integrated over: of quality for a rate, of rate for a quality.
    covered : float
        That range over the one that either curve covers, 0 to 1 (in log rate for a quality).
    dropped : tuple of str
        Points of either curve that were left out, and why.
    """

    value: float
    low: float
    high: float
    covered: float
    dropped: tuple[str, ...]


def clean(name: str, rates: Sequence[float], qualities: Sequence[float]) -> Curve:
    """Keep the points that no other point beats: at most their rate, at least their quality.

    Parameters
    ----------
    name : str
        What the curve is called in messages.
    rates, qualities : sequences of float, equal length
        In any order.

    Raises
    ------
    ResultsError
        A rate that has no logarithm, a number that is none, or fewer than four points left.

    Examples
    --------
    >>> clean("x", [1, 2, 3, 4, 5], [0.1, 0.3, 0.2, 0.4, 0.5]).dropped
    ('x: 0.2 at 3 (0.3 needs 2)',)
    """
    points = sorted(zip(map(float, rates), map(float, qualities), strict=True), key=lambda p: (p[0], -p[1]))
    for rate, quality in points:
        if not (np.isfinite(rate) and np.isfinite(quality) and rate > 0):
            expected = "a number" if rate > 0 else "a rate above 0"
            raise ResultsError(f"{name}: found quality {quality:g} at rate {rate:g}, expected {expected}")
    kept: list[tuple[float, float]] = []
    dropped = []
    for rate, quality in points:
        if kept and quality <= kept[-1][1]:
            dropped.append(f"{name}: {quality:.4g} at {rate:.4g} ({kept[-1][1]:.4g} needs {kept[-1][0]:.4g})")
        else:
            kept.append((rate, quality))
    if len(kept) < FEWEST_POINTS:
        why = f" ({len(points)} before those were dropped that another point beats)" if dropped else ""
        raise ResultsError(
            f"{name}: found {len(kept)} points{why}, expected at least {FEWEST_POINTS} for a fit"
        )
    rate_array, quality_array = np.array(kept).T
    return Curve(name, rate_array, quality_array, tuple(dropped))


def bd_rate(anchor: Curve, test: Curve, fit: Fit = "pchip") -> Delta:
    """Return the mean difference in rate at equal quality, per cent of the anchor's rate.

    Parameters
    ----------
    anchor, test : Curve
        From `clean`.
    fit : {"pchip", "cubic"}
        Log rate over quality as a piecewise cubic that goes through the points and is monotone between them, or as
        one polynomial of degree three (through four points, by least squares near more).

    Raises
    ------
    ResultsError
        The curves have no quality in common, or a cubic falls somewhere in the range that they share.

    Source: G. Bjontegaard, Calculation of average PSNR differences between RD-curves, VCEG-M33 (2001), cubic;
    piecewise as in the common test conditions of HEVC and VVC (JCTVC-L1100, JVET-T2010).
    """
    low, high, covered = _shared(anchor, test, anchor.qualities, test.qualities, "quality")
    logs = [
        _mean(curve.name, curve.qualities, np.log10(curve.rates), low, high, fit) for curve in (anchor, test)
    ]
    return Delta(100 * (10 ** (logs[1] - logs[0]) - 1), low, high, covered, anchor.dropped + test.dropped)


def bd_quality(anchor: Curve, test: Curve, fit: Fit = "pchip") -> Delta:
    """Return the mean difference in quality at equal rate (over log rate); see `bd_rate`."""
    logs = np.log10(anchor.rates), np.log10(test.rates)
    low, high, covered = _shared(anchor, test, logs[0], logs[1], "rate")
    means = [
        _mean(curve.name, x, curve.qualities, low, high, fit)
        for x, curve in zip(logs, (anchor, test), strict=True)
    ]
    return Delta(means[1] - means[0], 10**low, 10**high, covered, anchor.dropped + test.dropped)


def compare(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], anchor: str
) -> list[dict[str, Any]]:
    """Return both deltas of every curve against one of them, with both fits, as rows of a table.

    Parameters
    ----------
    curves : mapping of str to (rates, qualities)
        By name; `anchor` is one of them.

    Returns
    -------
    list of dict
        ``bd_rate_percent`` over ``quality_low`` to ``quality_high`` and ``bd_quality`` over ``rate_low`` to
        ``rate_high`` (with the share ``*_covered`` of what either curve covers), None where refused; then
        ``refused`` says why. ``dropped`` names the points that other points beat.
    """
    rows = []
    for (name, (rates, qualities)), fit in product(curves.items(), get_args(Fit)):
        if name == anchor:
            continue
        row: dict[str, Any] = {"anchor": anchor, "test": name, "fit": fit}
        refused: dict[str, None] = {}  # an ordered set: both deltas may be refused for one reason
        for delta, column, axis in (
            (bd_rate, "bd_rate_percent", "quality"),
            (bd_quality, "bd_quality", "rate"),
        ):
            try:
                found = delta(clean(anchor, *curves[anchor]), clean(name, rates, qualities), fit)
            except ResultsError as error:
                refused[str(error)] = None
                found = None
            row |= {
                column: found and found.value,
                f"{axis}_low": found and found.low,
                f"{axis}_high": found and found.high,
                f"{axis}_covered": found and found.covered,
            }
            row["dropped"] = "; ".join(found.dropped) if found else row.get("dropped", "")
        rows.append(row | {"refused": "; ".join(refused)})
    return rows


def _shared(
    anchor: Curve, test: Curve, x: np.ndarray, other: np.ndarray, axis: str
) -> tuple[float, float, float]:
    low, high = max(x.min(), other.min()), min(x.max(), other.max())
    if low >= high:
        ends = [
            f"{curve.name} with {axis} {values[0]:.4g} to {values[-1]:.4g}"
            for curve in (anchor, test)
            for values in (curve.qualities if axis == "quality" else curve.rates,)
        ]
        raise ResultsError(f"found {ends[0]} and {ends[1]}, expected curves whose {axis} overlaps")
    union = max(x.max(), other.max()) - min(x.min(), other.min())
    return float(low), float(high), float((high - low) / union)


def _mean(name: str, x: np.ndarray, y: np.ndarray, low: float, high: float, fit: Fit) -> float:
    """Mean of the fitted y over [low, high]."""
    if fit == "cubic":
        # Centred: fits of log rates near zero width would be ill-conditioned.
        fitted = np.polynomial.Polynomial.fit(x, y, 3)
        slope = fitted.deriv()
        # The slope of a cubic is least at an end or where its own slope is 0.
        turns = [turn.real for turn in slope.deriv().roots() if low < turn.real < high]
        least = min((low, high, *turns), key=slope)
        if slope(least) < -1e-9 * float(np.ptp(y)) / float(np.ptp(x)):
            raise ResultsError(
                f"{name}: the cubic fit falls at {least:.4g}, within the shared range {low:.4g} to {high:.4g} "
                "(rates as log10), where the points rise: it is no rate-quality curve there; take pchip"
            )
        polynomial = fitted.integ()
        return float(polynomial(high) - polynomial(low)) / (high - low)
    from scipy.interpolate import PchipInterpolator

    return float(PchipInterpolator(x, y).integrate(low, high)) / (high - low)

"""Time to target: when a run reached a value for good, and the median over runs that did not all reach it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sfsim.errors import ConfigError, ResultsError
from sfsim.results.divergence import HEADLINES

if TYPE_CHECKING:
    from sfsim.scenario import Target


@dataclass(frozen=True, slots=True)
class TimeToTarget:
    """When a run reached its target, or how near it came.

    Parameters
    ----------
    reached : bool
        Whether it did.
    time_s, round : float or None, int or None
        Simulated second and global round of the first evaluation that counts; None when missed.
    target : float
        The value asked for.
    best, best_time_s : float
        Best value seen and when; NaN when no evaluation gave a number.
    last_time_s : float
        Simulated second of the last evaluation: until then a missed target was watched for (censoring).
    evaluations, last_round : int
        How many evaluations there were, and the round of the last.
    diverged : bool
        Whether any evaluation gave NaN, or a loss beyond `sfsim.results.LOSS_BOUND`.
    """

    reached: bool
    time_s: float | None
    round: int | None
    target: float
    best: float
    best_time_s: float
    last_time_s: float
    evaluations: int
    last_round: int
    diverged: bool


def wanted(
    target: "Target | float | None",
    own: Mapping[str, Any] | None,
    headline: Callable[[], str],
    place: str,
    best_of: Callable[[str, str], float],
) -> tuple[str, float, int]:
    """Return metric, value and hold of what a user asks the time to.

    Parameters
    ----------
    target : Target or float or None
        A number is a value of the headline metric; None is the scenario's own target.
    own : mapping or None
        That, as a table.
    headline : callable
        Returns the headline metric.
    place : str
        Names the run in an error.
    best_of : callable
        Returns the best value of a metric in a run, for a target that is relative to one.

    Raises
    ------
    ResultsError
        There is no target.
    ConfigError
        `target` is none.
    """
    if target is None:
        if own is None:
            raise ResultsError(f"{place}: the scenario names no target; give a value")
    elif isinstance(target, (int, float)):
        metric = headline()
        if target > 1 and metric in HEADLINES:
            hint = f"Write {target / 100:g} for {target:g} %."
            raise ConfigError("time_to", f"{target:g}", f"at most 1, which is a perfect {metric}", hint)
        return metric, float(target), 1
    elif hasattr(target, "metric"):
        own = asdict(target)
    else:
        raise ConfigError("time_to", repr(target), "a number, a Target, or nothing")
    value = float(own["value"])
    if own["relative_to"] is not None:
        value *= best_of(own["relative_to"], own["metric"])
    return own["metric"], value, own["hold"]


def time_to(
    times_s: Sequence[float], rounds: Sequence[int], values: Sequence[float], target: float, hold: int = 1
) -> TimeToTarget:
    """Return the first evaluation at or above `target` that begins `hold` such evaluations in a row.

    Nothing is interpolated. NaN (a diverged model) is below every target. An evaluation whose `hold`
    would reach beyond the last one does not count.

    Parameters
    ----------
    times_s, rounds, values : sequences of equal length, at least one entry
        When each evaluation was, simulated seconds and global round, and what it gave.
    target : float
        Value to reach.
    hold : int
        Evaluations in a row that must stand at or above it (1: the first one counts).

    Examples
    --------
    >>> time_to([1.0, 2.0, 3.0, 4.0], [1, 2, 3, 4], [0.5, 0.9, 0.8, 0.9], 0.9).time_s
    2.0
    >>> time_to([1.0, 2.0, 3.0, 4.0], [1, 2, 3, 4], [0.5, 0.9, 0.8, 0.9], 0.9, hold=2).reached
    False
    """
    good = [value >= target for value in values]
    starts = (i for i in range(len(good) - hold + 1) if all(good[i : i + hold]))
    first = next(starts, None)
    numbers = [i for i, value in enumerate(values) if not math.isnan(value)]
    best = max(numbers, key=values.__getitem__) if numbers else None  # max keeps the earliest of equals
    return TimeToTarget(
        reached=first is not None,
        time_s=None if first is None else times_s[first],
        round=None if first is None else rounds[first],
        target=target,
        best=math.nan if best is None else values[best],
        best_time_s=math.nan if best is None else times_s[best],
        last_time_s=times_s[-1],
        evaluations=len(values),
        last_round=rounds[-1],
        diverged=len(numbers) < len(values),
    )


def kaplan_meier_quantile(times_s: Sequence[float], reached: Sequence[bool], q: float = 0.5) -> float | None:
    """Return the `q` quantile of time to target over runs, some of which may never have reached it.

    A run that missed its target counts as "not before its last evaluation". The mean over the runs
    that happened to arrive would be too optimistic.

    Parameters
    ----------
    times_s : sequence of float
        Time to target of each run that reached it, time of the last evaluation of each other.
    reached : sequence of bool
        Which is which.
    q : float
        0.5 is the median.

    Returns
    -------
    float or None
        Seconds; None when too few runs arrived for the quantile to exist.

    Notes
    -----
    The product-limit estimate ``S(t) = prod over t_i <= t of (1 - d_i / n_i)``; the quantile is the smallest
    ``t`` with ``S(t) <= 1 - q``. At equal times arrivals come before censorings.

    Source: E. L. Kaplan and P. Meier, Nonparametric estimation from incomplete observations, Journal of the
    American Statistical Association 53 (1958) 457-481.

    Examples
    --------
    >>> kaplan_meier_quantile([3.0, 1.0, 2.0], [True, True, True])
    2.0
    >>> kaplan_meier_quantile([3.0, 9.0, 9.0], [True, False, False]) is None
    True
    """
    survival, at_risk = 1.0, len(times_s)
    for time, arrived in sorted(zip(times_s, reached, strict=True), key=lambda pair: (pair[0], not pair[1])):
        if arrived:
            survival *= 1 - 1 / at_risk
            if survival <= 1 - q + 1e-12:  # products of fractions are not exact
                return time
        at_risk -= 1
    return None

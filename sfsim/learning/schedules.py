"""Declarations of learning rates that change while a scenario trains (no torch here).

Each kind is one of torch's schedulers, of the same arithmetic (`sfsim.learning.rates`).
"""

from math import inf
from typing import Annotated, Literal

from pydantic import Field

from sfsim.declaration import declaration, misfit

_Count = Annotated[int, Field(ge=1)]
_Factor = Annotated[float, Field(gt=0, lt=1)]


@declaration
class _Schedule:
    """Base of the schedules.

    Parameters
    ----------
    by : {"round", "step"}
        What the schedule counts: global rounds, the same for all parties; or the optimiser steps that this
        copy of the model has made (one per minibatch; a server-side model that serves all clients makes one
        for each minibatch of each of them). Neither starts again when ``optimiser_state = "reset"``.
    warm_up : int
        How many of them the learning rate first rises linearly; the schedule itself begins, at 0, behind them.
    warm_up_start : float
        At which share of the learning rate the warm-up starts.
    """

    by: Literal["round", "step"] = "round"
    warm_up: Annotated[int, Field(ge=0)] = 0
    warm_up_start: Annotated[float, Field(gt=0, le=1)] = 0.1


@declaration
class ConstantRate(_Schedule):
    """The learning rate as it is, behind a warm-up."""

    kind: Literal["constant"] = "constant"


@declaration
class StepRate(_Schedule):
    """The learning rate falls at equal distances.

    Parameters
    ----------
    every : int
        After how many rounds or steps it falls, again and again.
    factor : float
        What it is multiplied with each time.
    """

    kind: Literal["step"] = "step"
    every: _Count
    factor: _Factor = 0.1


@declaration
class MultiStepRate(_Schedule):
    """The learning rate falls at milestones.

    Parameters
    ----------
    milestones : list of int
        After how many rounds or steps it falls, counted behind the warm-up.
    factor : float
        What it is multiplied with each time.
    """

    kind: Literal["multi-step"] = "multi-step"
    milestones: Annotated[tuple[_Count, ...], Field(min_length=1)]
    factor: _Factor = 0.1

    def __post_init__(self) -> None:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise misfit("milestones", str(list(self.milestones)), "numbers that rise")


@declaration
class CosineRate(_Schedule):
    """Half a cosine from the learning rate down to a smaller one, where it stays.

    Parameters
    ----------
    over : int
        Within how many rounds or steps, counted behind the warm-up.
    minimum : float
        The learning rate at its end.

    Source: Loshchilov and Hutter, arXiv 1608.03983, without restarts.
    """

    kind: Literal["cosine"] = "cosine"
    over: _Count
    minimum: Annotated[float, Field(ge=0)] = 0.0


@declaration
class ExponentialRate(_Schedule):
    """The learning rate times `factor` after every round or step."""

    kind: Literal["exponential"] = "exponential"
    factor: _Factor


AnySchedule = Annotated[
    ConstantRate | StepRate | MultiStepRate | CosineRate | ExponentialRate,
    Field(discriminator="kind"),
]


def check_schedule(schedule: AnySchedule | None, learning_rate: float) -> None:
    """Raise a misfit for a schedule that would end above the learning rate it starts from."""
    if isinstance(schedule, CosineRate) and schedule.minimum > learning_rate:
        expected = f"at most learning_rate = {learning_rate:g}"
        raise misfit(("schedule", "minimum"), f"{schedule.minimum:g}", expected)


def first_change(schedule: AnySchedule) -> float:
    """Return the first round or step at which the rate is another than one earlier, counted from 0.

    >>> first_change(StepRate(every=30)), first_change(MultiStepRate(milestones=(60, 120), warm_up=1))
    (30, 1)
    """
    if schedule.warm_up and schedule.warm_up_start < 1:
        return 1
    if isinstance(schedule, ConstantRate):
        return inf
    first = {"step": "every", "multi-step": "milestones"}.get(schedule.kind)
    behind = getattr(schedule, first) if first else 1
    return schedule.warm_up + (behind[0] if isinstance(behind, tuple) else behind)


def rounds_left_out(schedule: AnySchedule, global_rounds: int) -> str:
    """Say which part of a schedule by rounds a run of so many rounds does not come to, or nothing."""
    if schedule.by != "round":
        return ""
    if first_change(schedule) >= global_rounds:
        return f"has no effect in a run of {global_rounds} rounds"
    late: list[int] = []
    if isinstance(schedule, MultiStepRate):
        late = [at for at in schedule.milestones if schedule.warm_up + at >= global_rounds]
    if late:
        return f"does not come to its milestones {late} in a run of {global_rounds} rounds"
    if isinstance(schedule, CosineRate) and schedule.warm_up + schedule.over > global_rounds:
        ends = schedule.warm_up + schedule.over
        return f"ends after {ends} rounds, the run after {global_rounds}"
    return ""

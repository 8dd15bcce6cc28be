"""The learning rate at any time of a schedule: what torch's scheduler of that name gives, bit for bit."""

import torch
from torch.optim import lr_scheduler

from sfsim.learning.declarations import AnyOptimiser, Sgd
from sfsim.learning.schedules import (
    AnySchedule,
    ConstantRate,
    CosineRate,
    ExponentialRate,
    MultiStepRate,
    StepRate,
)
from sfsim.learning.steps import make_optimiser


class LearningRate:
    """The learning rate of one optimiser as a function of time; asking changes nothing that is answered.

    Examples
    --------
    >>> from sfsim.learning.declarations import Sgd
    >>> rate = LearningRate(Sgd(learning_rate=0.1, schedule=StepRate(every=2, factor=0.5)))
    >>> [rate(time) for time in range(5)]
    [0.1, 0.1, 0.05, 0.05, 0.025]
    """

    def __init__(self, spec: AnyOptimiser) -> None:
        self._base, self._schedule = spec.learning_rate, spec.schedule
        if self._schedule is not None:
            self._warm_up = _Rates(self._base, None, self._schedule)
            self._main = _Rates(self._base, self._schedule, self._schedule)

    @property
    def by(self) -> str | None:
        """The unit that time is counted in: ``"round"``, ``"step"``, or nothing where the rate never changes."""
        return self._schedule.by if self._schedule is not None else None

    def __call__(self, time: int) -> float:
        """Return the learning rate after `time` whole rounds or steps."""
        if self._schedule is None:
            return self._base
        if time < self._schedule.warm_up:
            return self._warm_up(time)
        time -= self._schedule.warm_up
        # torch's cosine would rise again behind its end.
        end = self._schedule.over if isinstance(self._schedule, CosineRate) else time
        return self._main(min(time, end))


class _Rates:
    """The rates that torch's scheduler sets one after another, kept as far as they have been asked for."""

    def __init__(self, base: float, schedule: AnySchedule | None, declared: AnySchedule) -> None:
        self._optimiser = make_optimiser(Sgd(learning_rate=base), [torch.nn.Parameter(torch.zeros(1))])
        self._scheduler = _scheduler(self._optimiser, schedule, declared)
        self._optimiser.step()  # without a gradient; schedulers want to see a step first
        self._rates = [self._now()]

    def __call__(self, time: int) -> float:
        while len(self._rates) <= time:
            self._scheduler.step()
            self._rates.append(self._now())
        return self._rates[time]

    def _now(self) -> float:
        return float(self._optimiser.param_groups[0]["lr"])


def _scheduler(
    optimiser: torch.optim.Optimizer, schedule: AnySchedule | None, declared: AnySchedule
) -> lr_scheduler.LRScheduler:
    if schedule is None:  # the warm-up
        return lr_scheduler.LinearLR(optimiser, declared.warm_up_start, 1.0, max(1, declared.warm_up))
    if isinstance(schedule, StepRate):
        return lr_scheduler.StepLR(optimiser, schedule.every, schedule.factor)
    if isinstance(schedule, MultiStepRate):
        return lr_scheduler.MultiStepLR(optimiser, list(schedule.milestones), schedule.factor)
    if isinstance(schedule, CosineRate):
        return lr_scheduler.CosineAnnealingLR(optimiser, schedule.over, schedule.minimum)
    if isinstance(schedule, ExponentialRate):
        return lr_scheduler.ExponentialLR(optimiser, schedule.factor)
    assert isinstance(schedule, ConstantRate)
    return lr_scheduler.ConstantLR(optimiser, factor=1.0, total_iters=0)

"""Learning rates that change: torch's schedulers as the oracle, unsplit training, resumed and threaded runs."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from interrupted import counted, files
from test_determinism import rows
from test_equivalence import assert_equal, batches_of, whole
from torch.optim import lr_scheduler
from worlds import clients, finished, scenario

import sfsim
from sfsim.errors import ConfigError
from sfsim.learning.data import load_dataset
from sfsim.learning.declarations import Adam, AdamW, AnyOptimiser, Sgd
from sfsim.learning.models import build
from sfsim.learning.rates import LearningRate
from sfsim.learning.schedules import (
    AnySchedule,
    ConstantRate,
    CosineRate,
    ExponentialRate,
    MultiStepRate,
    StepRate,
    first_change,
)
from sfsim.scenario import CodecTraining
from sfsim.seeds import integer

SCHEDULES: list[AnySchedule] = [
    ConstantRate(warm_up=3),
    StepRate(every=2, factor=0.5),
    MultiStepRate(milestones=(2, 3, 7), factor=0.2, warm_up=2),
    CosineRate(over=12, minimum=1e-3, warm_up=3, warm_up_start=0.3),
    ExponentialRate(factor=0.9, warm_up=1),
]


def oracle(optimiser: torch.optim.Optimizer, schedule: AnySchedule) -> lr_scheduler.LRScheduler:
    """What anybody would write in PyTorch for a declared schedule."""
    if schedule.kind == "step":
        main: Any = lr_scheduler.StepLR(optimiser, schedule.every, schedule.factor)
    elif schedule.kind == "multi-step":
        main = lr_scheduler.MultiStepLR(optimiser, schedule.milestones, schedule.factor)
    elif schedule.kind == "cosine":
        main = lr_scheduler.CosineAnnealingLR(optimiser, schedule.over, schedule.minimum)
    elif schedule.kind == "exponential":
        main = lr_scheduler.ExponentialLR(optimiser, schedule.factor)
    else:
        main = lr_scheduler.ConstantLR(optimiser, 1.0)
    if not schedule.warm_up:
        return main
    rising = lr_scheduler.LinearLR(optimiser, schedule.warm_up_start, total_iters=schedule.warm_up)
    return lr_scheduler.SequentialLR(optimiser, [rising, main], [schedule.warm_up])


@pytest.mark.filterwarnings("ignore:The epoch parameter")  # torch's own SequentialLR gives it
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.kind)
def test_rates_are_those_of_torch(schedule: AnySchedule) -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler, rate = oracle(optimiser, schedule), LearningRate(Sgd(learning_rate=0.3, schedule=schedule))
    for time in range(12):
        assert rate(time) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-12)
        optimiser.step()
        scheduler.step()


@given(st.floats(1e-5, 1.0), st.integers(0, 9), st.integers(1, 30), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_a_cosine_falls_to_its_minimum_and_stays(base: float, warm_up: int, over: int, time: int) -> None:
    schedule = CosineRate(over=over, warm_up=warm_up, minimum=base / 10)
    rate = LearningRate(Sgd(learning_rate=base, schedule=schedule))
    later, now = rate(time + 1), rate(time)
    assert base / 10 * (1 - 1e-9) <= now <= base * (1 + 1e-9)
    assert later <= now * (1 + 1e-9) if time >= warm_up else later > now
    assert rate(warm_up + over + time) == pytest.approx(base / 10)
    assert rate(warm_up) == base


@pytest.mark.parametrize("protocol", ["splitfed-v1", "splitfed-v2", "sl"])
@pytest.mark.parametrize("schedule", SCHEDULES[1:4], ids=lambda schedule: schedule.kind)
@pytest.mark.parametrize("by", ["round", "step"])
def test_split_training_by_a_schedule_is_unsplit_training_by_it(
    protocol: str, schedule: AnySchedule, by: str
) -> None:
    spec = AdamW(learning_rate=1e-2, weight_decay=0.1, schedule=replace(schedule, by=by))
    declared = scenario(protocol=protocol, optimiser=spec, clients=clients(1), global_rounds=5, local_steps=3)
    world = finished(declared)
    data = load_dataset(declared.data, None, declared.seeds.data, 0.0)
    model = build(declared.model, data.in_channels, data.num_classes, integer(7, "initial weights"))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1, foreach=False)
    scheduler = oracle(optimiser, replace(schedule, warm_up=0))
    if schedule.warm_up:
        main = scheduler
        scheduler = lr_scheduler.LinearLR(optimiser, schedule.warm_up_start, 1.0, schedule.warm_up)
    times = 0
    for number, batch in enumerate(batches_of(world, "c", 5), start=1):
        x, targets = data.train.batch(batch)
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(x)[0], targets).backward()
        optimiser.step()
        if by == "step" or number % 3 == 0:
            scheduler.step()
            times += 1
            if times == schedule.warm_up:  # as SequentialLR, whose rates differ in the last bit
                optimiser.param_groups[0]["lr"] = 1e-2
                scheduler = main
    assert_equal(whole(world, "c", "c"), model.state_dict())


def test_client_and_server_follow_their_own_schedules() -> None:
    mine = Sgd(learning_rate=0.1, schedule=StepRate(every=1, factor=0.5))
    theirs = Sgd(learning_rate=0.1, schedule=ExponentialRate(factor=0.9, by="step"))
    declared = scenario(
        protocol="splitfed-v2", optimiser=mine, server_optimiser=theirs, global_rounds=3, local_steps=2
    )
    setting = finished(declared).workload.setting
    assert setting.clients["c-0"].optimiser.param_groups[0]["lr"] == 0.025  # the third round
    # One server-side model, two clients of two minibatches: the last of twelve steps.
    assert setting.servers["c-0"].optimiser.param_groups[0]["lr"] == pytest.approx(0.1 * 0.9**11)


@pytest.mark.parametrize("state", ["keep", "reset"])
def test_a_schedule_goes_on_after_an_interruption_and_with_other_jobs(state: str, tmp_path: Path) -> None:
    spec = AdamW(schedule=CosineRate(over=13, warm_up=4, by="step"), learning_rate=1e-2)
    declared = scenario(optimiser=spec, global_rounds=3, optimiser_state=state)
    works = counted(declared, tmp_path / "whole")
    counted(declared, tmp_path / "run", works // 2, jobs=3)
    result = sfsim.resume(tmp_path / "run")
    assert result.environment["resumed_after_rounds"] == [1]
    assert files(result.directory) == files(tmp_path / "whole")
    assert rows(finished(declared, jobs=3).ledger) == rows(finished(declared).ledger)


def test_a_schedule_changes_what_is_learnt_and_costs_nothing() -> None:
    plain = finished(scenario()).ledger
    slower = finished(
        scenario(optimiser=Adam(learning_rate=1e-2, schedule=ExponentialRate(factor=0.1)))
    ).ledger
    assert [m.payload_crc32 for m in plain.messages] != [m.payload_crc32 for m in slower.messages]
    assert [(c.phase, c.flops) for c in plain.computations] == [
        (c.phase, c.flops) for c in slower.computations
    ]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"milestones: found \[3, 2\], expected numbers that rise"):
        MultiStepRate(milestones=(3, 2))
    with pytest.raises(
        ConfigError, match=r"\[schedule\] minimum: found 0.5, expected at most learning_rate = 0.1"
    ):
        Sgd(learning_rate=0.1, schedule=CosineRate(over=3, minimum=0.5))
    spec: AnyOptimiser = Adam(schedule=StepRate(every=3))
    with pytest.raises(ConfigError, match="the kind 'step', expected nothing: learned codecs"):
        CodecTraining(optimiser=spec)


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        (StepRate(every=9), "the schedule 'step' has no effect in a run of 9 rounds"),
        (StepRate(every=8), None),
        (ConstantRate(), "the schedule 'constant' has no effect in a run of 9 rounds"),
        (ConstantRate(warm_up=3), None),
        (MultiStepRate(milestones=(9, 12)), "the schedule 'multi-step' has no effect in a run of 9 rounds"),
        (
            MultiStepRate(milestones=(3, 7, 9)),
            "'multi-step' does not come to its milestones [9] in a run of 9",
        ),
        (MultiStepRate(milestones=(3, 8)), None),
        (CosineRate(over=9), None),
        (CosineRate(over=9, warm_up=2), "the schedule 'cosine' ends after 11 rounds, the run after 9"),
        (CosineRate(over=99, by="step"), None),
        (ExponentialRate(factor=0.9), None),
    ],
    ids=repr,
)
def test_what_a_run_does_not_come_to_is_said(schedule: AnySchedule, said: str | None) -> None:
    spec = Sgd(learning_rate=0.1, schedule=schedule)
    remarks = scenario(global_rounds=9, server_optimiser=spec).remarks()
    assert len(remarks) == (said is not None)
    assert said is None or (remarks[0].startswith("server_optimiser: ") and said in remarks[0])


@given(st.sampled_from(SCHEDULES), st.integers(0, 4), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_the_first_change_is_where_the_rate_changes(schedule: AnySchedule, warm_up: int, other: int) -> None:
    schedule = replace(schedule, warm_up=warm_up)
    if isinstance(schedule, StepRate):
        schedule = replace(schedule, every=other)
    rate = LearningRate(Sgd(learning_rate=0.3, schedule=schedule))
    changes = [time for time in range(1, 20) if rate(time) != rate(time - 1)]
    assert first_change(schedule) == (changes[0] if changes else math.inf)

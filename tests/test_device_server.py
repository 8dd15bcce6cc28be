"""DeviceServer: exact event times of fifo, shared and unlimited policies, throttling, variation, records."""

from typing import Any

import pytest
import simpy

from sfsim.cost import Cost
from sfsim.device import Device, Throttling, Variation
from sfsim.device.server import DeviceServer
from sfsim.ledger import ComputationRecord, Ledger

Log = list[tuple[float, str]]


def device(**changes: Any) -> Device:
    """A device on which 1 FLOP takes 1 s."""
    numbers: dict[str, Any] = {
        "name": "unit",
        "peak_flops": 1,
        "efficiency": 1,
        "memory_bandwidth_bytes_per_s": 1,
        "launch_overhead_s": 0,
        "symbols_per_s": 1,
        "memory_bytes": 1,
        "idle_power_w": 1,
        "active_power_w": 3,
    }
    return Device(**(numbers | changes))


def serve(
    machine: Device, jobs: list[tuple[str, float, list[float]]], variation: Variation | None = None
) -> tuple[Log, list[ComputationRecord]]:
    """Run jobs (name, arrival, seconds of each phase) and log when each starts and ends."""
    env, ledger, log = simpy.Environment(), Ledger(), Log()
    server = DeviceServer(env, machine, "main server", 7, ledger, variation)

    def job(name: str, arrival_s: float, phases: list[float]) -> Any:
        yield env.timeout(arrival_s)
        yield from server.spend(
            [(f"phase {i}", Cost(flops=seconds)) for i, seconds in enumerate(phases)],
            operation="server_forward",
            client=name,
            round=0,
            epoch=0,
            minibatch=0,
            on_start=lambda: log.append((env.now, f"{name} starts")),
        )
        log.append((env.now, f"{name} ends"))

    for args in jobs:
        env.process(job(*args))
    env.run()
    return log, ledger.computations


def test_fifo_serves_in_order_of_arrival() -> None:
    log, records = serve(device(), [("a", 0, [2, 1]), ("b", 1, [2]), ("c", 1, [1])])
    assert log == [
        (0, "a starts"),
        (3, "a ends"),
        (3, "b starts"),
        (5, "b ends"),
        (5, "c starts"),
        (6, "c ends"),
    ]
    assert [(r.client, r.phase, r.start_s, r.end_s) for r in records] == [
        ("a", "phase 0", 0, 2),
        ("a", "phase 1", 2, 3),
        ("b", "device queueing", 1, 3),
        ("b", "phase 0", 3, 5),
        ("c", "device queueing", 1, 5),
        ("c", "phase 0", 5, 6),
    ]


def test_fifo_slots_run_side_by_side() -> None:
    log, _ = serve(device(slots=2), [("a", 0, [4]), ("b", 0, [1]), ("c", 0, [2]), ("d", 0.5, [1])])
    assert log == [
        (0, "a starts"),
        (0, "b starts"),
        (1, "b ends"),
        (1, "c starts"),
        (3, "c ends"),
        (3, "d starts"),
        (4, "a ends"),
        (4, "d ends"),
    ]


def test_nobody_overtakes_who_waits() -> None:
    """Who arrives at the instant a slot is handed over waits behind the one who waited."""
    log, _ = serve(device(), [("a", 0, [2]), ("b", 1, [1]), ("c", 2, [1])])
    assert [text for _, text in log if "starts" in text] == ["a starts", "b starts", "c starts"]


def test_unlimited_never_waits() -> None:
    log, records = serve(device(policy="unlimited"), [("a", 0, [2]), ("b", 1, [2]), ("c", 1, [1])])
    assert [entry for entry in log if "ends" in entry[1]] == [(2, "a ends"), (2, "c ends"), (3, "b ends")]
    assert {r.phase for r in records} == {"phase 0"}


def test_shared_is_processor_sharing() -> None:
    """a alone does 1 s of 3, then halves; b (1 s of work) leaves at 3; a has 1 s left and ends at 4."""
    log, records = serve(device(policy="shared"), [("a", 0, [3]), ("b", 1, [1])])
    assert log == [(0, "a starts"), (1, "b starts"), (3, "b ends"), (4, "a ends")]
    assert [(r.client, r.joules) for r in records] == [("b", 3), ("a", 9)]


def test_shared_closed_form_of_a_batch() -> None:
    """n jobs together: the k-th shortest ends at the sum over i <= k of (w_i - w_(i-1)) (n - i + 1)."""
    works = [0.7, 0.1, 1.9, 0.4, 1.1]
    log, _ = serve(device(policy="shared"), [(str(w), 0, [w]) for w in works])
    end_s, previous, expected = 0.0, 0.0, []
    for rank, work in enumerate(sorted(works)):
        end_s += (work - previous) * (len(works) - rank)
        previous = work
        expected.append((end_s, f"{work} ends"))
    ends = [entry for entry in log if "ends" in entry[1]]
    assert [name for _, name in ends] == [name for _, name in expected]
    assert [t for t, _ in ends] == pytest.approx([t for t, _ in expected], rel=1e-12)


def test_shared_equals_end_together_and_slots_come_first() -> None:
    log, _ = serve(
        device(policy="shared", slots=2), [("a", 0, [1]), ("b", 0, [1]), ("c", 1, [1]), ("d", 1, [1])]
    )
    assert [entry for entry in log if "ends" in entry[1]] == [
        (1, "a ends"),
        (1, "b ends"),
        (2, "c ends"),
        (2, "d ends"),
    ]


def test_throttling_sets_in_within_a_phase_and_recovers() -> None:
    machine = device(throttling=Throttling(after_busy_s=2, speed=0.5, recovery_idle_s=10))
    log, _ = serve(machine, [("a", 0, [3]), ("b", 5, [1]), ("c", 20, [1])])
    assert [entry for entry in log if "ends" in entry[1]] == [(4, "a ends"), (7, "b ends"), (21, "c ends")]


def test_throttling_without_recovery_and_with_sharing() -> None:
    """Together at half speed until 2 s busy (1 s of work each); the last second of each at a quarter."""
    machine = device(policy="shared", throttling=Throttling(after_busy_s=2, speed=0.5))
    log, _ = serve(machine, [("a", 0, [2]), ("b", 0, [2]), ("c", 100, [1])])
    assert [entry for entry in log if "ends" in entry[1]] == [(6, "a ends"), (6, "b ends"), (102, "c ends")]


def test_variation_stretches_every_phase_alike_and_repeats() -> None:
    law = Variation(law="lognormal", sigma=0.5)
    factor = law.factor(7, "main server", "a", 0, 0, 0)
    runs = [serve(device(), [("a", 0, [2, 1])], law) for _ in range(2)]
    assert runs[0] == runs[1]
    assert [r.end_s for r in runs[0][1]] == [2 * factor, 2 * factor + factor]
    assert runs[0][1][0].joules == 3 * 2 * factor


def test_no_phases_and_no_cost_take_no_time() -> None:
    log, records = serve(device(policy="shared"), [("a", 1, []), ("b", 1, [0.0])])
    assert log == [(1, "a starts"), (1, "a ends"), (1, "b starts"), (1, "b ends")]
    assert [(r.start_s, r.end_s) for r in records] == [(1, 1)]

"""A device in simulated time: work waits for it, runs on it, and is written into the ledger."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from math import inf
from typing import Any

import simpy

from sfsim.cost import Cost
from sfsim.device.profile import Device
from sfsim.device.variation import Variation
from sfsim.ledger import ComputationRecord, Ledger

Steps = Generator[simpy.Event, Any, None]


class _Job:
    """A phase that runs: work left, in seconds at full speed, and the event of its end."""

    __slots__ = ("done", "left_s")

    def __init__(self, left_s: float, done: simpy.Event) -> None:
        self.left_s = left_s
        self.done = done


class DeviceServer:
    """One party's device: takes work, lets simulated time pass, writes records.

    Parameters
    ----------
    env : simpy.Environment
        Simulated time.
    device : Device
        The machine.
    party : str
        Whose machine it is, as in the ledger.
    seed : int
        Seed of the named streams of `variation`.
    ledger : Ledger
        Takes one `ComputationRecord` for each phase, and one for each wait.
    variation : Variation, optional
        Law of the minibatch-to-minibatch variation; none when absent.

    Notes
    -----
    Running phases progress at one common speed: 1 with ``"fifo"`` and ``"unlimited"``,
    min(1, slots / running) with ``"shared"`` (egalitarian processor sharing; L. Kleinrock, Queueing Systems
    II, 1976, chapter 4), times what throttling leaves. Ends are recomputed whenever the speed changes, so
    they are exact.

    A phase's joules are active power times its seconds at full speed: sharing divides the power among
    those who share it, and throttling lowers power and speed alike.

    Left out: interrupting a piece of work; priorities.
    """

    def __init__(
        self,
        env: simpy.Environment,
        device: Device,
        party: str,
        seed: int,
        ledger: Ledger,
        variation: Variation | None = None,
    ) -> None:
        self._env = env
        self._device = device
        self._party = party
        self._seed = seed
        self._ledger = ledger
        self._variation = variation or Variation()
        self._free = device.slots
        self._queue: deque[simpy.Event] = deque()
        self._jobs: list[_Job] = []
        self._since_s = env.now
        self._busy_s = 0.0
        self._version = 0

    def spend(
        self,
        costs: Sequence[tuple[str, Cost]],
        *,
        operation: str,
        party: str | None = None,
        client: str = "",
        round: int,
        epoch: int,
        minibatch: int,
        on_start: Callable[[], object] | None = None,
    ) -> Steps:
        """Run the phases `costs` one after another; use with ``yield from``.

        Parameters
        ----------
        costs : sequence of (str, Cost)
            Phase and what it needs.
        operation, party, client, round, epoch, minibatch
            What it is done for, as in the ledger, and by whom when parties share the device; they also name the
            stream of the variation.
        on_start : callable, optional
            Called at the moment the device takes the work: after the wait for a slot, before the first phase.
        """

        env, rows, whose = self._env, self._ledger.computations, party or self._party
        place = (operation, round, epoch, minibatch)
        queued_s = env.now
        yield from self._acquire()
        if (now := env.now) > queued_s:
            rows.append(
                ComputationRecord(
                    whose, client, "device queueing", *place, 0.0, 0.0, 0.0, 0.0, queued_s, now, 0.0
                )
            )
        if on_start is not None:
            on_start()
        factor = self._variation.factor(self._seed, self._party, client, round, epoch, minibatch)
        for phase, cost in costs:
            start_s = env.now
            work_s = factor * self._device.seconds(cost)
            yield self._run(work_s)
            prices = (cost.flops, cost.bytes_touched, cost.serial_symbols, cost.launches)
            joules = self._device.active_power_w * work_s
            rows.append(ComputationRecord(whose, client, phase, *place, *prices, start_s, env.now, joules))
        self._release()

    def _acquire(self) -> Steps:
        if self._device.policy != "fifo":
            return
        if self._free:
            self._free -= 1
        else:
            turn = self._env.event()
            self._queue.append(turn)
            yield turn

    def _release(self) -> None:
        if self._device.policy != "fifo":
            return
        if self._queue:
            self._queue.popleft().succeed()  # the slot changes hands; it never becomes free in between
        else:
            self._free += 1

    def _run(self, work_s: float) -> simpy.Event:
        """Return the event of the end of `work_s` seconds at full speed."""
        if self._device.policy != "shared" and self._device.throttling is None:
            return self._env.timeout(work_s)  # the speed is always 1
        self._progress()
        job = _Job(work_s, self._env.event())
        self._jobs.append(job)
        self._schedule()
        return job.done

    def _speed(self) -> float:
        speed = 1.0
        if self._device.policy == "shared":
            speed = min(1.0, self._device.slots / len(self._jobs))
        throttling = self._device.throttling
        if throttling is not None and self._busy_s >= throttling.after_busy_s:
            speed *= throttling.speed
        return speed

    def _progress(self) -> None:
        """Bring all running phases, and the busy time, from the last change to now."""
        elapsed_s = self._env.now - self._since_s
        self._since_s = self._env.now
        throttling = self._device.throttling
        if self._jobs:
            done_s = elapsed_s * self._speed()
            for job in self._jobs:
                job.left_s -= done_s
            self._busy_s += elapsed_s
        elif throttling is not None and elapsed_s >= (throttling.recovery_idle_s or inf):
            self._busy_s = 0.0

    def _schedule(self) -> None:
        """Wake up at the next end, or at the moment throttling sets in."""
        self._version += 1
        if not self._jobs:
            return
        version = self._version
        next_job = min(self._jobs, key=lambda job: job.left_s)  # the first of equals
        wait_s = next_job.left_s / self._speed()
        throttling = self._device.throttling
        until_throttled_s = throttling.after_busy_s - self._busy_s if throttling else 0.0
        throttles = 0.0 < until_throttled_s < wait_s

        def wake(_: simpy.Event) -> None:
            if version != self._version:
                return
            self._progress()
            if throttles and throttling is not None:
                self._busy_s = throttling.after_busy_s  # not a rounding error before it
            else:
                ended = max(next_job.left_s, 0.0)  # 0 but for rounding; its equals end with it
                for job in [job for job in self._jobs if job.left_s <= ended]:
                    self._jobs.remove(job)
                    job.done.succeed()
            self._schedule()

        timeout = self._env.timeout(until_throttled_s if throttles else max(wait_s, 0.0))
        timeout.callbacks.append(wake)

"""Record a live workload while it runs, and go on later from a recording of it.

A simulation cannot be saved: its processes are generators. It is quick, though, and what it does depends only
on what its works cost and put out. So a checkpoint holds what all works until now cost and put out (of the
payloads only length and checksum), and the state of the learning after exactly these works. To go on, the
simulation is run again from its beginning: works of the recording are answered from it, and after its last
row the real workload takes over, in the state that was saved.

A checkpoint is made at the end of an instant at which no client is between forward and backward of a
minibatch. The first such instant after the client-side model of a round is complete is that very one in all
protocols, unless a client begins its next minibatch at the same instant; then it is the end of that.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sfsim import interruption
from sfsim.cost import Cost
from sfsim.errors import SfsimError
from sfsim.payload import Outgoing
from sfsim.workload.work import (
    MAIN_SERVER,
    SKIPPED,
    SKIPPED_CODEC,
    Access,
    Measured,
    Minibatch,
    Outcome,
    Work,
    WorkKey,
)

if TYPE_CHECKING:
    from sfsim.clock import Clock
    from sfsim.network import AnyNetwork
    from sfsim.workload.checkpoint import CheckpointFolder
    from sfsim.workload.live import LiveWorkload

Row = list[Any]
_FIRST_TAKES_S = 0.03  # what is believed until one was made: runs of a few seconds make none


class OutOfStep(SfsimError):
    """The run asks for something else than what was recorded: code or libraries have changed."""


class Recorder:
    """Stands between the parties and a live workload (implements `workload.work.Workload`).

    Rows of a recording, in the order in which things happened: ``[op, arguments, key, price]`` for a work that
    was made (price: a number, and where it is new the costs and accesses behind it), ``["launch", work,
    seconds, outgoing or None]``, ``["keep", ...]``, ``["evaluate", round, measured]``.

    Parameters
    ----------
    live : LiveWorkload
        What does the work.
    clock : Clock
        Simulated time.
    network : Network or PacketNetwork
        Asked for payloads that nobody has received yet.
    last_round : int
        Behind this one, nothing is worth saving.
    """

    def __init__(self, live: LiveWorkload, clock: Clock, network: AnyNetwork, last_round: int) -> None:
        self._live, self._clock, self._network, self._last_round = live, clock, network, last_round
        self.client_forward = self._operation("client_forward")
        self.server_forward = self._operation("server_forward")
        self.client_tail = self._operation("client_tail")
        self.server_backward = self._operation("server_backward")
        self.server_step = self._operation("server_step")
        self.client_backward = self._operation("client_backward")
        self.model_out = self._operation("model_out")
        self.model_in = self._operation("model_in")
        self.aggregate = self._operation("aggregate")
        self.client_gradient = self._operation("client_gradient")
        self.skip = self._operation("skip")
        self.codec_out = self._operation("codec_out")
        self.codec_in = self._operation("codec_in")
        self.codecs_due = self._question("codecs_due")
        self.codecs_returning = self._question("codecs_returning")
        self.codecs_swapped = self._question("codecs_swapped")
        self.plan = live.plan
        self._folder: CheckpointFolder | None = None
        self._share = 0.0
        self._rows: list[Row] = []  # since the last checkpoint
        self._prices: dict[Any, int] = {}
        self._num_works = 0
        self._round = 0
        self._wanted = False
        # Minibatches between forward and backward: client, round, minibatch.
        self._under_way: set[tuple[str, int, int]] = set()
        self._waiting: dict[int, Sequence[Any]] = {}  # arguments of works that were made and not launched
        self._running: dict[int, _Launched] = {}  # works whose outcome nobody has taken yet
        self._took_s, self._ended_s = _FIRST_TAKES_S, perf_counter()
        self._before_s = 0.0
        self._resumed: list[int] = []
        # Of the recording that is being replayed:
        self._past: Iterator[Row] = iter(())
        self._next: Row | None = None
        self._known: list[tuple[Any, tuple[Access, ...]]] = []
        self._payloads: dict[int, bytes] = {}
        self._arguments: dict[int, list[bytes]] = {}

    def open(self, folder: CheckpointFolder, share: float) -> None:
        """Begin to write checkpoints, and go on from the one that is there.

        Parameters
        ----------
        share : float
            The most of the wall time that checkpoints may take: 0.01 for one per cent; infinite: one after
            every round, whatever it takes.
        """
        self._folder, self._share = folder, share
        self._began_s = self._ended_s = perf_counter()
        saved = folder.saved
        if saved is None:
            return
        state = folder.state()
        self._live.restore(state["live"])
        self._payloads, self._arguments = state["payloads"], state["arguments"]
        self._before_s, self._round = saved["wall_s"], saved["round"]
        self._resumed = [*saved["resumed"], self._round]
        self._past = folder.rows()
        self._next = next(self._past, None)

    @property
    def replaying(self) -> bool:
        """Whether the run is still where it was before."""
        return self._next is not None

    @property
    def resumed(self) -> list[int]:
        """Behind which rounds this run was interrupted and went on."""
        return self._resumed

    @property
    def earlier_wall_s(self) -> float:
        """Wall seconds that went into what was recorded before."""
        return self._before_s

    def keep(self, half: str, round: int, client: str = "") -> None:
        """See `Workload.keep`; a checkpoint is wanted when the client-side half is complete."""
        if self._replay("keep", half, round, client) is None:
            self._live.keep(half, round, client)
            if half == "client-side" and round < self._last_round and self._is_due():
                self._wanted = True
                self._clock.when_instant_ends(self._save_if_possible)
            self._rows.append(["keep", half, round, client])
        if half == "client-side":
            self._round = max(self._round, round)

    def evaluate(self, round: int) -> list[Measured]:
        """See `Workload.evaluate`."""
        row = self._replay("evaluate", round)
        if row is not None:
            return [
                Measured(split, codec, metric, _from_bits(bits), client)
                for split, codec, metric, bits, client in row[2]
            ]
        measured = self._live.evaluate(round)
        self._rows.append(["evaluate", round, [[*row[:3], _bits(row.value), row.client] for row in measured]])
        return measured

    def check_end(self) -> None:
        """Raise OutOfStep when the run is over and the recording is not."""
        if self._next is not None:
            raise OutOfStep(f"the run ended before {self._next[0]} of the recording")

    def _operation(self, name: str) -> Callable[..., Work]:
        make: Callable[..., Work] = getattr(self._live, name)

        def operation(*arguments: Any) -> Work:
            number = self._num_works
            self._num_works = number + 1
            said = [_plain(argument) for argument in arguments]
            row = self._replay(name, said)
            live: Callable[[], Outcome]
            if row is None:
                work = make(*arguments)
                key, costs, accesses, live = work.key, work.costs, work.accesses, work.launch
                self._rows.append([name, said, list(key), *self._price(costs, accesses)])
            else:
                key, (costs, accesses) = WorkKey(*row[2]), self._priced(row)
                pieces = iter(self._arguments.get(number, ()))
                arguments = tuple(next(pieces, v) if isinstance(v, bytes) else v for v in arguments)

                def live() -> Outcome:
                    return make(*arguments).launch()

            self._waiting[number] = arguments
            return Work(key, costs, lambda: self._launch(number, key, live), accesses)

        return operation

    def _question(self, name: str) -> Callable[..., Sequence[str]]:
        """What parties ask of learned codecs depends on the learning, so answers are recorded too."""
        ask: Callable[..., Sequence[str]] = getattr(self._live, name)
        if self._live.codecs is None:
            return ask

        def question(*arguments: Any) -> Sequence[str]:
            said = [_plain(argument) for argument in arguments]
            row = self._replay(name, said)
            if row is not None:
                answer: Sequence[str] = row[2]
                return answer
            found = list(ask(*arguments))
            self._rows.append([name, said, found])
            return found

        return question

    def _launch(self, number: int, key: WorkKey, live: Callable[[], Outcome]) -> Outcome:
        del self._waiting[number]
        # U-shaped, the main server hears of a gradient that is held back when the client has forgotten it.
        last_to_skip = MAIN_SERVER if self._live.setting.u_shaped else key.client
        if key.operation == "client_forward":
            self._under_way.add((key.client, key.round, key.minibatch))
        elif key.operation == "client_backward" or (key.operation == "skip" and key.party == last_to_skip):
            self._under_way.discard((key.client, key.round, key.minibatch))
            if self._wanted:
                self._clock.when_instant_ends(self._save_if_possible)
        row = self._replay("launch", number, self._clock.now)
        if row is not None:
            launched = _Launched(self._running, number, row, None)
            if row[3] is not None:
                launched.outgoing = self._outgoing(number, row[3])
        else:
            row = ["launch", number, self._clock.now, None]
            self._rows.append(row)
            launched = _Launched(self._running, number, row, live())
        self._running[number] = launched
        return launched

    def _outgoing(self, number: int, fields: list[Any]) -> Outgoing:
        """An outcome of the recording: with its payload where somebody is still to receive it."""
        outgoing = Outgoing(fields[0], b"", *fields[1:])._replace(work=number)
        # Parties act on the word that a gradient was held back; no other content decides what they do.
        payload = self._payloads.get(number, SKIPPED if outgoing.codec == SKIPPED_CODEC else None)
        return outgoing if payload is None else outgoing._replace(payload=payload)

    def _replay(self, *expected: Any) -> Row | None:
        """Return the next row of the recording, which has to begin like this; None after its end."""
        row = self._next
        if row is None:
            return None
        if row[: len(expected)] != list(expected):
            raise OutOfStep(f"{list(expected)} instead of {row[: len(expected)]}")
        self._next = next(self._past, None)
        return row

    def _price(self, costs: Sequence[tuple[str, Cost]], accesses: tuple[Access, ...]) -> list[Any]:
        """Number costs and accesses, which are few among many works."""
        price = (tuple(costs), accesses)
        number = self._prices.get(price)
        if number is not None:
            return [number]
        self._prices[price] = number = len(self._prices)
        fields = [
            [phase, [cost.flops, cost.bytes_touched, cost.serial_symbols, cost.launches]]
            for phase, cost in costs
        ]
        return [number, fields, [list(access) for access in accesses]]

    def _priced(self, row: Row) -> tuple[Any, tuple[Access, ...]]:
        if len(row) > 4:
            costs = tuple((phase, Cost(*fields)) for phase, fields in row[4])
            price = (costs, tuple(Access(*access) for access in row[5]))
            self._prices[price] = row[3]
            self._known.append(price)
        return self._known[row[3]]

    def _is_due(self) -> bool:
        """Whether enough time has gone by that one more checkpoint keeps to its share."""
        if self._folder is None or self._share <= 0:
            return False
        if interruption.is_asked():
            return True
        return (perf_counter() - self._ended_s) * self._share >= self._took_s

    def _save_if_possible(self) -> None:
        if self._under_way:
            return
        began_s = perf_counter()
        for launched in self._running.values():
            if not launched.ends_well():
                return  # the run ends here as soon as somebody looks at that outcome
        assert self._folder is not None
        unreceived = [out for launched in self._running.values() if (out := launched.outgoing) is not None]
        unreceived += self._network.undelivered()
        waiting = {
            number: [value for value in arguments if isinstance(value, bytes)]
            for number, arguments in self._waiting.items()
        }
        state = {
            "live": self._live.snapshot(),
            "payloads": {out.work: out.payload for out in unreceived if out.work >= 0},
            "arguments": {number: pieces for number, pieces in waiting.items() if pieces},
        }
        wall_s = self._before_s + began_s - self._began_s
        facts = {"round": self._round, "time_s": self._clock.now, "wall_s": wall_s, "resumed": self._resumed}
        self._folder.write(self._rows, state, facts)
        self._rows, self._wanted = [], False
        self._ended_s = perf_counter()
        self._took_s = self._ended_s - began_s
        interruption.end()


class _Launched:
    """A work that was launched: its outcome, from the live workload or from the recording."""

    __slots__ = ("_live", "_number", "_row", "_running", "outgoing")

    def __init__(self, running: dict[int, _Launched], number: int, row: Row, live: Outcome | None) -> None:
        self._running, self._number, self._row, self._live = running, number, row, live
        self.outgoing: Outgoing | None = None

    def result(self) -> Outgoing | None:
        """Wait for the outcome, which somebody takes now."""
        self._finish()
        del self._running[self._number]
        return self.outgoing

    def ends_well(self) -> bool:
        """Wait for the outcome, and say whether it is one and no error."""
        try:
            self._finish()
        except Exception:  # whatever it is, it is raised again where the outcome is taken
            return False
        return True

    def _finish(self) -> None:
        if self._live is None:
            return
        outgoing = self._live.result()
        self._live = None
        if outgoing is not None:
            self.outgoing = outgoing._replace(work=self._number)
            self._row[3] = _fields(self.outgoing)


def _bits(value: float) -> str:
    """A number with all its bits; JSON knows only one NaN, and the ledger of a run that diverged has others."""
    return struct.pack("<d", value).hex()


def _from_bits(text: str) -> float:
    value: float = struct.unpack("<d", bytes.fromhex(text))[0]
    return value


def _fields(outgoing: Outgoing) -> list[Any]:
    """All of an outcome but its content: as the arguments of `Outgoing` without payload and work."""
    known = outgoing._replace(size=outgoing.num_bytes, crc32=outgoing.payload_crc32)
    return [known.kind, *known[2:-1]]


def _plain(value: Any) -> Any:
    """An argument as JSON gives it back; of a payload only that it is one."""
    if isinstance(value, bytes):
        return "payload"
    if isinstance(value, Minibatch | list | tuple):
        return [_plain(item) for item in value]
    return value

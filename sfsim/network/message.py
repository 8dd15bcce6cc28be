"""A message in the hands of its receiver, and the inbox where it waits."""

from collections import deque
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

import simpy

from sfsim.payload import Outgoing


class Message(NamedTuple):
    """A payload that was delivered; times in simulated seconds.

    ``missing`` are the byte ranges ``[start, end)`` of the payload that an unreliable transport lost; in
    order, none by default.
    """

    message_id: int
    source: str
    destination: str
    outgoing: Outgoing
    queued_s: float
    delivered_s: float
    missing: tuple[tuple[int, int], ...] = ()

    @property
    def kind(self) -> str:
        """What it is, for example ``"smashed data"``."""
        return self.outgoing.kind

    @property
    def payload(self) -> bytes:
        """What the receiver decodes."""
        return self.outgoing.payload

    @property
    def slot(self) -> str:
        """The codec slot that it went through, or whose weights it carries."""
        return self.outgoing.slot

    @property
    def round(self) -> int:
        """The global round that it belongs to."""
        return self.outgoing.round

    @property
    def epoch(self) -> int:
        """The local epoch that it belongs to."""
        return self.outgoing.epoch

    @property
    def minibatch(self) -> int:
        """The minibatch that it belongs to."""
        return self.outgoing.minibatch


class Inbox:
    """Delivered messages in order of (time, send order), and whoever waits for one.

    With ``open = False`` nobody will ever ask for them: messages are delivered and forgotten.
    """

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self._messages: deque[Message] = deque()
        self._waiting: list[tuple[str | None, str | None, simpy.Event]] = []
        self.open = True

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[Message]:
        return iter(self._messages)

    def put(self, message: Message) -> None:
        """Hand `message` to the first process that waits for one like it, or keep it."""
        for place, (kind, sender, event) in enumerate(self._waiting):
            if _matches(message, kind, sender):
                del self._waiting[place]
                event.succeed(message)
                return
        self._messages.append(message)

    def receive(
        self, kind: str | None = None, sender: str | None = None
    ) -> Generator[simpy.Event, Any, Message]:
        """Take the oldest message of a kind and a sender (None: any), or wait for the next one.

        Use it in a SimPy process: ``message = yield from inbox.receive(kind="gradient")``.
        """
        for place, message in enumerate(self._messages):
            if _matches(message, kind, sender):
                del self._messages[place]
                return message
        event = self.env.event()
        self._waiting.append((kind, sender, event))
        message = yield event
        return message


def _matches(message: Message, kind: str | None, sender: str | None) -> bool:
    return kind in (None, message.kind) and sender in (None, message.source)

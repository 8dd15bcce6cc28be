"""Ctrl-C and SIGTERM: the first lets a run write a checkpoint, if one can be written soon; then it ends."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

PATIENCE_S = 3.0  # wall seconds for which the end of a round is waited for, where a checkpoint can be made


class Interrupted(BaseException):
    """Somebody wants this program to end, and it has not been wrong: no `Exception` that is handled on the way.

    Parameters
    ----------
    number : int
        The signal.

    Attributes
    ----------
    way_out : str
        How to go on, in words; filled in by whoever knows.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number, self.way_out = number, ""

    @property
    def exit_code(self) -> int:
        """128 and the signal, as shells say it: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.number

    def __str__(self) -> str:
        return f"interrupted{self.way_out}"


class _Asked:
    """Which signal has come, and whether anybody could write a checkpoint on it."""

    signal: int | None = None
    can_save: bool = False


_asked = _Asked()


@contextmanager
def handled() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into `Interrupted` meanwhile: at once, or as `saving` says."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = {number: signal.signal(number, _on_signal) for number in numbers}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        _asked.signal = None


@contextmanager
def saving() -> Iterator[None]:
    """Make signals wait a little meanwhile, for somebody who asks `is_asked` and calls `end` when it is the time."""
    _asked.can_save = True
    try:
        yield
    finally:
        _asked.can_save = False


def is_asked() -> bool:
    """Return True when the program is to end as soon as a checkpoint is written."""
    return _asked.signal is not None


def end() -> None:
    """Raise `Interrupted` for the signal that was waiting, if one was."""
    if _asked.signal is not None:
        raise Interrupted(_asked.signal)


def _on_signal(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGALRM:
        end()
        return
    if _asked.can_save and _asked.signal is None:
        _asked.signal = number
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
        return
    raise Interrupted(number)

"""Works side by side, in an order that the number of threads cannot change.

Two works that touch the same object run in the order in which they were submitted; works that share nothing run
whenever a thread is free. Submission happens in simulated order, so results do not depend on `jobs`.

The newest work is held back: who asks for its result runs it at once, in their own thread, for a hand-over takes as
long as a small work. It goes to another thread only when a newer one comes before anybody has asked.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Submitted(Generic[T]):
    """A work that was submitted; like a future, it is asked for its `result`."""

    __slots__ = ("_before", "_done", "_error", "_executor", "_found", "_run", "_threads")

    def __init__(
        self, executor: "OrderedExecutor", run: Callable[[], T], before: "list[Submitted[Any]]", threads: bool
    ) -> None:
        self._executor, self._before = executor, before
        self._run: Callable[[], T] | None = run
        self._found: T | None = None
        self._error: Exception | None = None
        self._done = False
        self._threads = Event() if threads else None  # somebody in another thread may wait for it

    @property
    def done(self) -> bool:
        """Whether it has been run."""
        return self._done

    def run(self) -> None:
        """Wait for earlier works on the same objects, and do this one."""
        for work in self._before:
            work.wait()
        run, self._run, self._before = self._run, None, []  # what it holds is not needed any more
        assert run is not None
        try:
            self._found = run()
        except Exception as error:
            self._error = error
        self._done = True
        if self._threads:
            self._threads.set()

    def wait(self) -> None:
        """Wait until it has been run, in another thread if not already."""
        if not self._done:
            assert self._threads is not None
            self._threads.wait()

    def result(self) -> T:
        """Return what came of it, and until then help; errors of the work are raised here."""
        if not self._done:
            self._executor.help()
        self.wait()
        if self._error is not None:
            raise self._error
        return self._found  # type: ignore[return-value]


class OrderedExecutor:
    """The asking thread and ``jobs - 1`` others, with one queue per touched object.

    Parameters
    ----------
    jobs : int
        Threads; 1 or more.
    initialise : callable
        Run once in every thread but the asking one (it sets the number of intra-op threads to one).

    Examples
    --------
    >>> pool = OrderedExecutor(2, lambda: None)
    >>> log = []
    >>> works = [pool.submit(lambda i=i: log.append(i), ["same"]) for i in range(5)]
    >>> pool.close()
    >>> log
    [0, 1, 2, 3, 4]
    """

    def __init__(self, jobs: int, initialise: Callable[[], None]) -> None:
        self._pool = ThreadPoolExecutor(jobs - 1, "work", initializer=initialise) if jobs > 1 else None
        self._last: dict[str, Submitted] = {}
        self._held: Submitted | None = None

    def submit(self, run: Callable[[], T], touches: Iterable[str]) -> Submitted[T]:
        """Queue `run` behind every earlier work that touches one of the named objects."""
        names = tuple(touches)
        before = [last for name in names if (last := self._last.get(name)) is not None and not last.done]
        work = Submitted(self, run, before, self._pool is not None)
        for name in names:
            self._last[name] = work
        held, self._held = self._held, work
        if held is not None:
            # Earlier works are done or in the pool already, so waiting for them inside a thread cannot dead-lock.
            (self._pool.submit if self._pool else _at_once)(held.run)
        return work

    def help(self) -> None:
        """Run the work that is held: the one that is waited for, or what can be done until that is there."""
        held, self._held = self._held, None
        if held is not None:
            held.run()

    def close(self) -> None:
        """Wait for everything that was submitted, then end the threads."""
        self.help()
        if self._pool:
            self._pool.shutdown(wait=True)


def _at_once(run: Callable[[], None]) -> None:
    run()

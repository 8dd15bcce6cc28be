"""Works side by side, in an order that the number of threads cannot change.

Two works that touch the same object run in the order in which they were submitted; works that share nothing run
whenever a thread is free. Submission happens in simulated order, so results do not depend on `jobs`.

The newest work is held back: who asks for its result runs it at once, in their own thread, for a hand-over takes as
long as a small work. It goes to another thread only when a newer one comes before anybody has asked.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

T = TypeVar("T")


class Submitted(Generic[T]):
    """A work that was submitted; like a future, it is asked for its `result`."""

    def __init__(self, executor: "OrderedExecutor", run: Callable[[], T], before: "list[Future]") -> None:
        self._executor, self._run, self._before = executor, run, before
        self.future: Future[T] = Future()

    def run(self) -> None:
        """Wait for earlier works on the same objects, and do this one."""
        wait(self._before)
        self._before = []
        try:
            self.future.set_result(self._run())
        except Exception as error:
            self.future.set_exception(error)

    def result(self) -> T:
        """Return what came of it, and until then help; errors of the work are raised here."""
        if not self.future.done():
            self._executor.help(self)
        return self.future.result()


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
        self._last: dict[str, Future] = {}
        self._held: Submitted | None = None

    def submit(self, run: Callable[[], T], touches: Iterable[str]) -> Submitted[T]:
        """Queue `run` behind every earlier work that touches one of the named objects."""
        names = tuple(touches)
        before = {id(self._last[name]): self._last[name] for name in names if name in self._last}
        work = Submitted(self, run, list(before.values()))
        for name in names:
            self._last[name] = work.future
        held, self._held = self._held, work
        if held is not None:
            # Earlier works are done or in the pool already, so waiting for them inside a thread cannot dead-lock.
            (self._pool.submit if self._pool else _at_once)(held.run)
        return work

    def help(self, work: Submitted) -> None:
        """Run the work that is held, which is `work` itself or what can be done until that is there."""
        held, self._held = self._held, None
        if held is not None:
            held.run()

    def close(self) -> None:
        """Wait for everything that was submitted, then end the threads."""
        if self._held is not None:
            self.help(self._held)
        if self._pool:
            self._pool.shutdown(wait=True)


def _at_once(run: Callable[[], None]) -> None:
    run()

"""Works side by side in threads, in an order that the number of threads cannot change.

Two works that touch the same object run in the order in which they were submitted; works that share nothing
run whenever a thread is free. Submission happens in simulated order, so results do not depend on `jobs`.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")


class OrderedExecutor:
    """A thread pool with one queue per touched object.

    Parameters
    ----------
    jobs : int
        Threads; 1 or more.
    initialise : callable
        Run once in every thread (it sets the number of intra-op threads to one).

    Examples
    --------
    >>> pool = OrderedExecutor(2, lambda: None)
    >>> log = []
    >>> futures = [pool.submit(lambda i=i: log.append(i), ["same"]) for i in range(5)]
    >>> pool.close()
    >>> log
    [0, 1, 2, 3, 4]
    """

    def __init__(self, jobs: int, initialise: Callable[[], None]) -> None:
        self._pool = ThreadPoolExecutor(jobs, "work", initializer=initialise)
        self._last: dict[str, Future] = {}

    def submit(self, run: Callable[[], T], touches: Iterable[str]) -> "Future[T]":
        """Queue `run` behind every earlier work that touches one of the named objects."""
        names = tuple(touches)
        # Earlier works were given to the pool earlier, so waiting inside a thread cannot dead-lock.
        before = {id(self._last[name]): self._last[name] for name in names if name in self._last}

        def after() -> T:
            wait(before.values())
            return run()

        future = self._pool.submit(after)
        for name in names:
            self._last[name] = future
        return future

    def close(self) -> None:
        """Wait for everything that was submitted, then end the threads."""
        self._pool.shutdown(wait=True)

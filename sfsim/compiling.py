"""Compiled parts: said when one is made.

numba compiles a function when it is called first and keeps the result beside the source, so that this happens once per
installation. The network engine takes a quarter of a minute; it runs interpreted until another process has compiled it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

WORDS = "compiles what it needs, once per installation (`sfsim warm` does it beforehand)"


@contextmanager
def announced(say: Callable[[], None]) -> Iterator[None]:
    """Call `say` when something is about to be compiled, once."""
    from numba.core import event

    class Listener(event.Listener):  # type: ignore[misc]
        said = False

        def on_start(self, event: Any) -> None:
            if not self.said:
                self.said = True
                say()

        def on_end(self, event: Any) -> None:
            pass

    listener = Listener()
    event.register("numba:compile", listener)
    try:
        yield
    finally:
        event.unregister("numba:compile", listener)

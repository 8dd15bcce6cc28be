"""The solver until it is compiled: the same functions, interpreted, while another process compiles them.

Compiling takes a quarter of a minute, once per installation, and a first run would stand still for it.
Interpreted, a step takes about a millisecond; the numbers are the same, for both do the same arithmetic in the
same order. As soon as the other process has left what numba keeps, engines change over to it.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
from numba import boolean, float64, int64, typeof
from numba.core import event
from numba.core.dispatcher import Dispatcher

import sfsim
from sfsim.network.solver import filling, heaps, members, steps
from sfsim.network.solver.state import Tables, tables

# What Python calls besides `step`, which is first: nothing runs without it.
CALLED = (
    steps.attach,
    steps.note_first,
    steps.settle,
    steps.rate,
    steps.left,
    steps.idle,
    steps.sharing,
    steps.solve,
    steps.finish,
    steps.set_budget,
    steps.change,
    steps.drop,
    steps.free_lane,
    steps.credit,
    steps.is_roomy,
    steps.enter_paced,
    steps.enter_cell,
    steps.change_cell,
)
# The types of parameters by name; all others are `float`.
_WHOLE = ("flow", "at", "number", "course")
_LISTS = {"which": int64[::1], "numbers": int64[::1]} | dict.fromkeys(
    ("caps", "weights", "costs", "solos"), float64[::1]
)


def compile_all() -> None:
    """Compile everything that Python calls; numba keeps it for all processes."""
    steps.fast_step()
    kinds = {"s": typeof(tables()), "own": boolean} | _LISTS | dict.fromkeys(_WHOLE, int64)
    for function in CALLED:
        names = function.py_func.__code__.co_varnames[: function.py_func.__code__.co_argcount]
        function.compile(tuple(kinds.get(name, float64) for name in names))


class _NotKeptError(Exception):
    """numba has to compile."""


class _Refusal(event.Listener):  # type: ignore[misc]
    """Keeps numba from compiling."""

    def on_start(self, event: Any) -> None:
        raise _NotKeptError

    def on_end(self, event: Any) -> None:
        pass


class Interim:
    """The functions of `steps`, interpreted; they take the same arguments.

    Parameters
    ----------
    process : subprocess.Popen or None
        What compiles meanwhile; None: nothing does.
    """

    Direct = staticmethod(lambda function: function)

    def __init__(self, process: "subprocess.Popen[bytes] | None" = None) -> None:
        self._process = process
        self._names: dict[str, Any] = {}
        for module in (heaps, members, filling, steps):
            self._names |= vars(module)
        for name, function in self._names.items():
            if isinstance(function, Dispatcher):
                self._names[name] = FunctionType(function.py_func.__code__, self._names, name)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = self._names[name]

        def call(s: Tables, *args: Any) -> Any:
            with np.errstate(all="ignore"):  # as compiled: infinite and undefined values are values
                result = function(_open(s), *args)
            return result.item() if isinstance(result, np.generic) else result

        setattr(self, name, call)
        return call

    def is_over(self) -> bool:
        """Return whether the compiled functions are to be used from now on."""
        return self._process is not None and self._process.poll() is not None

    def addresses(self, s: Tables, new: np.ndarray) -> tuple[Tables, np.ndarray]:
        """Return what `fast_step` takes in place of addresses."""
        return _open(s), new

    def fast_step(self) -> Callable[[tuple[Tables, np.ndarray], float, float, int], float]:
        """Return `step` as the engine calls it."""
        step = self.step
        return lambda at, now, tolerance, num_new: step(at[0], now, tolerance, at[1], num_new)


_started: list[Interim] = []


def ready() -> Any:
    """Return `steps` if it is compiled, or has been once; otherwise an `Interim`, and begin to compile.

    The other process goes on if this one ends first, so that the next one finds everything compiled.
    """
    if steps.is_loaded() or (_started and _started[0].is_over()):
        return steps
    if not _started:
        try:
            with event.install_listener("numba:compile", _Refusal()):
                steps.fast_step()
            return steps
        except _NotKeptError:
            _started.append(Interim(_compiler()))
    return _started[0]


def _compiler() -> "subprocess.Popen[bytes]":
    root = str(Path(sfsim.__file__).parents[1])
    paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    command = "import os; os.nice(10); from sfsim.network.solver import interim; interim.compile_all()"
    return subprocess.Popen(
        [sys.executable, "-c", command],
        env=os.environ | {"PYTHONPATH": paths},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _open(s: Tables) -> Tables:
    """Return the tables so that a row's entries are its attributes, as in compiled code."""
    if isinstance(s.flows, np.recarray):
        return s
    rows = {
        name: getattr(s, name).view(np.recarray)
        for name in ("flows", "classes", "resources", "lanes", "courses")
    }
    return s._replace(**rows)

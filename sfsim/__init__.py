"""sfsim: a discrete-event network simulator for split-federated learning.

The face of the package is seven names; each is loaded when it is first used, so that
``import sfsim`` costs milliseconds and no torch, pandas or networkx.

>>> import sfsim
>>> sfsim.__version__
'0.1.0'
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Recording", "Result", "Scenario", "__version__", "load", "resume", "retime", "run"]

if TYPE_CHECKING:
    from sfsim.results import Result
    from sfsim.retiming import Recording, retime
    from sfsim.scenario import Scenario, load
    from sfsim.simulation import resume, run

_HOME = {
    "Recording": "retiming",
    "Result": "results",
    "Scenario": "scenario",
    "load": "scenario",
    "resume": "simulation",
    "retime": "retiming",
    "run": "simulation",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(f"sfsim.{_HOME[name]}"), name)
    raise AttributeError(f"module 'sfsim' has no attribute {name!r}")

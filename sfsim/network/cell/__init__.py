"""Radio cells that clients share: airtime, who gets it, and what is left of it after collisions and control.

The declarations are here. What runs (`policy`, `medium`, `bench`) compiles with numba and is imported where
it is used.
"""

from sfsim.network.cell.declarations import AnyCell, Cellular, WifiCell

__all__ = ["AnyCell", "Cellular", "WifiCell"]

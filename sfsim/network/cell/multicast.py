"""One transmission over the air for several clients of a cell.

It crosses the wired part of the route once, and the air at the rate of the slowest receiver at each time. It
has a link of its own in the ledger, ``place -> CELL multicast``, for every set of receivers. Each receiver has
its message and its record; the first one's says the wire bytes and packets, those of the others say 0.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sfsim.network.cell.medium import multicast
from sfsim.network.cell.radio import CellAccess
from sfsim.network.declarations import Link
from sfsim.network.link import NetworkLink

if TYPE_CHECKING:
    from sfsim.network.cells import FluidCell
    from sfsim.network.fluid import FluidEngine


class MulticastLink(NetworkLink):
    """The way down from the cell to several clients at once; what it takes to each of them is their ways' own.

    Parameters
    ----------
    engine : FluidEngine
        Who moves the bits.
    source, destination : str
        What the ledger calls its ends.
    links : sequence of NetworkLink
        The links down to each receiver.
    accesses : sequence of CellAccess
        How each of them stands in the cell.
    cell : FluidCell, optional
        The medium; None when access is private.
    """

    def __init__(
        self,
        engine: "FluidEngine",
        source: str,
        destination: str,
        links: Sequence[NetworkLink],
        accesses: Sequence[CellAccess],
        cell: "FluidCell | None",
    ) -> None:
        self._slowest = multicast([link.capacity for link in links])
        nothing = Link(rate_bps=1.0, latency_s=0.0)  # rate and latency are those of the receivers' links
        super().__init__(engine, source, destination, nothing, seed=0)
        if cell is not None:
            traits = [access.traits for access in accesses]
            cell.add(self, **{name: min(one[name] for one in traits) for name in traits[0]})

    def capacity(self, time_s: float) -> tuple[float, float]:
        return self._slowest(time_s)

"""A declared cell in a running network: its media in the fluid engine, and its grants."""

from typing import TYPE_CHECKING

from sfsim.network.cell.declarations import Cellular, WifiCell
from sfsim.network.cell.grants import Grants
from sfsim.network.cell.medium import is_half_duplex, policy_of
from sfsim.network.cell.policy import Members, Private

if TYPE_CHECKING:
    from sfsim.network.cells import FluidCell
    from sfsim.network.fluid import FluidEngine


class CellInUse:
    """One cell: a medium for each direction, or one for both when it is half duplex.

    With private access everybody has its own: then there is no medium. ``multicast``: one transmission may serve
    several clients.
    """

    def __init__(self, engine: "FluidEngine", name: str, cell: Cellular | WifiCell, seed: int) -> None:
        self.grants = Grants(cell, seed, name)
        self.multicast = cell.model_delivery == "multicast"
        self._media: list[FluidCell | None] = []
        for down in (False,) if is_half_duplex(cell) else (False, True):
            policy = policy_of(cell, down=down)
            direction = "" if is_half_duplex(cell) else " down" if down else " up"
            alone = isinstance(policy, Private)
            self._media.append(None if alone else engine.add_cell(f"{name}{direction}", policy, Members))

    def fluid(self, down: bool) -> "FluidCell | None":
        """The medium that messages in one direction share."""
        return self._media[-1 if down else 0]

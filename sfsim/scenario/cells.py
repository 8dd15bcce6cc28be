"""How parties reach the network: by links of their own, or through a radio cell that they share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfsim.codec import Learned
from sfsim.declaration import misfit
from sfsim.errors import ConfigError, did_you_mean
from sfsim.network.cell.radio import CellAccess, cell_link
from sfsim.network.declarations import Link

if TYPE_CHECKING:
    from sfsim.scenario.scenario import Scenario


@dataclass(frozen=True)
class Way:
    """One direction of a party's way to its place in the network.

    Parameters
    ----------
    link : Link
        Through a cell: what the client would have alone on the air.
    cell : CellAccess, optional
        The cell that the way leads through.
    """

    link: Link
    cell: CellAccess | None = None


def access(scenario: "Scenario", party: str) -> tuple[Way, Way] | None:
    """Return a party's ways up and down, or None when it stands at its place itself."""
    group = scenario.groups.get(party)
    if group is None:
        owner = scenario.main_server if party == "main server" else scenario.fed_server
        if owner.uplink is None or owner.downlink is None:
            return None
        return Way(owner.uplink), Way(owner.downlink)
    if group.cell is None:
        return (
            None
            if group.uplink is None or group.downlink is None
            else (Way(group.uplink), Way(group.downlink))
        )
    if group.uplink is not None and group.downlink is not None:
        return (
            Way(group.uplink, CellAccess(group.cell, party, down=False)),
            Way(group.downlink, CellAccess(group.cell, party, down=True)),
        )
    assert group.distance_m is not None
    cell = scenario.cell[group.cell]
    distance_m = group.distance_m[group.client_names.index(party)]
    seed = scenario.seeds.network
    up, down = (Way(*cell_link(cell, group.cell, party, distance_m, down, seed)) for down in (False, True))
    return up, down


def check_cells(scenario: "Scenario") -> None:
    """Raise a misfit unless every client of a cell has its place in it, and every cell a client."""
    for index, group in enumerate(scenario.clients):
        loc = ("clients", index)
        if group.cell is None:
            if group.distance_m is not None:
                raise misfit((*loc, "distance_m"), "a distance", "nothing without a cell")
            continue
        if group.cell not in scenario.cell:
            known = ", ".join(scenario.cell) or "no cell is declared"
            hint = did_you_mean(group.cell, scenario.cell) or f"A cell is a table [cell.{group.cell}]."
            raise misfit((*loc, "cell"), repr(group.cell), f"the name of a cell ({known})", hint)
        if (group.distance_m is None) == (group.uplink is None):
            found = "both distance_m and links of their own" if group.uplink else "nothing"
            expected = "distance_m, or uplink and downlink with their own channels"
            raise misfit((*loc, "distance_m"), found, f"either {expected}" if group.uplink else expected)
        for client in group.client_names:
            try:
                access(scenario, client)
            except ConfigError as error:
                raise misfit((*loc, "distance_m"), error.found, error.expected) from None
    unused = set(scenario.cell) - {group.cell for group in scenario.clients}
    if unused:
        raise misfit(("cell", min(unused)), "a cell without clients", "a client that names it")


def why_unicast(scenario: "Scenario") -> str:
    """Return why no cell delivers the global model to several clients at once; empty: some do."""
    if all(cell.model_delivery == "unicast" for cell in scenario.cell.values()):
        return "no cell multicasts"
    if scenario.protocol == "sl":
        return "in 'sl' the model goes from client to client"
    if scenario.codecs.client_model_down.of == "delta":
        return "differences (client_model_down) are not the same for all clients"
    codecs, sent = scenario.codecs, scenario.codec_training.update_codec
    learned = any(isinstance(codec, Learned) for codec in (codecs.smashed_up, codecs.gradient_up))
    if learned and sent.of == "delta" and scenario.codec_training.update != "ideal":
        return "differences (codec_training.update_codec) are not the same for all clients"
    if scenario.network.transport.kind != "fluid":
        return f"transport {scenario.network.transport.kind!r} has acknowledgements of one receiver"
    return ""

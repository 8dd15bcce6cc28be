"""From a scenario to its network: a directed graph whose edges carry links, and where each party stands."""

from typing import TYPE_CHECKING, Any

from sfsim.declaration import Loc, misfit
from sfsim.errors import did_you_mean
from sfsim.network.topology import HUB, check_connected, from_links, read_graphml
from sfsim.scenario.cells import access
from sfsim.scenario.networks import Graph, GraphML, Star
from sfsim.scenario.parts import FED_SERVER, MAIN_SERVER, at

if TYPE_CHECKING:
    import networkx as nx

    from sfsim.scenario.scenario import Scenario


def build_graph(scenario: "Scenario") -> tuple["nx.DiGraph[str]", dict[str, str]]:
    """Return the network of a scenario.

    Returns
    -------
    graph : networkx.DiGraph
        Nodes are texts; every edge has an attribute ``link`` (`sfsim.network.declarations.Link`). A party
        with links of its own is a node by its own name that hangs on its place by them; these edges also
        say in ``cell`` which radio cell they lead through (`sfsim.network.cell.radio.CellAccess`, or None).
    hosts : dict of str to str
        The node of each party, in the order clients, main server, fed server. Parties may share a node.
    """
    graph = _without_parties(scenario)
    hosts: dict[str, str] = {}
    for party, loc, _, place in _places(scenario):
        if place not in graph:
            known = ", ".join(map(str, graph.nodes))
            raise misfit(loc, repr(place), f"a node of the graph: {known}", did_you_mean(place, graph.nodes))
        hosts[party] = place
        ways = access(scenario, party)
        if ways is not None:
            if party in graph:
                found = f"links of its own for {party!r}, although the graph has a node of that name"
                raise misfit(loc, found, "links, or a node of that name")
            for edge, way in zip(((party, place), (place, party)), ways, strict=True):
                graph.add_edge(*edge, link=way.link, cell=way.cell)
            hosts[party] = party
    if scenario.fed_server.same_host:
        hosts[FED_SERVER] = hosts[MAIN_SERVER]
    return graph, hosts


def check_graph(scenario: "Scenario") -> None:
    """Raise a misfit unless every party has its node and reaches every other party."""
    graph, hosts = build_graph(scenario)
    with at("topology"):
        check_connected(graph, hosts, "")


def _places(scenario: "Scenario") -> list[tuple[str, Loc, Any, str]]:
    """Return for each party: its name, where its node is said, the table of its links, and its node."""
    star = isinstance(scenario.topology, Star)
    rows: list[tuple[str, Loc, Any, str]] = []
    for index, group in enumerate(scenario.clients):
        for number, name in enumerate(group.client_names):
            if group.nodes is not None:
                rows.append((name, ("clients", index, "nodes", number), group, group.nodes[number]))
            else:
                rows.append((name, ("clients", index, "node"), group, group.node or name))
    main, fed = scenario.main_server, scenario.fed_server
    rows.append((MAIN_SERVER, ("main_server", "node"), main, main.node or MAIN_SERVER))
    if not fed.same_host:
        rows.append((FED_SERVER, ("fed_server", "node"), fed, fed.node or FED_SERVER))
    return [(party, loc, owner, HUB if star else place) for party, loc, owner, place in rows]


def _without_parties(scenario: "Scenario") -> "nx.DiGraph[str]":
    import networkx as nx

    topology = scenario.topology
    if isinstance(topology, GraphML):
        with at("topology", "path"):
            return read_graphml(
                topology.path,
                topology.link,
                topology.rate_attribute,
                topology.latency_from_coordinates,
                topology.latency_attribute,
                topology.rate_scale,
                topology.latency_scale,
            )
    if isinstance(topology, Graph):
        links = [(link.source, link.destination, link) for link in topology.links]
        links += [(link.destination, link.source, link) for link in topology.links if link.duplex]
        with at("topology", "links"):
            return from_links(links)
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_node(HUB)
    return graph

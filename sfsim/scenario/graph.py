"""From a scenario to its network: a directed graph whose edges carry links, and where each party stands."""

from typing import TYPE_CHECKING, Any

from sfsim.declaration import Loc, misfit
from sfsim.errors import ConfigError, did_you_mean
from sfsim.network.declarations import Link
from sfsim.scenario.parts import Graph, GraphML, Star

if TYPE_CHECKING:
    import networkx as nx

    from sfsim.scenario.scenario import Scenario

HUB = "hub"


def build_graph(scenario: "Scenario") -> tuple["nx.DiGraph[str]", dict[str, str]]:
    """Return the network of a scenario.

    Returns
    -------
    graph : networkx.DiGraph
        Nodes are texts; every edge has an attribute ``link`` (`sfsim.network.declarations.Link`). A party
        with links of its own is a node by its own name that hangs on its place by them.
    hosts : dict of str to str
        The node of each party, in the order clients, main server, fed server. Parties may share a node.
    """
    graph = _core(scenario)
    hosts: dict[str, str] = {}
    for party, loc, owner, place in _places(scenario):
        if not isinstance(scenario.topology, Star) and place not in graph:
            known = ", ".join(map(str, graph.nodes))
            raise misfit(loc, repr(place), f"a node of the graph: {known}", did_you_mean(place, graph.nodes))
        hosts[party] = place
        if owner.uplink is not None and owner.downlink is not None:
            if party in graph:
                found = f"links of its own for {party!r}, although the graph has a node of that name"
                raise misfit(loc, found, "links, or a node of that name")
            graph.add_edge(party, place, link=owner.uplink)
            graph.add_edge(place, party, link=owner.downlink)
            hosts[party] = party
    if scenario.fed_server.same_host:
        hosts["fed server"] = hosts["main server"]
    return graph, hosts


def check_graph(scenario: "Scenario") -> None:
    """Raise a misfit unless every client reaches both servers and back."""
    import networkx as nx

    graph, hosts = build_graph(scenario)
    for client in scenario.client_names:
        for server in ("main server", "fed server"):
            for source, destination in ((client, server), (server, client)):
                if not nx.has_path(graph, hosts[source], hosts[destination]):
                    found = f"no route from {_at(source, hosts)} to {_at(destination, hosts)}"
                    raise misfit(
                        "topology", found, "a graph in which every client reaches both servers and back"
                    )


def _at(party: str, hosts: dict[str, str]) -> str:
    return party if hosts[party] == party else f"{party} (at node {hosts[party]!r})"


def _places(scenario: "Scenario") -> list[tuple[str, Loc, Any, str]]:
    """Return party, where its node is said, the table with its links, and the node it hangs on."""
    star = isinstance(scenario.topology, Star)
    rows: list[tuple[str, Loc, Any, str]] = []
    for index, group in enumerate(scenario.clients):
        for number, name in enumerate(group.client_names):
            loc: Loc = ("clients", index, "node")
            node = group.node or name
            if group.nodes is not None:
                loc, node = ("clients", index, "nodes", number), group.nodes[number]
            rows.append((name, loc, group, HUB if star else node))
    servers = [("main server", "main_server", scenario.main_server)]
    if not scenario.fed_server.same_host:
        servers.append(("fed server", "fed_server", scenario.fed_server))  # type: ignore[arg-type]
    for name, key, server in servers:
        rows.append((name, (key, "node"), server, HUB if star else server.node or name))
    return rows


def _core(scenario: "Scenario") -> "nx.DiGraph[str]":
    """Return the graph without the parties' own links."""
    import networkx as nx

    topology = scenario.topology
    if isinstance(topology, GraphML):
        return _read_graphml(topology)
    graph: nx.DiGraph[str] = nx.DiGraph()
    if isinstance(topology, Star):
        graph.add_node(HUB)
    if isinstance(topology, Graph):
        for index, link in enumerate(topology.links):
            ends = [(link.source, link.destination), (link.destination, link.source)]
            if link.source == link.destination:
                raise misfit(
                    ("topology", "links", index), f"a link from {link.source!r} to itself", "two nodes"
                )
            for source, destination in ends if link.duplex else ends[:1]:
                if graph.has_edge(source, destination):
                    found = f"a second link from {source!r} to {destination!r}"
                    raise misfit(("topology", "links", index), found, "one link for each direction")
                graph.add_edge(source, destination, link=link)
    return graph


def _read_graphml(topology: GraphML) -> "nx.DiGraph[str]":
    """Return the graph of a GraphML file; edges without a rate take what ``link`` says."""
    from dataclasses import replace
    from xml.etree.ElementTree import ParseError

    import networkx as nx

    try:
        read = nx.read_graphml(topology.path)
    except (ParseError, nx.NetworkXError, OSError) as error:
        raise misfit(
            ("topology", "path"), f"a file that is not GraphML ({error})", "a GraphML file"
        ) from None
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(map(str, read.nodes))
    for source, destination, attributes in read.edges(data=True):
        said: dict[str, Any] = {}
        for key, name in (("rate_bps", topology.rate_attribute), ("latency_s", topology.latency_attribute)):
            if name in attributes:
                said[key] = attributes[name]
        try:
            link = replace(topology.link, **said) if topology.link else Link(**said)
        except ConfigError as error:
            place = (
                f"the edge from {source!r} to {destination!r}, whose {error.place.removeprefix('Link, ')} is"
            )
            hint = "Give it in the file, or for all edges in topology.link."
            raise misfit(("topology", "path"), f"{place} {error.found}", error.expected, hint) from None
        graph.add_edge(str(source), str(destination), link=link)
        if not read.is_directed():
            graph.add_edge(str(destination), str(source), link=link)
    return graph

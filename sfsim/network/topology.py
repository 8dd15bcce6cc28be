"""Graphs of links: a star, a list of links, a networkx graph or a GraphML file become one directed graph.

Every edge of the directed graph carries one `Link` in its attribute ``link``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import asin, cos, inf, radians, sin, sqrt
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from sfsim.channel import PLAUSIBLE_BPS
from sfsim.errors import ConfigError, NetworkError, did_you_mean
from sfsim.network.declarations import Link
from sfsim.text import read_json, read_text

if TYPE_CHECKING:
    import networkx as nx

HUB = "hub"
_LIMITS = {"Latitude": 90, "Longitude": 180}
MAX_LATENCY_S = 5.0  # one way on one link of a topology file; more is another unit
EARTH_RADIUS_M = 6_371_008.8  # mean radius (IUGG)
FIBRE_M_PER_S = 299_792_458 / 1.468  # group index of standard single-mode fibre at 1550 nm (ITU-T G.652)

_LEAST_BPS = 1e4  # half of what the slowest graph of the Topology Zoo has, of 1993


def star(access: Mapping[str, tuple[Link, Link]]) -> "nx.DiGraph":
    """Join all parties at one hub; `access` gives each party's ``(uplink, downlink)``."""
    return from_links(
        edge
        for party, (uplink, downlink) in access.items()
        for edge in ((party, HUB, uplink), (HUB, party, downlink))
    )


def from_links(links: Iterable[tuple[str, str, Link]], place: str = "links") -> "nx.DiGraph":
    """Join nodes by directed links ``(source, destination, link)``, at most one from a node to another."""
    import networkx as nx

    graph = nx.DiGraph()
    for source, destination, link in links:
        if graph.has_edge(source, destination):
            raise ConfigError(
                place, f"two links {source!r} -> {destination!r}", "at most one link from a node to another"
            )
        if source == destination:
            raise ConfigError(place, f"a link from {source!r} to itself", "a link between two nodes")
        graph.add_edge(source, destination, link=link)
    return graph


def from_networkx(
    graph: "nx.Graph",
    default: Link | None = None,
    rate_attribute: str | None = None,
    place: str = "graph",
    latency_from_coordinates: bool = False,
    latency_attribute: str | None = None,
    rate_scale: float | None = None,
    latency_scale: float = 1.0,
) -> "nx.DiGraph":
    """Turn any networkx graph into the directed graph of links; an undirected edge becomes one link each way.

    Parallel edges become one link: their rates add up, and the smallest latency holds (a message crosses one
    link as one flow, so a bundle is as fast as all of its fibres). An edge to the node itself is left out:
    no route would use it.

    Parameters
    ----------
    graph : networkx.Graph
        Edges carry a `Link` in ``link``, or take `default`.
    default : Link, optional
        The link of edges that have none.
    rate_attribute : str, optional
        Edge attribute that holds a rate, in units of `rate_scale` bit/s, and replaces the default's where present.
        Without a scale it is in bit/s, and a median that hardly any link has is refused.
    place : str
        What to call the graph in an error.
    latency_from_coordinates : bool
        The latency of an edge is that of fibre along the great circle between its nodes (attributes
        ``Latitude`` and ``Longitude`` in degrees). Where one of them has no coordinates, or both stand at the same
        place, it stays the link's.
    latency_attribute : str, optional
        Edge attribute that holds a latency, in units of `latency_scale` s; it comes before the coordinates.

    Raises
    ------
    ConfigError
        An edge without a link, a rate that is none, or parallel edges with channels or losses of their own.
    """
    bundles: dict[tuple[str, str], list[Link]] = {}
    rates_bps: list[float] = []
    for source, destination, attributes in graph.edges(data=True):
        ends = str(source), str(destination)
        if ends[0] == ends[1]:
            continue
        at = f"{place}, edge {ends[0]!r} - {ends[1]!r}"
        link = attributes.get("link", default)
        if link is None:
            raise ConfigError(at, "no link", "a Link in attribute 'link', or a default link")
        if rate_attribute is not None and rate_attribute in attributes:
            link = _with_rate(link, attributes[rate_attribute], rate_scale or 1.0, f"{at}, {rate_attribute}")
            rates_bps.append(link.rate_bps or 0.0)
        if latency_attribute is not None and latency_attribute in attributes:
            place_ = f"{at}, {latency_attribute}"
            link = replace(link, latency_s=_latency_s(attributes[latency_attribute], latency_scale, place_))
        elif latency_from_coordinates:
            distance_m = _distance_m(graph.nodes[source], graph.nodes[destination], at)
            link = replace(link, latency_s=distance_m / FIBRE_M_PER_S) if distance_m else link
        bundles.setdefault(ends, []).append(link)
        if not graph.is_directed():
            bundles.setdefault(ends[::-1], []).append(link)
    if rates_bps and rate_scale is None:
        _check_unit(median(rates_bps), f"{place}, {rate_attribute}")
    directed = from_links(
        (
            (*ends, _bundle(links, f"{place}, edge {ends[0]!r} - {ends[1]!r}"))
            for ends, links in bundles.items()
        ),
        place,
    )
    directed.add_nodes_from(str(node) for node in graph)
    directed.graph["notes"] = _counts(graph, rate_attribute, latency_attribute, latency_from_coordinates)
    return directed


def _counts(
    graph: "nx.Graph", rate_attribute: str | None, latency_attribute: str | None, placed: bool
) -> list[str]:
    """Return how many edges and nodes had what was asked for, where not all had it, and what became of the others."""
    edges = list(graph.edges(data=True))
    rated = sum(rate_attribute in attributes for *_, attributes in edges)
    timed = sum(latency_attribute in attributes for *_, attributes in edges)
    known = sum(all(node.get(key) is not None for key in _LIMITS) for node in graph.nodes.values())
    loops = sum(source == destination for source, destination, _ in edges)
    pairs = {(a, b) if graph.is_directed() else frozenset((a, b)) for a, b, _ in edges if a != b}
    lines = []
    if rate_attribute is not None and rated < len(edges):
        lines.append(
            f"{rated} of {len(edges)} edges have {rate_attribute!r}; the others take the link's rate"
        )
    if latency_attribute is not None and timed < len(edges):
        lines.append(
            f"{timed} of {len(edges)} edges have {latency_attribute!r}; the others take "
            + ("that of their nodes' coordinates, or the link's" if placed else "the link's latency")
        )
    if placed and known < len(graph):
        lines.append(
            f"{known} of {len(graph)} nodes have coordinates; edges of the others take the link's latency"
        )
    together = placed and sum(
        a != b and _distance_m(graph.nodes[a], graph.nodes[b], "") == 0 for a, b, _ in edges
    )
    if together:
        lines.append(
            f"{together} of {len(edges)} edges join nodes at one place; they take the link's latency"
        )
    if len(pairs) + loops < len(edges):
        merged = len(edges) - len(pairs) - loops
        lines.append(f"{merged} of {len(edges)} edges are parallel to another and are joined with it")
    if graph.is_directed():
        one_way = sum((b, a) not in pairs for a, b in pairs)
        if one_way:
            lines.append(f"{one_way} of {len(pairs)} links of the directed graph lead one way only")
    if loops:
        lines.append(f"{loops} of {len(edges)} edges lead from a node to itself, and are left out")
    return lines


def read_graphml(
    path: Path,
    default: Link,
    rate_attribute: str | None = None,
    latency_from_coordinates: bool = False,
    latency_attribute: str | None = None,
    rate_scale: float | None = None,
    latency_scale: float = 1.0,
) -> "nx.DiGraph":
    """Read a GraphML file (GML, JSON by its ending), such as the Topology Zoo's; nodes are called by their ids.

    (Not by their labels: in more than a hundred files of the Zoo two nodes have the same one.) Parallel
    edges, loops and coordinates: see `from_networkx`. Parts that do not hang together are fine as long as no
    party stands in another part (`check_connected`).

    Raises ConfigError when there is no such file, it is not GraphML, or as `from_networkx` says.
    """
    import xml.etree.ElementTree as ElementTree

    import networkx as nx

    if not path.is_file():
        siblings = (file.name for file in path.parent.iterdir()) if path.parent.is_dir() else ()
        raise ConfigError(str(path), "no such file", "a GraphML file", did_you_mean(path.name, siblings))
    try:
        if path.suffix.lower() == ".gml":
            graph = nx.parse_gml(read_text(path, "GML", NetworkError), label="id")
        elif path.suffix.lower() == ".json":
            table = read_json(path, "a node-link graph", NetworkError)
            graph = nx.node_link_graph(table, edges="links" if "links" in table else "edges")
        else:
            graph = nx.read_graphml(path)
    except NetworkError as error:
        raise ConfigError(str(path), f"a file that cannot be read ({error})", "a graph") from None
    except (
        ElementTree.ParseError,
        nx.NetworkXError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        raise ConfigError(str(path), f"a file that is not GraphML ({error})", "a GraphML file") from None
    # networkx keeps the defaults of GraphML's keys beside the graph.
    for held, name in ((graph.nodes, "node_default"), (graph.edges, "edge_default")):
        for attributes in held.values():
            for key, value in graph.graph.get(name, {}).items():
                attributes.setdefault(key, value)
    if rate_attribute not in (None, "rate_bps"):
        _somebody_has(str(path), "edge", rate_attribute, list(graph.edges.values()))
    _somebody_has(str(path), "edge", latency_attribute, list(graph.edges.values()))
    if latency_from_coordinates:
        for key in _LIMITS:
            _somebody_has(str(path), "node", key, list(graph.nodes.values()))
    return from_networkx(
        graph,
        default,
        rate_attribute,
        str(path),
        latency_from_coordinates,
        latency_attribute,
        rate_scale,
        latency_scale,
    )


def check_connected(graph: "nx.DiGraph", hosts: Mapping[str, str], place: str) -> None:
    """Raise ConfigError unless every party's node exists and reaches every other party's node."""
    import networkx as nx

    for party, node in hosts.items():
        if node not in graph:
            raise ConfigError(
                place, f"node {node!r} of {party!r}", "a node of the graph", did_you_mean(node, graph)
            )
    first = next(iter(hosts), None)
    if first is None:
        return
    node = hosts[first]
    both_ways = nx.descendants(graph, node) & nx.ancestors(graph, node) | {node}
    for party, other in hosts.items():
        if other not in both_ways:
            raise ConfigError(
                place,
                f"no route both ways between {first!r} (node {node!r}) and {party!r} (node {other!r})",
                "a graph in which all parties reach each other",
            )


def _somebody_has(place: str, of: str, key: str | None, held: list[Mapping[str, Any]]) -> None:
    """Raise ConfigError when no node or edge has an attribute that is asked for."""
    if key is None or not held or any(key in attributes for attributes in held):
        return
    others = sorted({str(other) for attributes in held for other in attributes})
    found = f"no {of} with {key!r}; they have {', '.join(others[:20]) or 'no attributes'}"
    raise ConfigError(place, found, f"an attribute that {of}s have", did_you_mean(key, others))


def _with_rate(link: Link, rate: Any, scale: float, place: str) -> Link:
    try:
        rate_bps = float(rate) * scale
    except (TypeError, ValueError):
        raise ConfigError(place, repr(rate), "a rate in bit/s") from None
    if not 0 < rate_bps < inf:
        raise ConfigError(place, repr(rate), "a rate in bit/s above 0")
    return replace(link, rate_bps=rate_bps)


def _check_unit(rate_bps: float, place: str) -> None:
    """Refuse rates that are hardly in bit/s."""
    least_bps, most_bps = _LEAST_BPS, PLAUSIBLE_BPS[1]
    if not least_bps <= rate_bps <= most_bps:
        raise ConfigError(
            place,
            f"a median of {rate_bps:g} bit/s",
            f"{least_bps / 1e3:g} kbit/s to {most_bps / 1e12:g} Tbit/s, as links have",
            "Write topology.rate_scale = 1e6 for Mbit/s, 1e9 for Gbit/s, or 1 if it is right",
        )


def _latency_s(latency: Any, scale: float, place: str) -> float:
    try:
        latency_s = float(latency) * scale
    except (TypeError, ValueError):
        raise ConfigError(place, repr(latency), "a latency") from None
    if not 0 <= latency_s <= MAX_LATENCY_S:
        expected = f"a latency of 0 to {MAX_LATENCY_S:g} s (topology.latency_scale says how many s a unit is)"
        raise ConfigError(place, f"{latency!r}, which is {latency_s:g} s", expected)
    return latency_s


def _distance_m(one: Mapping[str, Any], other: Mapping[str, Any], place: str) -> float | None:
    """Return the great-circle distance of two nodes, or None where one has no coordinates."""
    if any(node.get(key) is None for node in (one, other) for key in _LIMITS):
        return None
    for node in (one, other):
        for key, most in _LIMITS.items():
            try:
                possible = abs(float(node[key])) <= most
            except (TypeError, ValueError):
                possible = False
            if not possible:
                raise ConfigError(place, f"{key} {node[key]!r}", f"{-most} to {most} degrees")
    points = [(radians(float(n["Latitude"])), radians(float(n["Longitude"]))) for n in (one, other)]
    (lat, lon), (lat2, lon2) = points
    # The haversine formula: exact for near points too.
    half = sin((lat2 - lat) / 2) ** 2 + cos(lat) * cos(lat2) * sin((lon2 - lon) / 2) ** 2
    return 2 * EARTH_RADIUS_M * asin(min(1.0, sqrt(half)))


def _bundle(links: list[Link], place: str) -> Link:
    """Return parallel links as one."""
    first = links[0]
    if len(links) == 1:
        return first
    rates = [link.rate_bps for link in links]
    special = [(link.channel, link.loss, link.latency) for link in links]
    if any(keys != (None, None, first.latency) for keys in special) or None in rates:
        raise ConfigError(
            place,
            f"{len(links)} parallel edges with channels or losses",
            "plain rates where edges are parallel",
        )
    total_bps = sum(
        rate_bps * link.efficiency for rate_bps, link in zip(rates, links, strict=True) if rate_bps
    )
    return replace(
        first,
        rate_bps=total_bps,
        efficiency=1.0,
        latency_s=min(link.latency_s for link in links),
    )

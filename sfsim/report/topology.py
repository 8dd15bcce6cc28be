"""A picture of the network: nodes, who stands on them, and what each link offers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfsim.files import writing
from sfsim.report.style import COLOURS, figure, picture_kind, save

if TYPE_CHECKING:
    import networkx as nx

_MOST_WORDS = 40  # labelled links; more of them would hide each other
_SERVERS = ("main server", "fed server")


def draw(graph: "nx.DiGraph[str]", hosts: Mapping[str, str], path: Path, words: Callable[[Any], str]) -> Path:
    """Draw a network, and return the path.

    Parameters
    ----------
    graph : networkx.DiGraph
        Its edges carry an attribute ``link``.
    hosts : mapping of str to str
        The node on which each party stands.
    path : Path
        The file; its ending says PNG, SVG or PDF.
    words : callable
        Says a link in a few words.

    Raises
    ------
    ResultsError
        `path` cannot be written.
    ConfigError
        `path` has another ending.

    Notes
    -----
    A link that is alike in both directions is labelled once, another one per direction, each label nearer to
    the node that it leaves.
    """
    import networkx as nx

    undirected = graph.to_undirected()
    few = len(graph) <= 100  # the better layout needs every shortest path
    place = nx.kamada_kawai_layout(undirected) if few else nx.spring_layout(undirected, seed=0)
    side = min(4.5 + 0.15 * len(graph), 16)
    with figure(1.4 * side, side) as (drawing, axes):
        ax = axes[0, 0]
        for source, destination in undirected.edges:
            (x0, y0), (x1, y1) = place[source], place[destination]
            ax.plot((x0, x1), (y0, y1), color="#BBBBBB", linewidth=1.2, zorder=1)
            if undirected.number_of_edges() <= _MOST_WORDS:
                for share, text in _labels(graph, source, destination, words):
                    x, y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
                    ax.text(x, y, text, fontsize=7.5, color="#555555", ha="center", va="center", zorder=2,
                            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8})  # fmt: skip
        for node in graph.nodes:
            parties = [party for party, host in hosts.items() if host == node]
            servers = [party for party in parties if party in _SERVERS]
            colour = COLOURS[3] if servers else COLOURS[0] if parties else "#888888"
            ax.scatter(*place[node], s=260, color=colour, marker="s" if servers else "o", zorder=3)
            standing = ", ".join(parties)
            name = f"{node}: {standing}" if parties and node not in parties else standing or node
            ax.annotate(name, place[node], xytext=(0, 12), textcoords="offset points", ha="center",
                        fontsize=9, zorder=4)  # fmt: skip
        ax.margins(0.15)
        ax.set_axis_off()
        counts = f"{len(graph)} nodes, {graph.number_of_edges()} directed links"
        ax.set_title(f"{counts} (each label stands nearer to the node that sends)")
    kind = picture_kind(path)
    with writing(path):
        save(drawing, path, kind)
    return path


def _labels(
    graph: "nx.DiGraph[str]", source: str, destination: str, words: Callable[[Any], str]
) -> list[tuple[float, str]]:
    """Where along the edge to write what."""
    there = words(graph.edges[source, destination]["link"]) if graph.has_edge(source, destination) else ""
    back = words(graph.edges[destination, source]["link"]) if graph.has_edge(destination, source) else ""
    if there == back:
        return [(0.5, there)]
    return [(share, text) for share, text in ((0.3, there), (0.7, back)) if text]

"""A picture of the network: nodes, who stands on them, and what each link offers."""

from collections.abc import Callable, Mapping
from math import atan2, degrees
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfsim.files import writing
from sfsim.report.style import COLOURS, figure, label, picture_kind, save

if TYPE_CHECKING:
    import networkx as nx
    from matplotlib.figure import Figure

_MOST_WORDS = 40  # labelled links; more of them would hide each other
_MOST_LEVEL = 12  # words at the ends of a star; more of them are turned along their links
_SERVERS = ("main server", "fed server")


def draw(
    graph: "nx.DiGraph[str]", hosts: Mapping[str, str], path: Path, words: Callable[[str, str], str]
) -> Path:
    """Draw a network (see `picture`) into a file, and return its path.

    Raises
    ------
    ResultsError
        `path` cannot be written.
    ConfigError
        `path` has another ending than PNG's, SVG's or PDF's.
    """
    kind = picture_kind(path)
    drawing = picture(graph, hosts, words)
    with writing(path):
        save(drawing, path, kind)
    return path


def picture(graph: "nx.DiGraph[str]", hosts: Mapping[str, str], words: Callable[[str, str], str]) -> "Figure":
    """Draw a network.

    Parameters
    ----------
    graph : networkx.DiGraph
        An edge through a radio cell carries an attribute ``cell``, whose own ``cell`` is the cell's name.
    hosts : mapping of str to str
        The node on which each party stands.
    words : callable
        Says the link from one node to another in a few words.

    Notes
    -----
    What links offer stands at the outer ends, where there is room: below the name of a node that has one neighbour
    only. Between other nodes it stands at the link: once when both directions are alike, else one per direction, each
    nearer to the node that it leaves.
    """
    import networkx as nx

    undirected = graph.to_undirected()
    few = len(graph) <= 100  # the better layout needs every shortest path
    place = nx.kamada_kawai_layout(undirected) if few else nx.spring_layout(undirected, seed=0)
    side = min(4.5 + 0.15 * len(graph), 16)
    spoken = undirected.number_of_edges() <= _MOST_WORDS
    names = {node: _name(node, hosts) for node in graph.nodes}
    cells: dict[str, str] = {}
    with figure(1.4 * side, side) as (drawing, axes):
        ax = axes[0, 0]
        for source, destination in undirected.edges:
            (x0, y0), (x1, y1) = place[source], place[destination]
            cell = graph.get_edge_data(source, destination, {}).get("cell")
            line = {"color": "#BBBBBB", "linewidth": 1.2}
            if cell is not None:
                colour = cells.setdefault(cell.cell, COLOURS[1 + len(cells) % (len(COLOURS) - 1)])
                line = {"color": colour, "linewidth": 1.8, "linestyle": "--"}
            ax.plot((x0, x1), (y0, y1), zorder=1, **line)
            ends = [node for node in (destination, source) if undirected.degree(node) == 1]
            if spoken and ends:
                names[ends[0]] += "".join(
                    f"\n{text}" for text in _ways(graph, ends[0], source, destination, words)
                )
            elif spoken:
                for share, text in _labels(graph, source, destination, words):
                    x, y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
                    ax.text(x, y, text, fontsize=7.5, color="#555555", ha="center", va="center", zorder=2,
                            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8})  # fmt: skip
        for node in graph.nodes:
            parties = [party for party, host in hosts.items() if host == node]
            servers = [party for party in parties if party in _SERVERS]
            colour = COLOURS[3] if servers else COLOURS[0] if parties else "#888888"
            ax.scatter(*place[node], s=260, color=colour, marker="s" if servers else "o", zorder=3)
            ax.annotate(names[node], place[node], textcoords="offset points", fontsize=8.5, zorder=4,
                        **_outwards(undirected, place, node))  # fmt: skip
        for name, colour in cells.items():
            ax.plot([], [], color=colour, linewidth=1.8, linestyle="--",
                    label=f"cell {label(name)}: shared air, rates are means of one client alone")  # fmt: skip
        ax.margins(0.15)
        ax.set_axis_off()
        counts = f"{len(graph)} nodes, {graph.number_of_edges()} directed links"
        drawing.suptitle(
            f"{counts}\n↑ leaves the node, ↓ reaches it; on a link: nearer to the sender", fontsize=10
        )
        if cells:
            drawing.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return drawing


def _name(node: str, hosts: Mapping[str, str]) -> str:
    parties = [party for party, host in hosts.items() if host == node]
    standing = ", ".join(map(label, parties))
    return f"{label(node)}: {standing}" if parties and node not in parties else standing or label(node)


def _ways(
    graph: "nx.DiGraph[str]", end: str, source: str, destination: str, words: Callable[[str, str], str]
) -> list[str]:
    """What the link of an outer node offers, a line for each direction."""
    other = source if end == destination else destination
    up, down = _both(graph, end, other, words)
    if up == down:
        return [f"↑↓ {up}"]
    return [f"{arrow} {text}" for arrow, text in (("↑", up), ("↓", down)) if text]


def _labels(
    graph: "nx.DiGraph[str]", source: str, destination: str, words: Callable[[str, str], str]
) -> list[tuple[float, str]]:
    """Where along the edge to write what."""
    there, back = _both(graph, source, destination, words)
    if there == back:
        return [(0.5, there)]
    return [(share, text) for share, text in ((0.3, there), (0.7, back)) if text]


def _both(
    graph: "nx.DiGraph[str]", source: str, destination: str, words: Callable[[str, str], str]
) -> tuple[str, str]:
    there = words(source, destination) if graph.has_edge(source, destination) else ""
    return there, words(destination, source) if graph.has_edge(destination, source) else ""


def _outwards(graph: "nx.Graph[str]", place: Mapping[str, Any], node: str) -> dict[str, Any]:
    """How the words of a node stand: away from its only neighbour; above it, where it has more."""
    neighbours = list(graph.neighbors(node))
    if len(neighbours) != 1:
        white = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
        return {"xytext": (0, 12), "ha": "center", "bbox": white}
    x, y = (float(a - b) for a, b in zip(place[node], place[neighbours[0]], strict=True))
    x, y = (part / (x * x + y * y) ** 0.5 for part in (x, y))
    if graph.degree(neighbours[0]) > _MOST_LEVEL:
        turn = degrees(atan2(y, 1.4 * x))  # the picture is 1.4 times as wide as high
        left = abs(turn) > 90
        return {"xytext": (13 * x, 13 * y), "rotation": turn + 180 * left, "rotation_mode": "anchor",
                "ha": "right" if left else "left", "va": "center"}  # fmt: skip
    across = "left" if x > 0.2 else "right" if x < -0.2 else "center"
    return {
        "xytext": (13 * x, 13 * y),
        "ha": across,
        "va": "bottom" if y > 0.5 else "top" if y < -0.5 else "center",
    }

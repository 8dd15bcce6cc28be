"""Which way a message goes: the route of least latency."""

from heapq import heappop, heappush
from itertools import pairwise
from typing import TYPE_CHECKING

from sfsim.errors import NetworkError

if TYPE_CHECKING:
    import networkx as nx

Edge = tuple[str, str]
Hop = tuple[str, float]


class Router:
    """Shortest routes by mean latency; among equals the one of fewest hops, then the first by node names.

    Where there is only one way on, or only one way to come from, nothing is searched: the clients of a star
    cost their two links, not a search among all of them.
    """

    def __init__(self, graph: "nx.DiGraph", seed: int) -> None:
        # One hop for a node that leads to one other only, a list for the others.
        self._successors: dict[str, Hop | list[Hop]] = {}
        self._only_from: dict[str, str] = {}
        for node, edges in graph.adjacency():
            hops = [
                (next_node, data["link"].mean_latency_s(seed, f"{node}->{next_node}"))
                for next_node, data in edges.items()
            ]
            self._successors[node] = hops[0] if len(hops) == 1 else hops
            before = graph.pred[node]
            if len(before) == 1:
                self._only_from[node] = next(iter(before))
        self._searched: dict[Edge, tuple[str, ...]] = {}

    def route(self, source: str, destination: str) -> tuple[Edge, ...]:
        """Return the edges from node to node; none for the same node. Raises NetworkError without a route."""
        ahead, back = [source], [destination]
        while ahead[-1] != back[-1] and isinstance(hop := self._successors[ahead[-1]], tuple):
            if hop[0] in ahead:
                raise _no_route(source, destination)
            ahead.append(hop[0])
        while ahead[-1] != back[-1] and (node := self._only_from.get(back[-1])) is not None:
            if node in back:
                raise _no_route(source, destination)
            back.append(node)
        pair = (ahead[-1], back[-1])
        if pair[0] == pair[1]:
            return tuple(pairwise((*ahead, *back[-2::-1])))
        if pair not in self._searched:
            path = self._shortest(*pair)
            if path is None:
                raise _no_route(source, destination)
            self._searched[pair] = path
        return tuple(pairwise((*ahead[:-1], *self._searched[pair], *back[-2::-1])))

    def _shortest(self, source: str, destination: str) -> tuple[str, ...] | None:
        # Dijkstra; the whole path is part of the key, so that equal latencies are decided by names alone.
        heap: list[tuple[float, int, tuple[str, ...]]] = [(0.0, 0, (source,))]
        visited: set[str] = set()
        while heap:
            latency_s, hops, path = heappop(heap)
            node = path[-1]
            if node == destination:
                return path
            if node in visited:
                continue
            visited.add(node)
            successors = self._successors[node]
            for next_node, hop_s in [successors] if isinstance(successors, tuple) else successors:
                further = self._successors[next_node]
                dead_end = next_node != destination and isinstance(further, tuple) and further[0] == node
                if next_node not in visited and not dead_end:
                    heappush(heap, (latency_s + hop_s, hops + 1, (*path, next_node)))
        return None


def _no_route(source: str, destination: str) -> NetworkError:
    return NetworkError(f"no route from node {source!r} to node {destination!r}")

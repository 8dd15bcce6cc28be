"""Which way a message goes: the route of least latency, found once per pair of nodes."""

from heapq import heappop, heappush
from itertools import pairwise
from typing import TYPE_CHECKING

from sfsim.errors import NetworkError

if TYPE_CHECKING:
    import networkx as nx

Edge = tuple[str, str]


class Router:
    """Shortest routes by mean latency; among equals the one of fewest hops, then the first by node names."""

    def __init__(self, graph: "nx.DiGraph", seed: int) -> None:
        self._successors: dict[str, list[tuple[str, float]]] = {
            node: [
                (next_node, data["link"].mean_latency_s(seed, f"{node}->{next_node}"))
                for next_node, data in edges.items()
            ]
            for node, edges in graph.adjacency()
        }
        # A node that leads to one other only (a client in a star) is on no way but its own.
        self._leaves = {node: edges[0][0] for node, edges in self._successors.items() if len(edges) == 1}
        self._routes: dict[Edge, tuple[Edge, ...]] = {}

    def route(self, source: str, destination: str) -> tuple[Edge, ...]:
        """Return the edges from node to node; none for the same node. Raises NetworkError without a route."""
        pair = (source, destination)
        if pair not in self._routes:
            path = self._shortest(source, destination)
            self._routes[pair] = tuple(pairwise(path))
        return self._routes[pair]

    def _shortest(self, source: str, destination: str) -> tuple[str, ...]:
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
            for next_node, hop_s in self._successors[node]:
                dead_end = next_node != destination and self._leaves.get(next_node) == node
                if next_node not in visited and not dead_end:
                    heappush(heap, (latency_s + hop_s, hops + 1, (*path, next_node)))
        raise NetworkError(f"no route from node {source!r} to node {destination!r}")

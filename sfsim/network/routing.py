"""Which links there are, and which way a message goes: the route of least latency."""

from collections.abc import Iterable, Iterator, Mapping
from heapq import heappop, heappush
from itertools import pairwise
from typing import Generic, Protocol, TypeVar

from sfsim.errors import NetworkError

Edge = tuple[str, str]


class Hop(Protocol):
    """A link as routing sees it."""

    source: str
    destination: str
    latency_s: float


HopT = TypeVar("HopT", bound=Hop)


class Links(Mapping[Edge, HopT], Generic[HopT]):
    """All links by ``(source, destination)``, in the order of their sources.

    Nodes have one link, or many: a client costs an entry, not a dictionary.

    Parameters
    ----------
    links : iterable of link
        At most one from a node to another.
    """

    def __init__(self, links: Iterable[HopT]) -> None:
        self._from: dict[str, HopT | dict[str, HopT]] = {}
        self._extra: dict[Edge, HopT] = {}
        self._into: dict[str, HopT | None] = {}  # the only link into a node; None: there are several
        self._num = 0
        for link in links:
            self._num += 1
            known = self._from.get(link.source)
            if known is None:
                self._from[link.source] = link
            elif (link.source, link.destination) in self:
                raise NetworkError(f"two links {link.source!r} -> {link.destination!r}")
            elif isinstance(known, dict):
                known[link.destination] = link
            else:
                self._from[link.source] = {known.destination: known, link.destination: link}
            self._into[link.destination] = None if link.destination in self._into else link
        self._nothing: dict[str, HopT] = {}

    def add_nodes(self, nodes: Iterable[str]) -> None:
        """Add nodes; those without a link are new."""
        for node in nodes:
            if node not in self._into:
                self._from.setdefault(node, self._nothing)

    def knows(self, node: str) -> bool:
        """Whether there is such a node."""
        return node in self._from or node in self._into

    def add(self, edge: Edge, link: HopT) -> None:
        """Add a link that no route uses."""
        self._extra[edge] = link

    def only_from(self, node: str) -> HopT | None:
        """Return the one link that leaves a node; None: there are several, or none."""
        links = self._from.get(node)
        return None if isinstance(links, dict) else links

    def only_into(self, node: str) -> HopT | None:
        """Return the one link that leads to a node; None: there are several, or none."""
        return self._into.get(node)

    def leaving(self, node: str) -> Iterable[HopT]:
        """Return the links that leave a node."""
        links = self._from.get(node, self._nothing)
        return links.values() if isinstance(links, dict) else (links,)

    def __getitem__(self, edge: Edge) -> HopT:
        source, destination = edge
        links = self._from.get(source)
        if isinstance(links, dict):
            if destination in links:
                return links[destination]
        elif links is not None and links.destination == destination:
            return links
        return self._extra[edge]

    def __iter__(self) -> Iterator[Edge]:
        for source in self._from:
            for link in self.leaving(source):
                yield source, link.destination
        yield from self._extra

    def __len__(self) -> int:
        return self._num + len(self._extra)


class Router(Generic[HopT]):
    """Shortest routes by mean latency; among equals the one of fewest hops, then the first by node names.

    Where there is only one way on, or only one way to come from, nothing is searched: the clients of a star
    cost their two links, not a search among all of them.
    """

    def __init__(self, links: Links[HopT]) -> None:
        self._links = links
        self._searched: dict[Edge, tuple[HopT, ...]] = {}

    def route(self, source: str, destination: str) -> tuple[HopT, ...]:
        """Return the links from node to node; none for the same node. Raises NetworkError without a route."""
        ahead: list[HopT] = []
        back: list[HopT] = []
        start, end = source, destination
        seen = {start}
        while start != end and (hop := self._links.only_from(start)) is not None:
            if hop.destination in seen:
                raise _no_route(source, destination)
            ahead.append(hop)
            start = hop.destination
            seen.add(start)
        seen = {end}
        while start != end and (hop := self._links.only_into(end)) is not None:
            if hop.source in seen:
                raise _no_route(source, destination)
            back.append(hop)
            end = hop.source
            seen.add(end)
        if start == end:
            return (*ahead, *reversed(back))
        if (start, end) not in self._searched:
            path = self._shortest(start, end)
            if path is None:
                raise _no_route(source, destination)
            self._searched[start, end] = path
        return (*ahead, *self._searched[start, end], *reversed(back))

    def _shortest(self, source: str, destination: str) -> tuple[HopT, ...] | None:
        # Dijkstra; the whole path is part of the key, so that equal latencies are decided by names alone.
        heap: list[tuple[float, int, tuple[str, ...]]] = [(0.0, 0, (source,))]
        visited: set[str] = set()
        while heap:
            latency_s, hops, path = heappop(heap)
            node = path[-1]
            if node == destination:
                return tuple(self._links[edge] for edge in pairwise(path))
            if node in visited:
                continue
            visited.add(node)
            for hop in self._links.leaving(node):
                next_node = hop.destination
                further = self._links.only_from(next_node)
                dead_end = next_node != destination and further is not None and further.destination == node
                if next_node not in visited and not dead_end:
                    heappush(heap, (latency_s + hop.latency_s, hops + 1, (*path, next_node)))
        return None


def _no_route(source: str, destination: str) -> NetworkError:
    return NetworkError(f"no route from node {source!r} to node {destination!r}")

"""The tables of a scenario about its network: the topology, and what holds for all links."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sfsim.declaration import declaration, misfit
from sfsim.network.declarations import FRAMINGS, Link, framing
from sfsim.network.transport import AnyTransport, Fluid
from sfsim.scenario.parts import Name, at


@declaration
class Star:
    """Every party hangs on one hub by its own uplink and downlink."""

    kind: Literal["star"] = "star"


@declaration
class GraphLink(Link):
    """A link between two nodes of a graph.

    Parameters
    ----------
    source : str
        The node that it leaves.
    destination : str
        The node that it reaches.
    duplex : bool
        There is the same link in the other direction too.
    """

    source: Name
    destination: Name
    duplex: bool = True


@declaration
class Graph:
    """Any graph, by its links.

    Parameters
    ----------
    links : list of GraphLink
        The links; a node exists when a link names it.
    """

    kind: Literal["graph"] = "graph"
    links: Annotated[tuple[GraphLink, ...], Field(min_length=1)]


@declaration
class GraphML:
    """Any graph, from a GraphML file.

    Parameters
    ----------
    path : Path
        The file; GML or node-link JSON where it ends in .gml or .json. An undirected edge is a link in both directions.
    link : Link
        The link of every edge.
    rate_attribute : str
        The edge attribute that holds a rate; where an edge has it, it replaces the link's.
    rate_scale : float
        How many bit/s one unit of that attribute is. Default: 1, and rates that links hardly have are refused.
    latency_attribute : str, optional
        The edge attribute that holds a latency; where an edge has it, it replaces the link's.
    latency_scale : float
        How many s one unit of that attribute is, such as 0.001 for milliseconds.
    latency_from_coordinates : bool
        Take the latency of fibre along the great circle where both nodes have ``Latitude`` and ``Longitude`` and
        stand at different places.
    """

    kind: Literal["graphml"] = "graphml"
    path: Path
    link: Link
    rate_attribute: Name = "rate_bps"
    rate_scale: Annotated[float, Field(gt=0)] | None = None
    latency_attribute: Name | None = None
    latency_scale: Annotated[float, Field(gt=0)] = 1.0
    latency_from_coordinates: bool = False


AnyTopology = Annotated[Star | Graph | GraphML, Field(discriminator="kind")]


@declaration
class NetworkTable:
    """What holds for the whole network.

    Parameters
    ----------
    transport : Transport
        How messages travel; its kind alone is enough, such as ``transport = "tcp-cubic"``.
    framing : str, optional
        The preset of headers below the payload. Default: that of the transport, over Ethernet.
    engine : {"fluid", "packet"}
        Messages as flows at fair rates, or packet by packet through a queue at every hop (slow: small runs).
    discipline : {"drr", "fifo"}, optional
        The queue before each link, with ``engine = "packet"`` only: deficit round robin over messages (the
        default there), or first come first served.
    store_and_forward : bool
        Every hop but the slowest waits for a whole frame before it passes it on (``engine = "fluid"``; the
        packet engine always does).
    usage_every_s : float, optional
        Write what each link carried in every interval of that length (``link_usage.parquet``).
    """

    transport: AnyTransport = Field(default_factory=Fluid)
    framing: Annotated[str, Field(json_schema_extra={"enum": list(FRAMINGS)})] | None = None
    engine: Literal["fluid", "packet"] = "fluid"
    discipline: Literal["drr", "fifo"] | None = None
    store_and_forward: bool = False
    usage_every_s: Annotated[float, Field(gt=1e-6)] | None = None

    def __post_init__(self) -> None:
        if self.framing is None:
            object.__setattr__(self, "framing", self.transport.preset)
        with at("framing"):
            framing(self.framing or self.transport.preset)
        if self.engine == "fluid" and self.discipline is not None:
            raise misfit("discipline", repr(self.discipline), 'nothing: only engine = "packet" has queues')
        if self.engine == "packet" and self.transport.kind not in ("fluid", "arq", "udp"):
            expected = "'arq' (which 'fluid' becomes) or 'udp', because engine = \"packet\" has no other"
            raise misfit(("transport", "kind"), repr(self.transport.kind), expected)

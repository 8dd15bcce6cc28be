"""Graphs from stars, lists, networkx and GraphML, and which way a message goes."""

import json
import tarfile

import networkx as nx
import pytest

from sfsim.channel import Constant
from sfsim.errors import ConfigError, NetworkError
from sfsim.network import Link
from sfsim.network.link import LinkState
from sfsim.network.routing import Links, Router
from sfsim.network.topology import check_connected, from_links, from_networkx, read_graphml, star

LINK = Link(rate_bps=1e6, latency_s=0.01)


def link(latency_s):
    return Link(rate_bps=1e6, latency_s=latency_s)


class State(LinkState):
    """A link that nobody operates."""


class Routes:
    """The router of a graph; routes as pairs of nodes."""

    def __init__(self, graph):
        links = (State(*edge, data["link"], 7) for *edge, data in graph.edges(data=True))
        self.router = Router(Links(links))

    def route(self, source, destination):
        return tuple((hop.source, hop.destination) for hop in self.router.route(source, destination))


def test_a_star_has_an_uplink_and_a_downlink_per_party():
    up, down = link(0.1), link(0.2)
    graph = star({"a": (up, down), "b": (down, up)})
    assert graph.edges["a", "hub"]["link"] is up
    assert graph.edges["hub", "a"]["link"] is down
    assert Routes(graph).route("a", "b") == (("a", "hub"), ("hub", "b"))


def test_the_route_has_the_least_latency():
    graph = from_links([("a", "b", link(0.3)), ("a", "x", link(0.1)), ("x", "b", link(0.1))])
    assert Routes(graph).route("a", "b") == (("a", "x"), ("x", "b"))
    assert Routes(graph).route("a", "a") == ()
    with pytest.raises(NetworkError, match="no route from node 'b' to node 'a'"):
        Routes(graph).route("b", "a")


def test_equal_latencies_are_decided_by_hops_then_names_whatever_the_order():
    edges = [("a", "y", link(0.5)), ("y", "b", link(0.5)), ("a", "x", link(0.5)), ("x", "b", link(0.5))]
    for order in (edges, edges[::-1]):
        assert Routes(from_links(order)).route("a", "b") == (("a", "x"), ("x", "b"))
    direct = [*edges, ("a", "b", link(1.0))]
    assert Routes(from_links(direct)).route("a", "b") == (("a", "b"),)


def test_an_undirected_edge_is_a_link_each_way():
    graph = nx.Graph()
    graph.add_edge(1, 2, link=LINK)
    graph.add_edge(2, 3, speed="5e6")
    graph.add_node(4)
    directed = from_networkx(graph, default=LINK, rate_attribute="speed")
    assert sorted(directed.edges) == [("1", "2"), ("2", "1"), ("2", "3"), ("3", "2")]
    assert directed.edges["3", "2"]["link"].rate_bps == 5e6
    assert "4" in directed


def test_parallel_edges_become_one_link_and_loops_none():
    graph = nx.MultiGraph([("a", "b"), ("a", "b"), ("b", "b")])
    graph.add_edge("b", "a", link=Link(rate_bps=8e6, latency_s=0.001, efficiency=0.5))
    directed = from_networkx(graph, default=LINK)
    assert sorted(directed.edges) == [("a", "b"), ("b", "a")]
    for edge in directed.edges.values():
        assert edge["link"] == Link(rate_bps=2 * 1e6 + 4e6, latency_s=0.001)


def test_what_cannot_be_one_link_is_refused_by_name():
    fading = Link(latency_s=0, channel=Constant(rate_bps=1e6))
    with pytest.raises(
        ConfigError,
        match=r"net.graphml, edge 'a' - 'b': found 2 parallel edges with channels or losses, expected plain",
    ):
        from_networkx(nx.MultiGraph([("a", "b"), ("a", "b")]), default=fading, place="net.graphml")
    # A list of links has no such excuse.
    with pytest.raises(ConfigError, match=r"links: found two links 'a' -> 'b', expected at most one link"):
        from_links([("a", "b", LINK), ("a", "b", LINK)])
    with pytest.raises(ConfigError, match="a link from 'a' to itself"):
        from_links([("a", "a", LINK)])


def test_latency_from_coordinates():
    graph = nx.Graph([("Paris", "New York"), ("Paris", "nowhere")])
    graph.nodes["Paris"].update(Latitude=48.8566, Longitude=2.3522)
    graph.nodes["New York"].update(Latitude=40.7128, Longitude=-74.006)
    directed = from_networkx(graph, default=LINK, latency_from_coordinates=True)
    # 5837 km on a sphere, at the speed of light in fibre.
    assert directed.edges["New York", "Paris"]["link"].latency_s == pytest.approx(
        5.837e6 / 2.0422e8, rel=1e-3
    )
    assert directed.edges["Paris", "nowhere"]["link"].latency_s == LINK.latency_s


def test_the_whole_topology_zoo(shared, tmp_path):
    archive = shared / "data" / "topologyzoo" / "topologyzoo.tar.xz"
    if not archive.is_file():
        pytest.skip("no Topology Zoo")
    with tarfile.open(archive) as files:
        files.extractall(tmp_path, [m for m in files if m.name.endswith(".graphml")], filter="data")
    paths = sorted(tmp_path.rglob("*.graphml"))
    assert len(paths) == 217
    disconnected = 0
    for path in paths:
        text = path.read_text()
        speeds, places = 'attr.name="LinkSpeedRaw"' in text, 'attr.name="Latitude"' in text
        for asked, known, key in (
            (("LinkSpeedRaw", False), speeds, "edge"),
            (("rate_bps", True), places, "node"),
        ):
            if not known:  # some files know no speed, some no place
                with pytest.raises(ConfigError, match=f"found no {key} with 'L"):
                    read_graphml(path, LINK, *asked)
        graph = read_graphml(path, LINK, "LinkSpeedRaw" if speeds else None, places)
        links = [data["link"] for *_, data in graph.edges(data=True)]
        assert all(link.rate_bps > 0 and link.latency_s > 0 for link in links)
        router, nodes = Routes(graph), list(graph)
        reached = nx.descendants(graph, nodes[0]) | {nodes[0]}
        for node in nodes[:: max(1, len(nodes) // 5)]:
            if node in reached:
                assert bool(router.route(nodes[0], node)) == (node != nodes[0])
        stray = next((node for node in nodes if node not in reached), None)
        if stray is not None:
            disconnected += 1
            with pytest.raises(ConfigError, match=r"found no route both ways between 'main server'"):
                check_connected(graph, {"main server": nodes[0], "client": stray}, str(path))
    assert disconnected > 0


def test_an_edge_without_a_link_or_with_a_wrong_rate_is_refused():
    graph = nx.Graph([("a", "b")])
    with pytest.raises(ConfigError, match="graph, edge 'a' - 'b': found no link"):
        from_networkx(graph)
    graph.edges["a", "b"]["speed"] = "fast"
    with pytest.raises(ConfigError, match="edge 'a' - 'b', speed: found 'fast', expected a rate in bit/s"):
        from_networkx(graph, default=LINK, rate_attribute="speed")
    graph.edges["a", "b"]["speed"] = -1
    with pytest.raises(ConfigError, match="speed: found -1, expected a rate in bit/s above 0"):
        from_networkx(graph, default=LINK, rate_attribute="speed")


def test_graphml(tmp_path):
    graph = nx.Graph()
    graph.add_edge("0", "1", LinkSpeedRaw=1e9)
    graph.add_edge("1", "2")
    path = tmp_path / "zoo.graphml"
    nx.write_graphml(graph, path)
    directed = read_graphml(path, LINK, rate_attribute="LinkSpeedRaw")
    assert directed.edges["1", "0"]["link"].rate_bps == 1e9
    assert directed.edges["1", "2"]["link"] == LINK
    with pytest.raises(
        ConfigError, match=r"no such file, expected a GraphML file. Did you mean 'zoo.graphml'"
    ):
        read_graphml(tmp_path / "zoo.graphm", LINK)
    path.write_text("no xml")
    with pytest.raises(ConfigError, match="a file that is not GraphML"):
        read_graphml(path, LINK)


def test_a_disconnected_graph_names_who_cannot_reach_whom():
    graph = from_links([("a", "b", LINK), ("b", "a", LINK), ("b", "c", LINK)])
    check_connected(graph, {"client": "a", "main server": "b"}, "s.toml, topology")
    with pytest.raises(
        ConfigError, match=r"s.toml, topology: found no route both ways between 'client' .*'fed'"
    ):
        check_connected(graph, {"client": "a", "fed": "c"}, "s.toml, topology")
    with pytest.raises(ConfigError, match="found node 'bb' of 'fed', expected a node of the graph"):
        check_connected(graph, {"client": "a", "fed": "bb"}, "s.toml, topology")


def graphml(path, keys, nodes, edges):
    path.write_text(
        '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">' + keys
        + f'<graph edgedefault="undirected">{nodes}{edges}</graph></graphml>'
    )  # fmt: skip
    return path


def test_the_default_of_a_graphml_key_holds(tmp_path):
    key = '<key id="r" for="edge" attr.name="rate_bps" attr.type="double"><default>1e9</default></key>'
    edges = '<edge source="a" target="b"><data key="r">2e6</data></edge><edge source="b" target="c"/>'
    nodes = '<node id="a"/><node id="b"/><node id="c"/>'
    graph = read_graphml(graphml(tmp_path / "n.graphml", key, nodes, edges), LINK, "rate_bps")
    assert graph.edges["a", "b"]["link"].rate_bps == 2e6
    assert graph.edges["c", "b"]["link"].rate_bps == 1e9


def test_attributes_that_nobody_has_and_places_that_are_none(tmp_path):
    keys = (
        '<key id="r" for="edge" attr.name="linkspeedraw" attr.type="double"/>'
        '<key id="a" for="node" attr.name="Latitude" attr.type="double"/>'
        '<key id="o" for="node" attr.name="Longitude" attr.type="double"/>'
    )
    edges = '<edge source="a" target="b"><data key="r">2e6</data></edge>'
    bare = graphml(tmp_path / "bare.graphml", keys, '<node id="a"/><node id="b"/>', edges)
    with pytest.raises(ConfigError, match=r"found no edge with 'LinkSpeedRaw'.* Did you mean 'linkspeedraw'"):
        read_graphml(bare, LINK, "LinkSpeedRaw")
    with pytest.raises(ConfigError, match="found no node with 'Latitude'"):
        read_graphml(bare, LINK, latency_from_coordinates=True)
    for latitude in ("91", "nan"):
        nodes = "".join(
            f'<node id="{name}"><data key="a">{latitude}</data><data key="o">1</data></node>' for name in "ab"
        )
        placed = graphml(tmp_path / "placed.graphml", keys, nodes, edges)
        with pytest.raises(
            ConfigError, match=r"edge 'a' - 'b': found Latitude .*, expected -90 to 90 degrees"
        ):
            read_graphml(placed, LINK, latency_from_coordinates=True)


def test_gml_and_node_link_json_are_the_same_graph(tmp_path):
    graph = nx.Graph()
    graph.add_edge(0, 1, speed=2e6)
    graph.add_edge(1, 2)
    nx.write_gml(graph, tmp_path / "n.gml")
    (tmp_path / "n.json").write_text(json.dumps(nx.node_link_data(graph, edges="links")))
    nx.write_graphml(graph, tmp_path / "n.graphml")
    found = [read_graphml(tmp_path / f"n.{ending}", LINK, "speed") for ending in ("gml", "json", "graphml")]
    for other in found:
        assert dict(other.edges) == dict(found[0].edges) and other.edges["0", "1"]["link"].rate_bps == 2e6
    (tmp_path / "n.json").write_text("[1]")
    with pytest.raises(ConfigError, match=r"n.json: found a file that"):
        read_graphml(tmp_path / "n.json", LINK)


def test_how_many_edges_and_nodes_had_it_is_said():
    graph = nx.MultiGraph([("a", "b"), ("b", "c"), ("c", "c")])
    graph.add_edge("a", "c", speed=1e6)
    graph.nodes["a"].update(Latitude=1, Longitude=2)
    directed = from_networkx(graph, LINK, "speed", latency_from_coordinates=True)
    assert [note[:34] for note in directed.graph["notes"]] == [
        "1 of 4 edges have 'speed'; the oth",
        "1 of 3 nodes have coordinates; edg",
        "1 of 4 edges lead from a node to i",
    ]


def test_latencies_from_an_attribute(tmp_path):
    path = tmp_path / "g.graphml"
    keys = (
        '<key id="d" for="edge" attr.name="delay_ms" attr.type="double"/>'
        '<key id="r" for="edge" attr.name="mbps" attr.type="double"/>'
        '<key id="y" for="node" attr.name="Latitude" attr.type="double"/>'
        '<key id="x" for="node" attr.name="Longitude" attr.type="double"/>'
    )
    places = {"a": (47, 8), "b": (47, 8), "c": (46, 8)}
    nodes = "".join(
        f'<node id="{n}"><data key="y">{y}</data><data key="x">{x}</data></node>'
        for n, (y, x) in places.items()
    )
    edges = (
        '<edge source="a" target="b"><data key="d">7</data><data key="r">2</data></edge>'
        '<edge source="a" target="b"/><edge source="b" target="c"/>'
    )
    graphml(path, keys, nodes, edges)

    def read(**options):
        return read_graphml(path, LINK, "mbps", rate_scale=1e6, **options)

    graph = read(latency_attribute="delay_ms", latency_scale=1e-3, latency_from_coordinates=True)
    # a - b: two parallel edges, of 7 ms and 2 Mbit/s by their attributes and of the link's: at one place.
    assert graph.edges["a", "b"]["link"].latency_s == 0.007
    assert graph.edges["a", "b"]["link"].rate_bps == 3e6
    assert graph.edges["b", "c"]["link"].latency_s == pytest.approx(111_195 / 204_218_296, rel=1e-4)
    assert graph.graph["notes"] == [
        "1 of 3 edges have 'mbps'; the others take the link's rate",
        "1 of 3 edges have 'delay_ms'; the others take that of their nodes' coordinates, or the link's",
        "2 of 3 edges join nodes at one place; they take the link's latency",
        "1 of 3 edges are parallel to another and are joined with it",
    ]
    with pytest.raises(ConfigError, match=r"found '?7.0'?, which is 7 s, expected a latency of 0 to 5 s"):
        read(latency_attribute="delay_ms")
    with pytest.raises(ConfigError, match=r"no edge with 'delay_m'.*Did you mean 'delay_ms'"):
        read(latency_attribute="delay_m")


def test_links_that_lead_one_way_are_counted():
    graph = nx.DiGraph([("a", "b"), ("b", "a"), ("b", "c")])
    notes = from_networkx(graph, LINK).graph["notes"]
    assert notes == ["1 of 3 links of the directed graph lead one way only"]


def test_rates_in_another_unit_do_not_pass_as_bits():
    graph = nx.Graph()
    graph.add_edge("a", "b", speed=10)
    graph.add_edge("b", "c", speed=2.5)
    with pytest.raises(ConfigError) as error:
        from_networkx(graph, LINK, "speed", place="net.graphml")
    assert str(error.value) == (
        "net.graphml, speed: found a median of 6.25 bit/s, expected 10 kbit/s to 1 Tbit/s, as links have. "
        "Write topology.rate_scale = 1e6 for Mbit/s, 1e9 for Gbit/s, or 1 if it is right"
    )
    assert from_networkx(graph, LINK, "speed", rate_scale=1.0).edges["a", "b"]["link"].rate_bps == 10
    assert from_networkx(graph, LINK, "speed", rate_scale=1e9).edges["a", "b"]["link"].rate_bps == 1e10

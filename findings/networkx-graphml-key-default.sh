#!/usr/bin/env bash
# networkx 3.6.1, read_graphml: the <default> of a key is read and not applied.
# GraphML (graphdrawing.org, "GraphML-Attributes"): an element without a value for a key has the key's default.
# Seen: the edge that says nothing has no attribute at all; the default stands in G.graph["edge_default"] only, so
# data["rate_bps"] raises KeyError and data.get("rate_bps", ...) takes another number than the file's, silently.
# Exits 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check networkx==3.6.1
cat > "$folder/net.graphml" <<'XML'
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
<key id="r" for="edge" attr.name="rate_bps" attr.type="double"><default>1e9</default></key>
<graph edgedefault="undirected"><node id="a"/><node id="b"/><node id="c"/>
<edge source="a" target="b"><data key="r">2e6</data></edge><edge source="b" target="c"/></graph></graphml>
XML
"$folder/venv/bin/python" - "$folder/net.graphml" <<'PY'
import sys
import networkx as nx

graph = nx.read_graphml(sys.argv[1])
seen = {f"{a}-{b}": dict(data) for a, b, data in graph.edges(data=True)}, graph.graph["edge_default"]
print(nx.__version__, *seen)
sys.exit(seen != ({"a-b": {"rate_bps": 2e6}, "b-c": {}}, {"rate_bps": 1e9}))
PY

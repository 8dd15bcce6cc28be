"""A small scenario with the files it names, for tests to bend."""

from pathlib import Path

DEVICE = """
name = "small"
peak_flops = 1e9
efficiency = 0.5
memory_bandwidth_bytes_per_s = 1e9
launch_overhead_s = 1e-5
symbols_per_s = 1e6
memory_bytes = 1_000_000_000
idle_power_w = 1
active_power_w = 2
"""

SCENARIO = """
seed = 7
protocol = "splitfed-v1"
global_rounds = 3
batch_size = 8
data = { kind = "digits" }
model = { kind = "cnn" }
cut_layers = ["conv1"]
optimiser = { kind = "sgd", learning_rate = 0.05 }

[codecs]
smashed_up = "codecs/int8.toml"

[[clients]]
name = "phone"
device = "devices/small.toml"
[clients.uplink]
rate_bps = 1e6
latency_s = 0.02
[clients.downlink]
rate_bps = 2e6
latency_s = 0.02

[[clients]]
name = "pi"
count = 2
device = "devices/small.toml"
uplink = { channel = "channels/trace.toml", latency_s = 0.02 }
downlink = { rate_bps = 2e6, latency_s = 0.02 }

[main_server]
device = "devices/small.toml"
"""

GRAPH_TAIL = """
[main_server]
device = "devices/small.toml"
node = "core"

[topology]
kind = "graph"
[[topology.links]]
source = "phone"
destination = "edge"
rate_bps = 1e6
latency_s = 0.01
[[topology.links]]
source = "edge"
destination = "core"
rate_bps = 1e7
latency_s = 0.01
"""

GRAPH = (
    SCENARIO.partition("[[clients]]")[0]
    + """
[[clients]]
name = "phone"
device = "devices/small.toml"

[[clients]]
name = "pi"
count = 2
device = "devices/small.toml"
node = "edge"
uplink = { rate_bps = 1e6, latency_s = 0.02 }
downlink = { rate_bps = 2e6, latency_s = 0.02 }
"""
    + GRAPH_TAIL
)


def write(folder: Path, scenario: str = SCENARIO) -> Path:
    """Write the scenario and its neighbours into a folder; return the scenario's path."""
    files = {
        "a.toml": scenario,
        "devices/small.toml": DEVICE,
        "codecs/int8.toml": 'title = "eight bits"\nkind = "uniform"\nbits = 8\n',
        "codecs/wrong.toml": 'kind = "uniform"\nbit = 8\n',
        "codecs/squeezed.toml": '[[stage]]\nkind = "cast"\ndtype = "float16"\n[[stage]]\nkind = "zstd"\n',
        "channels/trace.toml": 'kind = "trace"\npath = "rates.csv"\n',
        "channels/rates.csv": "time_s,rate_bps\n0,1e6\n1,2e6\n",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "a.toml"

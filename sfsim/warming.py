"""Compile beforehand what usual runs need, by running small ones: so that the first real one starts at once."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sfsim.declaration import validate
from sfsim.scenario import Scenario


def tables() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the table of small scenarios that together call every compiled part of usual runs."""
    device = {
        "name": "any",
        "peak_flops": 1e12,
        "efficiency": 0.5,
        "memory_bandwidth_bytes_per_s": 1e11,
        "launch_overhead_s": 1e-6,
        "symbols_per_s": 1e9,
        "memory_bytes": 10**10,
        "idle_power_w": 1.0,
        "active_power_w": 2.0,
        "source": "made up: only what is compiled matters",
    }
    down = {"rate_bps": 2e6, "latency_s": 0.01}
    fading = {"kind": "rayleigh", "mean_snr_db": 10.0, "bandwidth_hz": 1e6, "coherence_time_s": 0.05}
    link = {"channel": fading, "latency_s": 0.01}
    lossy = down | {"loss": {"kind": "bernoulli", "probability": 0.05}}
    server = {"device": device, "uplink": {"rate_bps": 3e6, "latency_s": 0.01}, "downlink": down}
    base = {
        "seed": 1,
        "protocol": "splitfed-v1",
        "global_rounds": 1,
        "batch_size": 8,
        "data": {"kind": "synthetic", "num_train": 32, "num_test": 4, "image_size": 8, "num_classes": 2},
        "model": {"kind": "cnn", "width": 4},
        "cut_layers": ["conv1"],
        "optimiser": {"kind": "sgd", "learning_rate": 0.05},
        "main_server": server,
    }
    client = {"name": "c", "count": 2, "device": device}
    star = base | {"clients": [client | {"uplink": link, "downlink": down}]}
    yield "the network engine", star
    for kind in ("tcp-cubic", "arq", "wifi"):
        table = {
            "clients": [client | {"uplink": lossy, "downlink": down}],
            "network": {"transport": {"kind": kind}},
        }
        yield f"transport {kind}", base | table
    member = client | {"cell": "c", "distance_m": [20.0, 20.0]}
    yield "Wi-Fi cells", base | {"clients": [member], "cell": {"c": {"kind": "wifi"}}}
    yield "cellular cells", base | {"clients": [member], "cell": {"c": {"kind": "cellular"}}}
    small = [{"kind": "uniform", "bits": 4}, {"kind": "mask-encoded", "sparsity": 0.9, "mask_bits": 2}]
    codecs = {
        "smashed_up": small[0],
        "gradient_down": small[1],
        "client_model_up": {"codec": {"kind": "cast", "dtype": "float16"}},
    }
    yield "plain codecs", star | {"codecs": codecs}


def warm(say: Callable[[str], None]) -> None:
    """Compile what usual runs need, and say what is at work.

    Parameters
    ----------
    say : callable
        Takes one line of text.
    """
    from sfsim import simulation

    every = list(tables())
    for number, (name, table) in enumerate(every, 1):
        say(f"compiling {number} of {len(every)}: {name}")
        with tempfile.TemporaryDirectory(prefix="sfsim-") as folder:
            scenario = validate(Scenario, table | {"name": "warm"}, name)
            simulation.run(scenario, out=Path(folder) / "run", checkpoint_share=0)

"""The compiled parts: said when one is compiled, and all of them made beforehand.

numba compiles a function when it is called first and keeps the result beside the source, so that this happens once per
installation. The network engine takes half a minute, longer than many a first run.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

WORDS = "compiles the network engine, once per installation (half a minute or so; `sfsim warm` does it beforehand)"


@contextmanager
def announced(say: Callable[[], None]) -> Iterator[None]:
    """Call `say` when something is about to be compiled, once."""
    from numba.core import event

    class Listener(event.Listener):  # type: ignore[misc]
        said = False

        def on_start(self, event: Any) -> None:
            if not self.said:
                self.said = True
                say()

        def on_end(self, event: Any) -> None:
            pass

    listener = Listener()
    event.register("numba:compile", listener)
    try:
        yield
    finally:
        event.unregister("numba:compile", listener)


def worlds() -> Iterator[tuple[str, dict[str, Any]]]:
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
    import tempfile
    from pathlib import Path

    from sfsim import simulation
    from sfsim.declaration import validate
    from sfsim.scenario import Scenario

    tables = list(worlds())
    for number, (name, table) in enumerate(tables, 1):
        say(f"compiling {number} of {len(tables)}: {name}")
        with tempfile.TemporaryDirectory(prefix="sfsim-") as folder:
            scenario = validate(Scenario, table | {"name": "warm"}, name)
            simulation.run(scenario, out=Path(folder) / "run", checkpoint_share=0)

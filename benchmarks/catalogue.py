"""Time of a message over each entry of the catalogue of channels: by the fluid engine, over one idle link.

``python -m benchmarks.catalogue --against DIR`` also asks the build in another checkout, with its entries. Each in the
framing of its technology, without latency and loss; of channels that fade the median over the seeds 1 to 5.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SIZES = (100_000, 10_000_000)
SEEDS = (1, 2, 3, 4, 5)
_FRAMING = {
    "lora": "lorawan-{}",
    "nb-iot": "nb-iot",
    "lte": "lte-like",
    "5g": "lte-like",
    "cell": "lte-like",
    "markov": "lte-like",
}


def framing_of(entry: str, known: set[str]) -> str:
    """Return the framing of an entry's technology, or TCP over Ethernet if the build knows no better."""
    prefix, _, rest = entry.partition("-")
    wanted = _FRAMING.get(entry, _FRAMING.get(prefix, "tcp-ipv4-ethernet")).format(rest)
    return wanted if wanted in known else "tcp-ipv4-ethernet"


def times_s(sizes: tuple[int, ...] = SIZES, seeds: tuple[int, ...] = SEEDS) -> dict[str, list[float]]:
    """Return the median seconds of a message of each size, by entry, in the build that is imported."""
    import simpy

    from sfsim.channel import load
    from sfsim.errors import ConfigError
    from sfsim.network import FRAMINGS, Framing, Link, Network, Outgoing
    from sfsim.network.topology import from_links

    found: dict[str, list[float]] = {}
    for file in sorted((Path.cwd() / "channels").glob("*.toml")):
        try:
            channel: Any = load(file)
        except ConfigError:  # a law of loss
            continue
        link = Link(latency_s=0.0, channel=channel)
        framing = FRAMINGS[framing_of(file.stem, set(FRAMINGS))]

        def took_s(size: int, seed: int, link: Link = link, framing: Framing = framing) -> float:
            env, hosts = simpy.Environment(), {"a": "a", "b": "b"}
            graph = from_links([("a", "b", link), ("b", "a", link)])
            network = Network(env, graph, hosts, framing, seed, None, ["a"])
            env.run(network.send("a", "b", Outgoing("smashed data", bytes(size))))
            return float(env.now)

        found[file.stem] = [median(took_s(size, seed) for seed in seeds) for size in sizes]
    return found


def _of_build(tree: Path, sizes: tuple[int, ...], seeds: tuple[int, ...]) -> dict[str, list[float]]:
    call = f"import json, runpy; print(json.dumps(runpy.run_path({__file__!r})['times_s']({sizes}, {seeds})))"
    environment = os.environ | {"PYTHONPATH": str(tree)}
    done = subprocess.run(
        [sys.executable, "-c", call], cwd=tree, env=environment, stdout=subprocess.PIPE, check=True
    )
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found


def main(toy: bool = False, against: Path | None = None) -> None:
    """Print a row per entry."""
    sizes: tuple[int, ...] = (1_000,) if toy else SIZES
    seeds = SEEDS[:1] if toy else SEEDS
    tables = [
        _of_build(tree, sizes, seeds) for tree in ([ROOT] if against is None else [against.resolve(), ROOT])
    ]
    print("| entry | " + " | ".join(f"{size / 1e3:g} kB" for size in sizes for _ in tables) + " |")
    for entry in tables[-1]:
        cells = [
            f"{table[entry][at]:.4g} s" if entry in table else "-"
            for at in range(len(sizes))
            for table in tables
        ]
        print(f"| {entry} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--against", type=Path, metavar="DIR", help="another checkout to compare with")
    main(against=parser.parse_args().against)

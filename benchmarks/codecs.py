"""Encode and decode of every codec in the catalogue on one smashed-data tensor, as ratios to a memory copy."""

import statistics
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np

from sfsim.codec import Learned, load
from sfsim.seeds import stream

CATALOGUE = Path(__file__).resolve().parents[1] / "codecs"
REPEATS = 5


def seconds(run: Callable[[], object], repeats: int) -> float:
    """Median seconds of a call, after one that is not counted."""
    run()
    times = []
    for _ in range(repeats):
        started = perf_counter()
        run()
        times.append(perf_counter() - started)
    return statistics.median(times)


def main(toy: bool = False) -> None:
    """Print one row per codec, for rectified normal values of shape (32, 64, 16, 16).

    Learned codecs need weights, and are measured by `benchmarks.learned`.
    """
    repeats, shape = (1, (8, 64, 8, 8)) if toy else (REPEATS, (32, 64, 16, 16))
    x = np.maximum(stream(0, "benchmark").standard_normal(shape, dtype=np.float32), 0)
    copy, learned = seconds(x.copy, repeats), []
    print(f"{'codec':<24}{'ms encode':>10}{'ms decode':>10}{'/copy':>8}{'/copy':>8}{'bits/element':>14}")
    for path in sorted(CATALOGUE.glob("*.toml")):
        codec = load(path)
        if isinstance(codec, Learned):
            learned.append(path.stem)
            continue
        payload = codec.encode(x, stream(0, "codec"), training=True).payload

        def encode(codec=codec) -> object:  # type: ignore[no-untyped-def]
            return codec.encode(x, stream(0, "codec"), training=True)

        def decode(codec=codec, payload=payload) -> object:  # type: ignore[no-untyped-def]
            return codec.decode(payload)

        there, back = seconds(encode, repeats), seconds(decode, repeats)
        bits = 8 * len(payload) / x.size
        row = f"{1e3 * there:>10.2f}{1e3 * back:>10.2f}{there / copy:>8.1f}{back / copy:>8.1f}{bits:>14.2f}"
        print(f"{path.stem:<24}{row}")
    print(f"learned, see `python -m benchmarks learned`: {', '.join(learned)}")

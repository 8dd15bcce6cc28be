"""Encode and decode of the plain codecs in GB/s of float32, on one core, beside a memory copy and torch.topk.

``python -m benchmarks.plain_codecs --against DIR`` also runs the build in another checkout, in turn, and prints the
ratios of the medians, and whether the payloads are equal byte for byte.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any
from zlib import crc32

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SHAPE = (8, 64, 56, 56)
CODECS = (
    "fp32",
    "fp16",
    "bf16",
    "int8",
    "int4",
    "int2",
    "int8-channel",
    "qsgd4",
    "ms",
    "topk-1pct",
    "int8-zstd",
)
REPEATS, ROUNDS = 7, 5


def seconds(call: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the median seconds of a call, after one that is not counted."""
    call()
    times = []
    for _ in range(repeats):
        began = perf_counter()
        call()
        times.append(perf_counter() - began)
    return statistics.median(times)


def measure(shape: tuple[int, ...] = SHAPE, repeats: int = REPEATS) -> dict[str, list[float]]:
    """Return name: [seconds to encode, seconds to decode, CRC-32 of the payload] for the build that is imported."""
    import torch

    from sfsim.codec import load
    from sfsim.seeds import stream

    torch.set_num_threads(1)
    # Smashed data behind batch normalisation, before the rectifier: dense, with both signs.
    x = stream(0, "benchmark").standard_normal(shape, dtype=np.float32)
    flat = torch.from_numpy(x.ravel())
    found = {
        "memory copy": [seconds(x.copy, repeats)] * 2 + [0],
        "torch.topk 1 %": [seconds(lambda: flat.abs().topk(x.size // 100), repeats)] * 2 + [0],
    }
    for name in CODECS:
        codec = load(ROOT / "codecs" / f"{name}.toml")
        payload = codec.encode(x, stream(0, "codec"), True).payload

        def encode(codec: Any = codec) -> object:
            return codec.encode(x, stream(0, "codec"), True)

        def decode(codec: Any = codec, payload: bytes = payload) -> object:
            return codec.decode(payload)

        found[name] = [seconds(encode, repeats), seconds(decode, repeats), crc32(payload)]
    return found


def _elsewhere(folder: Path) -> dict[str, list[float]]:
    code = (
        f"import json; import runpy; module = runpy.run_path({str(Path(__file__).resolve())!r}); "
        f"print(json.dumps(module['measure']()))"
    )
    environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main(toy: bool = False, against: Path | None = None, rounds: int = ROUNDS) -> None:
    """Print one row per codec."""
    shape = (1, 4, 8, 8) if toy else SHAPE
    here, there = [measure(shape, repeats=1)] if toy else [], []
    for _ in range(0 if toy else rounds):
        here.append(_elsewhere(ROOT))
        if against:
            there.append(_elsewhere(against.resolve()))
    gigabytes = 4e-9 * np.prod(shape)
    print(
        f"{'':<16}{'encode GB/s':>12}{'decode GB/s':>12}" + ("  encode x  decode x  bytes" if there else "")
    )
    for name in here[0]:
        rows = [
            [statistics.median(run[name][way] for run in runs) for way in (0, 1)]
            for runs in (here, there)
            if runs
        ]
        line = f"{name:<16}{gigabytes / rows[0][0]:>12.2f}{gigabytes / rows[0][1]:>12.2f}"
        if there:
            equal = "equal" if here[0][name][2] == there[0][name][2] else "DIFFERENT"
            line += f"{rows[1][0] / rows[0][0]:>10.1f}{rows[1][1] / rows[0][1]:>10.1f}  {equal}"
        print(line)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--against", type=Path, metavar="DIR", help="another checkout of sfsim")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    main(against=asked.against, rounds=asked.rounds)

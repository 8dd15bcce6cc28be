"""The long exactness test: ``python -m benchmarks.learned --soak`` (about ten minutes on one core).

For every codec 1,000 cases of random size, batch, scale and weights, a tenth of them briefly trained: encoded here,
decoded in another process with other thread counts and another processor dispatch of numpy, and compared bit for
bit. Then 10,000 truncations and bit flips each: every one must be a `CodecError`.
"""

import os
import pickle
import subprocess
import sys
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks._learned_features import features, train
from sfsim import seeds
from sfsim.codec.learned import Ae, ChengAt, Hyperprior, Learned, MeanScale
from sfsim.errors import CodecError
from sfsim.workload.learned.networks import Trainee, build
from sfsim.workload.learned.wire import WireCodec, freeze

CASES, NETWORKS, DAMAGES = 1000, 20, 10_000
# Another BLAS kernel, another dispatch of numpy, other numbers of threads than the encoder's one.
ELSEWHERE = {
    "OMP_NUM_THREADS": "2",
    "MKL_NUM_THREADS": "2",
    "OPENBLAS_NUM_THREADS": "2",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX",
}
_DECODER = """
import pickle, sys, torch
from sfsim.workload.learned.networks import build
from sfsim.workload.learned.wire import freeze
torch.set_num_threads(2)
with open(sys.argv[1], "rb") as file:
    networks = pickle.load(file)
wrong = 0
for declared, size, weights, version, cases in networks:
    trainee = build(declared, 8, (size, size), seed=0)
    trainee.load_state_dict(weights)
    wire = freeze(trainee, version)
    for payload, expected in cases:
        wrong += not torch.equal(wire.decode(payload), expected)
print(wrong)
"""


def declarations() -> list[Learned]:
    """Return what is soaked: every codec, mode and head."""
    return [
        Ae(channels=16),
        ChengAt(channels=16),
        ChengAt(channels=16, mode="centred"),
        ChengAt(channels=16, mixture=3),
        Hyperprior(channels=16),
        MeanScale(channels=16, normalise=True),
    ]


def network(declared: Learned, number: int, rng: np.random.Generator) -> tuple[Trainee, int]:
    """Return a network with random weights, or (every tenth) a briefly trained one, and for what size it is."""
    if number % 10 == 0:
        return train(declared, features(4, 8, 32, f"soak {number}"), 30), 32
    size = int(rng.integers(4, 33))
    trainee = build(declared, 8, (size, size), seed=number)
    trainee.requires_grad_(False)
    for parameter in trainee.parameters():
        parameter *= float(rng.uniform(0.7, 1.4))
    return trainee, size


def tensor(trainee: Trainee, rng: np.random.Generator) -> torch.Tensor:
    """Return a tensor that the network can take: any batch, odd sizes, any scale, sometimes sparse."""
    least = 4 * 2**trainee.stages - (2**trainee.stages - 1)
    shape = (int(rng.integers(1, 5)), 8, *(int(n) for n in rng.integers(least, least + 24, 2)))
    x = rng.standard_normal(shape) * 10.0 ** rng.uniform(-3, 2)
    return torch.from_numpy((x * (rng.random(shape) < rng.uniform(0.2, 1))).astype(np.float32))


def damaged(payload: bytes, rng: np.random.Generator) -> bytes:
    """Return a payload cut short, or with one bit flipped."""
    if rng.random() < 0.5:
        return payload[: int(rng.integers(0, len(payload)))]
    place = int(rng.integers(0, 8 * len(payload)))
    broken = bytearray(payload)
    broken[place // 8] ^= 1 << place % 8
    return bytes(broken)


def survivors(wire: WireCodec, payloads: list[bytes], count: int, rng: np.random.Generator) -> int:
    """Return how many of `count` damaged payloads were decoded all the same; any other error goes through."""
    silent = 0
    for _ in range(count):
        broken = damaged(payloads[int(rng.integers(0, len(payloads)))], rng)
        try:
            wire.decode(broken)
        except CodecError:
            continue
        silent += 1
    return silent


def soak(cases: int = CASES, num_networks: int = NETWORKS, damages: int = DAMAGES) -> None:
    """Print, for every codec, how many cases were not bit-exact and how many damages went unnoticed."""
    for declared in declarations():
        rng = seeds.stream(0, "soak", repr(declared))
        made, silent = [], 0
        for number in range(num_networks):
            trainee, size = network(declared, number, rng)
            wire = freeze(trainee, number + 1)
            found = []
            for _ in range(cases // num_networks):
                encoded = wire.encode(tensor(trainee, rng))
                found.append((encoded.payload, encoded.reconstruction))
            silent += survivors(wire, [payload for payload, _ in found], damages // num_networks, rng)
            made.append((declared, size, trainee.state_dict(), number + 1, found))
        wrong = elsewhere(made)
        name = f"{declared.name} {getattr(declared, 'mode', '')}"
        total = sum(len(found) for *_, found in made)
        print(
            f"{name:<24}{wrong} of {total} differ elsewhere, {silent} of {damages} damages silent", flush=True
        )


def elsewhere(made: list[tuple[Any, ...]]) -> int:
    """Decode in another process under `ELSEWHERE`; return how many tensors differ in any bit."""
    with TemporaryDirectory() as folder:
        path = os.path.join(folder, "cases.pickle")  # noqa: PTH118
        with open(path, "wb") as file:  # noqa: PTH123
            pickle.dump(made, file)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _DECODER, path],
            env={**os.environ, **ELSEWHERE}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr)
    return int(done.stdout.split()[-1])

"""Learned codecs on the wire: exact in any process, refusing all else, beside CompressAI's own coder."""

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from sfsim import seeds
from sfsim.codec import load, parse
from sfsim.codec.frame import Frame
from sfsim.codec.learned import Ae, ChengAt, Hyperprior, Learned, MeanScale
from sfsim.errors import CodecError, ConfigError
from sfsim.learning.costing import count
from sfsim.workload.learned.networks import Trainee, build
from sfsim.workload.learned.wire import WireCodec, freeze

SMALL: dict[str, Learned] = {
    "ae": Ae(channels=8),
    "ae-normalised": Ae(channels=8, normalise=True),
    "cheng-auto": ChengAt(channels=8),
    "cheng-round": ChengAt(channels=8, mode="round"),
    "cheng-centred": ChengAt(channels=8, mode="centred", normalise=True),
    "cheng-gmm": ChengAt(channels=8, mixture=3),
    "hyperprior": Hyperprior(channels=8),
    "mean-scale": MeanScale(channels=8),
    "mean-scale-round": MeanScale(channels=8, mode="round"),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def lively(declared: Learned, channels: int, size: tuple[int, int], seed: int = 7) -> Trainee:
    """A trainee whose latents are not all zero: the encoder's last layer is made louder."""
    trainee = build(declared, channels, size, seed)
    with torch.no_grad():
        for parameter in list(trainee.g_a.parameters())[-2:]:
            parameter *= 40 if declared.kind != "cheng-at" else 6
    return trainee


def tensor(*shape: int, scale: float = 1.0, seed: int = 0) -> torch.Tensor:
    drawn = seeds.stream(seed, "test", "tensor", *shape).normal(0, scale, shape)
    return torch.from_numpy(np.maximum(drawn, -0.3 * scale).astype(np.float32))


@pytest.fixture(scope="module", params=SMALL, ids=str)
def wire(request: Any) -> WireCodec:
    return freeze(lively(SMALL[request.param], 6, (20, 20)), 3)


def test_the_receiver_gets_the_senders_reconstruction(wire: WireCodec) -> None:
    """Odd sizes, any batch, any scale, other threads at the receiver: bit for bit."""
    least = 3 * 2**wire.stages + 1
    rng = seeds.stream(1, "test", "shapes")
    for number in range(12):
        shape = (int(rng.integers(1, 5)), 6, *(int(n) for n in rng.integers(least, least + 20, 2)))
        x = tensor(*shape, scale=float(10 ** rng.uniform(-2, 2)), seed=number)
        encoded = wire.encode(x)
        torch.set_num_threads(1 + number % 2)
        decoded = wire.decode(encoded.payload)
        assert torch.equal(decoded, encoded.reconstruction)
        assert decoded.shape == x.shape and decoded.dtype == x.dtype and torch.isfinite(decoded).all()


def test_actual_bytes_are_the_models_bits(wire: WireCodec) -> None:
    """At most 1.003 times the ideal, the header and 8 bytes (What must show, 3)."""
    for seed in range(5):
        encoded = wire.encode(tensor(2, 6, 32, 32, scale=4.0, seed=seed))
        header = 14 + 4 + (4 if wire.declaration.normalise else 0)
        assert len(encoded.payload) <= 1.003 * encoded.estimated_bits / 8 + header + 8
        assert encoded.estimated_bits > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_float_types(wire: WireCodec, dtype: torch.dtype) -> None:
    encoded = wire.encode(tensor(1, 6, 20, 20).to(dtype))
    assert wire.decode(encoded.payload).dtype == dtype
    assert torch.equal(wire.decode(encoded.payload), encoded.reconstruction)


@pytest.mark.parametrize(
    "x", [torch.zeros(2, 6, 16, 16), torch.zeros(0, 6, 16, 16), torch.full((1, 6, 16, 16), 2.5)]
)
def test_degenerate_tensors(wire: WireCodec, x: torch.Tensor) -> None:
    encoded = wire.encode(x)
    assert torch.equal(wire.decode(encoded.payload), encoded.reconstruction)


def test_truncations_and_bit_flips(wire: WireCodec) -> None:
    """300 of each: all `CodecError`, none silent, none another error."""
    rng = seeds.stream(2, "test", "damage")
    payload = wire.encode(tensor(1, 6, 20, 20, scale=3.0)).payload
    damaged = [payload[: int(rng.integers(0, len(payload)))] for _ in range(300)] + [payload + b"\0", b""]
    for place in rng.integers(0, 8 * len(payload), 300).tolist():
        broken = bytearray(payload)
        broken[place // 8] ^= 1 << place % 8
        damaged.append(bytes(broken))
    for payload in damaged:
        with pytest.raises(CodecError):
            wire.decode(payload)


def test_a_forged_checksum_does_not_crash(wire: WireCodec) -> None:
    """Bodies of random bytes in intact frames: `CodecError`, or (one time in 2**32) a tensor."""
    rng = seeds.stream(3, "test", "forged")
    frame, body = wire._open(wire.encode(tensor(1, 6, 16, 16)).payload)
    for _ in range(150):
        forged = bytearray(rng.bytes(int(rng.integers(0, 60))) if rng.random() < 0.5 else bytes(body))
        if forged:
            forged[int(rng.integers(0, len(forged)))] ^= 1 << int(rng.integers(0, 8))
        payload = Frame(frame.kind, frame.dtype, frame.shape, (bytes(forged),), wire.version).pack(
            wire._signature
        )
        try:
            assert wire.decode(payload).shape == frame.shape
        except CodecError as error:
            assert str(error)


def test_a_claimed_shape_takes_no_memory_before_it_is_looked_at() -> None:
    """A few bytes that claim 2**27 numbers of 6 channels: refused by the size of the network's inside."""
    wire = freeze(build(Ae(channels=64), 6, (20, 20), 7), 1)
    frame, body = wire._open(wire.encode(tensor(1, 6, 20, 20)).payload)
    for batch in (1, 64):
        shape = (batch, 6, 4096, 2**27 // 6 // 4096 // batch)
        forged = Frame(frame.kind, frame.dtype, shape, (bytes(body),), wire.version).pack(wire._signature)
        tracemalloc.start()
        with pytest.raises(CodecError, match=r"payload claims shape .* expected at most 268,435,456"):
            wire.decode(forged)
        assert tracemalloc.get_traced_memory()[1] < 1e6
        tracemalloc.stop()
    with pytest.raises(CodecError, match="found shape"):
        wire.encode(torch.zeros(1, 1, 1, 1).expand(2**20, 6, 20, 20))


def test_stale_and_foreign_weights() -> None:
    trainee = lively(Ae(channels=8), 6, (20, 20))
    now, later = freeze(trainee, 3), freeze(trainee, 4)
    payload = now.encode(tensor(1, 6, 20, 20)).payload
    with pytest.raises(CodecError, match="made with version 3 of the weights, this end holds 4"):
        later.decode(payload)
    foreign = lively(Ae(channels=8), 6, (20, 20))
    with torch.no_grad():
        next(iter(foreign.g_s.parameters()))[0, 0, 0, 0] += 1e-6
    with pytest.raises(CodecError, match="checksum fails"):
        freeze(foreign, 3).decode(payload)
    with pytest.raises(CodecError, match="expected 'cheng-at'"):
        freeze(lively(ChengAt(channels=8), 6, (20, 20)), 3).decode(payload)
    with pytest.raises(CodecError, match="checksum fails"):
        freeze(lively(Ae(channels=8, lambda_=1), 6, (20, 20)), 3).decode(payload)


def test_the_wire_stays_while_the_trainee_trains() -> None:
    trainee = lively(Ae(channels=8), 6, (20, 20))
    wire = freeze(trainee, 1)
    x = tensor(1, 6, 20, 20)
    before = wire.encode(x)
    with torch.no_grad():
        for parameter in trainee.parameters():
            parameter += 0.1
    assert wire.encode(x).payload == before.payload
    assert freeze(trainee, 2).fingerprint != wire.fingerprint


def test_errors_of_the_sender(wire: WireCodec) -> None:
    for x, text in (
        (torch.full((1, 6, 16, 16), float("nan")), "tensor 'up': found values that are not finite"),
        (torch.zeros(1, 5, 16, 16), "expected (B, 6, H, W)"),
        (torch.zeros(1, 6, 16, 16, dtype=torch.int32), "found torch.int32"),
    ):
        with pytest.raises(CodecError, match="tensor") as caught:
            wire.encode(x, name="up")
        assert text in str(caught.value)


_ELSEWHERE = """
import sys, torch
from test_learned_wire import SMALL, lively
from sfsim.workload.learned.wire import freeze
for name, declared in SMALL.items():
    wire = freeze(lively(declared, 6, (20, 20)), 3)
    for _ in range(2):
        length = int.from_bytes(sys.stdin.buffer.read(4), "little")
        payload = sys.stdin.buffer.read(length)
        sys.stdout.buffer.write(wire.decode(payload).numpy().tobytes())
"""


def test_another_process_with_other_threads_and_kernels() -> None:
    """Weights, tables and streams made anew elsewhere: other threads, another BLAS kernel, numpy without AVX-512."""
    sent, expected = b"", b""
    for declared in SMALL.values():
        wire = freeze(lively(declared, 6, (20, 20)), 3)
        for seed in range(2):
            encoded = wire.encode(tensor(2, 6, 21, 26, scale=3.0, seed=seed))
            sent += len(encoded.payload).to_bytes(4, "little") + encoded.payload
            expected += encoded.reconstruction.numpy().tobytes()
    environment = {
        **os.environ, "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX", "PYTHONPATH": os.pathsep.join(sys.path),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _ELSEWHERE],
        input=sent,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert done.stdout == expected


def test_bytes_beside_compressai() -> None:
    """CompressAI's coder on the same weights and tensors: ours, header and all, within 1 % of its strings."""
    for declared in (Ae(channels=24), ChengAt(channels=24, stages=1)):
        trainee = lively(declared, 8, (64, 64)).eval()
        model: Any = trainee
        model.update(force=True, update_quantiles=True)
        wire = freeze(trainee, 1)
        ours = theirs = 0
        for seed in range(2):
            x = tensor(1, 8, 96, 96, scale=3.0, seed=seed)
            ours += len(wire.encode(x).payload)
            with torch.no_grad():
                theirs += sum(len(string) for group in model.compress(x)["strings"] for string in group)
        assert theirs > 4000
        assert ours <= 1.01 * theirs


def test_centred_latents_are_compressais() -> None:
    """Without a context the quantised latents are CompressAI's, but for means rounded to 2**-8."""
    trainee = lively(MeanScale(channels=8, mode="centred"), 6, (64, 64)).eval()
    model: Any = trainee
    model.update(force=True, update_quantiles=True)
    wire = freeze(trainee, 1)
    x = tensor(1, 6, 64, 64, scale=3.0)
    seen: list[torch.Tensor] = []
    model.g_s.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        strings = model.compress(x)
        model.decompress(strings["strings"], strings["shape"])
    difference = np.abs(wire.decode_latents(wire.encode(x).payload) - seen[0].numpy())
    assert np.median(difference) < 0.01 and (difference < 0.05).mean() > 0.99


def test_costs_grow(wire: WireCodec) -> None:
    small, large = (1, 6, 16, 16), (2, 6, 32, 32)
    for cost in (wire.encode_cost, wire.decode_cost):
        assert cost(large).flops > cost(small).flops > 0
        assert cost(large).serial_symbols > cost(small).serial_symbols > 0
    # Encoding runs the analyses, decoding the synthesis.
    module = wire._module
    assert wire.encode_cost(small).flops >= count(module.g_a, small, training=False).forward.flops


@pytest.mark.parametrize("name", ["ae", "cheng-at", "cheng-at-gmm", "hyperprior", "mean-scale", "series-ae"])
def test_the_catalogue(name: str) -> None:
    from codec_contract import CATALOGUE

    declared = load(CATALOGUE / f"{name}.toml")
    assert isinstance(declared, Learned) and declared.name == name
    with pytest.raises(CodecError, match="is learned"):
        declared.encode(np.zeros((1, 2), np.float32))
    with pytest.raises(CodecError, match="is learned"):
        declared.decode(b"")


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"kind": "ae", "stages": 4}, "stages: found 4, expected at most 3 for ae"),
        ({"kind": "cheng-at", "mixture": 3, "mode": "centred"}, "a mixture has no single mean"),
        ({"kind": "cheng-at", "mixture": 2}, "mixture: found 2"),
        ({"kind": "cheng-at", "mode": "rond"}, "mode: found 'rond'"),
        ({"kind": "hyperprior", "lambda_": 0.0}, "lambda_: found 0"),
    ],
)
def test_wrong_declarations(table: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(table, "here")
    assert text in str(caught.value)


def test_sizes_and_stages() -> None:
    with pytest.raises(ConfigError, match="found tensors of 3x9, expected at least 4x4"):
        Ae().stages_for(3, 9)
    with pytest.raises(ConfigError, match=r"stages: found 3, expected at most 1 for tensors of 8x8"):
        Ae(stages=3).stages_for(8, 8)
    assert [ChengAt().stages_for(n, n) for n in (4, 8, 16, 28, 64, 224)] == [0, 1, 2, 3, 4, 4]

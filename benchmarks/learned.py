"""Learned codecs against CompressAI's own coder, on the same weights and tensors: times, bytes, exactness.

CPU time of one thread, both sides measured in turn, medians. The *entropy stage* is all between the encoder
network and the bitstream, and between the bitstream and the decoder network: the hyperprior's synthesis, the
context model, the coder. ``python -m benchmarks.learned --soak`` runs the long exactness test instead.
"""

import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from time import process_time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks._learned_features import features, train
from sfsim import seeds
from sfsim.codec.entropy import mixture, rans
from sfsim.codec.entropy.tables import SCALE_BITS
from sfsim.codec.learned import Ae, ChengAt, Learned
from sfsim.workload.learned.networks import Trainee
from sfsim.workload.learned.wire import WireCodec, freeze, single_thread

REPEATS = 5


class _Fixed(nn.Module):
    """Stands in for a network whose time is not to be counted."""

    def __init__(self, result: Tensor | None = None) -> None:
        super().__init__()
        self.result = result

    def forward(self, x: Tensor) -> Tensor:
        return x if self.result is None else self.result


def paired(*runs: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    """Median CPU milliseconds of calls made in turn, after one round that is not counted.

    A call of less than 20 ms is made several times in a row, as the clock's resolution demands.
    """
    times: list[list[float]] = [[] for _ in runs]
    counts = [1] * len(runs)
    for repeat in range(repeats + 1):
        for number, run in enumerate(runs):
            started = process_time()
            for _ in range(counts[number]):
                run()
            spent = 1e3 * (process_time() - started)
            if repeat:
                times[number].append(spent / counts[number])
        if not repeat:
            for number, run in enumerate(runs):
                started = process_time()
                run()
                counts[number] = max(1, min(50, int(0.02 / (process_time() - started + 1e-6))))
    return [statistics.median(found) for found in times]


def stage(trainee: Trainee, wire: WireCodec, x: Tensor, repeats: int) -> tuple[list[float], float]:
    """Return ms of the entropy stage (CompressAI there, ours there, back, back) and of forward + backward."""
    model: Any = trainee
    with torch.no_grad():
        y = model.g_a(x)
        z = model.hyper_analysis(y)
    kept = model.g_a, model.h_a, model.g_s
    model.g_a, model.h_a, model.g_s = _Fixed(y), _Fixed(z), _Fixed()
    columns, side = y.numpy(), z.numpy()
    with torch.no_grad():
        theirs = model.compress(x)
        ours = wire._latents.encode(columns, side)
        shape = tuple(y.shape)
        times = paired(
            lambda: model.compress(x),
            lambda: wire._latents.encode(columns, side),
            lambda: model.decompress(theirs["strings"], theirs["shape"]),
            lambda: wire._latents.decode(ours.data, shape),  # type: ignore[arg-type]
            repeats=repeats,
        )
    model.g_a, model.h_a, model.g_s = kept

    def learn() -> None:
        out = trainee(x)
        (out.rate_bits + out.mse).backward()

    return times, paired(learn, repeats=3)[0]


def speed(toy: bool) -> None:
    """Print times of the entropy stage of cheng-at at published strides."""
    cases: tuple[tuple[int, int, int], ...] = ((1, 32, 256), (32, 64, 64))
    declared, steps, repeats = ChengAt(), 20, REPEATS
    if toy:
        cases, declared, steps, repeats = ((1, 4, 8),), ChengAt(channels=8, stages=1), 1, 1
    heads = f"{'there':>8}{'was':>9}{'x':>6}{'back':>8}{'was':>9}{'x':>6}{'% f+b':>7}"
    print(f"{'cheng-at, entropy stage, CPU ms':<40}{heads}")
    for batch, channels, size in cases:
        x = features(batch, channels, size, f"speed {size}")
        trainee = train(declared, x, steps)
        ready(trainee)
        for mode in ("round", "centred", "auto"):
            trainee.declaration = replace(declared, mode=mode)
            (was_there, there, was_back, back), learning = stage(trainee, freeze(trainee, 1), x, repeats)
            name = f"{batch}x{channels}x{size}x{size} -> {size // 16}x{size // 16}, {mode}"
            print(
                f"{name:<40}{there:>8.2f}{was_there:>9.1f}{was_there / there:>6.0f}{back:>8.2f}{was_back:>9.1f}"
                f"{was_back / back:>6.0f}{100 * there / learning:>7.2f}"
            )


def ready(trainee: Trainee) -> None:
    """Build CompressAI's tables from the present weights, quantiles included (medians are used by both sides)."""
    model: Any = trainee
    model.update(force=True, update_quantiles=True)


def sizes(toy: bool) -> None:
    """Print bytes of 16 tensors each, everything counted here, only the strings there."""
    print(f"{'16 tensors, bytes':<40}{'ours':>9}{'CompressAI':>12}{'':>8}{'/ideal':>9}{'B over':>8}")
    rows: tuple[tuple[Learned, int, int, int, int], ...] = (
        (ChengAt(stages=1, lambda_=300), 32, 64, 1, 100),
        (ChengAt(stages=2, lambda_=300), 32, 128, 1, 60),
        (ChengAt(stages=1, lambda_=30), 64, 8, 32, 100),
        (Ae(lambda_=100), 64, 112, 1, 60),
    )
    if toy:
        rows = ((Ae(channels=8), 4, 16, 1, 1), (ChengAt(channels=8, stages=1), 4, 8, 1, 1))
    for declared, channels, size, batch, steps in rows:
        pool = features(32 * batch, channels, size, f"sizes {size}").unflatten(0, (32, batch))
        trainee = train(declared, pool[:16].flatten(0, 1), steps)
        ready(trainee)
        wire = freeze(trainee.eval(), 1)
        model: Any = trainee
        for part, tensors in (("trained on", pool[:16]), ("unseen", pool[16:])):
            ours, ideal, theirs = 0, 0.0, 0
            with torch.no_grad():
                for x in tensors:
                    encoded = wire.encode(x)
                    ours += len(encoded.payload)
                    ideal += encoded.estimated_bits / 8
                    strings = model.compress(x)["strings"]
                    theirs += sum(len(string) for group in strings for string in group)
            name = f"{wire.declaration.name} {batch}x{channels}x{size}x{size}, {part}"
            over = (ours - 1.003 * ideal) / 16
            print(
                f"{name:<40}{ours:>9}{theirs:>12}{100 * (ours / theirs - 1):>+7.1f}%{ours / ideal:>9.4f}{over:>8.1f}"
            )


def mixtures(side: int) -> None:
    """Print ns per symbol of the mixture coder (K = 3) against `GaussianMixtureConditional`."""
    from compressai.entropy_models import GaussianMixtureConditional

    rng = seeds.stream(0, "benchmark", "mixture")
    channels = 64
    shape = (1, 3 * channels, side, side)
    numel = channels * side * side
    means = rng.normal(0, 5, shape).astype(np.float32)
    scales = np.exp(rng.uniform(np.log(0.2), np.log(4), shape)).astype(np.float32)
    weights = rng.dirichlet(np.ones(3), numel).T.reshape(1, 3 * channels, side, side).astype(np.float32)
    pick = rng.integers(0, 3, numel)
    flat = [a.reshape(3, numel) for a in (means, scales)]
    values = np.rint(rng.normal(*(a[pick, np.arange(numel)] for a in flat)))
    model = GaussianMixtureConditional(K=3)
    y, m, s, w = (
        torch.from_numpy(a)
        for a in (values.reshape(1, channels, side, side).astype(np.float32), means, scales, weights)
    )
    symbols = values.astype(np.int32)
    units = np.clip(np.rint(flat[1] * 2**SCALE_BITS), 113, None).astype(np.int64)
    octave = np.log2(units).astype(np.int64)
    levels = ((octave - 6) * 32 + ((units >> (octave - 5)) & 31)).astype(np.int16)
    places = np.rint(flat[0] * 256).astype(np.int32)
    parts = np.floor(weights.reshape(3, numel) * 2**16).astype(np.int32)
    parts[0] += 2**16 - parts.sum(axis=0, dtype=np.int32)
    low, high = int(symbols.min()), int(symbols.max())

    def encode() -> bytes:
        words = rans.room(numel)
        state, at, _ = mixture.encode(
            symbols, places, levels, parts, low, high, 0, 0, rans.START, words, words.size
        )
        return rans.finish(state, words, at)

    def decode() -> np.ndarray:
        state, words = rans.begin(stream)
        out = np.empty(numel, np.int32)
        state, at = mixture.decode(out, places, levels, parts, low, high, 0, 0, state, words, 0)
        rans.check_end(state, at, words)
        return out

    stream = encode()
    assert np.array_equal(decode(), symbols)
    (theirs, most, bitmap), _ = model.compress(y, s.clone(), m.clone(), w)
    times = paired(
        lambda: model.compress(y, s.clone(), m.clone(), w),
        encode,
        lambda: model.decompress(theirs, most, bitmap, s.clone(), m.clone(), w),
        decode,
    )
    was_there, there, was_back, back = (1e6 * ms / numel for ms in times)
    print(
        f"mixture K = 3, ns/symbol: encode {there:.0f} (was {was_there:.0f}, {was_there / there:.0f}x), "
        f"decode {back:.0f} (was {was_back:.0f}, {was_back / back:.0f}x); "
        f"bytes {len(stream)} (were {len(theirs)})"
    )


def main(toy: bool = False) -> None:
    """Print speed, sizes and the mixture coder."""
    with single_thread():
        speed(toy)
        sizes(toy)
        mixtures(4 if toy else 14)


if __name__ == "__main__":
    if "--soak" in sys.argv:
        from benchmarks._learned_soak import soak

        soak()
    else:
        main()

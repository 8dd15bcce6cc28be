"""Codecs of the shelf beside what one would write, or install, instead: encoding on one core, interleaved.

SL-FAC beside the same with scipy's ``dctn`` and NumPy packing; FedLite beside scikit-learn's KMeans from the same
centres for as many rounds; rANS beside constriction (where it is installed), a symbol each; SL-ACC in GB/s.
"""

import importlib
import statistics
import warnings
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfsim.codec import ChannelAdaptive, FrequencyAware, ProductQuantization
from sfsim.seeds import stream

SHAPE = (8, 64, 56, 56)
FEDLITE = (32, 32, 16, 16)
REPEATS = 9


def interleaved(
    ours: Callable[[], object], theirs: Callable[[], object], repeats: int
) -> tuple[float, float]:
    """Return the median seconds of two calls, run in turn, after one of each that is not counted."""
    times: list[list[float]] = [[], []]
    for _ in range(repeats + 1):
        for found, call in zip(times, (ours, theirs), strict=True):
            began = perf_counter()
            call()
            found.append(perf_counter() - began)
    return statistics.median(times[0][1:]), statistics.median(times[1][1:])


def zigzag(height: int, width: int) -> NDArray[np.int64]:
    """Return the flat indices of a plane along its anti-diagonals, up and down in turn."""
    row, column = np.divmod(np.arange(height * width), width)
    diagonal = row + column
    return np.lexsort((np.where(diagonal % 2, row, column), diagonal))


def cosines(x: NDArray[np.float32], codec: FrequencyAware) -> bytes:
    """Encode as SL-FAC does, but with scipy's transform and NumPy's operations; without its corner cases and frame."""
    from scipy.fft import dctn

    planes = x.astype(np.float64).reshape(-1, *x.shape[-2:])
    spectrum = dctn(planes, axes=(1, 2), norm="ortho").reshape(len(planes), -1)[:, zigzag(*x.shape[-2:])]
    energy = spectrum**2
    below = energy.cumsum(axis=1)
    cuts = 1 + (below < codec.energy * below[:, -1:]).sum(axis=1)
    bits = []
    for coefficients, squares, cut in zip(spectrum, energy, cuts, strict=True):
        means = np.log1p([squares[:cut].mean(), squares[cut:].mean()])
        widths = np.rint(codec.min_bits + (codec.max_bits - codec.min_bits) * means / means.sum()).astype(int)
        for part, width in zip((coefficients[:cut], coefficients[cut:]), widths, strict=True):
            low = part.min()
            codes = np.rint((part - low) * ((1 << width) - 1) / (part.max() - low)).astype(np.uint8)
            bits.append(np.unpackbits(codes[:, None], axis=1)[:, 8 - width :].ravel())
    return np.packbits(np.concatenate(bits)).tobytes()


def kmeans(x: NDArray[np.float32], codec: ProductQuantization) -> Callable[[], object]:
    """Return scikit-learn's clustering of the same pieces, from the same centres, for as many rounds."""
    from sklearn.cluster import KMeans

    pieces = x.reshape(-1, x[0].size // codec.subvectors)
    order = np.argsort(pieces.sum(axis=1, dtype=np.float64), kind="stable")
    ranks = (2 * np.arange(codec.centroids) + 1) * len(pieces) // (2 * codec.centroids)
    settings: dict[str, Any] = {"n_init": 1, "max_iter": codec.iterations, "tol": 0, "algorithm": "lloyd"}
    return lambda: KMeans(codec.centroids, init=pieces[order[ranks]], **settings).fit(pieces)


def coder(data: NDArray[np.uint8]) -> tuple[Callable[[], object], Callable[[], object]] | None:
    """Return our rANS and constriction's over the same bytes with the same model; None where that is not installed."""
    try:
        constriction = importlib.import_module("constriction")
    except ImportError:
        return None
    from sfsim.codec import byte_kernel

    found = byte_kernel.frequencies(data)
    law = constriction.stream.model.Categorical((found / found.sum()).astype(np.float32), perfect=False)
    symbols = data.astype(np.int32)

    def theirs() -> object:
        ans = constriction.stream.stack.AnsCoder()
        ans.encode_reverse(symbols, law)
        return ans.get_compressed()

    return lambda: byte_kernel.encode(data, found), theirs


def main(toy: bool = False) -> None:
    """Print one row per codec."""
    repeats, shape, small = (1, (1, 4, 8, 8), (2, 4, 8, 8)) if toy else (REPEATS, SHAPE, FEDLITE)
    rng = stream(0, "benchmark")
    x = rng.standard_normal(shape, dtype=np.float32)
    frequency = FrequencyAware()
    ours, theirs = interleaved(lambda: frequency.encode(x), lambda: cosines(x, frequency), repeats)
    print(f"SL-FAC, {shape}: {theirs / ours:.1f} times as fast as scipy's dctn with NumPy packing")
    channel = ChannelAdaptive()
    ours, theirs = interleaved(lambda: channel.encode(x), x.copy, repeats)
    print(
        f"SL-ACC, {shape}: {x.nbytes / 1e9 / ours:.2f} GB/s; memory copy {x.nbytes / 1e9 / theirs:.1f} GB/s"
    )
    features = np.maximum(rng.standard_normal(small, dtype=np.float32), 0)
    product = ProductQuantization(subvectors=features[0].size // 4, centroids=32 if not toy else 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        ours, theirs = interleaved(lambda: product.encode(features), kmeans(features, product), repeats)
    print(f"FedLite, {small}, pieces of 4: {theirs / ours:.1f} times as fast as scikit-learn's KMeans")
    data = rng.normal(128, 20, x.size).clip(0, 255).astype(np.uint8)
    both = coder(data)
    if both is None:
        print("rANS: constriction is not installed (pip install constriction), nothing to compare with")
        return
    ours, theirs = interleaved(*both, repeats)
    print(f"rANS, {data.size:,} bytes: encodes {theirs / ours:.1f} times as fast as constriction")


if __name__ == "__main__":
    main()

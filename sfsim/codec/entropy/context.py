"""Context: an autoregressive entropy model, all pixels at once or in wavefronts.

The parameters of a pixel depend on a 5x5 window of the pixels before it (rows above: two to the left to two to
the right; its own row: two to the left). Pixel (h, w) can therefore be handled in step t = w + 3h, with all
others of that step, in all samples of the batch: 61 steps instead of 256 for 16x16. Where the latents are known
beforehand (``round``), the encoder takes all pixels in one pass. The integers are the same in either order.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from sfsim.codec.entropy import mixture
from sfsim.codec.entropy.dot import matmul
from sfsim.codec.entropy.gaussian import split
from sfsim.codec.entropy.layer import _LARGEST_OUTPUT, BLOCK, LARGEST, LATENT_BITS, Layer, requantise
from sfsim.codec.entropy.tables import MEAN_BITS

LARGEST_SYMBOL = 2**20
_REACH = 2


class Order(NamedTuple):
    """The order of the pixels of a latent tensor, and where each step starts."""

    pixels: NDArray[np.int32]  # (n, 3): sample, row, column
    starts: NDArray[np.int64]


@lru_cache(maxsize=64)
def wavefronts(batch: int, height: int, width: int) -> Order:
    """Return the pixels by steps w + 3h, then rows, then samples."""
    sample, row, column = (a.ravel() for a in np.indices((batch, height, width)))
    step = column + 3 * row
    order = np.lexsort((sample, row, step))
    pixels = np.stack((sample, row, column), axis=1)[order].astype(np.int32)
    counts = np.bincount(step)
    return Order(pixels, np.concatenate(([0], np.cumsum(counts[counts > 0]))))


class Parameters(NamedTuple):
    """Parameters of all symbols, in the order of `wavefronts`, channels innermost (see `mixture`)."""

    means: NDArray[np.int32]
    levels: NDArray[np.int16]
    weights: NDArray[np.int32]


class Context:
    """The masked convolution and the 1x1 stack behind it, in integers.

    Parameters
    ----------
    masked : Layer
        From 12 pixels of the latents (in 2**-`LATENT_BITS`) to context features.
    stack : tuple of three Layers
        From (hyper features, context features) to the outputs of `gaussian.split`.
    components : int
    """

    def __init__(self, masked: Layer, stack: tuple[Layer, ...], channels: int, components: int) -> None:
        self.channels, self.components = channels, components
        self.layers = tuple((layer.weight, layer.bias, layer.shift) for layer in (masked, *stack))

    def _empty(self, pixels: int) -> Parameters:
        shape = (self.components, pixels * self.channels)
        return Parameters(np.empty(shape, np.int32), np.empty(shape, np.int16), np.empty(shape, np.int32))

    def encode(
        self, latents: NDArray[np.float32], hyper: NDArray[np.int16], centred: bool
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], Parameters]:
        """Quantise latents and find their parameters.

        Parameters
        ----------
        latents : float32[B, H, W, C]
        hyper : int16[B, >= H, >= W, F]
        centred : bool
            Round the distance to the mean, pixel after pixel, instead of the latent.

        Returns
        -------
        symbols : int32[B * H * W * C], in the order of `wavefronts`
        quantised : int32[B, H, W, C], in 2**-8
        parameters : Parameters
        """
        batch, height, width, channels = latents.shape
        order = wavefronts(batch, height, width)
        found = self._empty(len(order.pixels))
        symbols = np.empty(latents.size, np.int32)
        quantised = np.empty(latents.shape, np.int32)
        known = _margins(batch, height, width, channels)
        if not centred:
            _round(latents, quantised, known)
        _encode(
            order.pixels,
            order.starts,
            latents,
            hyper,
            self.layers,
            centred,
            known,
            quantised,
            symbols,
            *found,
        )
        return symbols, quantised, found

    def decode(
        self, shape: tuple[int, int, int, int], hyper: NDArray[np.int16], centred: bool,
        low: int, high: int, leak: int, shift: int, state: int, words: Any, at: int,
    ) -> tuple[NDArray[np.int32], int, int]:  # fmt: skip
        """Pop latents int32[B, H, W, C] in 2**-8; return them, the state and the next word."""
        order = wavefronts(*shape[:3])
        found = self._empty(int(np.diff(order.starts).max()))
        quantised = np.empty(shape, np.int32)
        known = _margins(*shape)
        state, at = _decode(
            order.pixels, order.starts, hyper, self.layers, centred, known, quantised,
            low, high, leak, shift, state, words, at, *found,
        )  # fmt: skip
        return quantised, state, at


def _margins(batch: int, height: int, width: int, channels: int) -> NDArray[np.int16]:
    """Return zeros for latents as inputs, with margins above and at both sides."""
    return np.zeros((batch, height + _REACH, width + 2 * _REACH, channels), np.int16)


@numba.njit(cache=True, inline="always")
def as_input(value: Any) -> Any:
    """Turn a latent in 2**-8 into an input in 2**-5."""
    rounded = (value + (1 << (MEAN_BITS - LATENT_BITS - 1))) >> (MEAN_BITS - LATENT_BITS)
    return min(max(rounded, -LARGEST), LARGEST)


@numba.njit(cache=True, inline="always")
def whole(value: Any) -> Any:
    """Round half to even, within the largest symbol."""
    return np.int64(min(max(np.rint(value), -LARGEST_SYMBOL), LARGEST_SYMBOL))


@numba.njit(cache=True)
def _round(latents: Any, quantised: Any, known: Any) -> None:
    batch, height, width, channels = latents.shape
    for b in range(batch):
        for h in range(height):
            for w in range(width):
                for c in range(channels):
                    value = whole(np.float64(latents[b, h, w, c])) << MEAN_BITS
                    quantised[b, h, w, c] = value
                    known[b, h + _REACH, w + _REACH, c] = as_input(value)


@numba.njit(cache=True)
def _dense(
    inputs: Any, count: Any, layer: Any, activation: Any, largest: Any, sums: Any, out: Any, first: Any
) -> None:
    """Apply a layer to `count` rows of inputs, writing columns of `out` from `first` on."""
    weight, bias, shift = layer
    matmul(inputs, count, weight, sums)
    for p in range(count):
        for o in range(bias.size):
            out[p, first + o] = requantise(sums[p, o], bias[o], shift[o], activation, largest)


@numba.njit(cache=True)
def _parameters(
    pixels: Any,
    hyper: Any,
    known: Any,
    layers: Any,
    scratch: Any,
    first_symbol: Any,
    means: Any,
    levels: Any,
    weights: Any,
) -> None:
    """Find the parameters of at most `BLOCK` pixels, whose neighbours before them are known."""
    window, features, first, second, sums, outputs = scratch
    channels, hyper_features = known.shape[3], hyper.shape[3]
    count = pixels.shape[0]
    wide = (2 * _REACH + 1) * channels
    for p in range(count):
        b, h, w = pixels[p, 0], pixels[p, 1], pixels[p, 2]
        for line in range(_REACH):
            source = known[b, h + line, w : w + 2 * _REACH + 1].reshape(wide)
            window[p, line * wide : (line + 1) * wide] = source
        source = known[b, h + _REACH, w : w + _REACH].reshape(_REACH * channels)
        window[p, _REACH * wide : _REACH * wide + _REACH * channels] = source
        features[p, :hyper_features] = hyper[b, h, w]
    _dense(window, count, layers[0], 0, LARGEST, sums, features, hyper_features)
    _dense(features, count, layers[1], 1, LARGEST, sums, first, 0)
    _dense(first, count, layers[2], 1, LARGEST, sums, second, 0)
    _dense(second, count, layers[3], 0, _LARGEST_OUTPUT, sums, outputs, 0)
    split(outputs, count, channels, first_symbol, means, levels, weights)


@numba.njit(cache=True)
def _scratch(layers: Any) -> Any:
    """Return room for the inputs of the four layers, their sums and the outputs, `BLOCK` pixels of each."""
    rows = 0
    for layer in layers:
        rows = max(rows, layer[0].shape[0])
    return (
        np.zeros((BLOCK, layers[0][0].shape[1]), np.int16),
        np.zeros((BLOCK, layers[1][0].shape[1]), np.int16),
        np.zeros((BLOCK, layers[2][0].shape[1]), np.int16),
        np.zeros((BLOCK, layers[3][0].shape[1]), np.int16),
        np.empty((BLOCK, rows), np.int32),
        np.empty((BLOCK, layers[3][1].size), np.int32),
    )


@numba.njit(cache=True)
def _encode(
    pixels: Any, starts: Any, latents: Any, hyper: Any, layers: Any, centred: Any, known: Any, quantised: Any,
    symbols: Any, means: Any, levels: Any, weights: Any,
) -> None:  # fmt: skip
    """Walk over all pixels, in steps when `centred`, else in blocks: everything is known already."""
    channels = latents.shape[3]
    scratch = _scratch(layers)
    total, step, begin = pixels.shape[0], 0, 0
    while begin < total:
        end = min(begin + BLOCK, total)
        if centred:
            while starts[step + 1] <= begin:
                step += 1
            end = min(end, starts[step + 1])
        _parameters(
            pixels[begin:end], hyper, known, layers, scratch, begin * channels, means, levels, weights
        )
        for p in range(begin, end):
            b, h, w = pixels[p, 0], pixels[p, 1], pixels[p, 2]
            for c in range(channels):
                i = p * channels + c
                if centred:
                    mean = np.int64(means[0, i])
                    means[0, i] = 0  # the symbol is the distance to it
                    symbol = whole(np.float64(latents[b, h, w, c]) - mean / 2.0**MEAN_BITS)
                    value = (symbol << MEAN_BITS) + mean
                    quantised[b, h, w, c] = value
                    known[b, h + _REACH, w + _REACH, c] = as_input(value)
                    symbols[i] = symbol
                else:
                    symbols[i] = quantised[b, h, w, c] >> MEAN_BITS
        begin = end


@numba.njit(cache=True)
def _decode(
    pixels: Any, starts: Any, hyper: Any, layers: Any, centred: Any, known: Any, quantised: Any,
    low: Any, high: Any, leak: Any, shift: Any, state: Any, words: Any, at: Any,
    means: Any, levels: Any, weights: Any,
) -> tuple[Any, Any]:  # fmt: skip
    """Walk over the steps: parameters of a step's pixels, then their symbols."""
    channels = known.shape[3]
    scratch = _scratch(layers)
    symbols = np.empty(means.shape[1], np.int32)
    nothing = np.zeros_like(means) if centred else means
    for step in range(starts.size - 1):
        for begin in range(starts[step], starts[step + 1], BLOCK):
            end = min(begin + BLOCK, starts[step + 1])
            n = (end - begin) * channels
            _parameters(pixels[begin:end], hyper, known, layers, scratch, 0, means, levels, weights)
            state, at = mixture.decode(
                symbols[:n], nothing, levels, weights, low, high, leak, shift, state, words, at
            )
            for p in range(begin, end):
                b, h, w = pixels[p, 0], pixels[p, 1], pixels[p, 2]
                for c in range(channels):
                    i = (p - begin) * channels + c
                    value = np.int64(symbols[i]) << MEAN_BITS
                    if centred:
                        value += means[0, i]
                    quantised[b, h, w, c] = value
                    known[b, h + _REACH, w + _REACH, c] = as_input(value)
    return state, at

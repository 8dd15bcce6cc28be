"""Layer: convolutions of integers, of which the networks of an entropy model are made.

Encoder and decoder must arrive at the same means and scales to the last bit, and a sum of floats depends on
its order. So weights, activations and sums are integers here, and the integers *are* the model: activations
int16 in 2**-7, weights int16 with a power of two of their own for each output, sums int32. `quantise` takes
exponents so small that no activation whatever can overflow a sum.
"""

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from sfsim.codec.entropy.dot import LANES, TILE, filled, matmul

ACTIVATION_BITS = 7
"""Activations are multiples of 2**-7, at most 2**8 in size."""

LATENT_BITS = 5
"""Latents, where they are inputs, are multiples of 2**-5, at most 2**10 in size."""

LARGEST = 2**15 - 1
LINEAR, LEAKY, RECTIFIED = 0, 1, 2
_LEAKY_BITS, _LEAKY_SLOPE = 12, 41  # 41 / 4096 = 0.01001
_LARGEST_OUTPUT = 2**28
BLOCK = 32


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution in integers: ``out = act((weight * x + bias) >> shift)``.

    Attributes
    ----------
    weight : int16[outputs filled up, inputs filled up]
        A row per output; inputs in the order (row, column, channel) of the window.
    bias : int64[outputs]
        In the unit of the sum, with the half that makes the shift round.
    shift : int64[outputs]
        From the unit of the sum to that of the output; may be negative.
    activation : int
        `LINEAR`, `LEAKY` or `RECTIFIED`.
    window : int
        Height and width of the window: 1, 3 or 5, in the middle of zeros.
    upscale : int
        r**2 outputs in a row become r x r pixels (outputs in the order (row, column, channel)).
    """

    weight: NDArray[np.int16]
    bias: NDArray[np.int64]
    shift: NDArray[np.int64]
    activation: int = LINEAR
    window: int = 1
    upscale: int = 1

    def __call__(self, x: NDArray[np.int16], dtype: type = np.int16) -> NDArray[Any]:
        """Apply to int16 (B, H, W, C); int16 outputs saturate, int32 ones are for the last layer."""
        batch, height, width, _ = x.shape
        edge, r = self.window // 2, self.upscale
        if edge:
            x = np.pad(x, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
        x = np.ascontiguousarray(x)
        out: NDArray[Any] = np.empty((batch, height * r, width * r, self.bias.size // r**2), dtype)
        _convolve(x, self.weight, self.bias, self.shift, self.activation, self.window, r, out)
        return out


def quantise(
    weight: NDArray[np.floating[Any]],
    bias: NDArray[np.floating[Any]],
    *,
    input_bits: int = ACTIVATION_BITS,
    output_bits: int | NDArray[np.int64] = ACTIVATION_BITS,
    activation: int = LINEAR,
    upscale: int = 1,
) -> Layer:
    """Turn a convolution with stride 1 and zeros around into integers.

    Every step is exact or one IEEE operation on one number, so that both ends, holding the same floats, get the
    same integers.

    Parameters
    ----------
    weight : float[outputs, inputs, window, window]
    bias : float[outputs]
    input_bits, output_bits : int
        Inputs and outputs are multiples of 2**-bits; one number, or one for each output.
    """
    outputs, _, window, _ = weight.shape
    if upscale > 1:  # torch's PixelShuffle has the channel outermost
        order = np.arange(outputs).reshape(-1, upscale**2).T.ravel()
        weight, bias = weight[order], bias[order]
    rows = weight.transpose(0, 2, 3, 1).reshape(outputs, -1).astype(np.float64)
    offsets = bias.astype(np.float64)
    if not (np.isfinite(rows).all() and np.isfinite(offsets).all()):
        rows, offsets = np.nan_to_num(rows), np.nan_to_num(offsets)
    peak = np.abs(rows).max(axis=1, initial=0)
    exponent = 14 - np.frexp(np.maximum(peak, 2.0**-16))[1].astype(np.int64)  # the largest gets 14 bits
    while True:
        whole = np.rint(rows * np.ldexp(1.0, exponent)[:, None])
        offset = np.rint(offsets * np.ldexp(1.0, exponent + input_bits))
        shift = exponent + input_bits - output_bits
        offset += np.where(shift > 0, np.ldexp(0.5, shift), 0)
        # Sums of whole numbers below 2**53: exact in any order.
        most = np.abs(whole).sum(axis=1) * LARGEST + np.abs(offset)
        excess = np.maximum(np.frexp(most)[1].astype(np.int64) - 31, 0)
        if not excess.any():
            break
        exponent -= excess
    weights = np.zeros((filled(outputs, TILE), filled(rows.shape[1], LANES)), np.int16)
    weights[:outputs, : rows.shape[1]] = whole
    return Layer(weights, offset.astype(np.int64), shift, activation, window, upscale)


@numba.njit(cache=True, inline="always")
def requantise(total: Any, bias: Any, shift: Any, activation: Any, largest: Any) -> Any:
    """Turn a sum into an output: bias, activation, shift, saturation."""
    value = np.int64(total) + bias
    if value < 0:
        if activation == LEAKY:
            value = (value * _LEAKY_SLOPE) >> _LEAKY_BITS
        elif activation == RECTIFIED:
            value = np.int64(0)
    value = value >> shift if shift >= 0 else value << -shift
    return min(max(value, -largest), largest)


@numba.njit(cache=True)
def _convolve(
    x: Any, weight: Any, bias: Any, shift: Any, activation: Any, window: Any, upscale: Any, out: Any
) -> None:
    """Apply a layer to x with its margins, `BLOCK` pixels at a time."""
    channels = x.shape[3]
    height, width = x.shape[1] - window + 1, x.shape[2] - window + 1
    columns, outputs = window * channels, out.shape[3]
    inputs = np.zeros((BLOCK, weight.shape[1]), np.int16)
    sums = np.empty((BLOCK, weight.shape[0]), np.int32)
    largest = LARGEST if out.itemsize == 2 else _LARGEST_OUTPUT
    pixels = x.shape[0] * height * width
    for begin in range(0, pixels, BLOCK):
        count = min(BLOCK, pixels - begin)
        for p in range(count):
            column = (begin + p) % width
            row = (begin + p) // width % height
            sample = (begin + p) // (width * height)
            for line in range(window):
                source = x[sample, row + line, column : column + window].reshape(columns)
                inputs[p, line * columns : (line + 1) * columns] = source
        matmul(inputs, count, weight, sums)
        for p in range(count):
            column = (begin + p) % width
            row = (begin + p) // width % height
            sample = (begin + p) // (width * height)
            for i in range(upscale):
                for j in range(upscale):
                    first = (i * upscale + j) * outputs
                    pixel = out[sample, row * upscale + i, column * upscale + j]
                    for o in range(outputs):
                        pixel[o] = requantise(
                            sums[p, first + o], bias[first + o], shift[first + o], activation, largest
                        )

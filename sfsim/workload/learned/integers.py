"""Integers: the parameter networks of a trainee as integer layers, and its factorised model as numbers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from sfsim.codec.entropy import layer
from sfsim.codec.entropy.factorised import Factorised
from sfsim.codec.entropy.layer import ACTIVATION_BITS, LATENT_BITS, Layer, quantise


def factorised(model: Any) -> Factorised:
    """Return the cumulative networks of CompressAI's `EntropyBottleneck`."""
    channels = model.quantiles.shape[0]

    def rows(parameters: Any) -> NDArray[np.float64]:
        return np.concatenate([_array(p).reshape(channels, -1) for p in parameters], axis=1).astype(
            np.float64
        )

    medians = np.nan_to_num(_array(model.quantiles)[:, 0, 1]).astype(np.float32)
    return Factorised(rows(model.matrices), rows(model.biases), rows(model.factors), medians)


def sequence(network: nn.Sequential, output_bits: NDArray[np.int64]) -> list[Layer]:
    """Return the layers of a hyper synthesis: latents in, parameters of `output_bits` out."""
    steps = list(network.children())
    layers: list[Layer] = []
    for number, step in enumerate(steps):
        if isinstance(step, nn.LeakyReLU | nn.ReLU):
            continue
        following = steps[number + 1] if number + 1 < len(steps) else None
        last = not any(
            isinstance(later, nn.Conv2d | nn.ConvTranspose2d | nn.Sequential) for later in steps[number + 1 :]
        )
        weight, bias, upscale = _as_convolution(step)
        layers.append(
            quantise(
                weight,
                bias,
                input_bits=ACTIVATION_BITS if layers else LATENT_BITS,
                output_bits=output_bits if last else ACTIVATION_BITS,
                activation=_activation(following),
                upscale=upscale,
            )
        )
    return layers


def pointwise(network: nn.Sequential, output_bits: NDArray[np.int64]) -> tuple[Layer, ...]:
    """Return the three 1x1 convolutions of the entropy parameters."""
    convolutions = [step for step in network if isinstance(step, nn.Conv2d)]
    last = len(convolutions) - 1
    return tuple(
        quantise(
            _array(step.weight),
            _array(step.bias),
            output_bits=output_bits if number == last else ACTIVATION_BITS,
            activation=layer.LINEAR if number == last else layer.LEAKY,
        )
        for number, step in enumerate(convolutions)
    )


def masked(convolution: Any) -> Layer:
    """Return the 12 pixels of a masked 5x5 convolution that come before its middle, as one row of inputs."""
    weight = _array(convolution.weight)
    outputs, channels = weight.shape[:2]
    before = weight.reshape(outputs, channels, 25)[:, :, :12].transpose(0, 2, 1).reshape(outputs, -1, 1, 1)
    return quantise(before, _array(convolution.bias), input_bits=LATENT_BITS)


def _array(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().cpu().float().numpy()
    return array


def _activation(following: nn.Module | None) -> int:
    if isinstance(following, nn.LeakyReLU):
        return layer.LEAKY
    return layer.RECTIFIED if isinstance(following, nn.ReLU) else layer.LINEAR


def _as_convolution(step: nn.Module) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    """Return weight, bias and upscale of the convolution with stride 1 that does what `step` does."""
    if isinstance(step, nn.Sequential):  # subpel_conv3x3
        inner, shuffle = step
        return _array(inner.weight), _array(inner.bias), shuffle.upscale_factor
    if isinstance(step, nn.Conv2d):
        return _array(step.weight), _array(step.bias), 1
    # A transposed 5x5 convolution that doubles: output 2m + a sees input m + d through tap a + 2 - 2d, d = -1, 0, 1.
    transposed = _array(step.weight)  # type: ignore[arg-type]
    inputs, outputs = transposed.shape[:2]
    weight = np.zeros((outputs, 2, 2, inputs, 3, 3), np.float32)
    for a in range(2):
        for b in range(2):
            for d in range(-1, 2):
                for e in range(-1, 2):
                    row, column = a + 2 - 2 * d, b + 2 - 2 * e
                    if row < 5 and column < 5:
                        weight[:, a, b, :, d + 1, e + 1] = transposed[:, :, row, column].T
    return weight.reshape(4 * outputs, inputs, 3, 3), np.repeat(_array(step.bias), 4), 2  # type: ignore[arg-type]

"""Integer layers and the context model: exact products, close to the floats, the same in any order."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from sfsim import seeds
from sfsim.codec.entropy import dot, layer
from sfsim.codec.entropy.context import Context, wavefronts
from sfsim.codec.entropy.gaussian import output_bits


def random(*shape: int, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    return seeds.stream(seed, "test", str(shape)).normal(0, scale, shape).astype(np.float32)


def test_products_are_exact() -> None:
    rng = seeds.stream(0, "test", "dot")
    a = rng.integers(-(2**15) + 1, 2**15, (12, 96)).astype(np.int16)
    b = rng.integers(-20, 21, (8, 96)).astype(np.int16)
    out = np.empty((12, 8), np.int32)
    dot.matmul(a, 10, b, out)
    assert np.array_equal(out[:10], a[:10].astype(np.int64) @ b.T.astype(np.int64))


@pytest.mark.parametrize(
    ("window", "upscale", "activation"), [(1, 1, layer.LINEAR), (3, 2, layer.LEAKY), (5, 1, layer.RECTIFIED)]
)
def test_a_layer_is_close_to_the_float_one(window: int, upscale: int, activation: int) -> None:
    convolution = nn.Conv2d(10, 12, window, padding=window // 2)
    weight, bias = random(12, 10, window, window, scale=0.1), random(12)
    convolution.weight.data, convolution.bias.data = torch.from_numpy(weight), torch.from_numpy(bias)
    act = [nn.Identity(), nn.LeakyReLU(), nn.ReLU()][activation]
    x = np.rint(random(2, 10, 5, 7) * 128) / 128
    with torch.no_grad():
        wanted = act(nn.PixelShuffle(upscale)(convolution(torch.from_numpy(x).float()))).numpy()
    made = layer.quantise(weight, bias, activation=activation, upscale=upscale)
    found = made(np.ascontiguousarray((x * 128).transpose(0, 2, 3, 1)).astype(np.int16))
    assert np.abs(found.transpose(0, 3, 1, 2) / 128 - wanted).max() < 0.012


@pytest.mark.parametrize("size", [1e-30, 1e-3, 1.0, 1e4, np.inf])
def test_no_sum_can_overflow(size: float) -> None:
    """The largest activations of the worst signs, whatever the weights: the sums are those of 64 bits."""
    weight = random(4, 40, 3, 3) * np.float32(size)
    made = layer.quantise(weight, random(4) * np.float32(min(size, 1e6)), output_bits=np.array([7, 8, 10, 6]))
    whole = made.weight[:4].astype(np.int64)
    assert (np.abs(whole).sum(axis=1) * layer.LARGEST + np.abs(made.bias) < 2**31).all()
    worst = (np.sign(whole[0]) * layer.LARGEST).astype(np.int16)
    out = np.empty((4, made.weight.shape[0]), np.int32)
    dot.matmul(np.tile(worst, (4, 1)), 1, made.weight, out)
    assert np.array_equal(out[0, :4], whole @ worst.astype(np.int64))


def test_wavefronts() -> None:
    """16x16 takes 61 steps; every pixel comes once, after all that it depends on."""
    order = wavefronts(2, 16, 16)
    assert len(order.starts) - 1 == 61
    step = {}
    for number, (begin, end) in enumerate(pairwise(order.starts)):
        for b, h, w in order.pixels[begin:end].tolist():
            step[b, h, w] = number
    assert len(step) == 512
    for (b, h, w), number in step.items():
        before = [(b, h - i, w + j) for i in (1, 2) for j in range(-2, 3)] + [(b, h, w - 1), (b, h, w - 2)]
        assert all(step[other] < number for other in before if other in step)


@pytest.mark.parametrize(("components", "centred"), [(1, False), (1, True), (3, False)])
def test_context_decodes_what_it_encoded(components: int, centred: bool) -> None:
    """One pass there, wavefronts back; the means of the float network are near."""
    from sfsim.codec.entropy import mixture, rans

    channels, features = 6, 12
    outputs = channels * (2 if components == 1 else 9)
    masked = layer.quantise(
        random(features, 12 * channels, 1, 1, scale=0.1), random(features, scale=0.1), input_bits=5
    )
    widths = [2 * features, 20, 16, outputs]
    stack = tuple(
        layer.quantise(
            random(there, here, 1, 1, scale=here**-0.5), random(there, seed=1),
            output_bits=output_bits(channels, components) if there == outputs else 7,
            activation=layer.LINEAR if there == outputs else layer.LEAKY,
        )
        for here, there in pairwise(widths)
    )  # fmt: skip
    context = Context(masked, stack, channels, components)
    shape = (3, 7, 9, channels)
    hyper = np.rint(random(3, 8, 12, features) * 128).astype(np.int16)
    symbols, quantised, found = context.encode(random(*shape, scale=2.0), hyper, centred)
    low, high = int(symbols.min()), int(symbols.max())
    words = rans.room(symbols.size)
    state, at, _ = mixture.encode(symbols, *found, low, high, 3, 0, rans.START, words, words.size)
    state, words = rans.begin(rans.finish(state, words, at))
    again, state, at = context.decode(shape, hyper, centred, low, high, 3, 0, state, words, 0)
    rans.check_end(state, at, words)
    assert np.array_equal(again, quantised)
    assert (np.count_nonzero(quantised % 256) > 0) == centred

"""Networks: the trainee of a learned codec, built from CompressAI's layers and models.

A trainee runs as it will be sent: its reconstruction comes from hard-rounded latents (gradients pass straight
through), its rate from latents with uniform noise, which has gradients. Height and width are halved as often as
the tensor allows, and nothing is clamped: features and gradients are no images.
"""

import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from sfsim import seeds
from sfsim.codec.learned import Ae, ChengAt, Hyperprior, Learned, MeanScale, SeriesAe

with warnings.catch_warnings():  # compressai scripts its helpers at import
    warnings.simplefilter("ignore")
    from compressai.entropy_models import EntropyBottleneck, GaussianMixtureConditional
    from compressai.layers import (
        GDN,
        AttentionBlock,
        ResidualBlock,
        ResidualBlockUpsample,
        ResidualBlockWithStride,
        conv3x3,
        subpel_conv3x3,
    )
    from compressai.models import Cheng2020Attention, FactorizedPrior, MeanScaleHyperprior, ScaleHyperprior
    from compressai.models.utils import conv, deconv

Quantiser = Literal["hard", "noise", "identity"]
"""How latents are treated: rounded (as sent), noisy (as SplitFedZip trains and tests), or left alone."""


class Output(NamedTuple):
    """What a trainee makes of a tensor.

    Attributes
    ----------
    x_hat : Tensor
        Reconstruction, of the input's shape and scale.
    rate_bits : Tensor
        Scalar: -log2 of the likelihood of all latents of the batch.
    mse : Tensor
        Scalar: mean squared error of the tensor, normalised if the declaration says so.
    """

    x_hat: Tensor
    rate_bits: Tensor
    mse: Tensor


class _Straight(torch.autograd.Function):
    """Rounding whose gradient is the identity; its value is the rounded one to the last bit."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, middle: Tensor | float) -> Tensor:
        return torch.round(value - middle) + middle

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient, None


def quantise(value: Tensor, middle: Tensor | float, quantiser: Quantiser, noise: Tensor) -> Tensor:
    """Return latents as the decoder is to see them."""
    if quantiser == "hard":
        return _Straight.apply(value, middle)
    return value + noise if quantiser == "noise" else value


class Trainee(nn.Module):
    """Base of the networks: padding, normalisation, and the order of things.

    Attributes
    ----------
    declaration : Learned
    in_channels, stages : int
    """

    declaration: Learned
    in_channels: int
    stages: int
    g_a: nn.Module
    g_s: nn.Module
    entropy_bottleneck: EntropyBottleneck
    _generator: torch.Generator

    def forward(
        self, x: Tensor, quantiser: Quantiser = "hard", generator: torch.Generator | None = None
    ) -> Output:
        """Encode and decode a tensor of shape (B, C, H, W), or (B, C, L), differentiably.

        `generator` draws the noise of the rate (and of the latents, if `quantiser` is ``"noise"``); by default
        the trainee's own, seeded by `build`.
        """
        scale = root_mean_square(x) if self.declaration.normalise else None
        target = x if scale is None else x / torch.where(scale > 0, scale, 1)
        y = self.g_a(pad(target, self.declaration.padded_sides(x.shape[2:], self.stages)))
        y_hat, rate_bits = self.latents(y, quantiser, generator or self._generator)
        x_hat = crop(self.g_s(y_hat), x.shape[2:])
        mse = functional.mse_loss(x_hat, target)
        return Output(x_hat if scale is None else x_hat * scale, rate_bits, mse)

    def latents(self, y: Tensor, quantiser: Quantiser, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the latents as the decoder sees them and their rate in bits."""
        raise NotImplementedError

    def bottleneck(
        self, y: Tensor, quantiser: Quantiser, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Quantise under the factorised model; return latents and rate."""
        model = self.entropy_bottleneck
        noise = _noise(y, generator)
        middle = model.quantiles[:, 0, 1].detach().reshape(1, -1, 1, 1)
        values = y if quantiser == "identity" else y + noise
        likelihood, _, _ = model._likelihood(values.transpose(0, 1).reshape(y.shape[1], 1, -1))
        return quantise(y, middle, quantiser, noise), _bits(model.likelihood_lower_bound(likelihood))


class AeTrainee(Trainee, FactorizedPrior):
    """Codec ``ae``: three convolutions 5x5 with GDN each way, and a factorised model."""

    def __init__(self, declaration: Ae, in_channels: int, stages: int) -> None:
        FactorizedPrior.__init__(self, declaration.channels, declaration.channels)
        _convolutions(self, in_channels, declaration.channels, _strides(stages, 3))

    def latents(self, y: Tensor, quantiser: Quantiser, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return self.bottleneck(y, quantiser, generator)


class HyperpriorTrainee(Trainee, ScaleHyperprior):
    """Codec ``hyperprior``: four convolutions 5x5 with GDN, scales from a hyperprior."""

    def __init__(self, declaration: Hyperprior, in_channels: int, stages: int) -> None:
        ScaleHyperprior.__init__(self, declaration.channels, declaration.channels)
        _convolutions(self, in_channels, declaration.channels, _strides(stages, 4))

    def latents(self, y: Tensor, quantiser: Quantiser, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        z_hat, side_bits = self.bottleneck(self.hyper_analysis(y), quantiser, generator)
        scales = self.hyper(z_hat, y)
        noise = _noise(y, generator)
        values = y if quantiser == "identity" else y + noise
        bits = _gaussian_bits(self.gaussian_conditional, values, scales, None)
        return quantise(y, 0.0, quantiser, noise), side_bits + bits

    def hyper_analysis(self, y: Tensor) -> Tensor:
        """Return the hyperprior's latents."""
        return self.h_a(torch.abs(y))

    def hyper(self, z_hat: Tensor, y: Tensor) -> Tensor:
        """Return the hyperprior's parameters, as large as the latents `y`."""
        return self.h_s(z_hat)[..., : y.shape[-2], : y.shape[-1]]


class MeanScaleTrainee(HyperpriorTrainee, MeanScaleHyperprior):
    """Codec ``mean-scale``: means and scales from a hyperprior."""

    def __init__(self, declaration: MeanScale, in_channels: int, stages: int) -> None:
        MeanScaleHyperprior.__init__(self, declaration.channels, declaration.channels)
        _convolutions(self, in_channels, declaration.channels, _strides(stages, 4))

    def latents(self, y: Tensor, quantiser: Quantiser, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        z_hat, side_bits = self.bottleneck(self.hyper_analysis(y), quantiser, generator)
        scales, means = self.hyper(z_hat, y).chunk(2, 1)
        noise = _noise(y, generator)
        values = y if quantiser == "identity" else y + noise
        bits = _gaussian_bits(self.gaussian_conditional, values, scales, means)
        middle: Tensor | float = 0.0 if self.declaration.mode == "round" else means  # type: ignore[attr-defined]
        return quantise(y, middle, quantiser, noise), side_bits + bits

    def hyper_analysis(self, y: Tensor) -> Tensor:
        return self.h_a(y)


class ChengTrainee(MeanScaleTrainee, Cheng2020Attention):
    """Codec ``cheng-at``: residual blocks and attention, an autoregressive context and a hyperprior.

    The context sees rounded latents, as in CompressAI; in mode ``"centred"`` the reconstruction is rounded
    around the means that follow from it, where the wire goes pixel after pixel.
    """

    def __init__(self, declaration: ChengAt, in_channels: int, stages: int) -> None:
        n = declaration.channels
        Cheng2020Attention.__init__(self, n)
        s = _strides(stages, 4)
        self.g_a = nn.Sequential(
            ResidualBlockWithStride(in_channels, n, stride=s[0]),
            ResidualBlock(n, n),
            ResidualBlockWithStride(n, n, stride=s[1]),
            AttentionBlock(n),
            ResidualBlock(n, n),
            ResidualBlockWithStride(n, n, stride=s[2]),
            ResidualBlock(n, n),
            conv3x3(n, n, stride=s[3]),
            AttentionBlock(n),
        )
        self.g_s = nn.Sequential(
            AttentionBlock(n),
            ResidualBlock(n, n),
            ResidualBlockUpsample(n, n, s[3]),
            ResidualBlock(n, n),
            ResidualBlockUpsample(n, n, s[2]),
            AttentionBlock(n),
            ResidualBlock(n, n),
            ResidualBlockUpsample(n, n, s[1]),
            ResidualBlock(n, n),
            subpel_conv3x3(n, in_channels, s[0]),
        )
        if declaration.mixture > 1:
            k = declaration.mixture
            self.gaussian_conditional = GaussianMixtureConditional(K=k)
            # Widths of the authors' code: 5N, 5N, and K of scale, mean and weight for each channel.
            self.entropy_parameters = nn.Sequential(
                nn.Conv2d(4 * n, 5 * n, 1),
                nn.LeakyReLU(inplace=True),
                nn.Conv2d(5 * n, 5 * n, 1),
                nn.LeakyReLU(inplace=True),
                nn.Conv2d(5 * n, 3 * k * n, 1),
            )

    def latents(self, y: Tensor, quantiser: Quantiser, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        z_hat, side_bits = self.bottleneck(self.hyper_analysis(y), quantiser, generator)
        noise = _noise(y, generator)
        y_hat = quantise(y, 0.0, quantiser, noise)
        features = torch.cat((self.hyper(z_hat, y), self.context_prediction(y_hat)), dim=1)
        found = self.entropy_parameters(features)
        values = y if quantiser == "identity" else y + noise
        if self.declaration.mixture == 1:  # type: ignore[attr-defined]
            scales, means = found.chunk(2, 1)
            bits = _gaussian_bits(self.gaussian_conditional, values, scales, means)
            if self.declaration.mode == "centred":  # type: ignore[attr-defined]
                y_hat = quantise(y, means, quantiser, noise)
        else:
            scales, means, logits = found.chunk(3, 1)
            weights = logits.unflatten(1, (-1, y.shape[1])).softmax(1).flatten(1, 2)
            model = self.gaussian_conditional
            likelihood = model._likelihood(values, scales, means, weights)
            bits = _bits(model.likelihood_lower_bound(likelihood))
        return y_hat, side_bits + bits


class SeriesAeTrainee(Trainee):
    """Codec ``series-ae``: linear convolutions of kernel 2 and stride 2, and latents as they are."""

    def __init__(self, declaration: SeriesAe, in_channels: int, stages: int) -> None:
        super().__init__()
        widths = declaration.widths(in_channels, stages)
        pairs = [(a, b, int(number == 0)) for number, (a, b) in enumerate(pairwise(widths))]
        self.g_a = nn.Sequential(*(nn.Conv1d(a, b, 2, stride=2, padding=p) for a, b, p in pairs))
        self.g_s = nn.Sequential(
            *(nn.ConvTranspose1d(b, a, 2, stride=2, padding=p) for a, b, p in reversed(pairs))
        )

    def latents(self, y: Tensor, quantiser: Quantiser, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return y, y.new_full((), 32.0 * y.numel())


def build(declaration: Learned, in_channels: int, sides: Sequence[int], seed: int) -> Trainee:
    """Return the trainee that a declaration describes, in training mode, on the CPU.

    Parameters
    ----------
    declaration : Learned
    in_channels : int
        Channels of the tensors, which go in and come out.
    sides : sequence of int
        Height and width, or the length of series, from which the number of stages follows.
    seed : int
        Decides the first weights and the noise.

    Raises
    ------
    ConfigError
        When the tensors are too small for the declared stages.

    Examples
    --------
    >>> sum(p.numel() for p in build(Ae(), 64, (128, 128), seed=7).parameters())
    635328
    """
    kinds: dict[str, Any] = {
        "ae": AeTrainee, "hyperprior": HyperpriorTrainee, "mean-scale": MeanScaleTrainee, "cheng-at": ChengTrainee,
        "series-ae": SeriesAeTrainee,
    }  # fmt: skip
    stages = declaration.stages_for(*sides)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seeds.integer(seed, "learned codec", "weights"))
        trainee: Trainee = kinds[declaration.kind](declaration, in_channels, stages)
    trainee.declaration, trainee.in_channels, trainee.stages = declaration, in_channels, stages
    trainee._generator = torch.Generator()
    trainee._generator.manual_seed(seeds.integer(seed, "learned codec", "noise"))
    return trainee


def pad(x: Tensor, sides: Sequence[int]) -> Tensor:
    """Pad the axes behind batch and channels by reflection, below and to the right, to these sizes."""
    missing = [wanted - there for wanted, there in zip(sides, x.shape[2:], strict=True)]
    if not any(missing):
        return x
    return functional.pad(x, [width for more in reversed(missing) for width in (0, more)], mode="reflect")


def crop(x: Tensor, sides: Sequence[int]) -> Tensor:
    """Cut off what `pad` added."""
    return x[(..., *(slice(side) for side in sides))]


def root_mean_square(x: Tensor) -> Tensor:
    """Return the root mean square as a float32 without gradient."""
    return x.detach().double().square().mean().sqrt().float() if x.numel() else torch.zeros(())


def _strides(stages: int, layers: int) -> list[int]:
    """Return the strides of the encoder's layers: the first ones halve, which makes the others cheap."""
    return [2] * stages + [1] * (layers - stages)


def _convolutions(model: Any, in_channels: int, n: int, strides: list[int]) -> None:
    """Replace CompressAI's four layers for images by as many as there are strides, for any tensor."""
    there: list[nn.Module] = []
    for number, stride in enumerate(strides):
        there += [conv(n if number else in_channels, n, stride=stride), GDN(n)]
    back: list[nn.Module] = []
    for number, stride in reversed(list(enumerate(strides))):
        back += [deconv(n, n if number else in_channels, stride=stride), GDN(n, inverse=True)]
    model.g_a, model.g_s = nn.Sequential(*there[:-1]), nn.Sequential(*back[:-1])


def _noise(y: Tensor, generator: torch.Generator) -> Tensor:
    """Return uniform noise of one step's width, drawn on the CPU whatever the device."""
    return (torch.rand(y.shape, generator=generator, dtype=y.dtype) - 0.5).to(y.device)


def _gaussian_bits(model: Any, values: Tensor, scales: Tensor, means: Tensor | None) -> Tensor:
    return _bits(model.likelihood_lower_bound(model._likelihood(values, scales, means)))


def _bits(likelihood: Tensor) -> Tensor:
    return -torch.log2(likelihood).sum()

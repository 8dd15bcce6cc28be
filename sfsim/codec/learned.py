"""Learned: declarations of the codecs whose encoder and decoder are trained; weights live with the workload.

A table says which network, how wide and how its latents are coded. The network itself, its weights and the
bitstream are made by `sfsim.workload.learned`; a declaration alone can neither encode nor decode.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NoReturn

from pydantic import Field

from sfsim.codec.base import Codec
from sfsim.declaration import declaration, misfit
from sfsim.errors import CodecError, ConfigError

SMALLEST_LATENT = 4


@declaration
class Learned(Codec):
    """What all learned codecs share.

    Parameters
    ----------
    channels : int
        Channels N of the hidden layers and of the latents.
    stages : int, optional
        How many layers of the encoder halve height and width, at most as many as published. By default as many
        as leave latents of at least 4x4. Odd sizes are padded by reflection to a multiple of 2**stages.
    lambda_ : float
        Weight of the distortion against the rate in training.
    normalise : bool
        Divide each tensor by its root mean square, which travels as a float32 of the header: for gradients,
        whose size changes from layer to layer and from step to step.
    weights : Path, optional
        A file that `sfsim codec train` wrote, with which a run begins; by default random weights.
    """

    channels: Annotated[int, Field(ge=1, le=512)] = 64
    stages: Annotated[int, Field(ge=0, le=4)] | None = None
    lambda_: Annotated[float, Field(gt=0)] = 1.0
    normalise: bool = False
    weights: Path | None = None
    most_stages: ClassVar[int] = 4
    axes: ClassVar[str] = "HW"  # what tensors have behind batch and channels

    def __post_init__(self) -> None:
        if self.stages is not None and self.stages > self.most_stages:
            raise misfit("stages", str(self.stages), f"at most {self.most_stages} for {self.kind}")

    @property
    def name(self) -> str:
        return self.kind

    @property
    def signature(self) -> bytes:
        # The wire codec's fingerprint covers the weights themselves.
        return super().signature if self.weights is None else replace(self, weights=None).signature

    def stages_for(self, *sides: int) -> int:
        """Return how many stages tensors of this size get: height and width, or the length of series.

        Raises
        ------
        ConfigError
            When the latents would be smaller than 4x4, or the codec is for tensors of other axes.

        Examples
        --------
        >>> Ae().stages_for(128, 128), Ae().stages_for(28, 28), ChengAt().stages_for(8, 8), SeriesAe().stages_for(62)
        (3, 3, 1, 4)
        """
        size = f"tensors of {'x'.join(map(str, sides))}"
        least = "x".join([str(SMALLEST_LATENT)] * len(self.axes))
        hint = "Choose another cut layer or a codec that is not learned."
        if len(sides) != len(self.axes):
            raise ConfigError(f"codec {self.name!r}", size, f"tensors (B, C, {', '.join(self.axes)})", hint)
        fitting = [
            s for s in range(self.most_stages + 1) if min(self.latent_sides(sides, s)) >= SMALLEST_LATENT
        ]
        if not fitting:
            raise ConfigError(f"codec {self.name!r}", size, f"at least {least}", hint)
        if self.stages is None:
            return fitting[-1]
        if self.stages not in fitting:
            expected = f"at most {fitting[-1]} for {size}: latents are at least {least}"
            raise ConfigError(f"codec {self.name!r}, stages", str(self.stages), expected)
        return self.stages

    def latent_sides(self, sides: Sequence[int], stages: int) -> tuple[int, ...]:
        """Return the size of the latents of tensors of a size."""
        return tuple(-(-side // 2**stages) for side in sides)

    def padded_sides(self, sides: Sequence[int], stages: int) -> tuple[int, ...]:
        """Return the size to which tensors of a size are padded."""
        return tuple(side * 2**stages for side in self.latent_sides(sides, stages))

    def estimate_bits(self, numel: int) -> float:
        self._needs_weights()

    def encode(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: the weights live in the workload."""
        self._needs_weights()

    def decode(self, payload: bytes) -> NoReturn:
        """Refuse: the weights live in the workload."""
        self._needs_weights()

    def _needs_weights(self) -> NoReturn:
        raise CodecError(
            f"{self.name} is learned: it codes with the weights that both ends hold "
            "(sfsim.workload.learned), not by its declaration alone"
        )


@declaration
class Ae(Learned):
    """Convolutions and GDN around a factorised entropy model (three stages as published).

    Source
    ------
    SplitFedZip (arXiv:2412.17150), codec AE: 635,328 parameters at 64 channels; after J. Balle et al.,
    arXiv:1802.01436, the factorised prior.
    """

    kind: Literal["ae"] = "ae"
    lambda_: Annotated[float, Field(gt=0)] = 64.0
    most_stages: ClassVar[int] = 3


@declaration
class ChengAt(Learned):
    """Residual blocks with attention; latents under an autoregressive context and a hyperprior.

    Parameters
    ----------
    mixture : int
        1: one Gaussian per latent, which is what SplitFedZip's 3,486,289 parameters fit; 3: the Gaussian mixture
        of Cheng et al.
    mode : {"auto", "round", "centred"}
        Round the latent (all pixels in one pass) or its distance to the mean (fewer bits at low rates). "auto"
        does both and sends the shorter one. A mixture has no mean: it rounds.

    Source
    ------
    SplitFedZip (arXiv:2412.17150), codec Cheng_AT; Z. Cheng et al., arXiv:2001.01568.
    """

    kind: Literal["cheng-at"] = "cheng-at"
    mixture: Literal[1, 3] = 1
    mode: Literal["auto", "round", "centred"] = "auto"

    def __post_init__(self) -> None:
        if self.mixture == 3 and self.mode == "centred":
            raise misfit("mode", "'centred'", "'round' or 'auto': a mixture has no single mean")

    @property
    def name(self) -> str:
        return "cheng-at" if self.mixture == 1 else "cheng-at-gmm"


@declaration
class Hyperprior(Learned):
    """Convolutions and GDN; latents under Gaussians of mean 0, their scales from a hyperprior.

    Source
    ------
    J. Balle et al., "Variational image compression with a scale hyperprior", arXiv:1802.01436.
    """

    kind: Literal["hyperprior"] = "hyperprior"


@declaration
class MeanScale(Learned):
    """As `Hyperprior`, with means from the hyperprior too.

    Parameters
    ----------
    mode : {"auto", "round", "centred"}
        Round the latent or its distance to the mean; "auto" does both and sends the shorter one.

    Source
    ------
    D. Minnen et al., "Joint autoregressive and hierarchical priors for learned image compression",
    arXiv:1809.02736, without the autoregressive part.
    """

    kind: Literal["mean-scale"] = "mean-scale"
    mode: Literal["auto", "round", "centred"] = "auto"


@declaration
class SeriesAe(Learned):
    """For series (B, C, L): linear convolutions of kernel 2 and stride 2; latents travel as float32.

    No activations, no quantisation, no entropy coding: the rate is the same for all weights, so that they are trained
    by the distortion alone and `lambda_` changes nothing. In four stages C channels become 3 C / 4, C / 2, C / 4 and
    `channels`; the decoder mirrors them. Short tensors get fewer stages, at least one; lengths are padded by
    reflection until they halve evenly.

    Source
    ------
    A. Ayad, M. Renner, A. Schmeink, GLOBECOM 2021, as in the authors' code for S-ECG: an encoder of 94,776
    parameters at 192 channels, and latents of 24x4 for 192x62.
    """

    kind: Literal["series-ae"] = "series-ae"
    channels: Annotated[int, Field(ge=1, le=512)] = 24
    axes: ClassVar[str] = "L"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stages == 0:
            raise misfit("stages", "0", "at least 1")

    def latent_sides(self, sides: Sequence[int], stages: int) -> tuple[int, ...]:
        # The first convolution sees one more zero on each side.
        return tuple(-(-(side + 2) // 2**stages) for side in sides) if stages else (0,)

    def padded_sides(self, sides: Sequence[int], stages: int) -> tuple[int, ...]:
        return tuple(side * 2**stages - 2 for side in self.latent_sides(sides, stages))

    def widths(self, in_channels: int, stages: int) -> list[int]:
        """Return the channels between the layers, from the tensor's to the latents'.

        >>> SeriesAe().widths(192, 4)
        [192, 144, 96, 48, 24]
        """
        between = [in_channels * 3 // 4, in_channels // 2, in_channels // 4][: stages - 1]
        return [in_channels, *(max(1, width) for width in between), self.channels]

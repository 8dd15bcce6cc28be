"""Learned: declarations of the codecs whose encoder and decoder are trained; weights live with the workload.

A table says which network, how wide and how its latents are coded. The network itself, its weights and the
bitstream are made by `sfsim.workload.learned`; a declaration alone can neither encode nor decode.
"""

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

    def stages_for(self, height: int, width: int) -> int:
        """Return how many stages tensors of this size get.

        Raises
        ------
        ConfigError
            When the latents would be smaller than 4x4.

        Examples
        --------
        >>> Ae().stages_for(128, 128), Ae().stages_for(28, 28), ChengAt().stages_for(8, 8)
        (3, 3, 1)
        """
        fitting = [
            s for s in range(self.most_stages + 1) if _latent(min(height, width), s) >= SMALLEST_LATENT
        ]
        if not fitting:
            raise ConfigError(
                f"codec {self.name!r}", f"tensors of {height}x{width}", "at least 4x4",
                "Choose another cut layer or a codec that is not learned.",
            )  # fmt: skip
        if self.stages is None:
            return fitting[-1]
        if self.stages not in fitting:
            raise ConfigError(
                f"codec {self.name!r}, stages", str(self.stages),
                f"at most {fitting[-1]} for tensors of {height}x{width}: latents are at least 4x4",
            )  # fmt: skip
        return self.stages

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


def _latent(length: int, stages: int) -> int:
    return -(-length // 2**stages)


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

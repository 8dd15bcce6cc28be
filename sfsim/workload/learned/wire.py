"""Wire: a learned codec as both ends hold it, frozen between weight updates, with its real bitstream.

`freeze` copies a trainee's weights and turns everything that the bitstream depends on into integers. What a
receiver decodes is the sender's reconstruction bit for bit: the latents are exact on every machine, in any
process, on any number of threads; the synthesis (float32 convolutions, single-threaded here) repeats exactly
wherever the same torch runs on the same kind of processor.
"""

import copy
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfsim.codec.base import Encoded
from sfsim.codec.entropy.context import Context
from sfsim.codec.entropy.gaussian import output_bits
from sfsim.codec.frame import CODEC_IDS, FORMAT, MAGIC, Frame, read_varint
from sfsim.cost import Cost
from sfsim.errors import CodecError, NotFinite
from sfsim.learning.costing import count
from sfsim.workload.learned import integers
from sfsim.workload.learned.latents import Conditional, Plain, Shape, Simple
from sfsim.workload.learned.networks import Trainee, crop, pad, root_mean_square

# The widest activation of a decoder, in elements: 1 GiB. A frame of a few bytes may honestly hold very many symbols
# that are nearly certain, so its length bounds nothing.
_MAX_ACTIVATION = 2**28
_DTYPES = {torch.float16: np.float16, torch.float32: np.float32, torch.float64: np.float64}


@dataclass(frozen=True, slots=True)
class Reconstructed(Encoded):
    """What `WireCodec.encode` made; ``reconstruction`` is what `WireCodec.decode` will return, bit for bit.

    ``estimated_bits`` is -log2 of the latents' probability under the transmitted model.
    """

    reconstruction: Tensor = field(kw_only=True)


def freeze(module: Trainee, version: int) -> "WireCodec":
    """Make a wire codec of a trainee's present weights, which both ends must hold.

    Parameters
    ----------
    module : Trainee
        From `networks.build`; it is copied, and trains on undisturbed.
    version : int
        At least 1, one more at every update; it travels in every frame.
    """
    return WireCodec(module, version)


class WireCodec:
    """A learned codec frozen at one version of its weights.

    Attributes
    ----------
    declaration : Learned
    version : int
    fingerprint : str
        Hash of all that a decoder holds: integers of the entropy model, weights of the synthesis. It is part of
        every payload's checksum.
    """

    def __init__(self, module: Trainee, version: int) -> None:
        if version < 1:
            raise ValueError(f"found version {version}, expected at least 1: 0 means a codec without weights")
        self.declaration, self.version = module.declaration, version
        self.in_channels, self.stages = module.in_channels, module.stages
        self._module = copy.deepcopy(module).cpu().float().eval().requires_grad_(False)
        self._latents = _coder(self._module)
        axes = self.declaration.axes
        self._rank, self._expected = 2 + len(axes), f"(B, {self.in_channels}, {', '.join(axes)})"
        digest = blake2b(repr((self.in_channels, self.stages)).encode(), digest_size=16)
        for array in self._latents.arrays():
            digest.update(array.tobytes())
        for _, tensor in sorted(self._module.g_s.state_dict().items()):
            digest.update(tensor.numpy().tobytes())
        self.fingerprint = digest.hexdigest()
        self._signature = self.declaration.signature + b" with weights " + self.fingerprint.encode()

    def state(self) -> dict[str, Tensor]:
        """The weights that this codec was made of."""
        return {name: weight.detach() for name, weight in self._module.named_parameters()}

    def encode(self, x: Tensor, name: str | None = None) -> Reconstructed:
        """Encode a tensor of shape (B, C, H, W), or (B, C, L).

        Raises
        ------
        CodecError
            When the tensor has other channels or is too small, is no float tensor, or is not finite; `name` is
            what to call it.
        """
        label = "tensor" if name is None else f"tensor {name!r}"
        try:
            return self._encode(x.detach())
        except CodecError as error:
            raise type(error)(f"{label}: {error}") from None

    def decode(self, payload: bytes) -> Tensor:
        """Return the tensor of a payload.

        Raises
        ------
        CodecError
            For anything but an intact payload of this declaration at this version of these weights.
        """
        frame, body = self._open(payload)
        scale = None
        if self.declaration.normalise:
            if len(body) < 4:
                raise CodecError("payload ends inside its header")
            (scale,) = struct.unpack("<f", body[:4])
            body = body[4:]
        if 0 in frame.shape or scale == 0:
            if len(body):
                raise CodecError(f"payload of nothing but zeros has {len(body)} bytes too many")
            return torch.zeros(frame.shape, dtype=_torch_type(frame.dtype))
        latents = self._latents.decode(body, self._latent_shape(frame.shape))
        return self._synthesise(latents, frame.shape, scale, _torch_type(frame.dtype))

    def decode_latents(self, payload: bytes) -> np.ndarray:
        """Return the quantised latents of a payload, float32 (B, N, ...): the same on every machine."""
        frame, body = self._open(payload)
        start = 4 if self.declaration.normalise else 0
        return self._latents.decode(body[start:], self._latent_shape(frame.shape))

    def encode_cost(self, shape: tuple[int, ...]) -> Cost:
        """Return what encoding a tensor of a shape needs: both analyses, and coding; no reconstruction."""
        latents = self._latent_shape(shape)
        cost = self._latents.cost(latents) + _forward(self._module.g_a, self._padded(shape))
        if hasattr(self._module, "h_a"):
            cost += _forward(self._module.h_a, latents)
        return cost

    def decode_cost(self, shape: tuple[int, ...]) -> Cost:
        """Return what decoding into a tensor of a shape needs: coding and the synthesis."""
        latents = self._latent_shape(shape)
        return self._latents.cost(latents) + _forward(self._module.g_s, latents)

    def _padded(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:2], *self.declaration.padded_sides(shape[2:], self.stages))

    def _encode(self, x: Tensor) -> Reconstructed:
        self._check(x)
        shape, dtype = tuple(x.shape), x.dtype
        values = x.cpu().float()
        scale, head = None, b""
        if self.declaration.normalise:
            scale = root_mean_square(values).item()
            head = struct.pack("<f", scale)
        if x.numel() == 0 or scale == 0:
            payload = self._frame(x, head)
            return Reconstructed(payload, 0.0, 0, reconstruction=torch.zeros(shape, dtype=dtype))
        with torch.no_grad(), single_thread():
            y = self._module.g_a(pad(values if scale is None else values / scale, self._padded(shape)[2:]))
            z = self._module.hyper_analysis(y) if hasattr(self._module, "hyper_analysis") else None
        for latents in (y,) if z is None else (y, z):
            if not torch.isfinite(latents).all():
                raise NotFinite(
                    f"the encoder of {self.declaration.name} makes values that are not finite of it"
                )
        body = self._latents.encode(y.numpy(), None if z is None else z.numpy())
        x_hat = self._synthesise(body.latents, shape, scale, dtype)
        if not torch.isfinite(x_hat).all():
            raise NotFinite(f"the decoder of {self.declaration.name} makes values that are not finite of it")
        payload = self._frame(x, head + body.data)
        return Reconstructed(payload, body.ideal_bits, body.saturated, reconstruction=x_hat)

    def _check(self, x: Tensor) -> None:
        if x.dtype not in _DTYPES:
            raise CodecError(f"found {x.dtype}, expected float16, float32 or float64")
        if x.ndim != self._rank or x.shape[1] != self.in_channels:
            raise CodecError(f"found shape {tuple(x.shape)}, expected {self._expected}")
        self._check_size(tuple(x.shape), "found")
        if x.numel():
            self.declaration.stages_for(*x.shape[2:])
            if not torch.isfinite(x).all():
                raise NotFinite(
                    f"found values that are not finite; {self.declaration.name} cannot carry them"
                )

    def _frame(self, x: Tensor, body: bytes) -> bytes:
        dtype = np.dtype(_DTYPES[x.dtype])
        frame = Frame(self.declaration.kind, dtype, tuple(x.shape), (body,), self.version)
        return frame.pack(self._signature)

    def _open(self, payload: bytes) -> tuple[Frame, Any]:
        """Read the frame; say so when only the version of the weights is another one."""
        try:
            frame = Frame.unpack(payload, self.declaration.kind, 1, self._signature)
            version = frame.weights
        except CodecError:
            head = MAGIC + bytes((FORMAT, CODEC_IDS[self.declaration.kind]))
            if payload[:4] != head:
                raise
            version, _ = read_varint(payload, 4)
            if version == self.version:
                raise
        if version != self.version:
            raise CodecError(
                f"payload was made with version {version} of the weights, this end holds {self.version}"
            )
        if (
            len(frame.shape) != self._rank
            or frame.shape[1] != self.in_channels
            or frame.dtype is None
            or frame.dtype.kind != "f"
        ):
            raise CodecError(
                f"payload holds {frame.dtype} of shape {frame.shape}, expected a float {self._expected}"
            )
        self._check_size(frame.shape, "payload claims")
        return frame, frame.parts[0]

    def _check_size(self, shape: tuple[int, ...], words: str) -> None:
        """Refuse a shape for which the networks would need more memory than any published system has."""
        widest = shape[0] * self.declaration.channels * prod(-(-side // 2) for side in shape[2:])
        if widest > _MAX_ACTIVATION:
            raise CodecError(
                f"{words} shape {shape}: {self.declaration.name} would make {widest:,} numbers of it inside, "
                f"expected at most {_MAX_ACTIVATION:,}"
            )

    def _latent_shape(self, shape: tuple[int, ...]) -> Shape:
        latent = self.declaration.latent_sides(shape[2:], self.stages)
        return (shape[0], self.declaration.channels, *latent)

    def _synthesise(
        self, latents: np.ndarray, shape: tuple[int, ...], scale: float | None, dtype: torch.dtype
    ) -> Tensor:
        """Return the reconstruction of latents: the one place where both ends make it."""
        with torch.no_grad(), single_thread():
            x_hat = crop(self._module.g_s(torch.from_numpy(latents)), shape[2:])
            if scale is not None:
                x_hat = x_hat * scale
            return x_hat.to(dtype).contiguous()


def _coder(module: Any) -> Simple | Conditional | Plain:
    """Return the latent coder of a trainee's weights."""
    if module.declaration.kind == "series-ae":
        return Plain()
    side = Simple(integers.factorised(module.entropy_bottleneck))
    kind, channels = module.declaration.kind, module.declaration.channels
    if kind == "ae":
        return side
    if kind == "hyperprior":
        wanted = output_bits(channels, 1, has_means=False)
        return Conditional(side, integers.sequence(module.h_s, wanted), "round", False)
    if kind == "mean-scale":
        wanted = output_bits(channels, 1)
        return Conditional(side, integers.sequence(module.h_s, wanted), module.declaration.mode, True)
    components = module.declaration.mixture
    hyper = integers.sequence(module.h_s, np.full(2 * channels, integers.ACTIVATION_BITS))
    stack = integers.pointwise(module.entropy_parameters, output_bits(channels, components))
    context = Context(integers.masked(module.context_prediction), stack, channels, components)
    return Conditional(side, hyper, module.declaration.mode, components == 1, context)


@contextmanager
def single_thread() -> Iterator[None]:
    """Run torch on one thread: sums split among threads may round otherwise."""
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _forward(module: Any, shape: tuple[int, ...]) -> Cost:
    return count(module, shape, training=False, input_gradient=False).forward


def _torch_type(dtype: Any) -> torch.dtype:
    return next(known for known, same in _DTYPES.items() if np.dtype(same) == dtype)

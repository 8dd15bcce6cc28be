"""The codec slots at work: a torch tensor becomes bytes in one place and a torch tensor again in another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sfsim.codec import frame
from sfsim.errors import CodecError, Diverged, NotFinite
from sfsim.seeds import stream

if TYPE_CHECKING:
    from sfsim.codec import Codec, Encoded
    from sfsim.codec.base import Memory
    from sfsim.cost import Cost
    from sfsim.workload.learned.replica import Rehearsal
    from sfsim.workload.prices import Shape
    from sfsim.workload.replica import State
    from sfsim.workload.work import Minibatch

FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Arrival:
    """What evaluation sees of a tensor that was sent: as received, its payload's bits, and the published bits."""

    tensor: torch.Tensor
    bits: float
    published_bits: float


class Slot:
    """One codec slot: the codec of one kind of tensor in one direction.

    What a plain codec has no use for (`rehearse`, `learn`) is there for the learned ones that derive from it.

    Parameters
    ----------
    name : str
        ``"smashed_up"``, ``"smashed_down"``, ``"gradient_up"`` or ``"gradient_down"``.
    codec : Codec
        The declaration.
    seed : int
        Training seed; stochastic codecs draw from the stream (seed, "codec", slot, client, minibatch).
    exact : bool
        Decoding gives the tensor that was encoded, whatever the payload holds, as published code of SplitFedZip
        does with gradients.
    """

    def __init__(self, name: str, codec: Codec, seed: int, exact: bool = False) -> None:
        self.name, self.codec, self._seed = name, codec, seed
        self._exact: dict[str, torch.Tensor] | None = {} if exact else None
        self.saturated: dict[str, int] = {}
        # What a codec that remembers keeps of each client's messages, at their sender.
        self._memories: dict[str, Memory] = {}

    def encode(self, tensor: torch.Tensor, client: str, at: Minibatch) -> Encoded:
        """Encode a tensor of any shape for the wire, in training mode."""
        try:
            encoded = self._encode(tensor, client, at)
        except CodecError as error:
            if isinstance(error, NotFinite) or not torch.isfinite(tensor).all():
                raise Diverged(
                    at.round, f"{self.name} of {client}, minibatch {at.minibatch}: {error}"
                ) from None
            raise CodecError(f"{self.name} of {client}, {describe(at)}: {error}") from None
        if self._exact is not None:
            self._exact[client] = tensor.detach()
        if encoded.saturated:
            # One key per client: clients are encoded side by side.
            self.saturated[client] = self.saturated.get(client, 0) + encoded.saturated
        return encoded

    def _encode(self, tensor: torch.Tensor, client: str, at: Minibatch) -> Encoded:
        rng = stream(self._seed, "codec", self.name, client, *at) if self.codec.stochastic else None
        memory = self._memories.get(client)
        encoded = self.codec.encode(to_array(tensor), rng, training=True, memory=memory)
        if encoded.memory is not None:
            self._memories[client] = encoded.memory
        return encoded

    def decode(self, payload: bytes, device: torch.device, client: str, at: Minibatch) -> torch.Tensor:
        """Decode what arrived; anything but an intact payload of this codec is a CodecError."""
        try:
            decoded = self._decode(payload, client, at).to(device)
        except CodecError as error:
            raise CodecError(f"{self.name} of {client}, {describe(at)}: {error}") from None
        return decoded if self._exact is None else self._exact.pop(client)

    def _decode(self, payload: bytes, client: str, at: Minibatch) -> torch.Tensor:
        return to_tensor(self.codec.decode(payload))

    def transmit(self, tensor: torch.Tensor) -> Arrival:
        """Return what a receiver would get in evaluation mode; NaN for what has diverged and cannot be sent.

        Evaluation is no part of a client's messages: a codec that remembers begins anew, and learns nothing.
        """
        try:
            encoded = self.codec.encode(to_array(tensor), None, training=False)
        except CodecError:
            if torch.isfinite(tensor).all():
                raise
            return Arrival(torch.full_like(tensor, torch.nan), math.nan, math.nan)
        received = to_tensor(self.codec.decode(encoded.payload)).to(tensor.device)
        return Arrival(received, 8.0 * len(encoded.payload), encoded.estimated_bits)

    def state(self, client: str) -> State | None:
        """The present weights of a learned codec; None of a plain one."""
        return None

    def preview(self, tensor: torch.Tensor, client: str) -> torch.Tensor:
        """Return what a receiver would get of this client's tensor now (to validate a local epoch)."""
        return self.transmit(tensor).tensor

    def rehearse(self, tensor: torch.Tensor, client: str, at: Minibatch) -> Rehearsal | None:
        """Run the trainee on a tensor that is being sent; a plain codec has none."""
        return None

    def learn(
        self, rehearsal: Rehearsal | None, gradient: torch.Tensor | None, client: str, at: Minibatch
    ) -> torch.Tensor | None:
        """Train on a rehearsal and the gradient that came back for its reconstruction; return it at the tensor.

        Without a gradient the codec is trained by its rate and distortion alone. A plain codec passes gradients
        straight through.
        """
        return gradient

    def support(self, payload: bytes, device: torch.device) -> torch.Tensor | None:
        """Flat indices of the entries for which a gradient returns, known to both ends; None means all."""
        indices = self.codec.gradient_support(payload)
        return None if indices is None else torch.from_numpy(indices).to(device)

    def correct(self, gradient: torch.Tensor, kept: np.ndarray | None) -> torch.Tensor:
        """Return the gradient that the sender applies, given what it kept of the message."""
        if kept is None:
            return gradient
        return to_tensor(self.codec.correct(to_array(gradient), kept)).to(gradient.device)

    def snapshot(self) -> Any:
        """See `sfsim.workload.saving`."""
        return {"saturated": self.saturated, "memories": to_saved(self._memories)}

    def restore(self, saved: Any) -> None:
        """See `sfsim.workload.saving`."""
        self.saturated, self._memories = saved["saturated"], from_saved(saved["memories"])

    def encode_cost(self, shape: Shape) -> Cost:
        """What encoding a float32 tensor of a shape costs."""
        return self.codec.encode_cost(prod(shape), FLOAT_BYTES, shape)

    def decode_cost(self, shape: Shape, payload: bytes) -> Cost:
        """What decoding a received payload costs."""
        return self.codec.decode_cost(prod(shape), len(payload), shape)

    def correct_costs(self, shape: Shape) -> list[tuple[str, Cost]]:
        """What `correct` costs, as phases."""
        cost = self.codec.correct_cost(prod(shape))
        return [("decode", cost)] if cost.flops else []

    def memory_bytes(self, batch: int) -> tuple[int, int]:
        """What the sender and the receiver of a client's tensors of `batch` examples hold all the time."""
        return 0, 0

    def rehearse_costs(self, shape: Shape, at: Minibatch) -> list[tuple[str, Cost]]:
        """What `rehearse` costs, as phases."""
        return []

    def learn_costs(self, shape: Shape, at: Minibatch) -> list[tuple[str, Cost]]:
        """What `learn` costs, as phases."""
        return []


def gather(gradient: torch.Tensor, support: torch.Tensor | None) -> torch.Tensor:
    """Keep the entries of a gradient that travel: all, or those of `support`, in its shape."""
    return gradient if support is None else gradient.reshape(-1)[support]


def scatter(values: torch.Tensor, support: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
    """Undo `gather`: a gradient of the shape of `like`, zero where nothing travelled."""
    if support is None:
        if values.shape != like.shape:
            raise CodecError(f"a gradient of shape {tuple(values.shape)} arrived for {tuple(like.shape)}")
        return values.to(like.dtype)
    if values.shape != support.shape:
        raise CodecError(
            f"a gradient of shape {tuple(values.shape)} arrived for kept entries of shape {tuple(support.shape)}"
        )
    full = torch.zeros(like.numel(), dtype=like.dtype, device=like.device)
    full[support] = values.to(like.dtype)
    return full.reshape(like.shape)


def to_saved(memories: dict[str, Memory]) -> dict[str, dict[str, torch.Tensor]]:
    """Memories as a checkpoint can hold them; see `sfsim.workload.saving`."""
    return {
        owner: {name: torch.from_numpy(array) for name, array in memory.items()}
        for owner, memory in memories.items()
    }


def from_saved(saved: dict[str, dict[str, torch.Tensor]]) -> dict[str, Memory]:
    """Undo `to_saved`."""
    return {
        owner: {name: tensor.numpy() for name, tensor in memory.items()} for owner, memory in saved.items()
    }


def part(payload: bytes) -> tuple[bytes, bytes]:
    """Undo `frame.join` of smashed data and labels."""
    (smashed, labels), end = frame.split(payload, 2)
    if end != len(payload):
        raise CodecError(f"{len(payload) - end} bytes are left over behind the labels")
    return bytes(smashed), bytes(labels)


def to_array(tensor: torch.Tensor) -> np.ndarray:
    """A tensor on any device as a numpy array in host memory."""
    return tensor.detach().cpu().numpy()


def to_tensor(array: np.ndarray) -> torch.Tensor:
    """A decoded array as a tensor that owns its memory."""
    return torch.from_numpy(np.array(array))


def describe(at: Minibatch) -> str:
    """Words for a place in training.

    >>> from sfsim.workload.work import Minibatch
    >>> describe(Minibatch(2, 1, 5))
    'round 2, minibatch 5'
    """
    return f"round {at.round}, minibatch {at.minibatch}"

"""How client-side models travel: whole weights or differences, through a codec, statistics always raw.

A payload begins with one byte that says how the rest is meant: 0, whole weights in float32 (what a receiver
without a reference gets); 1, whole weights through the slot's codec; 2, the difference to the reference that
both ends hold, through the slot's codec. Names do not travel: both ends know the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from sfsim.codec import Cast
from sfsim.codec.state import decode_state, encode_state
from sfsim.errors import CodecError, Diverged
from sfsim.learning.averaging import is_batch_norm_statistic
from sfsim.payload import Outgoing
from sfsim.workload.coding import from_saved, to_saved
from sfsim.workload.replica import State, to_arrays

if TYPE_CHECKING:
    import numpy as np

    from sfsim.codec.base import Memory
    from sfsim.cost import Cost
    from sfsim.scenario import ModelCodec

_PLAIN, _WEIGHTS, _DELTA = 0, 1, 2
_FLOAT32 = Cast(dtype="float32")


class ModelSlot:
    """The codec slot of client-side models in one direction.

    Parameters
    ----------
    spec : ModelCodec
        The codec, and whether it codes the weights or their difference to the reference.
    like : mapping of str to Tensor
        A state whose names, shapes and dtypes every state here has.
    what : str
        What travels, for complaints.
    """

    def __init__(
        self, spec: ModelCodec, like: Mapping[str, torch.Tensor], what: str = "client model"
    ) -> None:
        self._what = what
        self._memories: dict[str, Memory] = {}
        self._codec, self._delta = spec.codec, spec.of == "delta"
        self._like = {name: (array.shape, array.dtype) for name, array in to_arrays(like).items()}
        self._raw = {name for name in like if not _is_coded(name, like[name])}
        self.numel = sum(value.numel() for value in like.values())
        self.raw_bytes = sum(value.numel() * value.element_size() for value in like.values())

    def encode(
        self,
        state: State,
        reference: State | None,
        round: int,
        rng: np.random.Generator | None,
        owner: str = "",
    ) -> Outgoing:
        """Encode a state for one receiver, who holds `reference` (or nothing yet).

        What a codec that remembers keeps of it is kept for `owner`, whose next state is encoded with it.
        """
        mode = _WEIGHTS if not self._delta else _PLAIN if reference is None else _DELTA
        codec = _FLOAT32 if mode == _PLAIN else self._codec
        values = self._difference(state, reference) if mode == _DELTA and reference else state
        try:
            # Whole weights that replace a difference are no message of the codec.
            memory = self._memories.get(owner) if mode != _PLAIN else None
            encoded = encode_state(to_arrays(values), codec, rng, raw=self._raw, memory=memory)
        except CodecError as error:
            if all(torch.isfinite(value).all() for value in values.values()):
                raise
            raise Diverged(round, f"{self._what}: {error}") from None
        if encoded.memory is not None:
            self._memories[owner] = encoded.memory
        return Outgoing(
            kind="client model",
            payload=bytes([mode]) + encoded.payload,
            raw_bytes=self.raw_bytes,
            elements=self.numel,
            codec=codec.name,
            estimated_bits=encoded.estimated_bits,
            round=round,
        )

    def decode(self, payload: bytes, reference: State | None) -> State:
        """Return the state that `encode` was given, as far as the codec kept it."""
        mode = payload[0] if payload else -1
        if mode not in (_PLAIN, _WEIGHTS, _DELTA) or (mode == _DELTA and reference is None):
            raise CodecError(f"{self._what}: a payload of unknown form {mode} arrived")
        codec = _FLOAT32 if mode == _PLAIN else self._codec
        arrays = decode_state(payload[1:], codec, like=self._like, raw=self._raw)
        state = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if mode == _DELTA and reference:
            return {name: v + reference[name] if name not in self._raw else v for name, v in state.items()}
        return state

    def snapshot(self) -> Any:
        """See `sfsim.workload.saving`."""
        return to_saved(self._memories)

    def restore(self, saved: Any) -> None:
        """See `sfsim.workload.saving`."""
        self._memories = from_saved(saved)

    def encode_cost(self) -> Cost:
        """What encoding one state costs."""
        return self._codec.encode_cost(self.numel, 4)

    def decode_cost(self, payload: bytes) -> Cost:
        """What decoding one state costs."""
        return self._codec.decode_cost(self.numel, len(payload))

    def _difference(self, state: State, reference: State) -> State:
        return {
            name: v if name in self._raw else v.cpu() - reference[name].cpu() for name, v in state.items()
        }


def _is_coded(name: str, value: torch.Tensor) -> bool:
    return value.is_floating_point() and not is_batch_norm_statistic(name)

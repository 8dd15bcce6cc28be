"""A learned codec in evaluation: the global model's weights, and what its tensors take, in bits and as published."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import torch

from sfsim.errors import NotFinite
from sfsim.seeds import integer
from sfsim.workload.coding import Arrival
from sfsim.workload.learned.replica import load_weights

if TYPE_CHECKING:
    from sfsim.workload.learned.slot import LearnedSlot
    from sfsim.workload.replica import State


class Passage:
    """One slot with one set of weights.

    Parameters
    ----------
    slot : LearnedSlot
    state : dict of str to Tensor
        Weights of the global codec.
    train_mode : bool
        Hand on what the trainee makes with noise for rounding, as SplitFedZip's published code does in its tests.
    """

    def __init__(self, slot: LearnedSlot, state: State, train_mode: bool) -> None:
        self._name, self._train_mode = slot.name, train_mode
        self._wire = slot.wire(state, 1)
        self._trainee = copy.deepcopy(next(iter(slot.replicas.values())).trainee)
        load_weights(self._trainee, state)

    def transmit(self, tensor: torch.Tensor) -> Arrival:
        """Return what a receiver gets; NaN for what has diverged and cannot be sent."""
        try:
            sent = self._wire.encode(tensor)
        except NotFinite:
            return Arrival(torch.full_like(tensor, torch.nan), math.nan, math.nan)
        generator = torch.Generator().manual_seed(integer(0, "published rate", self._name))
        noisy = self._trainee(tensor, "noise", generator)
        received = noisy.x_hat if self._train_mode else sent.reconstruction.to(tensor.device)
        return Arrival(received, 8.0 * len(sent.payload), noisy.rate_bits.item())

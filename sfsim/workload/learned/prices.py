"""What a learned codec costs per tensor: counted once for each network and shape, then looked up."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

from sfsim.learning.costing import count, memory_bytes, optimiser_cost

if TYPE_CHECKING:
    from sfsim.cost import Cost
    from sfsim.learning.declarations import AnyOptimiser
    from sfsim.workload.learned.networks import Trainee
    from sfsim.workload.learned.wire import WireCodec
    from sfsim.workload.prices import Shape

What = Literal["encode", "decode", "rehearse", "learn", "pass back"]
"""On the wire, encode or decode; of a trainee, its run, and its backward with and without gradients of weights."""

_KNOWN: dict[tuple[str, str, int, Shape], Cost] = {}


def price(what: What, trainee: Trainee, wire: WireCodec, shape: Shape) -> Cost:
    """Return what something costs for one tensor of a shape.

    Parameters
    ----------
    trainee, wire
        Of the network; their weights do not matter.
    """
    # Slots of equal networks, and last minibatches of equal size, cost the same.
    network = (repr(replace(trainee.declaration, weights=None)), trainee.stages, shape)
    if (what, *network) not in _KNOWN:
        if what == "encode":
            _KNOWN["encode", *network] = wire.encode_cost(shape)
        elif what == "decode":
            _KNOWN["decode", *network] = wire.decode_cost(shape)
        else:
            run = count(_Whole(trainee, training=what != "pass back"), shape)
            _KNOWN["rehearse", *network] = run.forward
            _KNOWN["pass back" if what == "pass back" else "learn", *network] = run.backward
    return _KNOWN[what, *network]


def step_price(trainee: Trainee, optimiser: AnyOptimiser) -> Cost:
    """Return what a step over all weights costs."""
    weights = list(trainee.parameters())
    return optimiser_cost(optimiser, sum(weight.numel() for weight in weights), len(weights))


def memory(trainee: Trainee, optimiser: AnyOptimiser | None, shape: Shape) -> int:
    """Return the bytes that a trainee needs on a tensor of a shape; without an optimiser, a codec on the wire."""
    return memory_bytes(_Whole(trainee, training=optimiser is not None), shape, optimiser)


class _Whole(nn.Module):
    """A trainee as `count` wants it: one tensor in, one out, the rate's graph hung onto it."""

    def __init__(self, trainee: Trainee, training: bool) -> None:
        super().__init__()
        self.inner = copy.deepcopy(trainee)
        for weight in self.inner.parameters():
            weight.requires_grad_(training)

    def forward(self, x: Tensor) -> Tensor:
        output = self.inner(x)
        whole: Tensor = output.x_hat + (output.rate_bits + output.mse)
        return whole

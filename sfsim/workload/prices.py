"""What each piece of work costs: counted once per part and input shape, then looked up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

from sfsim.learning.costing import PartCost, count, loss_cost, memory_bytes, optimiser_cost

if TYPE_CHECKING:
    from sfsim.cost import Cost
    from sfsim.learning.chain import Part
    from sfsim.learning.declarations import AnyOptimiser, LossName

Shape = tuple[int, ...]


class Prices:
    """Costs of forward and backward per part, and the shapes that flow between parts.

    Parameters
    ----------
    parts : dict of str to Part
        ``front_end``, ``server_side`` and, U-shaped, ``back_end``, in the order of the data.
    example_shape : tuple of int
        Shape of one input, without the batch axis.
    loss : str
        Name of the loss.
    """

    def __init__(self, parts: dict[str, Part], example_shape: Shape, loss: LossName) -> None:
        self._parts, self._example_shape, self._loss = parts, example_shape, loss
        self._losses: dict[int, Cost] = {}
        self._taken: dict[tuple[str, int], tuple[Shape, dict[str, Shape]]] = {}
        self._memories: dict[tuple[str, int, AnyOptimiser], int] = {}
        self._known: dict[int, dict[str, PartCost]] = {}
        self._steps: dict[tuple[tuple[str, ...], AnyOptimiser], Cost] = {}

    def of(self, part: str, batch: int) -> PartCost:
        """Forward and backward of one part on a minibatch of `batch` examples."""
        return self._of_batch(batch)[part]

    def shape_after(self, part: str, batch: int) -> Shape:
        """Shape of what a part puts out: examples do not touch each other, so any batch tells that of all."""
        known = next(iter(self._known.values())) if self._known else self._of_batch(batch)
        return (batch, *known[part].output_shape[1:])

    def numel_after(self, part: str, batch: int) -> int:
        """Numbers in what a part puts out."""
        return torch.Size(self.shape_after(part, batch)).numel()

    def loss(self, batch: int) -> Cost:
        """The loss of the last part's output, forward and backward."""
        if batch not in self._losses:
            self._losses[batch] = loss_cost(self._loss, self.shape_after(list(self._parts)[-1], batch))
        return self._losses[batch]

    def step(self, parts: Iterable[str], optimiser: AnyOptimiser) -> Cost:
        """One optimiser step over the weights of some parts."""
        names = tuple(parts)
        if (names, optimiser) not in self._steps:
            weights = [weight for part in names for weight in self._parts[part].parameters()]
            numel = sum(weight.numel() for weight in weights)
            self._steps[names, optimiser] = optimiser_cost(optimiser, numel, len(weights))
        return self._steps[names, optimiser]

    def memory_bytes(self, part: str, batch: int, optimiser: AnyOptimiser) -> int:
        """What training a part needs at one time: weights, gradients, optimiser state, activations."""
        if (part, batch, optimiser) not in self._memories:
            self._of_batch(batch)
            shape, skips = self._taken[part, batch]
            needed = memory_bytes(self._parts[part], shape, optimiser, skips_shapes=skips)
            self._memories[part, batch, optimiser] = needed
        return self._memories[part, batch, optimiser]

    def _of_batch(self, batch: int) -> dict[str, PartCost]:
        if batch not in self._known:
            shape: Shape = (batch, *self._example_shape)
            skips: dict[str, Shape] = {}
            priced: dict[str, PartCost] = {}
            for name, part in self._parts.items():
                needed = {skip: skips[skip] for skip in part.skips_in}
                self._taken[name, batch] = (shape, needed)
                price = count(part, shape, skips_shapes=needed, input_gradient=name != "front_end")
                priced[name] = price
                shape = price.output_shape
                skips |= price.skips_out_shapes
            self._known[batch] = priced
        return self._known[batch]

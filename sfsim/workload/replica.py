"""Replicas: one party's copy of a part of the model with its optimiser and what it keeps between works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sfsim.learning.rates import LearningRate
from sfsim.learning.steps import Forward, make_optimiser

if TYPE_CHECKING:
    from sfsim.learning.cut import Part
    from sfsim.learning.declarations import AnyOptimiser
    from sfsim.workload.learned.replica import Rehearsal

State = dict[str, torch.Tensor]


@dataclass(slots=True)
class Pending:
    """What a minibatch leaves on a party until its gradient comes."""

    forward: Forward | None = None
    tail: Forward | None = None
    targets: torch.Tensor | None = None
    skip_gradients: Mapping[str, torch.Tensor] = field(default_factory=dict)
    gradient: torch.Tensor | None = None
    loss: float = 0.0
    rehearsal: Rehearsal | None = None
    support: torch.Tensor | None = None
    kept: np.ndarray | None = None
    tail_support: torch.Tensor | None = None


class Replica:
    """Parts of the model on one party (front end and back end, or the server side) and their optimiser.

    Parameters
    ----------
    parts : mapping of str to Part
        By name: ``front_end``, ``back_end``, ``server_side``.
    """

    def __init__(self, parts: Mapping[str, Part], optimiser: AnyOptimiser) -> None:
        self.parts = dict(parts)
        self._declared, self._rate = optimiser, LearningRate(optimiser)
        self._steps = 0
        self.pending = Pending()
        self.reset_optimiser()

    def reset_optimiser(self) -> None:
        """Forget momentum and moments; the learning rate's schedule goes on."""
        self.optimiser = make_optimiser(self._declared, self._weights())

    def step(self, round: int) -> None:
        """Step on the gradients that were accumulated, at the learning rate of now, and forget them."""
        if self._rate.by is not None:
            rate = self._rate(round - 1 if self._rate.by == "round" else self._steps)
            for group in self.optimiser.param_groups:
                group["lr"] = rate
        self._steps += 1
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def state(self) -> State:
        """Copies of all weights and buffers, named ``part.name``."""
        return {
            f"{name}.{key}": value.detach().clone()
            for name, part in self.parts.items()
            for key, value in part.state_dict().items()
        }

    def snapshot(self) -> dict[str, Any]:
        """See `sfsim.workload.saving`; gradients wait for a step that has not begun."""
        assert self.pending.forward is None, "a minibatch is under way"
        return {
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
            "gradients": [weight.grad for weight in self._weights()],
            "optimiser": self.optimiser.state_dict(),
            "steps": self._steps,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """See `sfsim.workload.saving`."""
        for name, part in self.parts.items():
            part.load_state_dict(saved["parts"][name])
        self.optimiser.load_state_dict(saved["optimiser"])
        self._steps = saved["steps"]
        for weight, gradient in zip(self._weights(), saved["gradients"], strict=True):
            weight.grad = gradient

    def _weights(self) -> list[torch.nn.Parameter]:
        return [weight for part in self.parts.values() for weight in part.parameters()]


def load(parts: Mapping[str, Part], state: Mapping[str, torch.Tensor]) -> None:
    """Put weights and buffers into parts; names that are absent stay as they are."""
    with torch.no_grad():
        for name, part in parts.items():
            for key, value in part.state_dict().items():
                if f"{name}.{key}" in state:
                    value.copy_(state[f"{name}.{key}"])


def to_arrays(state: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """A state in host memory."""
    return {name: value.detach().cpu().numpy() for name, value in state.items()}

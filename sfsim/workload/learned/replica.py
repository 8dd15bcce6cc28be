"""A codec replica: one owner's trainee with its optimiser, and what a run of it leaves until its gradient comes."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from sfsim.learning.steps import make_optimiser
from sfsim.workload.learned.networks import Output, Quantiser, Trainee

if TYPE_CHECKING:
    from sfsim.scenario import CodecTraining
    from sfsim.workload.replica import State


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A trainee's run on a tensor that was sent.

    Attributes
    ----------
    x : Tensor
        The tensor, a leaf that collects its gradient.
    output : Output
        Reconstruction, rate and distortion, in the graph.
    """

    x: torch.Tensor
    output: Output


class CodecReplica:
    """One trainee and its optimiser.

    Parameters
    ----------
    trainee : Trainee
        Copied, with a noise generator of its own.
    seed : int
        Of the noise.
    pixels : int
        Pixels of one input image: the rate of the loss is in bits per pixel.
    training : CodecTraining
    device : torch.device
        Where it learns.

    Attributes
    ----------
    changes : int
        How often the weights have changed.
    """

    def __init__(
        self, trainee: Trainee, training: CodecTraining, seed: int, pixels: int, device: torch.device
    ) -> None:
        self.trainee = copy.deepcopy(trainee).to(device)
        self.trainee._generator = torch.Generator().manual_seed(seed)
        self._training, self._pixels = training, pixels
        self._task_only, self._bypass = training.model_loss == "task", training.model_loss == "bypass"
        self.quantiser: Quantiser = "hard"
        self.changes = 0
        self.reset_optimiser()

    def reset_optimiser(self) -> None:
        """Forget momentum and moments."""
        named = dict(self.trainee.named_parameters())
        factorised = [weight for name, weight in named.items() if name.startswith("entropy_bottleneck.")]
        others = [weight for name, weight in named.items() if not name.startswith("entropy_bottleneck.")]
        self.optimiser = make_optimiser(self._training.optimiser, others + factorised)
        if self._training.entropy_learning_rate is not None:
            self.optimiser.param_groups[0]["params"] = others
            rate = {"params": factorised, "lr": self._training.entropy_learning_rate}
            self.optimiser.add_param_group(rate)

    def rehearse(self, tensor: torch.Tensor, trains: bool) -> Rehearsal:
        """Run on a tensor that is being sent."""
        for weight in self.trainee.parameters():
            weight.requires_grad_(trains)
        x = tensor.detach().requires_grad_()
        return Rehearsal(x, self.trainee(x, self.quantiser))

    def learn(self, rehearsal: Rehearsal, gradient: torch.Tensor | None, trains: bool) -> torch.Tensor:
        """Go back through a rehearsal, step if the codec still trains, and return the gradient at its tensor.

        The loss is rate + lambda (distortion + task), divided by lambda: so the task's gradient keeps its size on
        its way to the model, and codecs of different lambda stand in one sum. Bypassed, the codec learns by rate and
        distortion alone, and the gradient is that of its reconstruction.
        """
        x, output = rehearsal.x, rehearsal.output
        images = x.shape[0] * self._pixels
        own = output.rate_bits / (images * self.trainee.declaration.lambda_) + output.mse
        at_tensor = None
        if gradient is not None and self._bypass:
            at_tensor, gradient = gradient, None
        elif gradient is not None and self._task_only:
            (at_tensor,) = torch.autograd.grad(output.x_hat, x, gradient, retain_graph=trains)
        if at_tensor is None or trains:
            roots, seeds = [own], [torch.ones_like(own)]
            if gradient is not None:
                roots, seeds = [output.x_hat, own], [gradient, torch.ones_like(own)]
            torch.autograd.backward(roots, seeds)
        if trains:
            self.changes += 1
            torch.nn.utils.clip_grad_norm_(self.trainee.parameters(), self._training.clip_norm, foreach=False)
            self.optimiser.step()
            self.optimiser.zero_grad(set_to_none=True)
        if at_tensor is not None:
            return at_tensor
        assert x.grad is not None
        return x.grad

    def snapshot(self) -> dict[str, Any]:
        """See `sfsim.workload.saving`."""
        return {
            "weights": self.state(),
            "optimiser": self.optimiser.state_dict(),
            "noise": self.trainee._generator.get_state(),
            "changes": self.changes,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """See `sfsim.workload.saving`."""
        load_weights(self.trainee, saved["weights"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.trainee._generator.set_state(saved["noise"])
        self.changes = saved["changes"]

    def state(self) -> State:
        """Copies of all weights in host memory; nothing else is sent or averaged (tables follow from weights)."""
        return {
            name: weight.detach().to("cpu", copy=True) for name, weight in self.trainee.named_parameters()
        }

    def load(self, state: State) -> None:
        """Take over weights."""
        self.changes += 1
        load_weights(self.trainee, state)


def load_weights(trainee: Trainee, state: State) -> None:
    """Put weights into a trainee."""
    with torch.no_grad():
        for name, weight in trainee.named_parameters():
            weight.copy_(state[name])


def decoder_side(name: str) -> bool:
    """Whether a weight belongs to what a receiver holds: everything but the two analyses."""
    return not name.startswith(("g_a.", "h_a."))

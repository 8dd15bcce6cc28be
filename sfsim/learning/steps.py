"""The pure steps of split training: a part's forward, its one backward, and the gradient of the loss.

Nothing here has state of its own, so that several clients can be computed side by side in threads. Chained
one after another, the steps give bit for bit the gradients of unsplit training: each part runs exactly one
backward, which receives the gradients of its output and of its skips together, so that sums are formed in the
same way as in one graph.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from inspect import unwrap
from typing import Any

import torch
from torch import Tensor

from sfsim.learning.chain import Part, run_backward
from sfsim.learning.declarations import Adam, AnyOptimiser, LossName, Sgd
from sfsim.learning.losses import loss_function


@dataclass(frozen=True)
class Forward:
    """What a part's forward leaves for its backward.

    Attributes
    ----------
    x : Tensor
        The input as a leaf; it collects the gradient that goes down.
    skips : dict of str to Tensor
        The skips that came in, as leaves.
    y : Tensor
        The output, still in the graph; send ``y.detach()``.
    skips_out : dict of str to Tensor
        The skips left to a later part, still in the graph.
    """

    x: Tensor
    skips: dict[str, Tensor]
    y: Tensor
    skips_out: dict[str, Tensor]


def forward(
    part: Part, x: Tensor, skips: Mapping[str, Tensor] | None = None, input_gradient: bool = True
) -> Forward:
    """Run `part` on fresh leaves, in whatever mode (train or eval) it is in.

    Parameters
    ----------
    part : Part
    x : Tensor (N, C, H, W)
    skips : mapping of str to Tensor
        The skips that the part needs, as an earlier part left them.
    input_gradient : bool
        Whether the backward must give the gradient at `x`; False for a front end, whose input is data.
    """
    leaf = x.detach().requires_grad_(input_gradient)
    leaves = {name: skip.detach().requires_grad_() for name, skip in (skips or {}).items()}
    y, skips_out = part(leaf, leaves)
    return Forward(leaf, leaves, y, skips_out)


def backward(
    fwd: Forward, gradient: Tensor, skip_gradients: Mapping[str, Tensor] | None = None
) -> tuple[Tensor | None, dict[str, Tensor]]:
    """Run the one backward of a part; weight gradients are added to ``parameter.grad``.

    Parameters
    ----------
    fwd : Forward
        From `forward`; its graph is freed.
    gradient : Tensor
        Gradient of the loss with respect to ``fwd.y``, same shape.
    skip_gradients : mapping of str to Tensor
        Gradients with respect to each of ``fwd.skips_out``, as the later part's backward gave them.

    Returns
    -------
    Tensor or None, dict of str to Tensor
        Gradient at the input (None when it was not asked for) and at each skip that came in.
    """
    given = skip_gradients or {}
    outputs = [fwd.y, *(fwd.skips_out[name] for name in given)]
    run_backward(outputs, [gradient, *given.values()])
    return fwd.x.grad, {name: _gradient(skip) for name, skip in fwd.skips.items()}


def loss_gradient(output: Tensor, targets: Tensor, loss: LossName) -> tuple[float, Tensor]:
    """Return the loss and its gradient with respect to `output`.

    Parameters
    ----------
    output : Tensor (N, C) or (N, C, H, W)
        Logits; the graph they hang on is not walked.
    targets : Tensor of int64 (N,), (N, H, W) or (N, C)
    loss : str
        ``"cross-entropy"``, ``"dice"`` or ``"binary-cross-entropy"``.
    """
    leaf = output.detach().requires_grad_()
    value = loss_function(loss)(leaf, targets)
    value.backward()
    return value.item(), _gradient(leaf)


class _Uncompiled:
    """An optimiser of torch without its hooks for torch's compiler, whose import takes two seconds.

    The first hook that is called imports the compiler; what is inside them is called as it is. The arithmetic is
    torch's.
    """

    state_dict = unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = unwrap(torch.optim.Optimizer.load_state_dict)
    zero_grad = unwrap(torch.optim.Optimizer.zero_grad)
    add_param_group = unwrap(torch.optim.Optimizer.add_param_group)


class _SGD(_Uncompiled, torch.optim.SGD):
    step: Any = torch.no_grad()(unwrap(torch.optim.SGD.step))


class _Adam(_Uncompiled, torch.optim.Adam):
    step: Any = torch.no_grad()(unwrap(torch.optim.Adam.step))


class _AdamW(_Uncompiled, torch.optim.AdamW):
    step: Any = torch.no_grad()(unwrap(torch.optim.AdamW.step))


def make_optimiser(spec: AnyOptimiser, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Return torch's optimiser for a declaration; call `zero_grad`, one or more `backward`, `step`."""
    # One tensor after another (foreach=False): the same arithmetic on every device and version.
    if isinstance(spec, Sgd):
        return _SGD(
            parameters,
            lr=spec.learning_rate,
            momentum=spec.momentum,
            weight_decay=spec.weight_decay,
            foreach=False,
        )
    kind: type[torch.optim.Optimizer] = _Adam if isinstance(spec, Adam) else _AdamW
    return kind(
        parameters,
        lr=spec.learning_rate,
        betas=spec.betas,
        eps=spec.epsilon,
        weight_decay=spec.weight_decay,
        foreach=False,
    )


def _gradient(leaf: Tensor) -> Tensor:
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad

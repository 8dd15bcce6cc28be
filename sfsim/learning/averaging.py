"""Federated averaging of model states, with BatchNorm statistics handled by explicit choice."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sfsim.learning.declarations import BatchNormRule

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def is_batch_norm_statistic(name: str) -> bool:
    """Say whether an entry of a state dict is a BatchNorm statistic (not its affine weight or bias).

    >>> is_batch_norm_statistic("stages.conv1.body.1.running_var")
    True
    """
    return name.rpartition(".")[2] in _STATISTICS


def fedavg(
    states: Sequence[Mapping[str, Tensor]], weights: Sequence[float], batch_norm: BatchNormRule = "average"
) -> dict[str, Tensor]:
    """Return the weighted mean of model states.

    Parameters
    ----------
    states : sequence of mapping of str to Tensor
        State dicts with the same keys.
    weights : sequence of float
        One per state, usually its number of examples; only their ratio matters.
    batch_norm : str
        ``"average"``: running means and variances are averaged like weights. ``"local"``: they are left out
        of the result, so that each client keeps its own (load it with ``strict=False``); the affine weight
        and bias are averaged in both.

    Returns
    -------
    dict of str to Tensor
        New tensors. Sums are formed in float64 and in the order of `states`; an integer buffer
        (``num_batches_tracked``) becomes the weighted mean rounded to the nearest whole number.

    Raises
    ------
    ValueError
        Nothing to average, keys that differ, or weights that are negative or sum to zero.

    Source: McMahan et al., arXiv 1602.05629, algorithm 1; ``"local"`` as SiloBN, Andreux et al., 2020.

    Examples
    --------
    >>> fedavg([{"w": torch.tensor([0.0])}, {"w": torch.tensor([4.0])}], [1, 3])
    {'w': tensor([3.])}
    """
    if not states or len(states) != len(weights):
        raise ValueError(f"{len(states)} states and {len(weights)} weights")
    if any(state.keys() != states[0].keys() for state in states):
        raise ValueError("the states to average have different keys")
    total = float(sum(weights))
    if min(weights) < 0 or total <= 0:
        raise ValueError(f"weights {list(weights)} are negative or sum to zero")
    return {
        name: _mean([state[name] for state in states], [weight / total for weight in weights])
        for name in states[0]
        if batch_norm == "average" or not is_batch_norm_statistic(name)
    }


def _mean(tensors: list[Tensor], shares: list[float]) -> Tensor:
    total = torch.zeros_like(tensors[0], dtype=torch.float64)
    for tensor, share in zip(tensors, shares, strict=True):
        total += tensor.to(torch.float64) * share
    if not tensors[0].is_floating_point():
        total = total.round()
    return total.to(tensors[0].dtype)

"""The losses: cross-entropy, soft Dice and binary cross-entropy, all from logits."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from sfsim.learning.declarations import LossName


def loss_function(name: LossName) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss called `name`, a function of logits (N, C, ...) and int64 targets (N, ...)."""
    if name == "binary-cross-entropy":
        return binary_cross_entropy
    return dice if name == "dice" else functional.cross_entropy


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the binary cross-entropy of logits (N, K) and targets 0 or 1 (N, K), the mean over examples and classes.

    >>> import torch
    >>> binary_cross_entropy(torch.zeros(1, 2), torch.tensor([[0, 1]])).item() == torch.tensor(2).log().item()
    True
    """
    return functional.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype))


def dice(logits: Tensor, targets: Tensor, epsilon: float = 1e-7) -> Tensor:
    """Return the soft Dice loss over a minibatch.

    For each class c, with probabilities p = softmax(logits) and one-hot targets t summed over all images and
    pixels of the minibatch, ``loss_c = 1 - 2 sum(p t) / max(sum(p + t), epsilon)``; a class without a single
    target pixel in the minibatch counts 0; the loss is the mean over all C classes, background included.
    There is no smoothing term: `epsilon` only keeps the denominator from zero.

    Parameters
    ----------
    logits : Tensor of float (N, C, ...)
    targets : Tensor of int64 (N, ...)

    Source: ``DiceLoss(mode="multiclass", from_logits=True)`` of segmentation_models_pytorch with its
    defaults, which SplitFedZip trains with.
    """
    probabilities = functional.log_softmax(logits, dim=1).exp()
    hot = functional.one_hot(targets, logits.shape[1]).movedim(-1, 1).to(logits.dtype)
    others = [axis for axis in range(logits.ndim) if axis != 1]
    overlap = (probabilities * hot).sum(others)
    total = (probabilities + hot).sum(others)
    present = (hot.sum(others) > 0).to(logits.dtype)
    return ((1 - 2 * overlap / total.clamp_min(epsilon)) * present).mean()

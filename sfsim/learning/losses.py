"""The losses: cross-entropy and soft Dice, both from logits."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from sfsim.learning.declarations import LossName


def loss_function(name: LossName) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss called `name`, a function of logits (N, C, ...) and int64 targets (N, ...)."""
    return dice if name == "dice" else functional.cross_entropy


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

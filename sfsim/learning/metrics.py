"""Evaluate a cut model: loss, and accuracy, mean Jaccard index (segmentation), or F1 and AUROC (several labels)."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from sfsim.learning.chain import Part
from sfsim.learning.cut import Parts
from sfsim.learning.dataset import Examples
from sfsim.learning.declarations import LossName
from sfsim.learning.losses import loss_function


@torch.no_grad()
def evaluate(
    parts: Parts,
    examples: Examples,
    batch_size: int,
    transmit: Callable[[Tensor, str], Tensor] | None = None,
    loss: LossName = "cross-entropy",
    eval_mode: bool = True,
) -> dict[str, float]:
    """Evaluate a model; the parts are left in the mode they were in.

    Evaluations of the same parts may run side by side in threads if the parts are in eval mode already.

    Parameters
    ----------
    parts : Parts
        All on one device, to which the examples are moved.
    examples : Examples
        At least one.
    batch_size : int
        Examples at a time; it only matters to the Dice loss, which is defined over a minibatch.
    transmit : callable, optional
        ``transmit(smashed, slot)`` is applied at each cut, slot ``"smashed_up"`` or ``"smashed_down"``, and
        gives what the other side receives (codec on); None passes tensors unchanged (codec off).
    loss : str
        ``"cross-entropy"``, ``"dice"`` or ``"binary-cross-entropy"``.
    eval_mode : bool
        False leaves the parts in their mode (in training mode BatchNorm takes the minibatch's statistics).

    Returns
    -------
    dict of str to float
        ``"loss"`` (mean over examples) and ``"accuracy"``, ``"mji"`` (see `MeanJaccard`), or with several labels
        ``"f1"`` and ``"auroc"`` (see `several_labels`); NaN all of them when the model puts out NaN.
    """
    if len(examples) == 0:
        raise ValueError("no examples to evaluate")
    device = next(parts.front_end.parameters()).device
    send = transmit or _unchanged
    loss_sum, correct, jaccard = 0.0, 0, MeanJaccard()
    scores: list[tuple[Tensor, Tensor]] = []
    with ExitStack() as stack:
        for part in parts if eval_mode else ():
            stack.enter_context(_eval_mode(part))
        for start in range(0, len(examples), batch_size):
            x, targets = examples.batch(slice(start, start + batch_size), device)
            logits = _logits(parts, x, send)
            loss_sum += loss_function(loss)(logits, targets).item() * len(targets)
            prediction = _predicted(logits, loss)
            if loss == "binary-cross-entropy":
                scores.append((logits.cpu(), targets.cpu()))
            elif targets.ndim == 1:
                correct += int((prediction == targets).sum())
            else:
                jaccard.add(prediction, targets, logits.shape[1])
    mean_loss = loss_sum / len(examples)
    if scores:
        found = several_labels(*(torch.cat(parts) for parts in zip(*scores, strict=True)))
    elif targets.ndim == 1:
        found = {"accuracy": correct / len(examples)}
    else:
        found = {"mji": jaccard.mean()}
    return {"loss": mean_loss} | (dict.fromkeys(found, math.nan) if math.isnan(mean_loss) else found)


@torch.no_grad()
def predict(
    parts: Parts,
    inputs: Tensor,
    transmit: Callable[[Tensor, str], Tensor] | None = None,
    loss: LossName = "cross-entropy",
) -> Tensor:
    """Return the classes that a model in eval mode gives to `inputs`, int64 of the targets' shape; see `evaluate`."""
    with ExitStack() as stack:
        for part in parts:
            stack.enter_context(_eval_mode(part))
        return _predicted(_logits(parts, inputs, transmit or _unchanged), loss)


def _predicted(logits: Tensor, loss: LossName) -> Tensor:
    """Return the likeliest class; of several labels, 1 for each that is likelier than not."""
    return (logits > 0).long() if loss == "binary-cross-entropy" else logits.argmax(1)


def several_labels(logits: Tensor, targets: Tensor) -> dict[str, float]:
    """Return F1 and AUROC of logits (N, K) and targets 0 or 1 (N, K).

    F1, at a probability of 0.5, counts over all examples and classes at once ("micro"); where nothing is there and
    nothing was predicted it is 1. AUROC is the share of pairs of an example with a class and one without that are in
    the right order, equal ones counting half: the mean over the classes that have both kinds ("macro"), NaN without
    any.

    Examples
    --------
    >>> several_labels(torch.tensor([[2.0], [-1.0], [-3.0]]), torch.tensor([[1], [1], [0]]))
    {'f1': 0.6666666666666666, 'auroc': 1.0}
    """
    predicted, true = logits > 0, targets > 0
    hit, total = int((predicted & true).sum()), int(predicted.sum()) + int(true.sum())
    areas = []
    for scores, is_true in zip(logits.double().T, true.T, strict=True):
        positives, negatives = int(is_true.sum()), int((~is_true).sum())
        if not positives or not negatives:
            continue
        _, place, count = scores.unique(return_inverse=True, return_counts=True)
        ranks = (count.cumsum(0) - (count - 1) / 2)[
            place
        ]  # from 1; equal scores share the mean of their places
        above = float(ranks[is_true].sum()) - positives * (positives + 1) / 2
        areas.append(above / (positives * negatives))
    return {"f1": 2 * hit / total if total else 1.0, "auroc": sum(areas) / len(areas) if areas else math.nan}


def _unchanged(smashed: Tensor, slot: str) -> Tensor:
    return smashed


def _logits(parts: Parts, inputs: Tensor, send: Callable[[Tensor, str], Tensor]) -> Tensor:
    smashed, skips = parts.front_end(inputs)
    logits, _ = parts.server_side(send(smashed, "smashed_up"))
    if parts.back_end is not None:
        logits, _ = parts.back_end(send(logits, "smashed_down"), skips)
    return logits


class MeanJaccard:
    """Mean Jaccard index (MJI) over the classes 1 to C-1, so without the background.

    The Jaccard index of each class is taken per image; an image in which the class is absent from prediction
    and target alike says nothing about it and is skipped. Each class is averaged over its images, then the
    classes that occurred at all are averaged; with none at all the mean is NaN.

    Source: SplitFedZip, arXiv 2412.17150, which leaves absent classes undefined.
    """

    def __init__(self) -> None:
        self._sums: Tensor | float = 0.0
        self._images: Tensor | float = 0.0

    def add(self, prediction: Tensor, targets: Tensor, num_classes: int) -> None:
        """Add a minibatch of int64 class maps (N, H, W)."""
        classes = torch.arange(1, num_classes, device=targets.device).view(1, -1, 1)
        is_predicted = prediction.flatten(1).unsqueeze(1) == classes
        is_target = targets.flatten(1).unsqueeze(1) == classes
        overlap = (is_predicted & is_target).sum(2)
        union = (is_predicted | is_target).sum(2)
        self._sums = self._sums + (overlap.double() / union.clamp_min(1)).sum(0).cpu()
        self._images = self._images + (union > 0).sum(0).cpu()

    def mean(self) -> float:
        """The mean over all minibatches added so far."""
        sums, images = torch.as_tensor(self._sums), torch.as_tensor(self._images)
        return (sums[images > 0] / images[images > 0]).mean().item()


@contextmanager
def _eval_mode(part: Part) -> Iterator[None]:
    modes = [(module, module.training) for module in part.modules()]
    part.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training

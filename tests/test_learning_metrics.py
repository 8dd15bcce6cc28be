"""Losses and metrics against direct formulas and scikit-learn."""

import numpy as np
import pytest
import torch
from torch import Tensor

from sfsim.learning.cut import Parts, split
from sfsim.learning.data import Examples
from sfsim.learning.declarations import Cnn, UNet
from sfsim.learning.losses import dice, loss_function
from sfsim.learning.metrics import MeanJaccard, evaluate
from sfsim.learning.models import build


def test_dice_is_the_published_formula() -> None:
    generator = np.random.default_rng(1)
    logits = generator.standard_normal((3, 4, 5, 6))
    targets = generator.integers(0, 3, (3, 5, 6))  # class 3 is absent
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    losses = []
    for label in range(4):
        t = (targets == label).astype(float)
        losses.append((1 - 2 * (p[:, label] * t).sum() / (p[:, label].sum() + t.sum())) * (t.sum() > 0))
    assert dice(torch.from_numpy(logits), torch.from_numpy(targets)).item() == pytest.approx(np.mean(losses))


def test_dice_is_zero_for_a_sure_and_right_answer_and_near_one_for_a_wrong_one() -> None:
    targets = torch.tensor([[[0, 1], [1, 2]]])
    sure = 100.0 * torch.nn.functional.one_hot(targets, 3).movedim(-1, 1)
    assert dice(sure, targets).item() == pytest.approx(0, abs=1e-6)
    assert dice(-sure, targets).item() > 0.6


def test_dice_has_the_right_gradient() -> None:
    logits = torch.randn(2, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    targets = torch.randint(3, (2, 4, 4), generator=torch.Generator().manual_seed(2))
    assert torch.autograd.gradcheck(lambda x: loss_function("dice")(x, targets), logits.requires_grad_())


def test_mji_is_scikit_learns_jaccard_per_image_and_class_without_background() -> None:
    from sklearn.metrics import jaccard_score

    rng = np.random.default_rng(3)
    targets, prediction = rng.integers(0, 4, (2, 12, 8, 8))
    for maps in (targets, prediction):  # make classes absent from many images
        for image in maps[:8]:
            image[image == rng.integers(1, 4)] = 0
    targets[3], prediction[3] = 0, 0
    scores = np.full((12, 4), np.nan)
    for at, (p, t) in enumerate(zip(prediction, targets, strict=True)):
        present = np.union1d(p, t)
        scores[at, present] = jaccard_score(t.ravel(), p.ravel(), labels=present, average=None)
    expected = np.nanmean(scores, axis=0)[1:].mean()
    metric = MeanJaccard()
    for batch in (slice(0, 5), slice(5, 12)):
        metric.add(torch.from_numpy(prediction[batch]), torch.from_numpy(targets[batch]), 4)
    assert metric.mean() == pytest.approx(expected, rel=1e-12)


def test_mji_skips_what_is_absent() -> None:
    one = torch.tensor([[[1, 1], [0, 0]]])
    empty = torch.zeros_like(one)
    metric = MeanJaccard()
    metric.add(empty, empty, 3)
    assert np.isnan(metric.mean())  # nothing was to be found and nothing was claimed
    metric.add(one, one, 3)
    assert metric.mean() == 1  # neither the empty image nor class 2 counts
    metric.add(one, empty, 3)
    assert metric.mean() == 0.5  # a false alarm does


def digits_like(number: int) -> Examples:
    generator = torch.Generator().manual_seed(number)
    return Examples(
        torch.rand(number, 1, 8, 8, generator=generator), torch.randint(5, (number,), generator=generator)
    )


def test_evaluation_of_a_classifier() -> None:
    parts = split(build(Cnn(), 1, 5, seed=1), ("conv1", "conv3"))
    parts.server_side.eval()
    before = {name: value.clone() for part in parts for name, value in part.state_dict().items()}
    examples = digits_like(11)
    slots: list[str] = []

    def listen(x: Tensor, slot: str) -> Tensor:
        slots.append(slot)
        return x

    result = evaluate(parts, examples, 4, listen)
    assert slots == ["smashed_up", "smashed_down"] * 3
    assert [part.training for part in parts] == [True, False, True]  # as they were
    after = {name: value for part in parts for name, value in part.state_dict().items()}
    assert all(torch.equal(before[name], after[name]) for name in before)  # no BatchNorm statistic moved
    chain = build(Cnn(), 1, 5, seed=1).eval()
    logits = chain(examples.inputs)[0]
    assert result["accuracy"] == int((logits.argmax(1) == examples.targets).sum()) / 11
    assert result["loss"] == pytest.approx(
        torch.nn.functional.cross_entropy(logits, examples.targets).item(), rel=1e-5
    )
    assert evaluate(parts, examples, 4) == result
    zeroed = evaluate(parts, examples, 4, lambda x, slot: torch.zeros_like(x))
    assert zeroed["loss"] != result["loss"]
    with pytest.raises(ValueError, match="no examples"):
        evaluate(parts, digits_like(0), 4)


def test_evaluation_of_a_segmenter() -> None:
    parts: Parts = split(build(UNet(width=2), 3, 2, seed=1), ("enc2a", "dec2a"))
    images = torch.randint(256, (5, 3, 32, 32), dtype=torch.uint8)
    masks = torch.randint(2, (5, 32, 32), dtype=torch.uint8)
    result = evaluate(parts, Examples(images, masks), 2, loss="dice")
    assert result.keys() == {"loss", "mji"}
    assert 0 <= result["mji"] <= 1

"""Augmentation: torchvision by hand as the oracle, masks along with images, luck by name, what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from interrupted import counted, files
from scenario_files import SCENARIO, write
from test_determinism import rows
from test_equivalence import assert_equal, whole
from torchvision import tv_tensors
from torchvision.transforms import v2
from worlds import MASKS, clients, finished, scenario

import sfsim
from sfsim.errors import ConfigError
from sfsim.learning.augmentations import (
    AnyAugmentation,
    ColourJitter,
    HorizontalFlip,
    RandomCrop,
    ResizedCrop,
    Rotation,
    VerticalFlip,
)
from sfsim.learning.augmenting import Augmentation
from sfsim.learning.data import load_dataset
from sfsim.learning.declarations import AdamW, Synthetic, UNet
from sfsim.learning.losses import loss_function
from sfsim.learning.models import build
from sfsim.learning.preparing import Normalisation
from sfsim.learning.schedules import CosineRate
from sfsim.scenario import load
from sfsim.seeds import integer

STEPS: tuple[AnyAugmentation, ...] = (
    RandomCrop(padding=2),
    HorizontalFlip(),
    VerticalFlip(probability=0.3),
    Rotation(degrees=20),
    ColourJitter(brightness=0.3, contrast=0.2),
    ResizedCrop(area=(0.5, 1.0)),
)


def by_hand(size: int) -> v2.Compose:
    """What anybody would write in torchvision for `STEPS`."""
    return v2.Compose(
        [
            v2.RandomCrop(size, padding=2),
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(0.3),
            v2.RandomRotation(20, interpolation=v2.InterpolationMode.BILINEAR),
            v2.ColorJitter(brightness=0.3, contrast=0.2),
            v2.RandomResizedCrop(size, scale=(0.5, 1.0)),
        ]
    )


SEGMENTATION = {"data": MASKS, "model": UNet(width=2), "cut_layers": ("enc2a", "dec2a"), "loss": "dice"}


@pytest.mark.parametrize("protocol", ["splitfed-v1", "splitfed-v2", "sl"])
@pytest.mark.parametrize("more", [{}, SEGMENTATION], ids=["classes", "masks"])
def test_split_training_on_augmented_images_is_unsplit_training_on_them(
    protocol: str, more: dict[str, Any]
) -> None:
    spec = AdamW(learning_rate=1e-2, schedule=CosineRate(over=8, by="step"))
    declared = scenario(
        protocol=protocol,
        augmentation=STEPS,
        normalisation=Normalisation(mean=(0.4,), std=(0.3,)),
        optimiser=spec,
        clients=clients(1),
        local_steps=4,
        batch_size=13,
        **more,
    )
    run = finished(declared)
    data = load_dataset(declared.data, None, 7, 0.0)
    model = build(declared.model, 1, data.num_classes, integer(7, "initial weights"))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2, foreach=False)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 8)
    transform = by_hand(declared.data.image_size)
    for round in (1, 2):
        for at, batch in run.workload.setting.batches("c", round):
            images, targets = [], []
            for row in batch:
                torch.manual_seed(integer(7, "augmentation", "c", round, at.epoch, int(row)))
                image, target = tv_tensors.Image(data.train.inputs[row]), data.train.targets[row]
                if target.ndim:
                    image, target = transform(image, tv_tensors.Mask(target))
                else:
                    image = transform(image)
                images.append((image.as_subclass(torch.Tensor) - 0.4) / 0.3)
                targets.append(target.as_subclass(torch.Tensor))
            optimiser.zero_grad()
            loss_function(declared.loss)(model(torch.stack(images))[0], torch.stack(targets)).backward()
            optimiser.step()
            scheduler.step()
    assert_equal(whole(run, "c", "c"), model.state_dict())


@given(st.integers(0, 2**62), st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_a_mask_goes_where_its_image_goes(seed: int, padding: int) -> None:
    data = load_dataset(
        Synthetic(task="segmentation", num_train=2, num_test=1, num_classes=2, noise=0.0), None, 1
    )
    image, mask = data.train.inputs[:1], data.train.targets[:1]
    steps = (RandomCrop(padding=padding), HorizontalFlip(), VerticalFlip())
    augment = Augmentation(steps, (16, 16))
    changed, moved = augment(image, mask, [seed])
    assert torch.equal(changed[:, 0] > 0.5, moved == 1) and moved.shape == mask.shape
    state = torch.random.get_rng_state()
    again, _ = augment(image, mask, [seed])
    assert torch.equal(changed, again) and torch.equal(state, torch.random.get_rng_state())


def test_masks_keep_their_classes() -> None:
    data = load_dataset(Synthetic(task="segmentation", num_train=20, num_test=1, num_classes=4), None, 1)
    levels = data.train.targets * 80  # classes between which an interpolation would invent others
    steps = (Rotation(degrees=180), ResizedCrop())
    _, moved = Augmentation(steps, (16, 16))(data.train.inputs, levels, range(len(levels)))
    assert set(moved.unique().tolist()) <= set(levels.unique().tolist())
    assert moved.dtype == levels.dtype and not torch.equal(moved, levels)


def test_luck_is_by_client_round_and_row_whatever_the_batch() -> None:
    small, large = (
        finished(scenario(augmentation=STEPS, batch_size=size)).workload.setting for size in (5, 48)
    )

    def images(setting, client: str, round: int) -> dict[int, torch.Tensor]:
        setting._plans.clear()
        return {
            int(row): image
            for at, batch in setting.batches(client, round)
            for row, image in zip(batch, setting.training_batch(client, at)[0], strict=True)
        }

    one, other = images(small, "c-0", 1), images(large, "c-0", 1)
    assert one.keys() == other.keys() and all(torch.equal(one[row], other[row]) for row in one)
    later = images(small, "c-0", 2)
    assert sum(torch.equal(one[row], later[row]) for row in one) == 0
    plain = small.dataset.train.inputs
    assert sum(torch.equal(one[row], plain[row]) for row in one) == 0


@pytest.mark.parametrize("protocol", ["splitfed-v1", "splitfed-v2"])
def test_jobs_and_interruptions_change_nothing(protocol: str, tmp_path: Path) -> None:
    declared = scenario(
        protocol=protocol, augmentation=STEPS, normalisation="from-training-data", clients=clients(3)
    )
    assert rows(finished(declared, jobs=3).ledger) == rows(finished(declared).ledger)
    works = counted(declared, tmp_path / "whole")
    counted(declared, tmp_path / "run", works * 3 // 4, jobs=3)
    result = sfsim.resume(tmp_path / "run")
    assert result.environment["resumed_after_rounds"] == [1]
    assert files(result.directory) == files(tmp_path / "whole")


def test_augmentation_changes_what_is_learnt_and_costs_nothing() -> None:
    plain, changed = (finished(scenario(augmentation=steps)).ledger for steps in (None, STEPS))
    assert [m.payload_crc32 for m in plain.messages] != [m.payload_crc32 for m in changed.messages]
    assert [(c.phase, c.flops) for c in plain.computations] == [
        (c.phase, c.flops) for c in changed.computations
    ]


def test_what_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="brightness: found nothing to change, expected one of the four"):
        ColourJitter()
    with pytest.raises(ConfigError, match=r"area: found \[0.9, 0.2\], expected the smaller number first"):
        ResizedCrop(area=(0.9, 0.2))
    with pytest.raises(ConfigError, match=r"hue: found 0.1, expected 0, because the images are grey"):
        scenario(augmentation=(HorizontalFlip(), ColourJitter(hue=0.1)))
    two = Synthetic(num_train=96, num_test=16, image_size=8, in_channels=2)
    with pytest.raises(ConfigError, match="expected images of 1 or 3 channels; these have 2"):
        scenario(augmentation=(ColourJitter(contrast=0.1),), data=two)
    monkeypatch.chdir(tmp_path)
    write(tmp_path, f'augmentation = [{{ kind = "horizontal-flp" }}]\n{SCENARIO}')
    with pytest.raises(
        ConfigError, match=r"found 'horizontal-flp', expected .* Did you mean 'horizontal-flip'"
    ):
        load("a.toml")
    write(tmp_path, f'augmentation = {{ kind = "random-crop", padding = 1 }}\n{SCENARIO}')
    assert load("a.toml").augmentation == (RandomCrop(padding=1),)

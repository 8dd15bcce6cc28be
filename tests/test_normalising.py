"""Normalisation: numbers against numpy, inputs against torchvision, unsplit training, what is said and refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scenario_files import SCENARIO, write
from test_equivalence import assert_equal, batches_of, whole
from torchvision.transforms.v2 import functional
from worlds import IMAGES, MASKS, clients, finished, scenario

from sfsim import preview, world
from sfsim.errors import ConfigError
from sfsim.learning.data import load_dataset
from sfsim.learning.dataset import Examples
from sfsim.learning.models import build
from sfsim.learning.normalising import normalised, statistics
from sfsim.learning.preparing import PRESETS, Normalisation
from sfsim.scenario import load
from sfsim.seeds import integer


def examples(seed: int, count: int, channels: int, is_bytes: bool) -> Examples:
    rng = np.random.default_rng(seed)
    shape = (count, channels, 5, 4)
    inputs = rng.integers(0, 256, shape, np.uint8) if is_bytes else rng.random(shape, np.float32)
    return Examples(torch.from_numpy(inputs), torch.zeros(count, dtype=torch.int64))


@given(st.integers(0, 99), st.integers(1, 600), st.integers(1, 4), st.booleans())
@settings(max_examples=40, deadline=None)
def test_statistics_are_those_of_all_pixels(seed: int, count: int, channels: int, is_bytes: bool) -> None:
    some = examples(seed, count, channels, is_bytes)
    pixels = some.inputs.double().numpy()
    mean, std = statistics(some)
    assert mean == pytest.approx(pixels.mean((0, 2, 3)), rel=1e-6)
    assert std == pytest.approx(pixels.std((0, 2, 3)), rel=1e-6)


@pytest.mark.parametrize("is_bytes", [True, False])
def test_batches_are_what_torchvision_makes_of_them(is_bytes: bool) -> None:
    some = examples(1, 9, 3, is_bytes)
    mean, std = PRESETS["imagenet"]
    numbers = torch.tensor(mean), torch.tensor(std)
    found, _ = Examples(some.stored_inputs, some.stored_targets, numbers)[np.array([4, 2])].batch(slice(None))
    assert torch.equal(found, functional.normalize(some.inputs[[4, 2]], list(mean), list(std)))


def test_only_the_training_split_is_looked_at_and_every_split_is_normalised() -> None:
    declared = scenario(normalisation="from-training-data", validation_fraction=0.3)
    plain = load_dataset(declared.data, None, 7, 0.3)
    data = world.load_data(declared, None)[0]
    assert data.train.inputs.mean() == pytest.approx(0, abs=1e-5)
    assert data.train.inputs.std(correction=0) == pytest.approx(1, abs=1e-5)
    mean, std = plain.train.inputs.double().mean(), plain.train.inputs.double().std(correction=0)
    for name in ("validation", "test"):
        expected = (getattr(plain, name).inputs - mean.float()) / std.float()
        assert torch.allclose(getattr(data, name).inputs, expected, atol=1e-6)
    assert data.fingerprint == plain.fingerprint
    assert any(note.startswith("normalisation, of the 67 training examples: mean [") for note in data.notes)
    assert any("normalisation, of the 67 " in note for note in preview.preview(declared, None).notes)


def test_a_channel_that_never_changes_is_not_scaled() -> None:
    data = load_dataset(MASKS, None, 7, 0.1)
    flat = {
        name: Examples(getattr(data, name).stored_inputs * 0 + 0.5, getattr(data, name).stored_targets)
        for name in ("train", "validation", "test")
    }
    found = normalised(type(data)(**(vars(data) | flat)), "from-training-data")
    assert found.train.inputs.count_nonzero() == 0
    assert found.notes[-1] == "normalisation: 1 channels that never change are not scaled ([0])"


@pytest.mark.parametrize("protocol", ["splitfed-v1", "splitfed-v2", "sl"])
def test_split_training_on_normalised_inputs_is_unsplit_training_on_them(protocol: str) -> None:
    declared = scenario(
        protocol=protocol,
        normalisation=Normalisation(mean=(0.4,), std=(0.3,)),
        clients=clients(1),
        local_steps=4,
    )
    run = finished(declared)
    data = load_dataset(declared.data, None, declared.seeds.data, 0.0)
    model = build(declared.model, 1, data.num_classes, integer(7, "initial weights"))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2, foreach=False)
    for rows in batches_of(run, "c", 2):
        x = functional.normalize(data.train.inputs[rows], [0.4], [0.3])
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(x)[0], data.train.targets[rows]).backward()
        optimiser.step()
    assert_equal(whole(run, "c", "c"), model.state_dict())


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="std: found 1 numbers, expected 2, as many as in mean"):
        Normalisation(mean=(0.1, 0.2), std=(0.3,))
    with pytest.raises(ConfigError, match="mean: found 2 numbers, expected one for each of the 1 channels"):
        scenario(normalisation=Normalisation(mean=(0.1, 0.2), std=(0.3, 0.4)))
    with pytest.raises(
        ConfigError, match="normalisation: found 'cifar10', which is for 3 channels, expected 'from-"
    ):
        scenario(normalisation="cifar10", data=IMAGES)
    with pytest.raises(ConfigError, match="Did you mean 'cifar10'"):
        scenario(normalisation="cifar-10")


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ('"from-training-data"', None),
        ("{ mean = [0.3], std = [0.4] }", None),
        (
            "{ mean = [0.3], std = [0.0] }",
            "[normalisation] std[0]: found 0.0, expected a number greater than 0",
        ),
        ('"from-train-data"', "normalisation: found 'from-train-data', expected 'from-training-data', "),
        ('"from-train-data"', "Did you mean 'from-training-data'?"),
    ],
)
def test_a_file_says_it_by_name_or_as_a_table(tmp_path, monkeypatch, written: str, line: str | None) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, f"normalisation = {written}\n{SCENARIO}")
    if line is None:
        assert load("a.toml").normalisation is not None
        return
    with pytest.raises(ConfigError) as error:
        load("a.toml")
    assert line in str(error.value)

"""Split training over the simulated network equals PyTorch training without any split, bit for bit."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from worlds import IMAGES, MASKS, clients, finished, scenario

from sfsim.learning.data import load_dataset
from sfsim.learning.declarations import (
    Adam,
    AnyModel,
    AnyOptimiser,
    Cnn,
    ResNet18,
    ResNet34,
    Sgd,
    UNet,
    Vgg19,
)
from sfsim.learning.losses import loss_function
from sfsim.learning.models import build
from sfsim.learning.steps import make_optimiser
from sfsim.scenario import Scenario
from sfsim.seeds import integer
from sfsim.workload.work import Minibatch
from sfsim.world import World

LARGER = replace(IMAGES, image_size=16)
MOMENTUM = Sgd(learning_rate=0.05, momentum=0.9, weight_decay=1e-4)
SHAPES: list[tuple[AnyModel, tuple[str, ...], dict[str, Any]]] = [
    (Cnn(width=4), ("conv1",), {"data": IMAGES}),
    (Cnn(width=4), ("conv1", "conv3"), {"data": IMAGES}),
    (ResNet18(width=4), ("layer1b",), {"data": LARGER}),
    (ResNet18(width=4), ("layer1b", "layer4b"), {"data": LARGER}),
    (ResNet34(width=2), ("layer4c",), {"data": LARGER}),
    (Vgg19(width=2), ("conv1b", "conv5d"), {"data": replace(IMAGES, image_size=32)}),
    (UNet(width=2), ("enc2a", "dec2a"), {"data": MASKS, "loss": "dice", "batch_size": 8}),
]


def unsplit(declared: Scenario, batches: list[np.ndarray]) -> tuple[dict[str, torch.Tensor], Any]:
    """Train the whole model with one optimiser on the given minibatches, as anybody would."""
    data = load_dataset(declared.data, None, declared.seeds.data, declared.validation_fraction)
    model = build(
        declared.model,
        data.in_channels,
        data.num_classes,
        integer(declared.seeds.training, "initial weights"),
    )
    optimiser = make_optimiser(declared.optimiser, model.parameters())
    loss = loss_function(declared.loss)
    for rows in batches:
        x, targets = data.train.batch(rows)
        optimiser.zero_grad(set_to_none=True)
        loss(model(x)[0], targets).backward()
        optimiser.step()
    return model.state_dict(), data


def whole(world: World, client: str, server: str) -> dict[str, torch.Tensor]:
    """The state of a client's and a server's parts under the names of the whole model."""
    setting = world.workload.setting
    named = setting.clients[client].state() | setting.servers[server].state()
    return {name.partition(".")[2]: value for name, value in named.items()}


def batches_of(world: World, client: str, rounds: int) -> list[np.ndarray]:
    setting = world.workload.setting
    return [rows for round in range(1, rounds + 1) for _, rows in setting.batches(client, round)]


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert not [name for name in expected if not torch.equal(found[name], expected[name])]


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("protocol", ["splitfed-v1", "splitfed-v2", "sl"])
@pytest.mark.parametrize("optimiser", [Adam(learning_rate=1e-2), MOMENTUM], ids=["adam", "momentum"])
@pytest.mark.parametrize(
    "model, cuts, more", SHAPES, ids=lambda value: "-".join(value) if isinstance(value, tuple) else ""
)
def test_one_client_trains_as_if_nothing_were_split(
    protocol: str, optimiser: AnyOptimiser, model: AnyModel, cuts: tuple[str, ...], more: dict[str, Any]
) -> None:
    declared = scenario(
        protocol=protocol,
        model=model,
        cut_layers=cuts,
        optimiser=optimiser,
        clients=clients(1),
        global_rounds=2,
        local_steps=11,
        **more,
    )
    world = finished(declared)
    batches = batches_of(world, "c", 2)
    assert len(batches) == 22
    expected, _ = unsplit(declared, batches)
    assert_equal(whole(world, "c", "c"), expected)


def test_two_clients_with_the_same_batch_in_v1_are_one_step_of_one_client() -> None:
    """Identical shards: the average of two equal models is that model (spec 2.8)."""
    one = scenario(clients=clients(1), global_rounds=1, local_steps=1, batch_size=96)
    two = scenario(clients=clients(2), global_rounds=1, local_steps=1, batch_size=96)
    alone = worlds_with_equal_shards(one)
    pair = worlds_with_equal_shards(two)
    left, right = alone.workload.models, pair.workload.models
    assert_equal(right.client_side, left.client_side)
    assert_equal(right.server_side, left.server_side)


def test_two_clients_with_the_same_batch_in_v2_are_two_server_steps() -> None:
    """The second visit sees the server-side model as the first left it (spec 2.8)."""
    declared = scenario(
        protocol="splitfed-v2", clients=clients(2), global_rounds=1, local_steps=1, batch_size=96
    )
    world = worlds_with_equal_shards(declared)
    data = world.workload.setting.dataset
    model = build(declared.model, data.in_channels, data.num_classes, integer(7, "initial weights"))
    border = list(model.stages).index("conv1") + 1
    front = [p for stage in list(model.stages.values())[:border] for p in stage.parameters()]
    back = [p for stage in list(model.stages.values())[border:] for p in stage.parameters()]
    initial = [p.detach().clone() for p in front]
    optimiser = make_optimiser(declared.optimiser, back)
    x, targets = data.train.batch(world.workload.setting.rows("c-0", world.workload.plan("c-0", 1)[0]))
    assert len(x) == len(data.train)
    for _ in range(2):
        model.zero_grad(set_to_none=True)
        loss_function("cross-entropy")(model(x)[0], targets).backward()
        optimiser.step()
        # Each client starts from the same front end: only the server side moves between the visits.
        assert all(torch.equal(p, q) for p, q in zip(front, initial, strict=True))
    expected = {name: value for name, value in model.state_dict().items() if name.split(".")[1] != "conv1"}
    found = {
        name.partition(".")[2]: value for name, value in world.workload.setting.servers["c-0"].state().items()
    }
    assert_equal(found, expected)


def worlds_with_equal_shards(declared: Scenario) -> World:
    """Run a scenario in which every client holds the whole training split, in the same order."""
    from sfsim import world as worlds

    world = worlds.build(declared)
    setting = world.workload.setting
    setting.shards = {name: np.arange(len(setting.dataset.train)) for name in setting.shards}
    plan = [(Minibatch(1, 1, 1), np.arange(len(setting.dataset.train)))]
    setting._plans = dict.fromkeys(setting.shards, (1, plan))
    try:
        world.env.run(until=world.env.all_of(world.processes))
    finally:
        world.workload.close()
    return world

"""Counting: against hand counts, torch's own counter, real optimiser steps, and published figures."""

import threading
import time

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from sfsim.cost import Cost
from sfsim.learning.chain import Part
from sfsim.learning.costing import (
    PartCost,
    _Counter,
    averaging_cost,
    count,
    loss_cost,
    memory_bytes,
    optimiser_cost,
)
from sfsim.learning.cut import Parts, split
from sfsim.learning.declarations import Adam, AdamW, AnyOptimiser, ResNet18, Sgd, UNet
from sfsim.learning.models import build
from sfsim.learning.steps import backward, forward, make_optimiser

N, C, H, W, D, K = 2, 3, 8, 8, 4, 3


def test_convolution_by_hand() -> None:
    """Weight 4x3x3x3, bias 4, output 2x4x8x8; the backward reads gradient, input and weight, writes three."""
    cost = count(nn.Conv2d(C, D, K, padding=1), (N, C, H, W))
    macs = N * D * H * W * C * K * K
    x, weight, y = N * C * H * W, D * C * K * K, N * D * H * W
    assert cost.forward == Cost(flops=2 * macs, bytes_touched=4 * (x + weight + D + y), launches=1)
    assert cost.backward == Cost(
        flops=4 * macs, bytes_touched=4 * (y + x + weight + x + weight + D), launches=1
    )
    assert cost.output_shape == (N, D, H, W)
    assert cost.activation_bytes == 4 * (x + y)


def test_the_gradient_at_data_is_not_counted() -> None:
    module, shape = nn.Conv2d(C, D, K, padding=1), (N, C, H, W)
    assert count(module, shape, input_gradient=False).backward.flops == count(module, shape).forward.flops


def test_linear_by_hand() -> None:
    """Two matrix products back (2x5 by 5x3, 5x2 by 2x3) and the bias' sum; transposes are views."""
    cost = count(nn.Linear(3, 5), (2, 3))
    assert cost.forward == Cost(flops=2 * 2 * 3 * 5, bytes_touched=4 * (5 + 6 + 15 + 10), launches=1)
    products = (10 + 15 + 6) + (10 + 6 + 15)
    assert cost.backward == Cost(flops=4 * 2 * 3 * 5, bytes_touched=4 * (products + 10 + 5), launches=3)


def test_batch_norm_by_hand() -> None:
    """No FLOPs, but the input read and the output written; 4 parameters and statistics of C, 2 saved ones."""
    cost = count(nn.BatchNorm2d(C), (N, C, H, W))
    x, counter_bytes = N * C * H * W, 2 * 8
    assert cost.forward == Cost(bytes_touched=4 * (2 * x + 6 * C) + counter_bytes, launches=2)
    assert cost.backward.flops == 0
    assert cost.backward.bytes_touched == 4 * (3 * x + 7 * C)
    evaluated = count(nn.BatchNorm2d(C), (N, C, H, W), training=False)
    assert evaluated.forward.bytes_touched == 4 * (2 * x + 6 * C)
    assert evaluated.backward == Cost()


def test_views_and_allocations_are_free() -> None:
    assert count(nn.Sequential(nn.Flatten(), nn.Unflatten(1, (4, 3))), (2, 3, 4)).forward == Cost()


def test_cost_grows_with_the_minibatch() -> None:
    module = nn.Sequential(nn.Conv2d(C, D, K), nn.BatchNorm2d(D), nn.ReLU(inplace=True))
    one, two = (count(module, (n, C, H, W)) for n in (1, 2))
    assert two.forward.flops == 2 * one.forward.flops
    assert one.backward.bytes_touched < two.backward.bytes_touched < 2 * one.backward.bytes_touched
    assert one.forward.launches == two.forward.launches


@pytest.fixture(scope="module")
def unet_parts() -> Parts:
    return split(build(UNet(), 3, 5, seed=1), ("enc2a", "dec2a"), "test")


def count_parts(parts: Parts, shape: tuple[int, ...]) -> tuple[PartCost, PartCost, PartCost]:
    front = count(parts.front_end, shape, input_gradient=False)
    server = count(parts.server_side, front.output_shape)
    assert parts.back_end is not None
    return front, server, count(parts.back_end, server.output_shape, skips_shapes=front.skips_out_shapes)


def test_published_macs_of_the_split_unet(unet_parts: Parts) -> None:
    """SplitFedZip prints 987.76 M, 9.79 G and 2.99 G MACs (256x256).

    They hold element-wise layers too (2.5 % of the front end) and take each transposed 2x2 convolution of
    stride 2 as if all four taps met at every output pixel, four times its real multiply-adds.
    """
    start_s = time.perf_counter()
    costs = count_parts(unet_parts, (1, 3, 256, 256))
    assert time.perf_counter() - start_s < 2
    for part, cost, published in zip(unet_parts, costs, (987.76e6, 9.79e9, 2.99e9), strict=True):
        transposed = transposed_macs(part, cost)
        ours = cost.forward.flops / 2
        assert 0.97 < (ours + 3 * transposed) / published <= 1
    assert costs[1].output_shape == (1, 64, 128, 128)
    assert costs[0].skips_out_shapes == {"e1": (1, 32, 256, 256)}


def transposed_macs(part: Part, cost: PartCost) -> float:
    """Multiply-adds of the up-convolutions: channels in x channels out x output pixels of each."""
    sides = {512: 32, 256: 64, 128: 128, 64: 256}  # input channels -> side of the output
    ups = [module for module in part.modules() if isinstance(module, nn.ConvTranspose2d)]
    return float(sum(up.in_channels * up.out_channels * sides[up.in_channels] ** 2 for up in ups))


def test_operations_equal_torchs_own_counter(unet_parts: Parts) -> None:
    """The same numbers as FlopCounterMode over the real steps; ours needs no module hooks, so no lock."""
    front, server, back = count_parts(unet_parts, (1, 3, 32, 32))
    assert unet_parts.back_end is not None
    with FlopCounterMode(display=False) as counter:
        first = forward(unet_parts.front_end, torch.zeros(1, 3, 32, 32), input_gradient=False)
        second = forward(unet_parts.server_side, first.y)
        third = forward(unet_parts.back_end, second.y, first.skips_out)
        forwards = counter.get_total_flops()
        gradient, skip_gradients = backward(third, torch.ones_like(third.y))
        assert gradient is not None
        gradient, _ = backward(second, gradient)
        assert gradient is not None
        backward(first, gradient, skip_gradients)
        total = counter.get_total_flops()
    assert front.forward.flops + server.forward.flops + back.forward.flops == forwards
    assert front.backward.flops + server.backward.flops + back.backward.flops == total - forwards
    unet_parts.front_end.zero_grad()


def test_resnet18_is_counted_quickly() -> None:
    chain = build(ResNet18(), 3, 10, seed=1)
    start_s = time.perf_counter()
    cost = count(chain, (1, 3, 32, 32), input_gradient=False)
    assert time.perf_counter() - start_s < 2
    # 0.56 G multiply-adds is the figure commonly given for this network on CIFAR-10.
    assert cost.forward.flops / 2 == pytest.approx(0.5557e9, rel=0.01)


def test_counting_touches_nothing() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    module.eval()
    module[0].weight.grad = torch.ones(4, 4)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    random_state = torch.get_rng_state()
    count(module, (3, 4))
    loss_cost("dice", (2, 3, 4, 4))
    assert not module.training
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.equal(module[0].weight.grad, torch.ones(4, 4))


def test_counting_hears_only_its_own_thread() -> None:
    module, stop = nn.Conv2d(C, D, K), threading.Event()
    expected = count(module, (N, C, H, W))

    def work() -> None:
        while not stop.is_set():
            module(torch.zeros(N, C, H, W)).sum().backward()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        assert all(count(module, (N, C, H, W)) == expected for _ in range(20))
    finally:
        stop.set()
        worker.join()


def test_losses_cost_their_traffic() -> None:
    small, large = loss_cost("cross-entropy", (8, 10)), loss_cost("cross-entropy", (80, 10))
    assert 0 < small.bytes_touched < large.bytes_touched < 11 * small.bytes_touched
    assert loss_cost("dice", (2, 5, 16, 16)).bytes_touched > 4 * 2 * 5 * 16 * 16 * 4


OPTIMISERS: list[AnyOptimiser] = [
    Sgd(learning_rate=0.1),
    Sgd(learning_rate=0.1, momentum=0.9),
    Sgd(learning_rate=0.1, momentum=0.9, weight_decay=0.1),
    Adam(),
    Adam(weight_decay=0.1),
    AdamW(),
    AdamW(weight_decay=0.0),
]


@pytest.mark.parametrize("spec", OPTIMISERS, ids=repr)
def test_optimiser_costs_what_torch_moves(spec: AnyOptimiser) -> None:
    """All operators on tensors of the parameters' size, in a step that has its state already."""

    class Large(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.launches = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            self.launches += isinstance(result, torch.Tensor) and result.numel() == 500
            return result

    parameters = [nn.Parameter(torch.zeros(500)) for _ in range(2)]
    optimiser = make_optimiser(spec, parameters)
    for _ in range(2):
        for parameter in parameters:
            parameter.grad = torch.ones(500)
        with _Counter() as counter, Large() as large:
            optimiser.step()
    cost = optimiser_cost(spec, 1000, num_tensors=2)
    assert cost.launches == large.launches
    assert cost.bytes_touched == pytest.approx(counter.cost().bytes_touched, abs=100)
    assert cost.flops > 0


def test_averaging_reads_every_model_once() -> None:
    assert averaging_cost(10, 3, num_tensors=2) == Cost(flops=60, bytes_touched=160, launches=6)


def test_memory_is_weights_gradients_state_and_activations() -> None:
    module, shape = nn.Linear(3, 5), (2, 3)
    weights, activations = 4 * 20, 4 * (6 + 10)
    assert memory_bytes(module, shape, None) == weights + activations
    assert memory_bytes(module, shape, Sgd(learning_rate=1)) == 2 * weights + activations
    assert memory_bytes(module, shape, Sgd(learning_rate=1, momentum=0.5)) == 3 * weights + activations
    assert memory_bytes(module, shape, Adam()) == 4 * weights + activations


def test_activations_in_place_are_held_once() -> None:
    """Convolution's output (kept by BatchNorm) and BatchNorm's (overwritten and kept by ReLU)."""
    module = nn.Sequential(nn.Conv2d(C, D, K, padding=1), nn.BatchNorm2d(D), nn.ReLU(inplace=True))
    x, y = N * C * H * W, N * D * H * W
    assert count(module, (N, C, H, W)).activation_bytes == 4 * (x + 2 * y + 2 * D)

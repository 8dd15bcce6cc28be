"""Models, cuts and split steps: parameter counts, shapes, refusals, bit-equality with unsplit training."""

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torchvision
from torch import Tensor, nn

from sfsim.errors import ConfigError
from sfsim.learning import costing
from sfsim.learning.chain import Chain, Part, Stage
from sfsim.learning.cut import Parts, split
from sfsim.learning.cut_check import check_image_size, check_model_cuts
from sfsim.learning.declarations import (
    Adam,
    AnyModel,
    AnyOptimiser,
    Cnn,
    LossName,
    ResNet18,
    ResNet34,
    Sgd,
    UNet,
    Vgg19,
    stage_names,
)
from sfsim.learning.losses import loss_function
from sfsim.learning.models import build
from sfsim.learning.steps import backward, forward, loss_gradient, make_optimiser


@pytest.fixture(autouse=True)
def one_thread():
    """Bits depend on the number of threads (decision 1)."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# ------------------------------------------------------------ the networks


@pytest.mark.parametrize("model", [Cnn(width=1_000_000), ResNet18(width=10**6), UNet(width=10**6)])
def test_a_model_larger_than_memory_is_refused_before_it_is_made(model: AnyModel) -> None:
    said = r"^\[model\] width: found 1000000, with which the weights take [\d,]{15,} bytes, expected at most the "
    with pytest.raises(ConfigError, match=said):
        build(model, 1, 10, seed=1)


@pytest.mark.parametrize(("num_classes", "back_end"), [(5, 73_157), (2, 73_058)])
def test_unet_has_the_published_parameter_counts(num_classes: int, back_end: int) -> None:
    parts = split(build(UNet(), 3, num_classes, seed=1), ("enc2a", "dec2a"))
    assert [count(part) for part in parts] == [28_768, 7_661_248, back_end]


def test_unet_has_the_published_shapes_at_both_cuts() -> None:
    with torch.device("meta"):
        x = torch.empty(1, 3, 256, 256)
    for cuts, shape in ((("enc2a", "dec2a"), (1, 64, 128, 128)), (("enc1a", "dec1a"), (1, 32, 256, 256))):
        parts = split(build(UNet(), 3, 2, seed=1).to("meta"), cuts)
        assert parts.back_end is not None
        smashed, skips = parts.front_end(x)
        down, none_left = parts.server_side(smashed)
        assert smashed.shape == down.shape == shape
        assert none_left == {}
        assert list(skips) == list(parts.back_end.skips_in) == (["e1"] if cuts[0] == "enc2a" else [])
        assert parts.back_end(down, skips)[0].shape == (1, 2, 256, 256)


def test_unet_width_scales() -> None:
    parts = split(build(UNet(width=16), 3, 2, seed=1), ("enc2a", "dec2a"))
    assert parts.front_end(torch.zeros(1, 3, 32, 32))[0].shape == (1, 32, 16, 16)
    assert count(parts.server_side) < 7_661_248 / 3.9


def test_resnet18_has_the_known_size_and_cut_shapes() -> None:
    chain = build(ResNet18(), 3, 10, seed=1)
    assert count(chain) == 11_173_962
    chain = chain.to("meta")
    x = torch.empty(1, 3, 32, 32, device="meta")
    shapes = {"layer1b": (64, 32, 32), "layer2b": (128, 16, 16), "layer3b": (256, 8, 8)}
    for cut, shape in shapes.items():
        assert split(chain, (cut,)).front_end(x)[0].shape[1:] == shape
    # The imagenet stem on 64x64 gives the cut of the SplitFed code: 64x16x16.
    imagenet = build(ResNet18(stem="imagenet"), 3, 7, seed=1).to("meta")
    x = torch.empty(1, 3, 64, 64, device="meta")
    assert split(imagenet, ("layer1b",)).front_end(x)[0].shape[1:] == (64, 16, 16)


def test_resnet34_has_the_known_sizes_and_published_cut_shapes() -> None:
    assert count(build(ResNet34(), 3, 10, seed=1)) == 21_282_122
    chain = build(ResNet34(stem="imagenet"), 3, 1000, seed=1)
    assert count(chain) == 21_797_672  # torchvision's table
    chain, x = chain.to("meta"), torch.empty(1, 3, 224, 224, device="meta")
    for cut, shape in {"layer1c": (64, 56, 56), "layer2d": (128, 28, 28), "layer3f": (256, 14, 14)}.items():
        assert split(chain, (cut,)).front_end(x)[0].shape[1:] == shape
    # torchvision's table counts 3.664 G multiply-adds, BatchNorm and additions not.
    assert flops(chain, (1, 3, 224, 224)) == pytest.approx(2 * 3.664e9, rel=2e-4)


def test_vgg19_has_the_known_sizes_and_published_cut_shapes() -> None:
    chain = build(Vgg19(), 3, 10, seed=1)
    assert count(chain) == 20_040_522
    assert count(build(Vgg19(norm="none"), 3, 10, seed=1)) == 20_040_522 - 2 * 5_504
    chain, x = chain.to("meta"), torch.empty(1, 3, 32, 32, device="meta")
    for cut, shape in {"conv1b": (64, 16, 16), "conv3d": (256, 4, 4), "conv4d": (512, 2, 2)}.items():
        assert split(chain, (cut,)).front_end(x)[0].shape[1:] == shape
    # Multiply-adds of sixteen 3x3 convolutions by hand: 398 M.
    layers = [(3, 64, 32), (64, 64, 32), (64, 128, 16), (128, 128, 16), (128, 256, 8), *[(256, 256, 8)] * 3]
    layers += [(256, 512, 4), *[(512, 512, 4)] * 3, *[(512, 512, 2)] * 4]
    by_hand = sum(9 * inside * out * side**2 for inside, out, side in layers) + 512 * 10
    assert flops(chain, (1, 3, 32, 32)) == 2 * by_hand


def flops(chain: Chain, shape: tuple[int, ...]) -> int:
    return costing.count(chain, shape, training=False).forward.flops


def torchvision_vgg19(norm: str) -> nn.Module:
    """torchvision's layers behind the classifier that CIFAR has."""
    whole = {"batch": torchvision.models.vgg19_bn, "none": torchvision.models.vgg19}[norm]
    with torch.device("meta"):
        net = whole(num_classes=10)
        net.avgpool, net.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(512, 10)
    return net.to_empty(device="cpu")


@pytest.mark.parametrize(
    ("model", "side"),
    [
        (ResNet18(stem="imagenet"), 64),
        (ResNet34(stem="imagenet"), 64),
        (Vgg19(), 32),
        (Vgg19(norm="none"), 32),
    ],
    ids=repr,
)
def test_forward_and_gradients_are_those_of_torchvision(model: AnyModel, side: int) -> None:
    ours = build(model, 3, 10, seed=3)
    if isinstance(model, Vgg19):
        theirs = torchvision_vgg19(model.norm)
    else:
        theirs = getattr(torchvision.models, model.kind)(num_classes=10)
    weights = ours.state_dict().values()
    named = dict(zip(theirs.state_dict(), weights, strict=True))  # the same order of layers
    theirs.load_state_dict(named)
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    for training in (True, False):
        here, there = ours.train(training)(x)[0], theirs.train(training)(x)
        assert torch.equal(here, there)
        for y in (here, there):
            y.square().sum().backward()
    assert all(
        torch.equal(mine.grad, its.grad)
        for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True)
    )


@pytest.mark.parametrize("model", [ResNet34(width=1), Vgg19(width=1)], ids=lambda model: model.kind)
def test_every_cut_is_legal_and_changes_nothing(model: AnyModel) -> None:
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    chain = build(model, 3, 4, seed=1)
    expected = chain.eval()(x)[0]
    for cut in stage_names(model)[:-1]:
        check_model_cuts(model, [cut], "here")
        parts = split(chain, (cut,))
        smashed, skips = parts.front_end(x)
        assert not skips and torch.equal(parts.server_side(smashed)[0], expected)


SMALL = [Cnn(), Cnn(norm="none"), ResNet18(width=4), ResNet34(width=2), Vgg19(width=2), UNet(width=4)]


@pytest.mark.parametrize("model", [*SMALL, Vgg19(width=2, norm="none")])
def test_declared_stages_and_skips_are_those_of_the_built_model(model: AnyModel) -> None:
    chain = build(model, 1, 3, seed=1)
    assert chain.names == stage_names(model)
    assert chain.skips == model.skips
    has_norm = any(isinstance(module, nn.BatchNorm2d) for module in chain.modules())
    assert has_norm is not (isinstance(model, Cnn | Vgg19) and model.norm == "none")


def test_building_is_seeded_and_leaves_the_global_random_state_alone() -> None:
    state = torch.random.get_rng_state()
    first, same, other = (build(Cnn(), 1, 10, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["stages.conv1.body.0.weight"], other["stages.conv1.body.0.weight"])


# ------------------------------------------------------------ cuts that are refused


@pytest.mark.parametrize(
    ("model", "cuts", "text"),
    [
        (
            Cnn(),
            ["conv9"],
            "found 'conv9', expected one of the stages conv1, conv2, conv3, head. Did you mean 'conv3'?",
        ),
        (Cnn(), ["layer"], "found 'layer', expected one of the stages conv1, conv2, conv3, head"),
        (
            Cnn(),
            ["conv2", "conv1"],
            "expected cuts in the order of the stages conv1, conv2, conv3, head. Swap them.",
        ),
        (Cnn(), ["conv2", "conv2"], "The server-side model is empty."),
        (
            Cnn(),
            ["head"],
            "found ['head'], expected a cut before the last stage 'head'. The server-side model is empty.",
        ),
        (Cnn(), ["conv1", "head"], "The back end is empty."),
        (Cnn(), [], "found 0 names, expected one (label-sharing) or two (U-shaped) stage names"),
        (Cnn(), ["conv1", "conv2", "conv3"], "found 3 names"),
        (
            UNet(),
            ["enc2a"],
            "sends the skip 'e1' from 'enc1b' (client) to 'dec1a' (server) across the network",
        ),
        (UNet(), ["enc3", "dec3"], "sends the skip 'e3' from 'enc3' (client) to 'dec3' (server)"),
        (UNet(), ["enc1a", "enc2b"], "sends the skip 'e1' from 'enc1b' (server) to 'dec1a' (client)"),
    ],
)
def test_cuts_that_cannot_be_made(model: AnyModel, cuts: list[str], text: str) -> None:
    with pytest.raises(ConfigError) as declared:
        check_model_cuts(model, cuts, "a.toml, cut_layers")
    assert str(declared.value).startswith("a.toml, cut_layers: found ")
    assert text in str(declared.value)
    with pytest.raises(ConfigError) as built:
        split(build(model, 1, 2, seed=1), tuple(cuts), "a.toml, cut_layers")
    assert str(built.value) == str(declared.value)


@pytest.mark.parametrize(
    ("model", "image_size", "text"),
    [
        (
            UNet(),
            100,
            "100 pixels a side, expected a multiple of 16, at least 32, for the U-Net. The nearest is 96.",
        ),
        (UNet(), 16, "The nearest is 32."),
        (Cnn(), 4, "found images of 4 pixels a side, expected at least 8 for the cnn"),
        (ResNet18(stem="imagenet"), 32, "expected at least 33 for the resnet18"),
        (ResNet34(stem="imagenet"), 32, "expected at least 33 for the resnet34"),
        (Vgg19(), 28, "found images of 28 pixels a side, expected at least 32 for the vgg19"),
    ],
)
def test_image_sizes_that_a_model_cannot_take(model: AnyModel, image_size: int, text: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_image_size(model, image_size, "a.toml, data.image_size")
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("model", "size"),
    [
        (UNet(width=2), 32),
        (Cnn(width=2), 8),
        (ResNet18(width=2), 9),
        (ResNet18(width=2, stem="imagenet"), 33),
        (ResNet34(width=2), 9),
        (Vgg19(width=2), 32),
    ],
)
def test_smallest_image_trains_on_a_minibatch_of_one(model: AnyModel, size: int) -> None:
    check_image_size(model, size, "here")
    assert build(model, 1, 2, seed=1)(torch.zeros(1, 1, size, size))[0].isfinite().all()


# ------------------------------------------------------------ split training = unsplit training


def over_the_wire(x: Tensor) -> Tensor:
    """What a lossless codec does: new, contiguous memory with the same values."""
    return torch.from_numpy(x.detach().contiguous().numpy().copy())


def train_unsplit(
    chain: Chain, optimiser: AnyOptimiser, batches: list[tuple[Tensor, Tensor]], loss: LossName
) -> None:
    optim = make_optimiser(optimiser, chain.parameters())
    for x, targets in batches:
        optim.zero_grad()
        loss_function(loss)(chain(x)[0], targets).backward()
        optim.step()


def train_split(
    parts: Parts, optimiser: AnyOptimiser, batches: list[tuple[Tensor, Tensor]], loss: LossName
) -> None:
    optims = [make_optimiser(optimiser, part.parameters()) for part in parts]
    for x, targets in batches:
        for optim in optims:
            optim.zero_grad()
        front = forward(parts.front_end, x, input_gradient=False)
        server = forward(parts.server_side, over_the_wire(front.y))
        if parts.back_end is None:
            _, gradient = loss_gradient(server.y, targets, loss)
            skip_gradients: dict[str, Tensor] = {}
        else:
            back = forward(parts.back_end, over_the_wire(server.y), front.skips_out)
            _, gradient = loss_gradient(back.y, targets, loss)
            up, skip_gradients = backward(back, gradient)
            assert up is not None
            gradient = over_the_wire(up)
        down, _ = backward(server, gradient)
        assert down is not None
        nothing, _ = backward(front, over_the_wire(down), skip_gradients)
        assert nothing is None
        for optim in optims:
            optim.step()


OPTIMISERS = [Sgd(learning_rate=0.05, momentum=0.9, weight_decay=1e-4), Adam(learning_rate=1e-3)]
CUTS = [
    (Cnn(width=4), ("conv1",), "cross-entropy"),
    (Cnn(width=4), ("conv1", "conv3"), "cross-entropy"),
    (Cnn(width=4, norm="none"), ("conv2",), "cross-entropy"),
    (ResNet18(width=4), ("layer1b",), "cross-entropy"),
    (ResNet18(width=4), ("stem", "layer3a"), "cross-entropy"),
    (ResNet34(width=2), ("layer4c",), "cross-entropy"),
    (UNet(width=4), ("enc2a", "dec2a"), "dice"),
    (UNet(width=4), ("enc1b", "dec2b"), "cross-entropy"),
    (UNet(width=4), ("dec1a",), "dice"),
    (UNet(width=4), ("enc1a", "dec1a"), "dice"),
]


@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=lambda spec: spec.kind)
@pytest.mark.parametrize(
    ("model", "cuts", "loss"), CUTS, ids=lambda value: str(getattr(value, "kind", value))
)
def test_split_training_is_bit_equal_to_unsplit_training(
    model: AnyModel, cuts: tuple[str, ...], loss: LossName, optimiser: AnyOptimiser
) -> None:
    generator = torch.Generator().manual_seed(3)
    size, classes = (32, 3) if model.kind == "unet" else (16, 5)
    shape = (size, size) if model.kind == "unet" else ()
    batches = []
    for number in range(22):
        batch = 3 if number % 11 == 10 else 4  # with last, smaller minibatches
        x = torch.rand(batch, 1, size, size, generator=generator)
        batches.append((x, torch.randint(classes, (batch, *shape), generator=generator)))
    chain = build(model, 1, classes, seed=5)
    first = copy.deepcopy(chain.state_dict())
    parts = split(copy.deepcopy(chain), cuts)
    train_unsplit(chain, optimiser, batches, loss)
    train_split(parts, optimiser, batches, loss)
    expected = chain.state_dict()
    joined = {name: value for part in parts for name, value in part.state_dict().items()}
    assert list(joined) == list(expected)
    for name, value in expected.items():
        assert torch.equal(joined[name], value), name
    assert any(not torch.equal(first[name], expected[name]) for name in first)


class Scale(nn.Module):
    """Multiply by one weight."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x


def test_gradient_sent_down_is_that_of_the_old_server_weights() -> None:
    """Spec 2.8: W_c=2, W_s=3, x=1, L = (W_s W_c x)^2 / 2; lr 0.01 gives W_s=2.88, W_c=1.82."""
    parts = split(Chain({"a": Stage(Scale(2.0)), "b": Stage(Scale(3.0))}), ("a",))
    optims = [make_optimiser(Sgd(learning_rate=0.01), part.parameters()) for part in parts]
    front = forward(parts.front_end, torch.tensor([[1.0]]), input_gradient=False)
    server = forward(parts.server_side, front.y)
    assert (front.y.item(), server.y.item()) == (2, 6)
    down, _ = backward(server, server.y.detach())
    optims[1].step()  # the server steps before the client has its gradient
    assert down is not None and down.item() == 18
    backward(front, down)
    optims[0].step()
    weights = [next(part.parameters()).item() for part in parts]
    assert weights == pytest.approx([1.82, 2.88], abs=1e-6)


def test_steps_in_threads_give_the_same_bits_as_one_after_another() -> None:
    chains = [build(Cnn(width=4), 1, 5, seed=seed) for seed in range(4)]
    generator = torch.Generator().manual_seed(1)
    batches = [(torch.rand(4, 1, 8, 8, generator=generator), torch.tensor([0, 1, 2, 3]))] * 5

    def train(chain: Chain) -> dict[str, Tensor]:
        parts = split(copy.deepcopy(chain), ("conv1",))
        train_split(parts, Adam(), batches, "cross-entropy")
        return dict(parts.server_side.state_dict())

    run: Callable[[Chain], dict[str, Tensor]] = train
    alone = [run(chain) for chain in chains]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(run, chains))
    for one, two in zip(alone, together, strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_part_hands_out_only_skips_that_a_later_part_uses() -> None:
    parts = split(build(UNet(width=2), 1, 2, seed=1), ("enc2a", "dec2a"))
    assert parts.back_end is not None
    assert (parts.front_end.skips_in, parts.front_end.skips_out) == ((), ("e1",))
    assert (parts.server_side.skips_in, parts.server_side.skips_out) == ((), ())
    assert isinstance(parts.back_end, Part)
    assert (parts.back_end.skips_in, parts.back_end.skips_out) == (("e1",), ())

"""Trainees: exact parameter counts, GDN's vectors, hard latents with straight gradients, the gradient check."""

from collections.abc import Iterator

import pytest
import torch
from test_learned_wire import SMALL, lively, tensor

from sfsim.codec.learned import Ae, ChengAt, Hyperprior, MeanScale
from sfsim.workload.learned.networks import GDN, Quantiser, build, pad
from sfsim.workload.learned.wire import freeze


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_parameter_counts() -> None:
    """SplitFedZip's 635.33 K and 3.49 M, exactly; the mixture's head is larger."""
    counts = {
        declared.name: sum(p.numel() for p in build(declared, 64, (128, 128), 0).parameters())
        for declared in (Ae(), ChengAt(), ChengAt(mixture=3), Hyperprior(), MeanScale())
    }
    assert counts["ae"] == 635_328
    assert counts["cheng-at"] == 3_486_289
    assert counts["cheng-at-gmm"] > counts["cheng-at"]


def test_gdn_vectors() -> None:
    """At its first weights, one channel, x = 1: 1 / sqrt(1.1) there, sqrt(1.1) back."""
    one = torch.ones(1, 1, 1, 1)
    assert GDN(1)(one).item() == pytest.approx(0.953463, abs=1e-6)
    assert GDN(1, inverse=True)(one).item() == pytest.approx(1.048809, abs=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_trains_on_what_it_sends(name: str) -> None:
    """With the trainee's weights on the wire, its reconstruction is the wire's (but around means, which the wire
    rounds to 2**-8 and, with a context, takes from centred latents)."""
    trainee = lively(SMALL[name], 6, (20, 20))
    x = tensor(2, 6, 20, 20, scale=3.0)
    out = trainee(x)
    sent = freeze(trainee, 1).encode(x)
    if name in ("ae", "ae-normalised", "cheng-round", "cheng-gmm", "hyperprior", "mean-scale-round"):
        assert torch.allclose(out.x_hat, sent.reconstruction, rtol=1e-5, atol=1e-6)
    assert out.x_hat.shape == x.shape and out.rate_bits.ndim == out.mse.ndim == 0
    (out.rate_bits + out.mse).backward()
    missing = [name for name, p in trainee.named_parameters() if p.grad is None and "quantiles" not in name]
    assert missing == []


@pytest.mark.parametrize("quantiser", ["hard", "noise", "identity"])
def test_quantisers(quantiser: Quantiser) -> None:
    trainee = lively(Ae(channels=8), 6, (16, 16))
    x = tensor(1, 6, 16, 16)
    seen: list[torch.Tensor] = []
    trainee.g_s.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    trainee(x, quantiser)
    y = trainee.g_a(x).detach()
    away = seen[0].detach() - y
    if quantiser == "hard":
        assert torch.equal(seen[0], torch.round(y))
    elif quantiser == "noise":
        assert 0.4 < away.abs().max() <= 0.5 and away.std() == pytest.approx(12**-0.5, rel=0.1)
    else:
        assert torch.equal(away, torch.zeros_like(away))


def test_the_seed_decides_weights_and_noise() -> None:
    def once(seed: int) -> tuple[float, float]:
        trainee = build(Ae(channels=8), 6, (16, 16), seed)
        x = tensor(1, 6, 16, 16)
        return trainee(x).rate_bits.item(), trainee(x).rate_bits.item()

    state = torch.random.get_rng_state()
    assert once(1) == once(1) != once(2)
    assert once(1)[0] != once(1)[1]
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("name", ["ae", "cheng-auto", "cheng-gmm", "hyperprior", "mean-scale"])
def test_gradients_with_the_quantiser_replaced_by_the_identity(name: str) -> None:
    """Backpropagation through the whole codec against differences, in float64 along one direction."""
    trainee = lively(SMALL[name], 3, (8, 8)).double()
    # Scales well above CompressAI's lower bound, whose gradient is not the derivative on purpose.
    last = {"cheng-at": "entropy_parameters.4", "hyperprior": "h_s.4", "mean-scale": "h_s.4"}
    if SMALL[name].kind in last:
        trainee.get_submodule(last[SMALL[name].kind]).bias.data[: 8 * getattr(SMALL[name], "mixture", 1)] += (
            1.0
        )
    x = tensor(1, 3, 8, 8).double().requires_grad_()
    direction = tensor(1, 3, 8, 8, seed=5).double()

    def loss(at: torch.Tensor) -> torch.Tensor:
        out = trainee(at, "identity")
        return out.rate_bits / 100 + out.mse

    (gradient,) = torch.autograd.grad(loss(x), x)
    step = 1e-6
    with torch.no_grad():
        slope = (loss(x + step * direction) - loss(x - step * direction)) / (2 * step)
    assert (gradient * direction).sum().item() == pytest.approx(slope.item(), rel=1e-4)


def test_straight_gradients_are_those_of_the_identity() -> None:
    """dL/dy through the rounding is what the synthesis says at the rounded latents."""
    trainee = lively(Ae(channels=8), 6, (16, 16))
    x = tensor(1, 6, 16, 16).requires_grad_()
    trainee(x).mse.backward()
    y = trainee.g_a(x.detach().requires_grad_())
    y_hat = torch.round(y).detach().requires_grad_()
    (at_latents,) = torch.autograd.grad(torch.nn.functional.mse_loss(trainee.g_s(y_hat), x), y_hat)
    inner = x.detach().requires_grad_()
    through = torch.autograd.grad(trainee.g_a(inner), inner, at_latents)[0]
    direct = 2 * (x - trainee.g_s(torch.round(trainee.g_a(x)))).detach() / x.numel()
    assert torch.allclose(x.grad, through + direct, rtol=1e-4, atol=1e-7)


def test_normalised_tensors_scale_out() -> None:
    """A gradient a million times smaller costs the same bits and comes back a million times smaller."""
    wire = freeze(lively(Ae(channels=8, normalise=True), 6, (16, 16)), 1)
    x = tensor(2, 6, 16, 16)
    large, small = wire.encode(x), wire.encode(x * 2.0**-20)
    assert abs(len(large.payload) - len(small.payload)) <= 4
    assert torch.allclose(large.reconstruction * 2.0**-20, small.reconstruction, rtol=1e-3, atol=1e-9)


def test_padding_reflects_below_and_to_the_right() -> None:
    x = torch.arange(15.0).reshape(1, 1, 3, 5)
    padded = pad(x, Ae().padded_sides(x.shape[2:], 2))
    assert padded.shape == (1, 1, 4, 8)
    assert padded[0, 0, 3].tolist() == [5, 6, 7, 8, 9, 8, 7, 6]


def test_nothing_is_clamped() -> None:
    """Features and gradients are not images in [0, 1]."""
    trainee = lively(Ae(channels=8), 6, (16, 16))
    with torch.no_grad():
        for parameter in list(trainee.g_s.parameters())[-2:]:
            parameter *= 30
    decoded = freeze(trainee, 1).encode(tensor(1, 6, 16, 16, scale=5.0)).reconstruction
    assert decoded.min() < -0.5 and decoded.max() > 1.5

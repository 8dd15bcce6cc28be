"""Ayad's learned codec: sizes, exact and refusing bitstream, training that bypasses it, and the gate beside it."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from interrupted import counted, files
from test_equivalence import assert_equal, batches_of, whole
from torch import nn
from worlds import MASKS, clients, finished, scenario

import sfsim
from sfsim.codec import Ae, SeriesAe
from sfsim.errors import CodecError, ConfigError
from sfsim.learning.cut import split
from sfsim.learning.data import load_dataset
from sfsim.learning.declarations import Adam, AdamW, Cnn1d, UNet
from sfsim.learning.models import build as build_model
from sfsim.learning.series_declarations import SyntheticSeries
from sfsim.network.declarations import Link
from sfsim.report import report
from sfsim.scenario import AdaptiveGate, Codecs, CodecTraining, StaticGate
from sfsim.seeds import integer
from sfsim.workload.learned import stored
from sfsim.workload.learned.networks import build
from sfsim.workload.learned.wire import WireCodec, freeze

HEART = SyntheticSeries(
    task="multi-label", num_train=48, num_test=16, length=500, in_channels=2, num_classes=3
)
BYPASSED = CodecTraining(
    optimiser=Adam(learning_rate=1e-3), update="ideal", model_loss="bypass", clip_norm=1e9
)
AYAD = {
    "data": HEART,
    "model": Cnn1d(width=16),
    "cut_layers": ("conv2",),
    "loss": "binary-cross-entropy",
    "optimiser": AdamW(learning_rate=1e-2),
    "codecs": Codecs(smashed_up=SeriesAe(channels=4)),
    "codec_training": BYPASSED,
}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def wire(length: int = 62, channels: int = 192) -> WireCodec:
    return freeze(build(SeriesAe(), channels, (length,), 7), 3)


def test_the_published_network() -> None:
    """Authors' code: 94,776 parameters, 24x4 latents of 192x62, kernel 2 and stride 2, the first layer padded."""
    trainee = build(SeriesAe(), 192, (62,), 7)
    assert sum(p.numel() for p in trainee.g_a.parameters()) == 94_776
    layers = [
        nn.Conv1d(192, 144, 2, 2, 1), nn.Conv1d(144, 96, 2, 2), nn.Conv1d(96, 48, 2, 2), nn.Conv1d(48, 24, 2, 2),
        nn.ConvTranspose1d(24, 48, 2, 2), nn.ConvTranspose1d(48, 96, 2, 2), nn.ConvTranspose1d(96, 144, 2, 2),
        nn.ConvTranspose1d(144, 192, 2, 2, 1),
    ]  # fmt: skip
    oracle = nn.Sequential(*layers)
    oracle.load_state_dict(dict(zip(oracle.state_dict(), trainee.state_dict().values(), strict=True)))
    x = torch.randn(5, 192, 62)
    found = trainee(x)
    assert torch.equal(found.x_hat, oracle(x)) and oracle[:4](x).shape == (5, 24, 4)
    assert found.rate_bits == 5 * 96 * 32 and found.mse == nn.functional.mse_loss(oracle(x), x)
    sent = wire().encode(x)
    header = len(sent.payload) - 5 * 96 * 4
    assert 10 < header < 24 and sent.estimated_bits == 5 * 96 * 32


@pytest.mark.parametrize(
    ("length", "stages", "latent"), [(5, 1, 4), (11, 2, 4), (31, 3, 5), (47, 4, 4), (62, 4, 4)]
)
def test_any_length_comes_back_from_its_bytes(length: int, stages: int, latent: int) -> None:
    codec = wire(length, 10)
    assert codec.stages == stages and codec.declaration.latent_sides((length,), stages) == (latent,)
    for shape in ((3, 10, length), (0, 10, length)):
        x = torch.randn(shape)
        sent = codec.encode(x)
        assert torch.equal(codec.decode(sent.payload), sent.reconstruction)
        assert sent.reconstruction.shape == shape and sent.reconstruction.dtype == torch.float32
    assert codec.encode_cost((3, 10, length)).flops > 0 < codec.decode_cost((3, 10, length)).flops


def test_damaged_and_foreign_payloads_are_refused() -> None:
    codec = wire(31, 10)
    payload, rng = codec.encode(torch.randn(3, 10, 31)).payload, random.Random(5)
    for _ in range(300):
        broken = bytearray(payload)
        broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
        with pytest.raises(CodecError):
            codec.decode(bytes(broken[: rng.randrange(len(broken))] if rng.random() < 0.3 else broken))
    with pytest.raises(CodecError, match=r"found shape \(3, 10, 5, 5\), expected \(B, 10, L\)"):
        codec.encode(torch.zeros(3, 10, 5, 5))
    with pytest.raises(CodecError, match="not finite"):
        codec.encode(torch.full((3, 10, 31), torch.inf))
    with pytest.raises(CodecError, match="version 3 of the weights, this end holds 4"):
        freeze(build(SeriesAe(), 10, (31,), 7), 4).decode(payload)


def test_where_it_fits() -> None:
    with pytest.raises(ConfigError, match=r"found tensors of 8x8, expected tensors \(B, C, L\)"):
        SeriesAe().stages_for(8, 8)
    with pytest.raises(ConfigError, match=r"found tensors of 62, expected tensors \(B, C, H, W\)"):
        Ae().stages_for(62)
    with pytest.raises(ConfigError, match="found tensors of 4, expected at least 4"):
        SeriesAe().stages_for(4)
    with pytest.raises(ConfigError, match=r"at most 3 for tensors of 31: latents are at least 4"):
        SeriesAe(stages=4).stages_for(31)
    with pytest.raises(ConfigError, match="stages: found 0, expected at least 1"):
        SeriesAe(stages=0)
    images = {"data": MASKS, "model": UNet(width=2), "cut_layers": ("enc2a", "dec2a"), "loss": "dice"}
    with pytest.raises(
        ConfigError, match=r"\[codecs\] smashed_up, codec 'series-ae': found tensors of 16x16"
    ):
        finished(scenario(**images, codecs=Codecs(smashed_up=SeriesAe())))
    with pytest.raises(ConfigError, match=r"\[codecs\] smashed_up, codec 'ae': found tensors of 30"):
        finished(scenario(**(AYAD | {"codecs": Codecs(smashed_up=Ae(channels=2))})))


@pytest.mark.parametrize("threshold", [0.0, 0.69])
def test_training_is_the_authors_steps(threshold: float) -> None:
    """Server: decode, detach, step always; client: the decoded tensor's gradient, when it comes; AE: its own error."""
    gate = StaticGate(threshold=threshold)
    run = finished(scenario(**AYAD, clients=clients(1), gradient_gate=gate, protocol="sl"))
    data = load_dataset(HEART, None, 7, 0.0)
    start = build_model(Cnn1d(width=16), 2, 3, integer(7, "initial weights"))
    parts = split(start, ("conv2",))
    codec = build(SeriesAe(channels=4), 16, (30,), integer(7, "learned codec", "smashed_up"))
    client, server = (
        torch.optim.AdamW(part.parameters(), lr=1e-2, weight_decay=0.01, foreach=False)
        for part in (parts.front_end, parts.server_side)
    )
    own = torch.optim.Adam(codec.parameters(), lr=1e-3, foreach=False)
    skipped = 0
    for rows in batches_of(run, "c", 2):
        smashed, _ = parts.front_end(data.train.inputs[rows])
        for optimiser in (client, server, own):
            optimiser.zero_grad()
        with torch.no_grad():
            arrived = codec(smashed).x_hat
        arrived.requires_grad_()
        logits, _ = parts.server_side(arrived)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, data.train.targets[rows].float())
        loss.backward()
        server.step()
        if loss.item() <= threshold:
            skipped += 1
            continue
        codec(smashed.detach()).mse.backward()
        own.step()
        smashed.backward(arrived.grad)
        client.step()
    assert (skipped > 0) == (threshold > 0) and skipped < 6
    assert_equal(whole(run, "c", "c"), start.state_dict())
    trained = run.workload.setting.slots["smashed_up"].replicas["c"].state()
    assert_equal(trained, dict(codec.named_parameters()))
    gradients = [row for row in run.ledger.messages if row.kind == "gradient"]
    assert sum(row.codec == "skipped" for row in gradients) == skipped
    # What comes back is as large as the cut, uncompressed; what goes up are 4 channels of 4 latents, and labels.
    assert all(row.elements == 16 * 16 * 30 for row in gradients if row.codec != "skipped")
    sent = [row for row in run.ledger.messages if row.kind == "smashed data"]
    assert all(0 < row.payload_bytes - row.label_bytes - 16 * 4 * 4 * 4 < 60 for row in sent)


def test_frozen_it_costs_no_training_and_the_gradient_still_passes() -> None:
    frozen = replace(BYPASSED, update="frozen")
    run = finished(scenario(**(AYAD | {"codec_training": frozen}), clients=clients(1)))
    assert not [row for row in run.ledger.computations if row.phase == "codec training"]
    slot = run.workload.setting.slots["smashed_up"]
    assert_equal(slot.replicas["c"].state(), slot.first_state)
    first = build_model(Cnn1d(width=16), 2, 3, integer(7, "initial weights")).state_dict()
    moved = whole(run, "c", "c")
    assert all(not torch.equal(moved[name], value) for name, value in first.items())


@pytest.mark.parametrize("protocol", ["splitfed-v1", "sl"])
def test_an_interrupted_run_goes_on_as_if_nothing_had_been(tmp_path: Path, protocol: str) -> None:
    training = replace(BYPASSED, update="epoch", freeze_after_round=2)
    declared = scenario(
        **(AYAD | {"codec_training": training}),
        protocol=protocol,
        gradient_gate=AdaptiveGate(law="sigmoid"),
        validation_fraction=0.2,
        global_rounds=3,
    )
    total = counted(declared, tmp_path / "whole")
    counted(declared, tmp_path / "run", last=total * 2 // 3)
    counted(declared, tmp_path / "run", go_on=True)
    assert files(tmp_path / "run") == files(tmp_path / "whole")


def test_a_run_is_retimed_and_reported(tmp_path: Path) -> None:
    declared = scenario(**AYAD, gradient_gate=AdaptiveGate(), validation_fraction=0.2)
    learnt = sfsim.run(declared, out=tmp_path / "run", checkpoint_share=0)
    slow = Link(rate_bps=1e6, latency_s=0.05)
    again = sfsim.retime(
        learnt.directory, replace(declared, clients=clients(2, slow, slow)), out=tmp_path / "b"
    )
    assert again.end_s > learnt.end_s
    assert sorted(again.messages["payload_crc32"]) == sorted(learnt.messages["payload_crc32"])
    page = report([learnt], tmp_path / "page.html").read_text()
    assert "validation f1" in page and "test auroc" in page and "F1 over simulated time" in page


def test_weights_from_a_file(tmp_path: Path) -> None:
    trained = build(SeriesAe(channels=4), 16, (30,), 1)
    file = tmp_path / "smashed_up.safetensors"
    stored.save(file, SeriesAe(channels=4), (16, 30), dict(trained.named_parameters()), {})
    other = build(SeriesAe(channels=4), 16, (30,), 2)
    stored.load(file, other)
    assert_equal(dict(other.named_parameters()), dict(trained.named_parameters()))
    with pytest.raises(ConfigError, match=r'found .*"in_channels": 16, .*expected .*"in_channels": 8'):
        stored.load(file, build(SeriesAe(channels=4), 8, (30,), 2))

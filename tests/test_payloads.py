"""Receivers use the bytes that arrived, and nothing else (the three proofs), and every access is in the log."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from worlds import FAST, MASKS, clients, coded, finished, scenario

from sfsim import world as worlds
from sfsim.codec import Cast, RandTopK, Uniform, Zeros
from sfsim.errors import CodecError, ConfigError
from sfsim.learning.declarations import UNet
from sfsim.network import Network, Outgoing
from sfsim.scenario import Codecs, ModelCodec, Scenario

U_SHAPED = {"cut_layers": ("conv1", "conv3")}


@pytest.mark.parametrize("kind", ["smashed data", "gradient", "client model"])
@pytest.mark.parametrize("shape", [{}, U_SHAPED], ids=["label-sharing", "u-shaped"])
def test_a_flipped_byte_in_flight_raises(
    monkeypatch: pytest.MonkeyPatch, kind: str, shape: dict[str, Any]
) -> None:
    send = Network.send

    def corrupt(network: Network, source: str, destination: str, outgoing: Outgoing) -> Any:
        if outgoing.kind == kind:
            middle = len(outgoing.payload) // 2
            payload = bytearray(outgoing.payload)
            payload[middle] ^= 16
            outgoing = outgoing._replace(payload=bytes(payload))
        return send(network, source, destination, outgoing)

    monkeypatch.setattr(Network, "send", corrupt)
    with pytest.raises(CodecError):
        finished(scenario(**shape))


@pytest.mark.parametrize("slot", ["smashed_up", "smashed_down", "gradient_up", "gradient_down"])
def test_what_a_codec_drops_changes_the_weights(slot: str) -> None:
    plain = finished(scenario(**U_SHAPED)).workload.models
    dropped = finished(scenario(**U_SHAPED, codecs=coded(Zeros(), slot))).workload.models
    before, after = plain.client_side | plain.server_side, dropped.client_side | dropped.server_side
    assert [name for name in before if not torch.equal(before[name], after[name])]


def test_a_client_model_of_zeros_yields_a_zero_global_model() -> None:
    codecs = Codecs(client_model_up=ModelCodec(codec=Zeros(), of="weights"))
    state = finished(scenario(codecs=codecs, global_rounds=1)).workload.models.client_side
    weights = {name: value for name, value in state.items() if name.endswith((".weight", ".bias"))}
    assert weights and all(not value.any() for value in weights.values())


@pytest.mark.parametrize("protocol", ["splitfed-v1", "splitfed-v2"])
def test_lossless_differences_give_the_same_training_as_whole_weights(protocol: str) -> None:
    """fp32 differences round, so the models are close and not equal; their references at both ends must agree."""
    slot = ModelCodec(codec=Cast(dtype="float32"), of="delta")
    whole = finished(scenario(protocol=protocol)).workload.models.client_side
    moved = finished(
        scenario(protocol=protocol, codecs=Codecs(client_model_up=slot, client_model_down=slot))
    ).workload.models.client_side
    for name, value in whole.items():
        torch.testing.assert_close(moved[name], value, rtol=1e-3, atol=1e-3)


def test_lossy_model_updates_travel_small() -> None:
    slot = ModelCodec(codec=Uniform(bits=8), of="delta")
    world = finished(scenario(codecs=Codecs(client_model_up=slot, client_model_down=slot)))
    models = [m for m in world.ledger.messages if m.kind == "client model"]
    first, later = models[0], models[-1]
    assert first.payload_bytes > first.raw_bytes, "nobody holds a reference yet: whole float32 weights"
    assert later.payload_bytes < later.raw_bytes


def test_randtopk_returns_only_the_kept_entries_of_the_gradient() -> None:
    world = finished(scenario(codecs=coded(RandTopK(keep=0.1, alpha=0.1), "smashed_up"), global_rounds=1))
    gradients = [m for m in world.ledger.messages if m.kind == "gradient"]
    for message in gradients:
        examples = message.elements // 64  # conv1 of width 4 on 8x8 images puts out 4x4x4
        kept = round(0.1 * 64) * examples
        assert message.payload_bytes - 4 * kept in range(8, 21), "the values and one frame"


@pytest.mark.parametrize(
    "protocol, shared", [("splitfed-v1", "server model of c-1"), ("splitfed-v2", "server model")]
)
def test_accesses_to_shared_models_are_logged_in_simulated_order(protocol: str, shared: str) -> None:
    ledger = finished(scenario(protocol=protocol, clients=clients(2))).ledger
    assert [access.order for access in ledger.accesses] == list(range(len(ledger.accesses)))
    times = [access.time_s for access in ledger.accesses]
    assert times == sorted(times)
    of_one_minibatch = [
        (access.operation, access.mode) for access in ledger.accesses if access.shared == shared
    ][:3]
    assert of_one_minibatch == [
        ("server_forward", "read"),
        ("server_backward", "read"),
        ("server_step", "write"),
    ]
    averaged = [
        access for access in ledger.accesses if access.shared == "client model" and access.mode == "write"
    ]
    assert [access.round for access in averaged] == [1, 2]


def u_net() -> Scenario:
    return scenario(data=MASKS, model=UNet(width=2), cut_layers=("enc2a", "dec2a"), loss="dice", batch_size=8)


@pytest.mark.parametrize("declared", [scenario(), u_net()], ids=["label-sharing", "u-shaped"])
def test_labels_travel_only_when_they_are_shared(declared: Scenario) -> None:
    ledger = finished(declared).ledger
    up = [m for m in ledger.messages if m.kind == "smashed data" and m.direction == "up"]
    assert all((m.label_bytes > 0) != declared.u_shaped for m in up)
    gradients_up = [m for m in ledger.messages if m.kind == "gradient" and m.direction == "up"]
    assert bool(gradients_up) == declared.u_shaped


def test_every_payload_has_its_size_and_checksum_in_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    from zlib import crc32

    sent = []
    send = Network.send

    def note(network: Network, source: str, destination: str, outgoing: Outgoing) -> Any:
        sent.append((outgoing.kind, len(outgoing.payload), crc32(outgoing.payload)))
        return send(network, source, destination, outgoing)

    monkeypatch.setattr(Network, "send", note)
    ledger = finished(scenario()).ledger
    assert sorted(sent) == sorted((m.kind, m.payload_bytes, m.payload_crc32) for m in ledger.messages)


def test_a_model_larger_than_the_memory_of_a_device_is_refused() -> None:
    small = replace(FAST, memory_bytes=1000)
    declared = scenario(clients=tuple(replace(group, device=small) for group in clients(2)))
    with pytest.raises(
        ConfigError,
        match=r'\[clients "c" device\] memory_bytes: found the client-side model with 16 examples, which',
    ):
        worlds.build(declared)

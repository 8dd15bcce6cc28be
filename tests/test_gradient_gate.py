"""Gates that hold gradients back: nobody steps on what was not sent, and nothing of it is left."""

from pathlib import Path

import pytest
import torch
from interrupted import counted, files
from worlds import MASKS, finished, scenario

import sfsim
from sfsim.codec import Ae
from sfsim.errors import ConfigError
from sfsim.learning.declarations import Sgd, UNet
from sfsim.scenario import AdaptiveGate, Codecs, StaticGate

U_SHAPED = {"data": MASKS, "model": UNet(width=2), "cut_layers": ("enc2a", "dec2a"), "loss": "dice"}
NEVER, ALWAYS = StaticGate(threshold=1e9), StaticGate(threshold=0.0)


def weights(world):
    """All weights that an optimiser moves."""
    setting = world.workload.setting
    replicas = {**setting.clients, **{f"server of {name}": r for name, r in setting.servers.items()}}
    return {
        f"{owner} {part} {key}": value
        for owner, replica in replicas.items()
        for part, module in replica.parts.items()
        for key, value in module.named_parameters()
    }


def gradients(world):
    return [row for row in world.ledger.messages if row.kind == "gradient"]


@pytest.mark.parametrize("protocol", ["splitfed-v1", "splitfed-v2", "sl"])
def test_u_shaped_a_closed_gate_leaves_every_weight_alone(protocol):
    world = finished(scenario(gradient_gate=NEVER, protocol=protocol, **U_SHAPED))
    first = finished(scenario(gradient_gate=NEVER, protocol=protocol, global_rounds=1, **U_SHAPED))
    assert all(torch.equal(value, weights(first)[key]) for key, value in weights(world).items())
    sent = gradients(world)
    assert {(row.direction, row.payload_bytes, row.codec) for row in sent} == {("up", 1, "skipped")}
    assert not world.workload.setting.clients["c-0"].pending.forward
    assert not {row.operation for row in world.ledger.computations} & {"server_backward", "server_step"}


def test_with_labels_at_the_server_only_the_client_stands_still():
    world, open_ = finished(scenario(gradient_gate=NEVER)), finished(scenario(gradient_gate=ALWAYS))
    one = finished(scenario(gradient_gate=NEVER, global_rounds=1))
    moved = {key for key, value in weights(world).items() if not torch.equal(value, weights(one)[key])}
    assert moved
    assert all(key.startswith("server") for key in moved)
    assert {(row.direction, row.payload_bytes) for row in gradients(world)} == {("down", 1)}
    plain = finished(scenario())
    assert all(torch.equal(value, weights(plain)[key]) for key, value in weights(open_).items())
    # A gradient that is not sent is not encoded either.
    encoded = [row for row in world.ledger.computations if row.operation == "server_backward"]
    assert "encode" not in {row.phase for row in encoded}


def test_an_open_gate_changes_nothing_in_the_u_shape():
    gated, plain = finished(scenario(gradient_gate=ALWAYS, **U_SHAPED)), finished(scenario(**U_SHAPED))
    assert all(torch.equal(value, weights(plain)[key]) for key, value in weights(gated).items())
    assert sum(row.payload_bytes for row in gradients(gated)) == sum(
        row.payload_bytes for row in gradients(plain)
    )
    assert gated.env.now == pytest.approx(plain.env.now, rel=1e-9)


def test_a_skipped_gradient_does_not_leak_into_the_next_step():
    # One minibatch is skipped: with plain SGD without momentum or BatchNorm statistics in the loss, training is
    # that of the other minibatches alone.
    declared = scenario(
        gradient_gate=AdaptiveGate(), optimiser=Sgd(learning_rate=0.1), global_rounds=2, **U_SHAPED
    )
    world = finished(declared)
    stepped = {
        (row.client, row.round, row.minibatch)
        for row in world.ledger.computations
        if row.operation == "client_backward"
    }
    skipped = {(row.source, row.round, row.minibatch) for row in gradients(world) if row.codec == "skipped"}
    assert stepped and skipped and not stepped & skipped
    for replica in world.workload.setting.clients.values():
        for part in replica.parts.values():
            assert all(weight.grad is None for weight in part.parameters())
    for replica in world.workload.setting.servers.values():
        assert all(weight.grad is None for weight in replica.parts["server_side"].parameters())


def test_adaptive_gates_send_as_often_as_the_law_says():
    assert sum(AdaptiveGate().probability(1.0, epoch, 30) for epoch in range(30)) == pytest.approx(15.5)
    declared = scenario(gradient_gate=AdaptiveGate(), global_rounds=12, batch_size=4)
    sent = [row for row in gradients(finished(declared)) if row.codec != "skipped"]
    batches = 12 * 2 * 12
    share = sum((12 - epoch) / 12 for epoch in range(12)) / 12
    assert len(sent) / batches == pytest.approx(share, abs=4 * (0.25 / batches) ** 0.5)


def test_gates_with_learned_codecs_and_best_validation():
    world = finished(
        scenario(
            gradient_gate=AdaptiveGate(law="sigmoid"),
            codecs=Codecs(scheme="F", codec=Ae(channels=4)),
            aggregate="best-validation",
            validation_fraction=0.2,
            local_epochs=2,
            **U_SHAPED,
        )
    )
    assert {row.codec for row in gradients(world)} == {"skipped", "fp32"}


def test_a_gate_counts_epochs():
    with pytest.raises(ConfigError, match="gradient_gate: found local_steps, expected local_epochs"):
        scenario(gradient_gate=NEVER, local_steps=3)


@pytest.mark.parametrize("shape", [{}, U_SHAPED])
@pytest.mark.parametrize("protocol", ["splitfed-v1", "splitfed-v2", "sl"])
def test_a_gated_run_that_was_interrupted_goes_on_where_it_was(protocol, shape, tmp_path: Path):
    declared = scenario(gradient_gate=AdaptiveGate(), protocol=protocol, global_rounds=4, **shape)
    works = counted(declared, tmp_path / "whole", checkpoint_share=0)
    counted(declared, tmp_path / "run", works * 3 // 4)
    result = sfsim.resume(tmp_path / "run")
    assert result.environment["resumed_after_rounds"]
    assert files(result.directory) == files(tmp_path / "whole")


def test_a_checkpoint_waits_for_both_ends_of_a_gradient_that_is_held_back(tmp_path: Path):
    # In SL a client's round is over at once when its last gradient stays away; the server does not know yet.
    declared = scenario(gradient_gate=NEVER, protocol="sl", global_rounds=4, **U_SHAPED)
    works = counted(declared, tmp_path / "whole", checkpoint_share=0)
    counted(declared, tmp_path / "run", works * 3 // 4)
    result = sfsim.resume(tmp_path / "run")
    assert result.environment["resumed_after_rounds"]
    assert files(result.directory) == files(tmp_path / "whole")

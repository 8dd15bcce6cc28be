"""Learned codecs among many clients: who is measured with what, whom an update reaches, and what is remembered."""

from dataclasses import replace

import pytest
import torch
from worlds import ACCESS, FAST, IMAGES, clients, finished, scenario

from sfsim import world as worlds
from sfsim.codec import Ae, Uniform
from sfsim.errors import Diverged
from sfsim.learning.declarations import Adam, Cnn, Sgd
from sfsim.network.cell import Cellular
from sfsim.scenario import AdaptiveGate, ClientGroup, Codecs, CodecTraining, Evaluation, FedServer, ModelCodec
from sfsim.scenario.cells import why_unicast
from sfsim.workload.evaluation import Evaluations
from sfsim.workload.learned import networks
from sfsim.workload.learned.passage import Passage
from sfsim.workload.learned.replica import CodecReplica

TRAINING = CodecTraining(optimiser=Sgd(learning_rate=0.5), verify=1.0)
COARSE = ModelCodec(codec=Uniform(bits=8, per="tensor"))


def learned(training=TRAINING, scheme="FG", u_shaped=False, **changes):
    """A tiny CNN on invented images; the tensors are as small as learned codecs take them."""
    given = {
        "data": replace(IMAGES, num_train=24, num_test=6, image_size=16 if u_shaped else 8),
        "model": Cnn(width=2),
        "cut_layers": ("conv1", "conv2") if u_shaped else ("conv1",),
        "batch_size": 4,
        "codecs": Codecs(scheme=scheme, codec=Ae(channels=2, lambda_=100.0)),
        "codec_training": training,
        "global_rounds": 3,
    }
    return scenario(**(given | changes))


def test_gaps_are_those_of_the_round_whoever_is_ahead():
    world = worlds.build(learned())
    try:
        slot = world.workload.setting.slots["smashed_up"]
        slot.gaps = {(2, "c-1"): [9.0, 9.0, 1.0], (1, "c-1"): [0.1, 1.0, 1.0], (1, "c-0"): [0.3, 2.0, 1.0]}
        assert slot.take_gaps(1) == pytest.approx((0.2, 1.5))
        assert slot.take_gaps(2) == (9.0, 9.0)
        # Sums do not depend on which client's thread came first.
        forth, back = (
            {(1, f"c-{n}"): [0.1 * 3**n, 0.7**n, 1.0] for n in order}
            for order in (range(9), range(8, -1, -1))
        )
        slot.gaps = forth
        first = slot.take_gaps(1)
        slot.gaps = back
        assert slot.take_gaps(1) == first
    finally:
        world.workload.close()


def measured_with(declared, monkeypatch):
    """The codecs that the last global model was measured with, by slot, and the world."""
    states = {}
    take = Evaluations._passages

    def spy(self, *arguments):
        states.update(self._codec_states)
        return take(self, *arguments)

    monkeypatch.setattr(Evaluations, "_passages", spy)
    return states, finished(declared)


def same(one, other):
    return all(torch.equal(one[name], weight) for name, weight in other.items())


def test_a_model_is_measured_with_the_codecs_of_those_who_trained_it(monkeypatch):
    training = replace(TRAINING, update="ideal")
    declared = learned(training, clients=clients(3), client_fraction=0.34, global_rounds=6)
    states, world = measured_with(declared, monkeypatch)
    (last,) = {row.source for row in world.ledger.messages if row.kind == "smashed data" and row.round == 6}
    slot = world.workload.setting.slots["smashed_up"]
    assert same(states["smashed_up"], slot.senders[last].state())


@pytest.mark.parametrize("protocol", ["splitfed-v2", "sl"])
@pytest.mark.parametrize("update", ["ideal", "epoch"])
def test_one_server_model_is_measured_with_the_codec_that_it_used_last(protocol, update, monkeypatch):
    training = replace(TRAINING, update=update)
    declared = learned(training, u_shaped=True, protocol=protocol, clients=clients(3), local_epochs=2)
    states, world = measured_with(declared, monkeypatch)
    served = [row for row in world.ledger.computations if row.operation == "server_step"]
    slot = world.workload.setting.slots["smashed_down"]
    assert same(states["smashed_down"], slot.senders[served[-1].client].state())
    assert any(not same(states["smashed_down"], wire.state()) for wire in slot.senders.values())


def test_rounds_that_are_not_evaluated_leave_nothing_behind():
    world = finished(learned(global_rounds=5, evaluation=Evaluation(every_rounds=5, codec_off=False)))
    kept = world.workload._evaluations.snapshot()
    assert kept["halves"] == kept["codecs"] == {}


def test_differences_of_codecs_are_not_multicast():
    group = ClientGroup(name="c", count=3, device=FAST, cell="lte", distance_m=(50.0,))
    coarse = replace(TRAINING, update_codec=COARSE)
    given = {
        "clients": (group,),
        "cell": {"lte": Cellular(model_delivery="multicast")},
        "client_fraction": 0.67,
    }
    assert not why_unicast(learned(**given))
    declared = learned(coarse, global_rounds=5, **given)
    assert any("differences (codec_training.update_codec)" in line for line in declared.remarks())
    world = finished(declared)  # c-2 is away for a while and decodes everything all the same
    assert "c-2" in {row.source for row in world.ledger.messages if row.kind == "smashed data"}
    assert not why_unicast(learned(coarse, codecs=Codecs(), **given))


def test_references_are_kept_only_for_differences():
    whole = finished(learned(global_rounds=1)).workload.codecs.snapshot()
    coarse = replace(TRAINING, update_codec=COARSE)
    difference = finished(learned(coarse, global_rounds=1)).workload.codecs.snapshot()
    assert not whole["reference"]
    assert difference["reference"]


@pytest.mark.parametrize("update", ["round", "ideal"])
@pytest.mark.parametrize("learning_rate", [1e2, 1e3, 1e30])
def test_a_codec_that_diverges_is_a_result(update, learning_rate):
    training = CodecTraining(
        optimiser=Sgd(learning_rate=learning_rate), clip_norm=1e9, update=update, verify=1.0
    )
    with pytest.raises(Diverged):
        finished(learned(training, global_rounds=9))


def test_a_gradient_codec_that_has_learnt_its_part_costs_no_training():
    world = finished(learned(replace(TRAINING, freeze_after_round=1), global_rounds=2))
    trained = {
        (row.round, row.operation) for row in world.ledger.computations if row.phase == "codec training"
    }
    # The gradient of the task goes back through a codec of smashed data, frozen or not.
    smashed = {(round, operation) for round in (1, 2) for operation in ("client_forward", "client_backward")}
    assert trained == smashed | {(1, "server_backward")}
    rows = [row for row in world.ledger.messages if row.kind == "gradient"]
    assert all(row.likelihood_bits > 0 for row in rows)


SLOW_SERVER = FedServer(same_host=False, device=FAST, uplink=ACCESS, downlink=ACCESS)
LATE = (*clients(2), replace(clients(1)[0], name="late", start_s=1.0))


@pytest.mark.parametrize(
    ("training", "changes"),
    [
        ({"update": "epoch", "update_codec": COARSE}, {"fed_server": SLOW_SERVER, "batch_norm": "local"}),
        ({"update_every_minibatches": 2}, {"protocol": "splitfed-v2", "server_order": "arrival"}),
        ({"update": "epoch"}, {"protocol": "sl"}),
        ({"freeze_when_settled": 0.5}, {"aggregate": "best-validation", "validation_fraction": 0.25}),
    ],
)
def test_late_clients_that_come_and_go_behind_a_gate_decode_everything(training, changes):
    given = {"clients": LATE, "client_fraction": 0.67, "local_epochs": 2, "gradient_gate": AdaptiveGate()}
    declared = learned(replace(TRAINING, **training), u_shaped=True, **(given | changes))
    one, many = finished(declared), finished(declared, jobs=3)
    assert one.ledger == many.ledger
    sent = [row for row in one.ledger.messages if row.codec == "ae" and row.kind != "codec update"]
    slots = one.workload.setting.slots.values()
    assert sum(slot.verified for slot in slots) == len(sent)
    assert "late" in {row.source for row in sent}


# One step


def stepped(**changes):
    """What one step adds to a trainee's weights, and the gradient that it hands on to the model."""
    training = replace(CodecTraining(optimiser=Sgd(learning_rate=1.0), clip_norm=1e9), **changes)
    first = networks.build(Ae(channels=2, lambda_=100.0), 3, (8, 8), 7)
    replica = CodecReplica(first, training, 7, 64, torch.device("cpu"))
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    rehearsal = replica.rehearse(x, trains=True)
    at_tensor = replica.learn(rehearsal, torch.ones_like(x), trains=True)
    before, after = dict(first.named_parameters()), replica.state()
    return {name: after[name] - before[name].detach() for name in after}, at_tensor


def test_steps_are_clipped_over_all_weights():
    whole, _ = stepped()
    clipped, _ = stepped(clip_norm=0.01)
    norm = torch.cat([step.flatten() for step in whole.values()]).norm().item()
    assert norm > 0.01
    for name, step in clipped.items():
        assert torch.allclose(step, whole[name] * 0.01 / norm, rtol=1e-3, atol=1e-6), name


def test_entropy_models_learn_at_a_rate_of_their_own():
    plain, _ = stepped()
    fast, _ = stepped(entropy_learning_rate=5.0)
    moved = 0
    for name, step in fast.items():
        rate = 5.0 if name.startswith("entropy_bottleneck.") else 1.0
        assert torch.allclose(step, rate * plain[name], rtol=1e-4, atol=1e-5), name
        moved += rate == 5.0 and bool(step.any())
    assert moved


def test_a_model_that_is_trained_by_the_task_alone_gets_nothing_of_rate_and_distortion():
    both, with_own = stepped()
    task, alone = stepped(model_loss="task")
    assert all(
        torch.equal(step, task[name]) for name, step in both.items()
    )  # the codec learns from all three
    first = networks.build(Ae(channels=2, lambda_=100.0), 3, (8, 8), 7)
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
    first(x, "hard").x_hat.sum().backward()
    assert torch.allclose(alone, x.grad, atol=1e-6)
    assert not torch.allclose(with_own, x.grad, atol=1e-3)


@pytest.mark.parametrize("update", ["round", "ideal"])
def test_moments_of_codecs_are_forgotten_with_those_of_the_model(update):
    def steps(rule):
        training = replace(TRAINING, optimiser=Adam(learning_rate=1e-3), update=update)
        world = finished(learned(training, clients=clients(1), optimiser_state=rule, local_steps=3))
        return {
            name: {int(state["step"]) for state in slot.replicas["c"].optimiser.state.values()}
            for name, slot in world.workload.setting.slots.items()
        }

    assert steps("keep") == {"smashed_up": {9}, "gradient_down": {9}}
    # A client forgets when it takes over the codec of the next round, the main server when it averages its own.
    averaged = {3} if update == "round" else set()
    assert steps("reset") == {"smashed_up": averaged, "gradient_down": set()}


def test_what_has_diverged_validates_as_nan():
    world = worlds.build(learned(aggregate="best-validation", validation_fraction=0.25))
    slot = world.workload.setting.slots["smashed_up"]
    sent = torch.ones(2, 2, 4, 4)
    assert torch.isfinite(slot.preview(sent, "c-0")).all()
    sent[0, 0, 0, 0] = torch.nan
    assert torch.isnan(slot.preview(sent, "c-0")).all()
    assert torch.isnan(Passage(slot, slot.first_state, train_mode=False).transmit(sent).tensor).all()
    huge = {name: weight.fill_(1e30) for name, weight in slot.state("c-0").items()}
    slot.senders["c-0"] = slot.wire(huge, 2)
    assert torch.isnan(slot.preview(torch.ones(2, 2, 4, 4), "c-0")).all()
    world.workload.close()


def test_an_update_that_has_diverged_says_which_and_when():
    world = worlds.build(learned(replace(TRAINING, update_codec=COARSE)))
    codecs = world.workload.codecs
    broken = {name: weight * torch.nan for name, weight in codecs.slots["smashed_up"].first_state.items()}
    codecs._returned = {("smashed_up", client): (2, broken) for client in ("c-0", "c-1")}
    with pytest.raises(Diverged, match=r"diverged in round 3: codec smashed_up: tensor '.*': found nan"):
        codecs.average("client", ["c-0", "c-1"], 3)
    world.workload.close()

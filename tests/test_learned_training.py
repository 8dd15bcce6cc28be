"""Learned codecs in a run: what they train on, when their weights travel, and that bytes decide everything."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from interrupted import counted, files
from safetensors.torch import load_file
from worlds import MASKS, clients, finished, scenario

import sfsim
from sfsim import world as worlds
from sfsim.__main__ import main
from sfsim.codec import Ae, Cast, ChengAt, Uniform, Zeros
from sfsim.errors import CodecError, ConfigError
from sfsim.learning.cut import split
from sfsim.learning.declarations import Adam, Cnn, Sgd, UNet
from sfsim.learning.losses import loss_function
from sfsim.learning.models import build
from sfsim.report.tables import codecs
from sfsim.scenario import Codecs, CodecTraining, Evaluation, ModelCodec
from sfsim.seeds import integer
from sfsim.workload.learned import networks, stored
from sfsim.workload.learned.slot import LearnedSlot

ROOT = Path(__file__).resolve().parents[1]
SMALL = replace(MASKS, num_train=16, num_test=4)
AE = Ae(channels=4, lambda_=100.0)
LARGE = CodecTraining(optimiser=Sgd(learning_rate=0.5), verify=1.0)  # steps that every payload shows


def learned(codec=AE, scheme="FG", training=LARGE, **changes):
    """A U-shaped U-Net on invented masks with a learned codec; every payload is decoded and compared."""
    given = {
        "data": SMALL,
        "model": UNet(width=2),
        "cut_layers": ("enc2a", "dec2a"),
        "loss": "dice",
        "batch_size": 4,
        "codecs": Codecs(scheme=scheme, codec=codec),
        "codec_training": training,
    }
    return scenario(**(given | changes))


def slots(world):
    return {
        name: slot for name, slot in world.workload.setting.slots.items() if isinstance(slot, LearnedSlot)
    }


def updates(world, slot=None):
    rows = [row for row in world.ledger.messages if row.kind == "codec update"]
    return [row for row in rows if slot in (None, row.slot)]


def trajectory(world):
    return [(row.metric, row.value) for row in world.ledger.evaluations if row.metric in ("loss", "mji")]


# What is trained


@pytest.mark.parametrize("codec", [AE, ChengAt(channels=4, lambda_=100.0, mode="round")])
def test_training_with_the_codec_in_the_loop_is_backpropagation_through_it(codec, monkeypatch):
    # With the quantiser replaced by the identity and shared weights at every step, one minibatch must step every
    # weight of model and codecs as autograd through the whole chain would.
    def decode(self, payload, client, at):
        with torch.no_grad():
            return self.replicas[client].trainee(self.told, "identity").x_hat

    def encode(self, tensor, client, at):
        self.told = tensor.detach()
        sent = self.senders[client].encode(tensor)
        self._sent[client] = sent, ""
        return sent

    monkeypatch.setattr(LearnedSlot, "_decode", decode)
    monkeypatch.setattr(LearnedSlot, "_encode", encode)
    training = CodecTraining(optimiser=Sgd(learning_rate=0.1), update="ideal", clip_norm=1e9)
    declared = learned(
        codec,
        "F",
        training,
        clients=clients(1),
        global_rounds=1,
        local_steps=1,
        optimiser=Sgd(learning_rate=0.1),
    )
    world = worlds.build(declared)
    setting = world.workload.setting
    for slot in slots(world).values():
        slot.replicas["c"].quantiser = "identity"

    whole = split(build(UNet(width=2), 1, 2, integer(7, "initial weights")), ("enc2a", "dec2a"))
    ends = {}
    for name, channels in (("smashed_up", 4), ("smashed_down", 4)):
        ends[name] = networks.build(codec, channels, (16, 16), integer(7, "learned codec", name))
    ((_, rows),) = setting.batches("c", 1)
    x, targets = setting.dataset.train.batch(rows, torch.device("cpu"))
    try:
        world.env.run(until=world.env.all_of(world.processes))
    finally:
        world.workload.close()

    def own(output):
        return output.rate_bits / (len(rows) * 32 * 32 * codec.lambda_) + output.mse

    smashed, skips = whole.front_end(x)
    up = ends["smashed_up"](smashed, "identity")
    middle, _ = whole.server_side(up.x_hat)
    down = ends["smashed_down"](middle, "identity")
    logits, _ = whole.back_end(down.x_hat, skips)
    (loss_function("dice")(logits, targets) + own(up) + own(down)).backward()
    for name, slot in slots(world).items():
        trained = slot.replicas["c"].state()
        for key, weight in ends[name].named_parameters():
            step = torch.zeros_like(weight) if weight.grad is None else weight.grad
            assert torch.allclose(trained[key], weight.detach() - 0.1 * step, rtol=1e-4, atol=1e-6), (
                name,
                key,
            )
    held = setting.clients["c"].state() | setting.servers["c"].state()
    for part in ("front_end", "server_side", "back_end"):
        for key, weight in getattr(whole, part).named_parameters():
            wanted = weight.detach() - 0.1 * weight.grad
            assert torch.allclose(held[f"{part}.{key}"], wanted, rtol=1e-4, atol=1e-6), (part, key)


@pytest.mark.parametrize("protocol", ["splitfed-v1", "splitfed-v2", "sl"])
def test_what_is_received_is_what_the_sender_rebuilt_bit_for_bit(protocol):
    world = finished(learned(protocol=protocol, local_epochs=2))
    sent = [row for row in world.ledger.messages if row.kind in ("smashed data", "gradient")]
    assert sum(slot.verified for slot in slots(world).values()) == len(sent) > 0
    assert all(row.payload_bytes > 0 and row.likelihood_bits > 0 for row in sent)


def test_gradient_codecs_are_trained_by_rate_and_distortion_alone():
    # With a gradient codec that loses everything the model stands still, and the codec still learns.
    world = finished(
        learned(scheme="G", local_epochs=2, codecs=Codecs(scheme="F", codec=Zeros(), gradient_down=AE))
    )
    slot = slots(world)["gradient_down"]
    assert slot.codec.normalise
    first = slot.first_state
    assert any(not torch.equal(first[key], value) for key, value in slot.replicas["c-0"].state().items())


def test_label_sharing_and_any_number_of_threads():
    declared = learned(
        data=replace(MASKS, task="classification", num_train=24, num_test=6, image_size=16, num_classes=3),
        model=Cnn(width=4), cut_layers=("conv1",), loss="cross-entropy", clients=clients(3),
    )  # fmt: skip
    one, many = finished(declared), finished(declared, jobs=3)
    assert one.ledger == many.ledger
    assert {row.slot for row in updates(one)} == {"smashed_up", "gradient_down"}


def test_the_first_of_each_epoch_is_always_verified():
    world = finished(learned(training=replace(LARGE, verify=0.0), local_epochs=2))
    clients_, rounds, epochs = 2, 2, 2
    assert [slot.verified for slot in slots(world).values()] == [clients_ * rounds * epochs] * 4


# When weights travel


def test_a_round_sends_whole_codecs_to_owners_and_decoders_to_receivers():
    world = finished(learned())
    rows = [(row.slot, row.source, row.destination, row.round) for row in updates(world)]
    for round in (1, 2):
        for client in ("c-0", "c-1"):
            for slot in ("smashed_up", "gradient_up"):
                assert rows.count((slot, "fed server", client, round)) == 1
                assert rows.count((slot, client, "fed server", round)) == 1
            for slot in ("smashed_down", "gradient_down"):
                assert rows.count((slot, "main server", client, round)) == 1
        for slot in ("smashed_up", "gradient_up"):
            assert rows.count((slot, "fed server", "main server", round)) == 1
    assert len(rows) == 2 * (2 * 6 + 2)
    slot = slots(world)["smashed_up"]
    whole = 4 * sum(weight.numel() for weight in slot.first_state.values())
    decoder = 4 * sum(
        w.numel() for name, w in slot.first_state.items() if not name.startswith(("g_a", "h_a"))
    )
    sizes = {row.destination: row.payload_bytes for row in updates(world, "smashed_up")}
    assert 0 < sizes["c-0"] - whole < 600
    assert 0 < sizes["main server"] - decoder < 600


def test_updates_every_minibatch_train_exactly_as_free_and_instant_ones():
    paid = finished(learned(training=replace(LARGE, update="minibatches", update_every_minibatches=1)))
    free = finished(learned(training=replace(LARGE, update="ideal")))
    round_ = finished(learned())
    assert trajectory(paid) == trajectory(free) != trajectory(round_)
    assert not updates(free)
    assert len(updates(paid)) > len(updates(round_))
    assert paid.env.now > round_.env.now > free.env.now


def test_epochs_swap_decoders_within_a_round():
    world = finished(learned(training=replace(LARGE, update="epoch"), local_epochs=3, global_rounds=1))
    within = [(row.slot, row.source, row.epoch) for row in updates(world) if row.epoch]
    assert sorted(within) == sorted(
        (slot, source, epoch)
        for epoch in (1, 2)
        for client in ("c-0", "c-1")
        for slot, source in (
            ("smashed_up", client), ("gradient_up", client),
            ("smashed_down", "main server"), ("gradient_down", "main server"),
        )
    )  # fmt: skip


@pytest.mark.parametrize("protocol", ["splitfed-v1", "splitfed-v2", "sl"])
def test_two_phases_end_training_and_messages(protocol):
    world = finished(
        learned(training=replace(LARGE, freeze_after_round=1), protocol=protocol, global_rounds=4)
    )
    assert max(row.round for row in updates(world)) == 2
    shorter = finished(learned(training=LARGE, protocol=protocol, global_rounds=1))
    for name, slot in slots(world).items():
        if protocol == "sl" or (protocol == "splitfed-v2" and not slot.owned_by_client):
            kept = slots(shorter)[name].replicas["c-1"].state()  # who came last
        else:
            kept = shorter.workload.codecs.common[name]
        state = next(iter(slot.replicas.values())).state()
        assert all(torch.equal(kept[key], value) for key, value in state.items()), name


def test_frozen_codecs_travel_once_and_settled_ones_stop():
    frozen = finished(learned(training=replace(LARGE, update="frozen"), global_rounds=3))
    assert {row.round for row in updates(frozen)} == {1}
    for slot in slots(frozen).values():
        assert all(torch.equal(v, slot.first_state[k]) for k, v in slot.replicas["c-0"].state().items())
    settled = finished(learned(training=replace(LARGE, freeze_when_settled=0.99), global_rounds=5))
    assert max(row.round for row in updates(settled, "smashed_up")) < 5


def test_clients_that_were_away_get_what_they_missed():
    training = replace(LARGE, freeze_after_round=2)
    for protocol in ("splitfed-v1", "sl"):
        world = finished(
            learned(
                training=training, protocol=protocol, clients=clients(3), client_fraction=0.4, global_rounds=6
            )
        )
        active = {row.source for row in world.ledger.messages if row.kind == "smashed data"}
        assert "c-2" in active  # who first takes part late still decodes everything


def test_lossy_updates_leave_both_ends_with_the_same_weights():
    raw = finished(learned(training=replace(LARGE, update="epoch"), local_epochs=2))
    coarse = ModelCodec(codec=Uniform(bits=8, per="tensor"))
    cheap = finished(learned(training=replace(LARGE, update="epoch", update_codec=coarse), local_epochs=2))
    assert coarse.of == "delta"
    last = {name: [row.payload_bytes for row in updates(raw, name)][-1] for name in slots(raw)}
    for name, size in last.items():
        assert [row.payload_bytes for row in updates(cheap, name)][-1] < 0.5 * size
    sent = [row for row in cheap.ledger.messages if row.kind in ("smashed data", "gradient")]
    assert sum(slot.verified for slot in slots(cheap).values()) == len(sent)


def test_averages_are_weighted_by_samples_and_leave_tables_alone():
    world = finished(learned(global_rounds=1))
    codecs, setting = world.workload.codecs, world.workload.setting
    shares = {client: len(rows) for client, rows in setting.shards.items()}
    states = {client: setting.slots["smashed_up"].replicas[client].state() for client in shares}
    for key, value in codecs.common["smashed_up"].items():
        assert "_quantized_cdf" not in key and "_offset" not in key
        mean = sum(states[c][key].double() * n for c, n in shares.items()) / sum(shares.values())
        assert torch.allclose(value.double(), mean, atol=1e-7)


def test_a_damaged_update_does_not_pass(monkeypatch):
    world = worlds.build(learned())
    codecs = world.workload.codecs
    take = codecs.codec_in

    def damaged(receiver, sender, client, at, turn, slot, payload):
        flipped = bytearray(payload)
        flipped[len(payload) // 2] ^= 1
        return take(receiver, sender, client, at, turn, slot, bytes(flipped))

    monkeypatch.setattr(codecs, "codec_in", damaged)
    try:
        with pytest.raises(CodecError):
            world.env.run(until=world.env.all_of(world.processes))
    finally:
        world.workload.close()


# As published, and evaluated


def test_exact_gradients_make_gradient_codecs_a_mere_read_out():
    training = replace(LARGE, as_published=("exact-gradients",))
    plain = finished(learned(Cast(dtype="float32"), "F"))
    watched = finished(learned(scheme="G", training=training))
    used = finished(learned(scheme="G"))
    assert trajectory(watched) == trajectory(plain) != trajectory(used)


def test_likelihood_rates_size_messages_as_published():
    world = finished(learned(training=replace(LARGE, as_published=("likelihood-rates",))))
    rows = [row for row in world.ledger.messages if row.kind == "gradient"]
    assert all(row.payload_bytes == -(-row.likelihood_bits // 8) for row in rows)


def test_evaluation_counts_the_bits_of_test_images():
    world = finished(learned())
    found = {
        row.metric: row.value
        for row in world.ledger.evaluations
        if row.round == 2 and row.split == "test" and row.codec == "on"
    }
    # One payload for all four images of 32x32, at each cut.
    for cut in ("bpp_s1", "bpp_s2"):
        num_bytes = found[cut] * 4 * 32 * 32 / 8
        assert num_bytes == pytest.approx(round(num_bytes), abs=1e-9)
        assert 14 <= num_bytes < 2000
        assert found[f"published_{cut}"] > 0


def test_the_gap_between_wire_and_trainee_is_reported():
    def gaps(update):
        training = CodecTraining(optimiser=Adam(learning_rate=1e-2), update=update)
        world = finished(learned(scheme="F", training=training, local_epochs=2))
        rows = {row.metric: row.value for row in world.ledger.evaluations if row.split == "train"}
        return rows["smashed_up_wire_mse"], rows["smashed_up_trainee_mse"]

    wire, trainee = gaps("round")
    assert wire > trainee > 0  # the wire stands still for a round while the trainee learns
    wire, trainee = gaps("ideal")
    assert wire == pytest.approx(trainee, rel=1e-5)


def test_best_validation_hands_on_the_codecs_of_the_best_epoch():
    world = finished(learned(aggregate="best-validation", validation_fraction=0.25, local_epochs=3))
    epochs = world.workload.models._epochs
    state = epochs.codec_side("smashed_up", "c-0", world.ledger.evaluations[-1].round)
    assert state.keys() == slots(world)["smashed_up"].first_state.keys()


# Weights from a file


def test_weights_come_from_a_file_and_foreign_ones_are_refused(tmp_path: Path):
    trainee = networks.build(AE, 4, (16, 16), 11)
    state = dict(trainee.named_parameters())
    stored.save(tmp_path / "a.safetensors", AE, (4, 16, 16), state, {"data": "invented"})
    world = finished(
        learned(replace(AE, weights=tmp_path / "a.safetensors"), "F", replace(LARGE, update="frozen"))
    )
    for slot in slots(world).values():
        state = slot.replicas["c-1"].state()
        assert all(torch.equal(state[name], weight) for name, weight in trainee.named_parameters())
    with pytest.raises(
        ConfigError, match=r'weights a.safetensors: found .*"channels": 4.*expected .*"channels": 5'
    ):
        stored.load(tmp_path / "a.safetensors", networks.build(Ae(channels=5), 4, (16, 16), 11))
    (tmp_path / "b.safetensors").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="expected what `sfsim codec train` wrote"):
        stored.load(tmp_path / "b.safetensors", trainee)


# Interrupted


@pytest.mark.parametrize(
    ("protocol", "training"),
    [
        ("splitfed-v1", {"update": "epoch", "update_codec": ModelCodec(codec=Uniform(bits=8, per="tensor"))}),
        ("splitfed-v2", {"freeze_when_settled": 0.5}),
        ("sl", {"update": "ideal", "update_every_minibatches": None}),
    ],
)
def test_a_run_with_learned_codecs_goes_on_to_the_same_bytes(protocol, training, tmp_path: Path):
    declared = learned(
        training=replace(LARGE, **training),
        protocol=protocol,
        global_rounds=4,
        local_epochs=2,
        evaluation=Evaluation(codec_off=False, keep_predictions=2),
    )
    works = counted(declared, tmp_path / "whole", checkpoint_share=0)
    counted(declared, tmp_path / "run", works * 2 // 3)
    result = sfsim.resume(tmp_path / "run")
    assert result.environment["resumed_after_rounds"]
    assert files(result.directory) == files(tmp_path / "whole")


def test_two_stages(tmp_path: Path, capsys, monkeypatch):
    def sfsim_(*arguments):
        monkeypatch.setattr(sys, "argv", ["sfsim", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        return exit_.value.code or 0

    text = (ROOT / "scenarios" / "papers" / "splitfedzip" / "ham10000-small.toml").read_text()
    (tmp_path / "other.toml").write_text(
        text.replace('"../../devices/', f'"{ROOT}/scenarios/devices/')
        .replace(
            'kind = "ham10000"', 'kind = "synthetic", task = "segmentation", in_channels = 3, num_test = 4'
        )
        .replace("image_size = 64, max_pairs = 280", "image_size = 32, num_train = 20")
        + '\n[codecs]\nscheme = "F"\ncodec = { kind = "ae", channels = 4 }\n'
    )
    options = ["--set", "global_rounds=1", "--set", "local_epochs=1", "--set", "model.width=2"]
    assert sfsim_("codec", "train", tmp_path / "other.toml", "--out", tmp_path / "a", *options) == 0
    assert "smashed_up.safetensors" in capsys.readouterr().out
    trained = str(tmp_path / "a" / "codecs" / "smashed_up.safetensors")
    options += ["--set", f"codecs.codec.weights={trained}", "--set", "codec_training.update=frozen"]
    assert sfsim_("run", tmp_path / "other.toml", "--out", str(tmp_path / "b"), "--no-report", *options) == 0
    before, after = (
        load_file(path) for path in (trained, tmp_path / "b" / "codecs" / "smashed_down.safetensors")
    )
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], weight) for name, weight in after.items())
    assert (
        sfsim_("codec", "train", str(ROOT / "scenarios" / "quickstart.toml"), "--out", str(tmp_path / "c"))
        == 2
    )
    assert "quickstart.toml, codecs: found no learned codec" in capsys.readouterr().err


def test_what_is_not_paid_for_is_marked(tmp_path: Path):
    training = replace(LARGE, update="ideal", as_published=("exact-gradients",))
    result = sfsim.run(learned(training=training, global_rounds=1), out=tmp_path / "a")
    assert codecs(result) == "FG: ae (free updates, as published)"
    notes = " ".join(result.notes)
    assert "weights of codecs are shared at once and free of charge" in notes
    assert "exact gradients are used, whatever their messages hold" in notes
    honest = sfsim.run(learned(global_rounds=1), out=tmp_path / "b")
    assert codecs(honest) == "FG: ae"

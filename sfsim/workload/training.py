"""The works of one minibatch: forward, tail, backward and step, with real tensors and real payloads."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import torch

from sfsim.codec import frame
from sfsim.cost import Cost
from sfsim.learning.steps import backward, forward, loss_gradient
from sfsim.payload import Outgoing
from sfsim.seeds import stream
from sfsim.workload import coding
from sfsim.workload.replica import Pending
from sfsim.workload.work import MAIN_SERVER, SKIPPED, SKIPPED_CODEC, Access, Minibatch, Work

if TYPE_CHECKING:
    from sfsim.codec import Encoded
    from sfsim.workload.coding import Slot
    from sfsim.workload.learned.replica import Rehearsal
    from sfsim.workload.prices import Shape
    from sfsim.workload.selection import BestEpochs
    from sfsim.workload.setting import Setting


class Training:
    """Works of a minibatch; see `sfsim.workload.work.Workload` for what each is."""

    def __init__(self, setting: Setting, epochs: BestEpochs) -> None:
        self._setting, self._epochs = setting, epochs
        self._device = setting.device
        # What the current minibatch of each client left on the main server.
        self._pending: dict[str, Pending] = {}

    def client_forward(self, client: str, at: Minibatch) -> Work:
        """Front end forward and encode; label-sharing sends the labels in the same payload."""
        setting, slot = self._setting, self._setting.slots["smashed_up"]
        rows = setting.rows(client, at)
        replica = setting.clients[client]
        shape = setting.prices.shape_after("front_end", len(rows))
        labels_of = setting.dataset.train.stored_targets
        encode = slot.encode_cost(shape)
        if not setting.u_shaped:
            encode += setting.label_codec.encode_cost(labels_of[0].numel() * len(rows), 8)

        def run() -> Outgoing:
            x, targets = setting.training_batch(client, at)
            fwd = forward(replica.parts["front_end"], x, input_gradient=False)
            encoded = slot.encode(fwd.y, client, at)
            rehearsal = slot.rehearse(fwd.y, client, at)
            labels = b""
            payload = encoded.payload
            if not setting.u_shaped:
                labels = setting.label_codec.encode(coding.to_array(targets)).payload
                payload = frame.join([payload, labels])
            support = slot.support(encoded.payload, self._device)
            replica.pending = Pending(
                forward=fwd, targets=targets, support=support, kept=encoded.kept, rehearsal=rehearsal
            )
            return self._outgoing("smashed data", slot, encoded, payload, fwd.y, at, rehearsal, len(labels))

        costs = [("forward", setting.prices.of("front_end", len(rows)).forward), ("encode", encode)]
        costs += slot.rehearse_costs(shape, at)
        return setting.work(client, client, at, "client_forward", costs, run, [client])

    def server_forward(self, client: str, at: Minibatch, payload: bytes) -> Work:
        """Decode and forward; label-sharing: the loss too; U-shaped: encode what goes down."""
        setting = self._setting
        replica, batch = setting.servers[client], len(setting.rows(client, at))
        up = setting.slots["smashed_up"]
        decode = up.decode_cost(setting.prices.shape_after("front_end", batch), payload)
        costs = [("decode", decode), ("forward", setting.prices.of("server_side", batch).forward)]
        if setting.u_shaped:
            down = setting.slots["smashed_down"]
            out_shape = setting.prices.shape_after("server_side", batch)
            costs += [("encode", down.encode_cost(out_shape)), *down.rehearse_costs(out_shape, at)]
        else:
            costs.append(("loss", setting.prices.loss(batch)))

        def run() -> Outgoing | None:
            smashed, labels = (payload, b"") if setting.u_shaped else coding.part(payload)
            x = up.decode(smashed, self._device, client, at)
            fwd = forward(replica.parts["server_side"], x)
            pending = Pending(forward=fwd, support=up.support(smashed, self._device))
            self._pending[client] = pending
            if not setting.u_shaped:
                targets = coding.to_tensor(setting.label_codec.decode(labels)).to(self._device).long()
                pending.loss, pending.gradient = loss_gradient(fwd.y, targets, setting.scenario.loss)
                self._note_loss(client, at, pending.loss, batch)
                return None
            encoded = down.encode(fwd.y, client, at)
            pending.rehearsal = down.rehearse(fwd.y, client, at)
            pending.tail_support = down.support(encoded.payload, self._device)
            pending.kept = encoded.kept
            return self._outgoing(
                "smashed data", down, encoded, encoded.payload, fwd.y, at, pending.rehearsal
            )

        access = (Access(setting.server_name(client), "read"),)
        # Forward in training mode moves BatchNorm's running statistics.
        return setting.work(MAIN_SERVER, client, at, "server_forward", costs, run, [], access)

    def client_tail(self, client: str, at: Minibatch, payload: bytes) -> Work:
        """U-shaped: decode, back end forward, loss, back end backward, encode the gradient."""
        setting = self._setting
        replica, batch = setting.clients[client], len(setting.rows(client, at))
        down = setting.slots["smashed_down"]
        shape = setting.prices.shape_after("server_side", batch)
        costs = [
            ("decode", down.decode_cost(shape, payload)),
            ("forward", setting.prices.of("back_end", batch).forward),
            ("loss", setting.prices.loss(batch)),
        ]
        gated = setting.scenario.gradient_gate is not None
        if not gated:
            costs += self._gradient_costs(client, at)

        def run() -> Outgoing | None:
            pending = replica.pending
            assert pending.forward is not None and pending.targets is not None
            x = down.decode(payload, self._device, client, at)
            fwd = forward(replica.parts["back_end"], x, pending.forward.skips_out)
            pending.loss, pending.gradient = loss_gradient(fwd.y, pending.targets, setting.scenario.loss)
            self._note_loss(client, at, pending.loss, batch)
            pending.tail, pending.tail_support = fwd, down.support(payload, self._device)
            return None if gated else self._tail_gradient(client, at)

        return setting.work(client, client, at, "client_tail", costs, run, [client])

    def client_gradient(self, client: str, at: Minibatch) -> Work:
        """U-shaped behind a gate: backward and encode, or the word that there will be no gradient."""
        if self._is_open(client, at, self._setting.clients[client].pending.loss):
            costs = self._gradient_costs(client, at)
            return self._setting.work(
                client,
                client,
                at,
                "client_gradient",
                costs,
                lambda: self._tail_gradient(client, at),
                [client],
            )
        return self._setting.work(client, client, at, "client_gradient", [], lambda: _skipped(at), [client])

    def _gradient_costs(self, client: str, at: Minibatch) -> list[tuple[str, Cost]]:
        setting, up = self._setting, self._setting.slots["gradient_up"]
        batch = len(setting.rows(client, at))
        shape = setting.prices.shape_after("server_side", batch)
        return [
            ("backward", setting.prices.of("back_end", batch).backward),
            ("encode", up.encode_cost(shape)),
            *up.rehearse_costs(shape, at),
            *up.learn_costs(shape, at),
        ]

    def _tail_gradient(self, client: str, at: Minibatch) -> Outgoing:
        pending = self._setting.clients[client].pending
        assert pending.tail is not None and pending.gradient is not None
        gradient, pending.skip_gradients = backward(pending.tail, pending.gradient)
        assert gradient is not None
        pending.tail = None
        travelling = coding.gather(gradient, pending.tail_support)
        return self._gradient(self._setting.slots["gradient_up"], travelling, client, at, gradient)

    def skip(self, party: str, client: str, at: Minibatch) -> Work:
        """Forget a minibatch whose gradient was not sent: nobody steps on it, and nothing of it is left."""
        setting = self._setting

        def run() -> None:
            if party == MAIN_SERVER:
                del self._pending[client]
            else:
                setting.clients[client].pending = Pending()
            self._epochs.half_done(client, at)

        touches = self._epochs.touches(client)
        if party == MAIN_SERVER:
            access = (Access(setting.server_name(client), "read"),)
            return setting.work(party, client, at, "skip", [], run, touches, access)
        return setting.work(party, client, at, "skip", [], run, [client, *touches])

    def _is_open(self, client: str, at: Minibatch, loss: float) -> bool:
        """Whether the gate, if there is one, lets the gradient of a minibatch pass."""
        scenario = self._setting.scenario
        if scenario.gradient_gate is None:
            return True
        local_epochs = scenario.local_epochs or 1
        epoch, epochs = (at.round - 1) * local_epochs + at.epoch - 1, scenario.global_rounds * local_epochs
        chance = scenario.gradient_gate.probability(loss, epoch, epochs)
        return bool(stream(scenario.seeds.training, "gradient gate", client, *at).random() < chance)

    def server_backward(self, client: str, at: Minibatch, payload: bytes | None) -> Work:
        """Server side backward with the weights of the forward; encode the gradient that goes down."""
        setting = self._setting
        pending, batch = self._pending[client], len(setting.rows(client, at))
        down = setting.slots["gradient_down"]
        shape = _travelling(pending.support, setting.prices.shape_after("front_end", batch))
        costs: list[tuple[str, Cost]] = []
        if payload is not None:
            whole = setting.prices.shape_after("server_side", batch)
            out_shape = _travelling(pending.tail_support, whole)
            costs.append(("decode", setting.slots["gradient_up"].decode_cost(out_shape, payload)))
            sent = setting.slots["smashed_down"]
            costs += [*sent.correct_costs(whole), *sent.learn_costs(whole, at)]
        costs.append(("backward", setting.prices.of("server_side", batch).backward))
        # U-shaped, the client has the loss, and a gradient that came up goes on down.
        is_open = payload is not None or self._is_open(client, at, pending.loss)
        if is_open:
            costs.append(("encode", down.encode_cost(shape)))
            costs += [*down.rehearse_costs(shape, at), *down.learn_costs(shape, at)]

        def run() -> Outgoing:
            fwd = self._pending.pop(client).forward
            assert fwd is not None
            if payload is None:
                at_output = pending.gradient
            else:
                arrived = setting.slots["gradient_up"].decode(payload, self._device, client, at)
                at_output = coding.scatter(arrived, pending.tail_support, fwd.y)
                sent = setting.slots["smashed_down"]
                at_output = sent.correct(at_output, pending.kept)
                at_output = sent.learn(pending.rehearsal, at_output, client, at)
            assert at_output is not None
            gradient, _ = backward(fwd, at_output)
            assert gradient is not None
            if not is_open:
                return _skipped(at)
            return self._gradient(down, coding.gather(gradient, pending.support), client, at, gradient)

        access = (Access(setting.server_name(client), "read"),)
        return setting.work(MAIN_SERVER, client, at, "server_backward", costs, run, [], access)

    def server_step(self, client: str, at: Minibatch) -> Work:
        """Optimiser step of the server-side model that serves this client."""
        setting = self._setting
        replica = setting.servers[client]
        spec = setting.scenario.server_optimiser or setting.scenario.optimiser
        costs = [("optimiser", setting.prices.step(replica.parts, spec))]
        access = (Access(setting.server_name(client), "write"),)

        def run() -> None:
            replica.step(at.round)
            self._epochs.half_done(client, at)

        return setting.work(
            MAIN_SERVER, client, at, "server_step", costs, run, self._epochs.touches(client), access
        )

    def client_backward(self, client: str, at: Minibatch, payload: bytes) -> Work:
        """Decode, front end backward (with the skips' gradients), optimiser step of both ends."""
        setting, slot = self._setting, self._setting.slots["gradient_down"]
        replica, batch = setting.clients[client], len(setting.rows(client, at))
        whole, up = setting.prices.shape_after("front_end", batch), setting.slots["smashed_up"]
        costs = [
            ("decode", slot.decode_cost(_travelling(replica.pending.support, whole), payload)),
            *up.correct_costs(whole),
            *up.learn_costs(whole, at),
            ("backward", setting.prices.of("front_end", batch).backward),
            ("optimiser", setting.prices.step(replica.parts, setting.scenario.optimiser)),
        ]

        def run() -> None:
            pending, replica.pending = replica.pending, Pending()
            assert pending.forward is not None
            arrived = slot.decode(payload, self._device, client, at)
            gradient = coding.scatter(arrived, pending.support, pending.forward.y)
            gradient = up.correct(gradient, pending.kept)
            gradient = up.learn(pending.rehearsal, gradient, client, at)
            assert gradient is not None
            backward(pending.forward, gradient, pending.skip_gradients)
            replica.step(at.round)
            self._epochs.half_done(client, at)

        touches = [client, *self._epochs.touches(client)]
        return setting.work(client, client, at, "client_backward", costs, run, touches)

    def _note_loss(self, client: str, at: Minibatch, loss: float, batch: int) -> None:
        self._setting.losses.setdefault((at.round, client), []).append((loss, batch))

    def _gradient(
        self, slot: Slot, travelling: torch.Tensor, client: str, at: Minibatch, gradient: torch.Tensor
    ) -> Outgoing:
        """Encode what travels of a gradient; a learned codec learns on it by rate and distortion alone."""
        encoded = slot.encode(travelling, client, at)
        rehearsal = slot.rehearse(travelling, client, at)
        slot.learn(rehearsal, None, client, at)
        return self._outgoing("gradient", slot, encoded, encoded.payload, gradient, at, rehearsal)

    def _outgoing(
        self,
        kind: str,
        slot: Slot,
        encoded: Encoded,
        payload: bytes,
        tensor: torch.Tensor,
        at: Minibatch,
        rehearsal: Rehearsal | None = None,
        label_bytes: int = 0,
    ) -> Outgoing:
        likelihood_bits, size = encoded.estimated_bits, 0
        if rehearsal is not None:
            likelihood_bits = rehearsal.output.rate_bits.item()
            if "likelihood-rates" in self._setting.scenario.codec_training.as_published:
                size = ceil(likelihood_bits / 8) + label_bytes
        return Outgoing(
            kind=kind,
            payload=payload,
            raw_bytes=tensor.numel() * coding.FLOAT_BYTES,
            elements=tensor.numel(),
            codec=slot.codec.name,
            estimated_bits=encoded.estimated_bits,
            label_bytes=label_bytes,
            round=at.round,
            epoch=at.epoch,
            minibatch=at.minibatch,
            size=size,
            slot=slot.name,
            likelihood_bits=likelihood_bits,
        )


def _skipped(at: Minibatch) -> Outgoing:
    """Return the word that a gate held a gradient back."""
    return Outgoing(
        "gradient", SKIPPED, codec=SKIPPED_CODEC, round=at.round, epoch=at.epoch, minibatch=at.minibatch
    )


def _travelling(support: torch.Tensor | None, shape: Shape) -> Shape:
    return shape if support is None else tuple(support.shape)

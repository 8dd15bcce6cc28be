"""SL, vanilla split learning: one client after another, each starting from its predecessor's weights.

Source: Gupta, Raskar. Distributed learning of deep neural network over multiple agents. JNCA 2018; Vepakomma et
al. Split learning for health. 2018; as the baseline of Thapa et al., AAAI 2022.

::

    for each client k in order:
        client k     takes over W_c from client k-1 (the first of all from the fed server)
                     for each local epoch, for each minibatch: smashed data up; gradient down; step W_c
        main server  forward, backward, step the one W_s
        client k     hands W_c (weights and BatchNorm statistics, not the optimiser) to client k+1

Nothing is averaged. The global model of a round is its last client's W_c with W_s.
"""

from __future__ import annotations

from itertools import pairwise

from sfsim.splitfed.client import Client
from sfsim.splitfed.parties import Parties
from sfsim.splitfed.party import FED_SERVER, MAIN_SERVER, Process
from sfsim.splitfed.schedule import Schedule
from sfsim.workload.work import Minibatch

ONE_SERVER_MODEL = True


def processes(parties: Parties, server_order: str) -> list[Process]:
    """All parties of a run (one client at a time: the main server has no choice of order)."""
    clients = [client_process(client, parties) for client in parties.clients.values()]
    return [fed_server_process(parties), main_server_process(parties), *clients]


def relay(schedule: Schedule) -> list[tuple[int, str]]:
    """All visits of the run in order: (round, client)."""
    return [(round, client) for round in schedule.rounds for client in schedule.selected(round)]


def client_process(client: Client, parties: Parties) -> Process:
    """What a client does."""
    schedule = parties.schedule
    visits = relay(schedule)
    before = dict(zip(visits, [(0, FED_SERVER), *visits], strict=False))
    after = dict(pairwise(visits))
    for round in schedule.rounds_of(client.name):
        turn = visits.index((round, client.name)) + 1
        predecessor = before[round, client.name][1]
        if predecessor != client.name:
            yield from client.receive_model(round, predecessor)
        # Its own codecs come with the model; who follows itself keeps them.
        yield from client.receive_codec_weights(
            round, turn, owner="server" if predecessor == client.name else None
        )
        yield from client.train_round(round)
        if client.name == schedule.selected(round)[-1]:
            parties.referee.model_ready(round, "client-side", client.name)
        successor = after.get((round, client.name))
        if not successor:
            continue
        due = client.workload.codecs_due
        at = Minibatch(round, 0, 0)
        yield from client.send_codecs(MAIN_SERVER, client.name, at, due(MAIN_SERVER, turn + 1, "client"))
        if successor[1] != client.name:
            yield from client.send_model(round, successor[1], due(successor[1], turn + 1, "client"))


def main_server_process(parties: Parties) -> Process:
    """What the main server does."""
    server, schedule = parties.main_server, parties.schedule
    visits = [(0, FED_SERVER), *relay(schedule)]
    for turn, (round, client) in enumerate(visits[1:], 1):
        origin = visits[turn - 1][1]
        starts_s = {client: parties.clients[client].start_s}
        yield from server.exchange_codecs(starts_s, round, turn, origin)
        yield from server.serve_round(client, round)
        if client == schedule.selected(round)[-1]:
            parties.referee.model_ready(round, "server-side")


def fed_server_process(parties: Parties) -> Process:
    """The first client of all gets its initial weights from the fed server."""
    first = relay(parties.schedule)[0][1]
    yield from parties.fed_server.send_decoders(first, 1)
    yield from parties.fed_server.send_model(first, 1, parties.clients[first].start_s)

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
from sfsim.splitfed.fed_server import FedServer
from sfsim.splitfed.main_server import MainServer
from sfsim.splitfed.party import FED_SERVER, Process
from sfsim.splitfed.referee import Referee
from sfsim.splitfed.schedule import Schedule

ONE_SERVER_MODEL = True


def relay(schedule: Schedule) -> list[tuple[int, str]]:
    """All visits of the run in order: (round, client)."""
    return [(round, client) for round in schedule.rounds for client in schedule.selected(round)]


def client_process(client: Client, schedule: Schedule, referee: Referee) -> Process:
    """What a client does."""
    visits = relay(schedule)
    before = dict(zip(visits, [(0, FED_SERVER), *visits], strict=False))
    after = dict(pairwise(visits))
    for round in schedule.rounds_of(client.name):
        predecessor = before[round, client.name][1]
        if predecessor != client.name:
            yield from client.receive_model(round, predecessor)
        yield from client.train_round(round)
        if client.name == schedule.selected(round)[-1]:
            referee.model_ready(round)
        successor = after.get((round, client.name))
        if successor and successor[1] != client.name:
            yield from client.send_model(round, successor[1])


def main_server_process(server: MainServer, schedule: Schedule, referee: Referee) -> Process:
    """What the main server does."""
    for round, client in relay(schedule):
        yield from server.serve_round(client, round)
        if client == schedule.selected(round)[-1]:
            referee.model_ready(round)


def fed_server_process(server: FedServer, schedule: Schedule, clients: dict[str, Client]) -> Process:
    """The first client of all gets its initial weights from the fed server."""
    first = relay(schedule)[0][1]
    yield from server.send_model(first, 1, clients[first].start_s)

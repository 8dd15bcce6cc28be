"""SplitFedV1: every client trains with its own copy of the server-side model, all in parallel.

Source: Thapa, Mahawaga Arachchige, Camtepe, Sun. SplitFed: When Federated Learning Meets Split Learning.
AAAI 2022, Algorithms 1 and 2.

::

    fed server   sends W_c to every client in S_t
    client k     in parallel: for each local epoch, for each minibatch:
                     forward W_c[k]; smashed data up; gradient down; backward, step W_c[k]
                 sends W_c[k] to the fed server
    main server  for each client k in parallel: forward, backward, step W_s[k] on the smashed data of client k
                 when all have finished: W_s = sum of n_k/n W_s[k]
    fed server   W_c = sum of n_k/n W_c[k]
"""

from __future__ import annotations

from sfsim.splitfed.client import Client
from sfsim.splitfed.fed_server import FedServer
from sfsim.splitfed.main_server import MainServer
from sfsim.splitfed.party import Process
from sfsim.splitfed.referee import Referee
from sfsim.splitfed.schedule import Schedule

ONE_SERVER_MODEL = False


def client_process(client: Client, schedule: Schedule) -> Process:
    """What a client does."""
    for round in schedule.rounds_of(client.name):
        yield from client.receive_model(round)
        yield from client.train_round(round)
        yield from client.send_model(round)


def main_server_process(server: MainServer, schedule: Schedule, referee: Referee) -> Process:
    """What the main server does."""
    for round in schedule.rounds:
        visits = [server.env.process(server.serve_round(client, round)) for client in schedule.selected(round)]
        yield server.env.all_of(visits)
        yield from server.aggregate(round)
        referee.model_ready(round)


def fed_server_process(
    server: FedServer, schedule: Schedule, referee: Referee, clients: dict[str, Client]
) -> Process:
    """What the fed server does (the same in SplitFedV2)."""
    for round in schedule.rounds:
        selected = schedule.selected(round)
        for name in selected:
            server.env.process(server.send_model(name, round, clients[name].start_s))
        yield from server.collect_models(selected, round)
        yield from server.aggregate(round)
        referee.model_ready(round)

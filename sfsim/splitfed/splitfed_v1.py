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
from sfsim.splitfed.parties import Parties
from sfsim.splitfed.party import Process
from sfsim.splitfed.schedule import Schedule

ONE_SERVER_MODEL = False


def processes(parties: Parties, server_order: str) -> list[Process]:
    """All parties of a run (the copies of the main server need no order)."""
    clients = [client_process(client, parties.schedule) for client in parties.clients.values()]
    return [fed_server_process(parties), main_server_process(parties), *clients]


def client_process(client: Client, schedule: Schedule) -> Process:
    """What a client does."""
    for round in schedule.rounds_of(client.name):
        yield from client.receive_model(round)
        yield from client.receive_codec_weights(round, turn=round)
        yield from client.train_round(round)
        yield from client.send_model(round, codecs=client.workload.codecs_returning(round))


def main_server_process(parties: Parties) -> Process:
    """What the main server does."""
    server, schedule = parties.main_server, parties.schedule
    for round in schedule.rounds:
        selected = schedule.selected(round)
        starts_s = {name: parties.clients[name].start_s for name in selected}
        yield from server.exchange_codecs(starts_s, round, turn=round)
        yield server.env.all_of([server.env.process(server.serve_round(name, round)) for name in selected])
        yield from server.aggregate(selected, round)
        parties.referee.model_ready(round, "server-side")


def fed_server_process(parties: Parties) -> Process:
    """What the fed server does (the same in SplitFedV2)."""
    server, schedule = parties.fed_server, parties.schedule
    for round in schedule.rounds:
        selected = schedule.selected(round)
        server.env.process(server.send_decoders(selected[0], round))
        server.send_models({name: parties.clients[name].start_s for name in selected}, round)
        yield from server.collect_models(selected, round)
        yield from server.aggregate(selected, round)
        parties.referee.model_ready(round, "client-side")

"""SplitFedV2: one server-side model, which visits the clients one after another in a fresh random order.

Source: Thapa, Mahawaga Arachchige, Camtepe, Sun. SplitFed: When Federated Learning Meets Split Learning.
AAAI 2022, section "SFLV2".

::

    fed server   sends W_c to every client in S_t
    client k     in parallel: forward W_c[k]; smashed data up; ... as in SplitFedV1
    main server  for each client k in random order: all its minibatches of all local epochs:
                     forward, backward, step the one W_s
    fed server   W_c = sum of n_k/n W_c[k]; W_s is not averaged

With ``server_order = "arrival"`` the server takes minibatches of any client as they arrive, which is what most
published code does in effect.
"""

from __future__ import annotations

from sfsim.splitfed.main_server import MainServer
from sfsim.splitfed.parties import Parties
from sfsim.splitfed.party import Process
from sfsim.splitfed.schedule import Schedule
from sfsim.splitfed.splitfed_v1 import client_process, fed_server_process

ONE_SERVER_MODEL = True


def processes(parties: Parties, server_order: str) -> list[Process]:
    """All parties of a run; `server_order` is ``"permutation"`` or ``"arrival"``."""
    clients = [client_process(client, parties.schedule) for client in parties.clients.values()]
    return [fed_server_process(parties), main_server_process(parties, server_order), *clients]


def main_server_process(parties: Parties, order: str) -> Process:
    """What the main server does."""
    server, schedule = parties.main_server, parties.schedule
    for round in schedule.rounds:
        starts_s = {name: parties.clients[name].start_s for name in schedule.selected(round)}
        yield from server.exchange_codecs(starts_s, round, turn=round)
        if order == "permutation":
            for client in schedule.permutation(round):
                yield from server.serve_round(client, round)
        else:
            yield from serve_in_order_of_arrival(server, schedule, round)
        parties.referee.model_ready(round, "server-side")


def serve_in_order_of_arrival(server: MainServer, schedule: Schedule, round: int) -> Process:
    """Serve all minibatches of a round, whoever's smashed data come next."""
    plans = {client: iter(server.workload.plan(client, round)) for client in schedule.selected(round)}
    for _ in range(sum(len(server.workload.plan(client, round)) for client in plans)):
        message = yield from server.receive("smashed data")
        yield from server.serve(message.source, next(plans[message.source]), message)

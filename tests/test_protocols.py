"""What distinguishes the protocols: who averages, who waits, what is handed over, and what is written down."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from worlds import ACCESS, FAST, clients, coded, finished, scenario

from sfsim.codec import Zeros
from sfsim.errors import ConfigError
from sfsim.learning.averaging import fedavg
from sfsim.learning.cut import Parts
from sfsim.network.declarations import Link
from sfsim.scenario import ClientGroup, Evaluation, FedServer, Server


def test_splitfed_v1_averages_both_halves_by_samples() -> None:
    world = finished(scenario(global_rounds=1))
    setting, models = world.workload.setting, world.workload.models
    weights = [float(len(shard)) for shard in setting.shards.values()]
    expected = fedavg([replica.state() for replica in setting.clients.values()], weights)
    assert all(torch.equal(expected[name], models.client_side[name]) for name in expected)
    assert {id(replica) for replica in setting.servers.values()} != {id(setting.servers["c-0"])}


@pytest.mark.parametrize("protocol", ["sl", "splitfed-v2"])
def test_one_server_model_serves_all(protocol: str) -> None:
    servers = finished(scenario(protocol=protocol)).workload.setting.servers
    assert servers["c-0"] is servers["c-1"]


def test_splitfed_v2_visits_in_a_fresh_permutation() -> None:
    world = finished(scenario(protocol="splitfed-v2", clients=clients(5), global_rounds=6, local_steps=2))
    visits: dict[int, list[str]] = {}
    for row in world.ledger.computations:
        if row.operation == "server_forward" and row.client not in visits.setdefault(row.round, []):
            visits[row.round].append(row.client)
    assert all(sorted(order) == [f"c-{k}" for k in range(5)] for order in visits.values())
    assert len({tuple(order) for order in visits.values()}) > 1


def test_splitfed_v2_u_shaped_holds_the_server_model() -> None:
    world = finished(scenario(protocol="splitfed-v2", cut_layers=("conv1", "conv3")))
    operations = [
        (row.client, row.minibatch)
        for row in world.ledger.computations
        if row.party == "main server" and row.phase in ("forward", "backward")
    ]
    assert operations[::2] == operations[1::2], "nobody comes between a forward and its backward"
    assert any(row.phase == "hold" for row in world.ledger.computations)


def test_sl_hands_the_model_from_client_to_client() -> None:
    world = finished(scenario(protocol="sl", clients=clients(3), global_rounds=2))
    models = [(m.source, m.destination) for m in world.ledger.messages if m.kind == "client model"]
    relay = ["c-0", "c-1", "c-2", "c-0", "c-1", "c-2"]
    assert models == [("fed server", "c-0"), *pairwise(relay)]
    assert {
        m.direction for m in world.ledger.messages if m.source != "fed server" and m.kind == "client model"
    } == {"peer"}


def test_in_sl_one_client_works_at_a_time() -> None:
    world = finished(scenario(protocol="sl", clients=clients(3)))
    spans = sorted(
        (row.start_s, row.end_s, row.party)
        for row in world.ledger.computations
        if row.operation != "wait" and row.party.startswith("c-")
    )
    assert all(left[1] <= right[0] for left, right in pairwise(spans))


def test_clients_of_splitfed_work_side_by_side() -> None:
    rows = finished(scenario(clients=clients(3))).ledger.computations
    starts = {
        row.party: row.start_s
        for row in reversed(rows)
        if row.operation == "client_forward" and row.minibatch == 1
    }
    assert len(set(starts.values())) == 1


def test_the_barrier_waits_for_the_slowest_and_says_so() -> None:
    slow = replace(FAST, name="slow", peak_flops=1e7)
    pair = (
        ClientGroup(name="fast", device=FAST, uplink=ACCESS, downlink=ACCESS),
        ClientGroup(name="slow", device=slow, uplink=ACCESS, downlink=ACCESS),
    )
    rows = finished(scenario(clients=pair)).ledger.computations
    waits = {row.party: row.end_s - row.start_s for row in rows if row.phase == "barrier" and row.round == 2}
    assert waits["fast"] > waits["slow"]


def test_a_fraction_of_the_clients_takes_part() -> None:
    world = finished(scenario(clients=clients(4), client_fraction=0.5, global_rounds=5))
    for round in range(1, 6):
        active = {m.source for m in world.ledger.messages if m.kind == "smashed data" and m.round == round}
        assert len(active) == 2


def test_a_late_client_joins_when_it_starts_and_the_others_wait() -> None:
    late = ClientGroup(name="late", device=FAST, uplink=ACCESS, downlink=ACCESS, start_s=5.0)
    world = finished(scenario(clients=(*clients(1), late), global_rounds=1))
    first = {
        m.destination: m.queued_s
        for m in world.ledger.messages
        if m.kind == "client model" and m.direction == "down"
    }
    assert first["c"] < 1.0
    assert first["late"] == pytest.approx(5.0, abs=0.01)
    assert world.ledger.evaluations[0].time_s > 5.0


def test_a_fed_server_of_its_own_has_its_own_links() -> None:
    apart = FedServer(same_host=False, device=FAST, uplink=ACCESS, downlink=ACCESS)
    world = finished(
        scenario(fed_server=apart, main_server=Server(device=FAST, uplink=ACCESS, downlink=ACCESS))
    )
    carried = {(link.source, link.destination): link.messages for link in world.ledger.links}
    assert carried["fed server", "hub"] == 2 * 2, "one model to each client and round"
    assert {row.party for row in world.ledger.computations} >= {"main server", "fed server"}


def test_local_batch_norm_statistics_stay_and_are_not_sent() -> None:
    averaged = finished(scenario())
    local = finished(scenario(batch_norm="local"))
    sizes = [
        {m.raw_bytes for m in world.ledger.messages if m.kind == "client model"}
        for world in (averaged, local)
    ]
    assert max(sizes[1]) < min(sizes[0])
    states = [replica.state() for replica in local.workload.setting.clients.values()]
    name = "front_end.stages.conv1.body.1.running_mean"
    assert not torch.equal(states[0][name], states[1][name])
    assert any(row.split == "test" for row in local.ledger.evaluations)


@pytest.mark.parametrize("rule", ["keep", "reset"])
def test_momentum_is_kept_or_forgotten_at_a_round(rule: str) -> None:
    world = finished(scenario(clients=clients(1), optimiser_state=rule, local_steps=3))
    steps = {int(s["step"]) for s in world.workload.setting.clients["c"].optimiser.state.values()}
    assert steps == ({6} if rule == "keep" else {3})
    # The copies of the server-side model are averaged at a round's end.
    steps = {int(s["step"]) for s in world.workload.setting.servers["c"].optimiser.state.values()}
    assert steps == ({6} if rule == "keep" else set())


def test_evaluation_interval_and_shares_per_client() -> None:
    wanted = Evaluation(every_rounds=2, per_client=True, codec_off=True)
    rows = finished(scenario(global_rounds=5, evaluation=wanted, validation_fraction=0.2)).ledger.evaluations
    assert sorted({row.round for row in rows}) == [2, 4, 5]
    assert {row.client for row in rows} == {"", "c-0", "c-1"}
    assert {row.codec for row in rows if row.split == "validation"} == {"on", "off"}


def test_best_validation_hands_on_the_best_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    from sfsim.workload import selection

    seen = []
    losses = iter([3.0, float("nan"), 1.0, 2.0])

    def scripted(parts: Parts, *_: object, **__: object) -> dict[str, float]:
        seen.append([value.detach().clone() for part in parts for value in part.state_dict().values()])
        return {"loss": next(losses)}

    monkeypatch.setattr(selection, "evaluate", scripted)
    declared = scenario(
        clients=clients(1),
        aggregate="best-validation",
        validation_fraction=0.2,
        local_epochs=4,
        global_rounds=1,
    )
    models = finished(declared).workload.models
    handed_on = [*models.client_side.values(), *models.server_side.values()]
    assert [all(map(torch.equal, epoch, handed_on)) for epoch in seen] == [False, False, True, False]


def test_best_validation_does_not_depend_on_the_network() -> None:
    """The last epoch ends with the client's step, which slow downlinks delay to long after the server's."""
    halves = []
    for rate_bps in (1e9, 1e4):
        declared = scenario(
            clients=clients(2, downlink=Link(rate_bps=rate_bps, latency_s=0.01)),
            aggregate="best-validation",
            validation_fraction=0.2,
            local_epochs=1,
        )
        models = finished(declared).workload.models
        halves.append([*models.client_side.values(), *models.server_side.values()])
    assert all(map(torch.equal, *halves))


def test_the_best_epoch_is_chosen_with_the_codec_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from sfsim.workload import selection

    sent = []

    def watched(*given: object, **named: object) -> dict[str, float]:
        transmit = given[3]
        sent.append(transmit(torch.ones(2, 3), "smashed_up"))
        return {"loss": 1.0}

    monkeypatch.setattr(selection, "evaluate", watched)
    declared = scenario(
        clients=clients(1),
        codecs=coded(Zeros(), "smashed_up"),
        aggregate="best-validation",
        validation_fraction=0.2,
        global_rounds=1,
    )
    finished(declared)
    assert len(sent) == 1 and torch.equal(sent[0], torch.zeros(2, 3))


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"aggregate": "best-validation"}, "validation_fraction: found 0, expected more than 0"),
        (
            {"aggregate": "best-validation", "validation_fraction": 0.1, "protocol": "sl"},
            "aggregate: found 'best-validation', expected 'last', or the protocol 'splitfed-v1'",
        ),
    ],
)
def test_rules_that_do_not_fit_the_protocol_are_refused(changes: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        scenario(**changes)
    assert text in str(caught.value)

"""`sfsim bench flows` against an oracle of its own kind: random stars, trees, dumbbells, several bottlenecks."""

import random

import pytest
from flow_oracle import run as oracle

from sfsim.network.bench_flows import run

SHAPES = ("star", "tree", "dumbbell", "mesh", "circles")


def world(shape, clients, messages, seed, low=3, high=7):
    """A scenario: access links of 1 to 10 MB/s, latencies of 1 to 100 ms, sizes log-uniform."""
    luck = random.Random(f"{shape} {clients} {seed}")
    links = {"core": {"bw": clients * 1e6 * luck.uniform(0.3, 1.5), "lat": 0.001}}
    links |= {
        f"b{k}": {"bw": clients / 6 * 1e6 * luck.uniform(0.2, 2), "lat": luck.uniform(1e-3, 1e-2)}
        for k in range(6)
    }
    people = []
    for number in range(clients):
        own = f"a{number}"
        links[own] = {"bw": 1e6 * luck.uniform(1, 10), "lat": luck.uniform(1e-3, 1e-1)}
        if shape == "star":
            route = [own, "core"]
        elif shape == "tree":
            route = [own, f"b{number % 6}", "core"]
        elif shape == "dumbbell":  # the last sixth goes past the core
            route = [own, f"b{number % 6}"] + (["core"] if number % 6 < 5 else [])
        elif shape == "circles":  # some links twice or three times, their own ones too
            route = [own] * luck.randint(0, 2) + luck.choices(
                [f"b{k}" for k in range(6)], k=luck.randint(1, 4)
            )
        else:  # two or three of the six in any order, sometimes no link of its own: many bottlenecks
            route = [own] * luck.randint(0, 1) + luck.sample([f"b{k}" for k in range(6)], luck.randint(2, 3))
        sizes = [round(10 ** luck.uniform(low, high)) for _ in range(messages)]
        start, gap = luck.choice([0.0, luck.random()]), luck.choice([0.0, luck.random() / 10])
        people.append({"route": route, "start": start, "gap": gap, "sizes": sizes})
    return {"links": links, "clients": people}


def worst(scenario, latency, weights):
    """The largest relative difference of an end."""
    expected = oracle(scenario, latency, weights)
    found = {(c, m): (start, end) for c, m, start, end in run(scenario, latency, weights)}
    assert found.keys() == expected.keys()
    return max(abs(found[key][1] - end) / end for key, (_, end) in expected.items())


@pytest.mark.parametrize("weights", ["equal", "inverse-latency"])
@pytest.mark.parametrize("latency", ["first", "last"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_hundred_clients_end_when_they_should(shape, latency, weights):
    assert worst(world(shape, 100, 2, seed=1), latency, weights) < 1e-8


@pytest.mark.parametrize("shape", SHAPES)
def test_more_clients_and_messages_from_a_byte_to_ten_megabytes(shape):
    assert worst(world(shape, 200, 1, seed=2, low=0), "first", "inverse-latency") < 1e-8


@pytest.mark.parametrize("shape", SHAPES)
def test_ties_and_empty_messages(shape):
    """Clients of few sizes, all at once: many flows end at one instant, some have nothing to send."""
    scenario = world(shape, 40, 1, seed=3)
    luck = random.Random(shape)
    for client in scenario["clients"]:
        client["sizes"] = [luck.choice([0, 1, 500_000, 1_000_000]) for _ in range(5)]
        client["start"] = client["gap"] = 0.0
    for latency in ("first", "last"):
        assert worst(scenario, latency, "equal") < 1e-8

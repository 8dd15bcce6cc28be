"""The fluid engine against SimGrid 4.1 (provenance: README of the golden data)."""

import csv
import json
from math import inf
from pathlib import Path

import pytest
import simpy

from sfsim.network.fluid import FluidEngine

CASES = ["single_10_5_s1", "singlev_20_5_s1", "star_10_10_s1", "star_100_10_s1", "tree_50_5_s1"]


@pytest.mark.parametrize("case", CASES)
def test_simgrid(case: str, shared: Path):
    folder = shared / "specs" / "network-golden" / "simgrid"
    if not folder.is_dir():
        pytest.skip("no golden data of SimGrid")
    world = json.loads((folder / f"{case}.json").read_text())
    env = simpy.Environment()
    engine = FluidEngine(env)
    links = {
        name: engine.add_link(name, lambda time_s, rate_bps=link["bw"] * 8: (rate_bps, inf))
        for name, link in world["links"].items()
    }
    found = {}

    def client(number, spec):
        latency_s = sum(world["links"][name]["lat"] for name in spec["route"])
        route = [links[name] for name in spec["route"]]
        yield env.timeout(spec["start"])
        for message, size in enumerate(spec["sizes"]):
            start_s = env.now
            yield env.timeout(latency_s)  # SimGrid's messages wait before they share
            done = env.event()
            engine.start(size * 8, route, lambda flow, done=done: done.succeed())
            yield done
            found[number, message] = (start_s, env.now)
            yield env.timeout(spec["gap"])

    for number, spec in enumerate(world["clients"]):
        env.process(client(number, spec))
    env.run()
    with (folder / f"{case}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found)
    for row in rows:
        start_s, end_s = found[int(row["client"]), int(row["msg"])]
        assert end_s == pytest.approx(float(row["end"]), rel=1e-6)
        assert start_s == pytest.approx(float(row["start"]), rel=1e-6, abs=1e-9)

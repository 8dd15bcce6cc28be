"""The solver before it is compiled: interpreted it gives the same numbers; engines change over to compiled code."""

import os
import subprocess
import sys
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_network_cells import Crowded, EqualAirtime, EqualRate, cells
from test_network_cells import run as run_cells
from test_network_fluid import Bench, steps, worlds

from sfsim.network.solver import interim, state
from sfsim.network.solver import steps as compiled


class Process:
    """A compiler that is done when it has been asked `polls` times."""

    def __init__(self, polls: float) -> None:
        self.polls = polls

    def poll(self) -> int | None:
        self.polls -= 1
        return None if self.polls >= 0 else 0


def with_solver(polls, run):
    """Run with a solver that is interpreted until the engine has asked `polls` times; -1: compiled at once."""
    solver = interim.Interim(Process(polls)) if polls >= 0 else compiled
    ready = lambda: compiled if solver is compiled or solver._process.polls < 0 else solver  # noqa: E731
    with patch.object(interim, "ready", ready):
        return run()


def run_world(world):
    links, flows, probes = world
    bench = Bench(**{name: steps(*pieces) for name, pieces in links.items()})
    for number, (time_s, bits, route) in enumerate(flows):
        bench.start(number, time_s, bits, *route)
    seen = []
    for probe_s in sorted(set(probes)):
        bench.run(until=probe_s)
        seen += [
            (flow.rate_bps, flow.remaining_bits, flow.idle_s, flow.lost_s) for flow in bench.engine.flows
        ]
    bench.run()
    lost = [(flow.lost_s, flow.began_s) for flow in bench.flows.values()]
    carried = [(link.carried_bits, link.busy_s, link.sharing_s) for link in bench.links.values()]
    return bench.ends, lost, carried, seen, bench.engine.num_wakes


@given(worlds(), st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_interpreted_it_gives_the_same_numbers_and_changes_over_anywhere(world, polls):
    expected = with_solver(-1, lambda: run_world(world))
    assert with_solver(np.inf, lambda: run_world(world)) == expected
    assert with_solver(polls, lambda: run_world(world)) == expected


@given(cells(), st.integers(0, 20))
@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize("policy", [EqualAirtime, EqualRate, Crowded])
def test_the_same_in_cells(policy, case, polls):
    def run():
        ends, engine, radio, shared = run_cells(policy(), *case)
        return ends, engine.num_solves, [(link.carried_bits, link.busy_s) for link in (*radio, *shared)]

    expected = with_solver(-1, run)
    assert with_solver(np.inf, run) == expected
    assert with_solver(polls, run) == expected


def test_all_times_are_plain_numbers():
    ends, lost, carried, seen, _ = with_solver(
        np.inf, lambda: run_world(({"l": [(0.0, 2.0)]}, [(0.0, 4.0, ["l"]), (1.0, 4.0, ["l"])], [1.5]))
    )
    numbers = [*ends.values(), *(number for rows in (lost, carried, seen) for row in rows for number in row)]
    assert {type(number) for number in numbers} == {float}


def test_no_entry_of_a_row_hides_behind_an_attribute_of_numpy():
    known = set(dir(np.zeros(1, [("a", int)]).view(np.recarray)[0])) - {"a"}
    for kind in (state.FLOW, state.CLASS, state.RESOURCE, state.LANE, state.COURSE):
        assert not known & set(kind.names)


def test_what_is_compiled_beside_a_run_is_what_engines_call():
    interim.compile_all()
    known = {function: set(function.overloads) for function in interim.CALLED}
    with_solver(-1, lambda: run_cells(EqualAirtime(), [(0.0, 2.0, 1.0, (0,)), (0.5, 3.0, 2.0, (0,))], [0.3]))
    rising = [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]
    with_solver(-1, lambda: run_world(({"l": rising}, [(0.0, 2.0, ["l"]), (0.5, 2.0, ["l"])], [0.7])))
    assert {function: set(function.overloads) for function in interim.CALLED} == known


def test_a_first_run_does_not_wait_for_the_compiler(tmp_path):
    script = (
        "import simpy\n"
        "from sfsim.network.fluid import FluidEngine\n"
        "from sfsim.network.solver import interim, steps\n"
        "env = simpy.Environment()\n"
        "engine = FluidEngine(env)\n"
        "link = engine.add_link('l', lambda time_s: (2.0, float('inf')))\n"
        "engine.start(4.0, [link], lambda flow: print(env.now, steps.is_loaded()))\n"
        "env.run()\n"
        "process = interim.ready()._process\n"
        "assert process.poll() is None\n"
        "process.kill()\n"
        "process.wait()\n"
        "assert interim.ready() is steps\n"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
        timeout=60,
    )
    assert done.stdout == "2.0 False\n"

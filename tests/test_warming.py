"""Compiling beforehand: the tables are scenarios, and whoever compiles later is told, once."""

from sfsim.compiling import announced
from sfsim.declaration import validate
from sfsim.scenario import Scenario
from sfsim.warming import tables


def test_every_small_world_is_a_scenario() -> None:
    kinds = set()
    for name, table in tables():
        scenario = validate(Scenario, table | {"name": "warm"}, name)
        kinds |= {scenario.network.transport.kind, *(cell.kind for cell in scenario.cell.values())}
    assert kinds == {"fluid", "tcp-cubic", "arq", "wifi", "cellular"}


def test_compiling_is_said_once() -> None:
    from numba import njit

    said = []
    with announced(lambda: said.append("compiles")):
        assert njit(lambda x: x + 1)(1) == 2 and njit(lambda x: x + 2)(1) == 3
    njit(lambda x: x + 3)(1)
    assert said == ["compiles"]

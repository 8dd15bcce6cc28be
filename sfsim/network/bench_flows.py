"""`sfsim bench flows`: closed-loop clients over a graph of links, in the form of SimGrid's golden data.

A scenario names links (bytes/s, s) and clients; each client sends its messages one after another over its
route (format: `docs/network.md`). The answer is when every message started and ended. Others run the same files
through SimGrid.
"""

import csv
import json
from collections.abc import Callable, Generator
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from sfsim.declaration import declaration, validate_json
from sfsim.errors import ConfigError, did_you_mean

Latency = Literal["first", "last"]
Weights = Literal["equal", "inverse-latency"]
FORM = (
    '{"links": {NAME: {"bw": bytes/s, "lat": s}}, '
    '"clients": [{"route": [NAME], "sizes": [bytes], "start": s, "gap": s}]}'
)


@declaration
class BenchLink:
    """A link: ``bw`` in bytes/s, ``lat`` in s."""

    bw: Annotated[float, Field(gt=0)]
    lat: Annotated[float, Field(ge=0)]


@declaration
class BenchClient:
    """A client: the links it crosses, its first start and its gaps in s, and its messages in bytes.

    A link that stands in the route twice is crossed twice: it costs its latency and its capacity twice.
    """

    route: Annotated[tuple[str, ...], Field(min_length=1)]
    start: Annotated[float, Field(ge=0)] = 0.0
    gap: Annotated[float, Field(ge=0)] = 0.0
    sizes: tuple[Annotated[float, Field(ge=0)], ...]


@declaration
class BenchFlows:
    """A scenario of `sfsim bench flows`; what else its file says is ignored."""

    links: dict[str, BenchLink]
    clients: tuple[BenchClient, ...]


def run_file(scenario: Path, out: Path, latency: Latency = "first", weights: Weights = "equal") -> int:
    """Run the scenario in a JSON file, write ``client,msg,start,end`` rows, and return how many.

    Raises ConfigError for a file that is missing or not of that form, ResultsError when `out` refuses.
    """
    from sfsim.errors import ResultsError

    try:
        world = json.loads(scenario.read_text())
    except OSError as error:
        raise ConfigError(str(scenario), f"no readable file ({error.strerror})", "a JSON file") from None
    except ValueError as error:
        raise ConfigError(str(scenario), f"a file that is not JSON ({error})", "a JSON file") from None
    rows = run(world, latency, weights, str(scenario))
    try:
        with out.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("client", "msg", "start", "end"))
            writer.writerows((client, msg, repr(start), repr(end)) for client, msg, start, end in rows)
    except OSError as error:
        raise ResultsError(f"{out}: cannot be written ({error.strerror})") from None
    return len(rows)


def run(
    world: dict[str, Any], latency: Latency = "first", weights: Weights = "equal", place: str = "scenario"
) -> list[tuple[int, int, float, float]]:
    """Run a scenario.

    Parameters
    ----------
    world : dict
        ``links`` (name to ``{"bw": bytes/s, "lat": s}``) and ``clients`` (each ``route``, ``start``, ``gap``,
        ``sizes`` in bytes): the next message of a client starts when the last byte of the one before has
        arrived, plus the gap.
    latency : "first" or "last"
        A message waits for the sum of its latencies before it shares links (SimGrid), or after.
    weights : "equal" or "inverse-latency"
        Shares of a full link: equal, or in proportion to 1 / the sum of latencies of the route (SimGrid).
    place : str
        What to call the scenario in an error.

    Returns
    -------
    list of (client, message, start_s, end_s)
        In the order of the ends, then of clients.

    Examples
    --------
    >>> link = {"bw": 1e6, "lat": 0.5}
    >>> client = {"route": ["L"], "start": 0.0, "gap": 0.0, "sizes": [1000000]}
    >>> run({"links": {"L": link}, "clients": [client, client]})
    [(0, 0, 0.0, 2.5), (1, 0, 0.0, 2.5)]
    """
    import simpy

    from sfsim.network.fluid import FluidEngine

    known = {key: world[key] for key in ("links", "clients") if key in world}
    scenario: BenchFlows = validate_json(BenchFlows, known, place, FORM)
    ways = [_way(scenario, number, weights, place) for number in range(len(scenario.clients))]
    env = simpy.Environment()
    engine = FluidEngine(env, timed=False)
    links = {name: engine.add_link(name, _constant(link.bw * 8.0)) for name, link in scenario.links.items()}
    rows: list[tuple[int, int, float, float]] = []

    def client(number: int, spec: BenchClient) -> "Generator[simpy.Event, Any, None]":
        latency_s, weight = ways[number]
        course = engine.course([links[name] for name in spec.route])
        yield env.timeout(spec.start)
        for message, num_bytes in enumerate(spec.sizes):
            start_s = float(env.now)
            if latency == "first":
                yield env.timeout(latency_s)
            drained = env.event()
            engine.start(num_bytes * 8, course, _fires(drained), weight=weight)
            yield drained
            if latency == "last":
                yield env.timeout(latency_s)
            rows.append((number, message, start_s, float(env.now)))
            yield env.timeout(spec.gap)

    for number, spec in enumerate(scenario.clients):
        env.process(client(number, spec))
    env.run()
    return sorted(rows, key=lambda row: (row[3], row[0], row[1]))


def _way(scenario: BenchFlows, number: int, weights: Weights, place: str) -> tuple[float, float]:
    """Return the latency of a client's route, and its weight."""
    at, route = f"{place}, clients[{number}], route", scenario.clients[number].route
    for name in route:
        if name not in scenario.links:
            hint = did_you_mean(name, scenario.links)
            raise ConfigError(at, repr(name), "a link of the scenario", hint)
    latency_s = sum(scenario.links[name].lat for name in route)
    if weights == "equal":
        return latency_s, 1.0
    if not latency_s > 0:
        raise ConfigError(at, "a route without latency", "latencies above 0 for inverse-latency weights")
    return latency_s, 1 / latency_s


def _constant(rate_bps: float) -> Callable[[float], tuple[float, float]]:
    return lambda time_s: (rate_bps, inf)


def _fires(event: Any) -> Callable[[Any], None]:
    return lambda flow: event.succeed()

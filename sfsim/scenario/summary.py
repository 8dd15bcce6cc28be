"""A scenario in words: one row per client, for `sfsim check` and reports."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

from sfsim.channel import Constant, RttMatrixLatency, Trace
from sfsim.channel.survey import pieces
from sfsim.codec import Learned
from sfsim.learning.schedules import rounds_left_out
from sfsim.network.declarations import Link
from sfsim.scenario.cells import access, why_unicast
from sfsim.scenario.networks import GraphML

if TYPE_CHECKING:
    import networkx as nx

    from sfsim.scenario.scenario import Scenario

_MEAN_OVER_S = 60.0


def client_rows(scenario: "Scenario") -> list[dict[str, str]]:
    """Return one row per client: client, device, uplink, downlink, start."""
    return [
        {
            "client": name,
            "device": group.device.name,
            "uplink": _way_words(scenario, name, 0),
            "downlink": _way_words(scenario, name, 1),
            "start": f"{group.start_s:g} s",
        }
        for name, group in scenario.groups.items()
    ]


def remarks(scenario: "Scenario") -> list[str]:
    """Return what fits together and still is hardly meant."""
    lines = []
    asked = [name for name, cell in scenario.cell.items() if cell.model_delivery == "multicast"]
    if asked and (reason := why_unicast(scenario)):
        lines.append(f"cell.{asked[0]}: model_delivery = 'multicast' has no effect: {reason}")
    target, every = scenario.target, scenario.evaluation.every_rounds
    evaluations = -(-scenario.global_rounds // every)
    if target is not None and target.hold > evaluations:
        lines.append(
            f"target: hold = {target.hold} cannot be reached in a run with {evaluations} evaluations"
        )
    for key in ("optimiser", "server_optimiser"):
        optimiser = getattr(scenario, key)
        if optimiser and optimiser.schedule:
            said = rounds_left_out(optimiser.schedule, scenario.global_rounds)
            lines += [f"{key}: the schedule {optimiser.schedule.kind!r} {said}"] if said else []
    return lines + _file_remarks(scenario) + _codec_remarks(scenario)


def _file_remarks(scenario: "Scenario") -> list[str]:
    """What was done to the rows of traces and latency matrices, each file's once."""
    parts = (scenario.clients, scenario.main_server, scenario.fed_server, scenario.topology)
    notes = (note for file in _files(parts) for note in file.notes())
    lines = list(dict.fromkeys(notes))
    if isinstance(scenario.topology, GraphML):
        from sfsim.scenario.graph import build_graph  # which imports networkx

        name = scenario.topology.path.name
        lines += [f"{name}: {note}" for note in build_graph(scenario)[0].graph["notes"]]
    return lines


def _files(value: Any) -> Iterator[Trace | RttMatrixLatency]:
    """All traces and latency matrices that a declaration names, at any depth."""
    if isinstance(value, Trace | RttMatrixLatency):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _files(item)
    elif isinstance(value, dict):
        yield from _files(list(value.values()))
    elif is_dataclass(value):
        yield from _files([getattr(value, field.name) for field in fields(value)])


def _codec_remarks(scenario: "Scenario") -> list[str]:
    """What is not as on a real network, because the scenario asks for the accounting of published code."""
    codecs, training = scenario.codecs, scenario.codec_training
    slots = (codecs.smashed_up, codecs.smashed_down, codecs.gradient_up, codecs.gradient_down)
    learned, lines = any(isinstance(codec, Learned) for codec in slots), []
    if learned and training.update == "ideal":
        lines.append(
            "codec_training: update = 'ideal': weights of codecs are shared at once and free of charge"
        )
    last = training.freeze_after_round
    if learned and last is not None and last >= scenario.global_rounds:
        lines.append(
            f"codec_training: freeze_after_round = {last} has no effect "
            f"in a run of {scenario.global_rounds} rounds"
        )
    meanings = {
        "likelihood-rates": "messages of learned codecs are sized by likelihoods, not by their bytes",
        "train-mode-evaluation": "evaluated in training mode, with noise for rounding",
        "exact-gradients": "exact gradients are used, whatever their messages hold",
    }
    for switch in training.as_published:
        if learned or switch != "likelihood-rates":
            lines.append(f"codec_training: as published: {meanings[switch]}")
        else:
            lines.append(f"codec_training: as_published = {switch!r} has no effect: no codec is learned")
    return lines


def _way_words(scenario: "Scenario", client: str, side: int) -> str:
    ways = access(scenario, client)
    if ways is None:
        return "-"
    group = scenario.groups[client]
    if group.cell is None:
        return link_words(ways[side].link)
    if group.distance_m is None:
        return f"cell {group.cell}, alone {link_words(ways[side].link)}"
    distance_m = group.distance_m[group.client_names.index(client)]
    return f"cell {group.cell} at {distance_m:g} m, {ways[side].link.latency_s * 1e3:g} ms"


def link_words(link: Link | None) -> str:
    """Say a link in a few words.

    >>> link_words(Link(rate_bps=2e6, latency_s=0.02))
    '2 Mbit/s, 20 ms'
    """
    if link is None:
        return "-"
    words = [rate_words(link.rate_bps)] if link.rate_bps is not None else []
    channel = link.channel
    if isinstance(channel, Constant):
        words.append(rate_words(channel.rate_bps))
    elif channel is not None:
        words.append(channel.words())
    words.append(f"{link.latency_s * 1e3:g} ms")
    if link.latency is not None:
        words.append(f"{link.latency.kind} latency")
    if link.loss is not None:
        words.append(f"{link.loss.kind} loss")
    return ", ".join(words)


def edge_words(graph: "nx.DiGraph[str]", source: str, destination: str, seed: int) -> str:
    """Say an edge of `build_graph`; in a cell by the mean rate that its client would have alone on the air.

    Its link's own rate would say nothing: it is the ceiling of the carrier, the same for near and far.
    """
    edge = graph.edges[source, destination]
    link: Link = edge["link"]
    if edge.get("cell") is None:
        return link_words(link)
    mean_bps, _ = link_rates(link, seed, f"{source}->{destination}")
    return f"{rate_words(float(f'{mean_bps:.3g}'))}, {link.latency_s * 1e3:g} ms"


def link_rates(link: Link, seed: int, name: str) -> tuple[float, float]:
    """Return mean and smallest rate of a link called `name` over its first minute, bit/s."""
    cap_bps = inf if link.rate_bps is None else link.rate_bps
    if link.channel is None:
        return link.efficiency * cap_bps, link.efficiency * cap_bps
    ends_s, rates_bps = pieces(link.channel.realise(seed, name), _MEAN_OVER_S)
    offered_bps = link.efficiency * np.minimum(rates_bps, cap_bps)
    lengths_s = np.diff(ends_s, prepend=0.0)
    return float(offered_bps @ lengths_s / _MEAN_OVER_S), float(offered_bps.min())


def rate_words(rate_bps: float) -> str:
    """Say a rate in the largest unit that keeps it at least 1.

    >>> rate_words(2.5e6), rate_words(800.0)
    ('2.5 Mbit/s', '800 bit/s')
    """
    for factor, unit in ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")):
        if rate_bps >= factor:
            return f"{rate_bps / factor:g} {unit}"
    return f"{rate_bps:g} bit/s"

"""A scenario before it is run: its clients, servers and model parts as tables, and the raw bytes of a round."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import torch

from sfsim import world as worlds
from sfsim.codec import Learned
from sfsim.errors import Diverged
from sfsim.network.declarations import Link
from sfsim.scenario.cells import access
from sfsim.scenario.networks import Star
from sfsim.scenario.summary import client_rows, link_rates, link_words, rate_words
from sfsim.workload.coding import FLOAT_BYTES
from sfsim.workload.exchange import ModelSlot
from sfsim.workload.live import LiveWorkload
from sfsim.workload.setting import Setting
from sfsim.workload.work import SKIPPED, Work

if TYPE_CHECKING:
    from sfsim.payload import Outgoing
    from sfsim.scenario import FedServer, Scenario, Server

Row = dict[str, str]

_LONG_S = 0.5


@dataclass(frozen=True, slots=True)
class Preview:
    """The resolved world in words.

    Attributes
    ----------
    clients, servers, parts : list of dict of str to str
        One row per client, server, part of the model; keys are column titles.
    kinds : tuple of dict
        What a round sends, by kind: messages, raw bytes, and bytes by the codec's formula where it has one.
    channels : tuple of dict
        Mean and smallest rate of each different channel over a minute.
    round_words : str
        How long a global round takes, estimated; empty where links are shared or parties stand in a graph.
    wall_words : str
        How long its training takes on this machine, from one minibatch that was timed.
    raw_bytes_up, raw_bytes_down : int
        What all clients together would send and receive in one global round, uncompressed (float32, without
        labels and framing).
    """

    clients: list[Row]
    servers: list[Row]
    parts: list[Row]
    raw_bytes_up: int
    raw_bytes_down: int
    notes: tuple[str, ...] = ()
    kinds: tuple[Row, ...] = ()
    channels: tuple[Row, ...] = ()
    round_words: str = ""
    wall_words: str = ""


def preview(scenario: Scenario, data_root: Path | None = None) -> Preview:
    """Load the data, build the model, and say what a round of the scenario amounts to.

    A minibatch is trained to see how long it takes, and no more.

    Raises
    ------
    SfsimError
        Whatever would stop the run: missing data, a part that does not fit into a device's memory, no route.
    """
    setting = worlds.untrained(scenario, data_root)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a run
    try:
        return _look(scenario, setting)
    finally:
        setting.executor.close()
        torch.set_num_threads(threads)


def _look(scenario: Scenario, setting: Setting) -> Preview:
    rows, up, down = [], 0, 0
    first_name = next(iter(setting.clients))
    model_bytes = ModelSlot(scenario.codecs.client_model_up, setting.clients[first_name].state()).raw_bytes
    for row in client_rows(scenario):
        name = row["client"]
        sizes = [len(batch) for _, batch in setting.batches(name, 1)]
        first = sum(setting.prices.numel_after("front_end", size) for size in sizes) * FLOAT_BYTES
        second = (
            sum(setting.prices.numel_after("server_side", size) for size in sizes) * FLOAT_BYTES
            if setting.u_shaped
            else 0
        )
        up += first + second + model_bytes
        down += first + second + model_bytes
        rows.append(
            row
            | {
                "examples": f"{len(setting.shards[name]):,}",
                "minibatches": f"{len(sizes):,}",
                "raw MB up / round": f"{(first + second + model_bytes) / 1e6:,.3f}",
                "raw MB down / round": f"{(first + second + model_bytes) / 1e6:,.3f}",
            }
        )
    kinds, times = _messages(scenario, setting, model_bytes)
    return Preview(
        rows,
        _servers(scenario),
        _parts(setting),
        up,
        down,
        tuple(setting.notes),
        kinds,
        _channels(scenario),
        _round_words(times),
        _wall_words(setting),
    )


def _messages(
    scenario: Scenario, setting: Setting, model_bytes: int
) -> tuple[tuple[Row, ...], dict[str, float]]:
    """Return what one global round of all clients sends, by kind, and each client's seconds on its own links.

    Bytes are those of the formulas of codecs, without labels, frames, repeats and computation; learned ones count raw.
    """
    codecs = scenario.codecs
    slots = [("smashed data", "smashed_up", "front_end", 0), ("gradient", "gradient_down", "front_end", 1)]
    if setting.u_shaped:
        slots += [
            ("smashed data", "smashed_down", "server_side", 1),
            ("gradient", "gradient_up", "server_side", 0),
        ]
    totals: dict[tuple[str, str], list[float]] = {}
    times: dict[str, float] = {}
    rates: dict[Link, float] = {}
    formulas: dict[tuple[str, int], float] = {}

    def count(kind: str, side: int, messages: int, raw: float, sent: float) -> None:
        total = totals.setdefault((kind, ("up", "down")[side]), [0, 0, 0])
        for at, value in enumerate((messages, raw, sent)):
            total[at] += value

    for name in setting.shards:
        sizes = [len(batch) for _, batch in setting.batches(name, 1)]
        sent = [float(model_bytes), float(model_bytes)]
        for kind, slot, part, side in slots:
            raw = 0.0
            for size in sizes:
                numel = setting.prices.numel_after(part, size)
                raw += FLOAT_BYTES * numel
                if (slot, numel) not in formulas:
                    codec = getattr(codecs, slot)
                    plain = codec is not None and not isinstance(codec, Learned)
                    formulas[slot, numel] = codec.estimate_bits(numel) / 8 if plain else FLOAT_BYTES * numel
                sent[side] += formulas[slot, numel]
            encoded = sum(formulas[slot, setting.prices.numel_after(part, size)] for size in sizes)
            count(kind, side, len(sizes), raw, encoded)
        for side in (0, 1):
            count("client model", side, 1, model_bytes, model_bytes)
        ways = access(scenario, name)
        if ways is not None and all(way.cell is None for way in ways) and isinstance(scenario.topology, Star):
            for way in ways:
                if way.link not in rates:
                    rates[way.link] = link_rates(way.link, scenario.seeds.network, name)[0]
            both = zip(ways, sent, strict=True)
            seconds = sum(8 * num_bytes / rates[way.link] for way, num_bytes in both if rates[way.link])
            crossings = sum(len(sizes) for slot in slots) + 2
            times[name] = seconds + crossings * (ways[0].link.latency_s + ways[1].link.latency_s) / 2
    rows = tuple(
        {
            "kind": kind,
            "direction": direction,
            "messages": f"{messages:,.0f}",
            "raw MB": f"{raw / 1e6:,.3f}",
            "MB by formula": f"{sent / 1e6:,.3f}",
        }
        for (kind, direction), (messages, raw, sent) in totals.items()
    )
    return rows, times


def _round_words(times: dict[str, float]) -> str:
    if not times:
        return ""
    slowest = max(times, key=lambda name: times[name])
    return (
        f"a round takes about {times[slowest]:.3g} simulated s on the links of {slowest!r}, the slowest "
        "(estimated: mean rates, formula sizes, nothing shared, lost or computed)"
    )


def _wall_words(setting: Setting) -> str:
    number = sum(len(setting.batches(name, 1)) for name in setting.shards)
    try:
        seconds = _minibatch_s(setting)
    except Diverged:  # the run will say so
        return ""
    if seconds is None or number == 0:
        return ""
    return (
        f"training for a round takes about {number * seconds:.3g} s of wall time on this machine "
        f"(estimated: a minibatch took {1e3 * seconds:.3g} ms, and there are {number:,}; evaluation and the clock "
        "come on top)"
    )


def _minibatch_s(setting: Setting) -> float | None:
    """Train a client for a few minibatches; return how long the last took, or None if a gate held its gradient back.

    A minibatch that takes long is the only one; otherwise the first ones are not counted.
    """
    live = LiveWorkload(setting)
    name = max(setting.shards, key=lambda name: len(setting.shards[name]))

    def outcome(work: Work) -> Outgoing | None:
        work.start()
        return work.collect()

    seconds = None
    for at in live.plan(name, 1)[:3]:
        began_s = perf_counter()
        sent = outcome(live.client_forward(name, at))
        assert sent is not None
        sent = outcome(live.server_forward(name, at, sent.payload))
        if setting.u_shaped:
            assert sent is not None
            sent = outcome(live.client_tail(name, at, sent.payload)) or outcome(
                live.client_gradient(name, at)
            )
            if sent is None or sent.payload == SKIPPED:
                return None
        sent = outcome(live.server_backward(name, at, sent.payload if sent else None))
        assert sent is not None
        outcome(live.server_step(name, at))
        if sent.payload == SKIPPED:
            return None
        outcome(live.client_backward(name, at, sent.payload))
        seconds = perf_counter() - began_s
        if seconds > _LONG_S:
            break
    return seconds


def _channels(scenario: Scenario) -> tuple[Row, ...]:
    """Return mean and smallest rate of each different channel of clients and servers, over a minute."""
    found: dict[Link, str] = {}
    owners = [(group.name, group) for group in scenario.clients] + [("main server", scenario.main_server)]
    for name, owner in owners:
        for side, link in (("up", owner.uplink), ("down", owner.downlink)):
            if link is not None and link.channel is not None:
                found.setdefault(link, f"{name} {side}")
    rows = []
    for link, name in found.items():
        mean_bps, least_bps = link_rates(link, scenario.seeds.network, name)
        rows.append(
            {
                "channel": name,
                "mean rate": rate_words(float(f"{mean_bps:.3g}")),
                "smallest rate": rate_words(float(f"{least_bps:.3g}")),
            }
        )
    return tuple(rows)


def _servers(scenario: Scenario) -> list[Row]:
    def row(name: str, server: Server | FedServer) -> Row:
        return {
            "server": name,
            "device": server.device.name if server.device else "",
            "uplink": link_words(server.uplink),
            "downlink": link_words(server.downlink),
        }

    rows = [row("main server", scenario.main_server)]
    if scenario.fed_server.same_host:
        return [
            *rows,
            {"server": "fed server", "device": "on the main server's host", "uplink": "-", "downlink": "-"},
        ]
    return [*rows, row("fed server", scenario.fed_server)]


def _parts(setting: Setting) -> list[Row]:
    rows = []
    for name, part in setting.named.items():
        price = setting.prices.of(name, 1)
        rows.append(
            {
                "part": name.replace("_", " "),
                "stages": " ".join(part.names),
                "parameters": f"{sum(weight.numel() for weight in part.parameters()):,}",
                "forward MFLOP / example": f"{price.forward.flops / 1e6:,.2f}",
                "output / example": "x".join(str(side) for side in price.output_shape[1:]),
            }
        )
    return rows

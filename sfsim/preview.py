"""A scenario before it is run: its clients, servers and model parts as tables, and the raw bytes of a round."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sfsim import world as worlds
from sfsim.scenario.summary import client_rows, link_words
from sfsim.workload.coding import FLOAT_BYTES
from sfsim.workload.exchange import ModelSlot
from sfsim.workload.setting import Setting

if TYPE_CHECKING:
    from sfsim.scenario import FedServer, Scenario, Server

Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Preview:
    """The resolved world in words.

    Attributes
    ----------
    clients, servers, parts : list of dict of str to str
        One row per client, server, part of the model; keys are column titles.
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


def preview(scenario: Scenario, data_root: Path | None = None) -> Preview:
    """Load the data, build the model, and say what a round of the scenario amounts to; nothing is trained.

    Raises
    ------
    SfsimError
        Whatever would stop the run: missing data, a part that does not fit into a device's memory, no route.
    """
    setting = worlds.untrained(scenario, data_root)
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
    return Preview(rows, _servers(scenario), _parts(setting), up, down, setting.dataset.notes)


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

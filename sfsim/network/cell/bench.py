"""One message per client through one cell, from a JSON file: the fluid run behind ``sfsim bench cell``.

Rates are constant between a start and an end, so the run goes from event to event. The file's form stands in
`docs/cell.md`. LTE is frequency division duplex: each direction is a cell of its own, and an uplink message waits
10 ms for its first grant (measured in ns-3 3.44). Wi-Fi is half duplex.
"""

import csv
import json
from math import inf, ulp
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from sfsim.declaration import declaration, misfit, no_such_file, validate_json
from sfsim.errors import ConfigError, ResultsError

if TYPE_CHECKING:
    from sfsim.network.cell.policy import Policy

FORM = (
    '{"access": KIND, "standard": "802.11a", "802.11n" or "lte", '
    '"clients": [{"rate_bps": bit/s, "direction": "up" or "down", "bytes": n, "start": s}]}'
)
GRANT_S = {"lte": 0.010}
_TOLERANCE_S = 1e-9


@declaration
class BenchClient:
    """One message.

    Parameters
    ----------
    rate_bps : float
        Goodput alone on the air.
    phy_bps : float, optional
        PHY rate (Wi-Fi).
    direction : {"up", "down"}
        Which way.
    start : float
        When it is handed over, in s.
    bytes : float
        Its length.
    cap_bps : float, optional
        What the wired rest of the route lets through.
    """

    rate_bps: Annotated[float, Field(gt=0)]
    phy_bps: Annotated[float, Field(gt=0)] | None = None
    direction: Literal["up", "down"]
    start: Annotated[float, Field(ge=0)] = 0.0
    bytes: Annotated[float, Field(ge=0)]
    cap_bps: Annotated[float, Field(gt=0)] | None = None


@declaration
class BenchCell:
    """One cell and its messages.

    Parameters
    ----------
    access : str
        Who gets the air; ``"proportional-fair"``: airtime with the multi-user gain of fading channels.
    standard : {"802.11a", "802.11n", "lte"}
        The radio.
    rb : int
        Resource blocks of ``access = "lte-grid"``.
    scheduler : {"rr", "pf"}
        Of the downlink of an LTE grid.
    clients : list of BenchClient
        One message each.
    """

    access: Literal["airtime", "equal-rate", "max-rate", "csma", "lte-grid", "private", "proportional-fair"]
    standard: Literal["802.11a", "802.11n", "lte"]
    rb: Annotated[int, Field(ge=6)] = 25
    scheduler: Literal["rr", "pf"] = "rr"
    clients: Annotated[tuple[BenchClient, ...], Field(min_length=1)]

    def __post_init__(self) -> None:
        if self.access == "csma" and self.standard == "lte":
            raise misfit("standard", "'lte'", "'802.11a' or '802.11n', because access = 'csma'")
        if self.access == "lte-grid" and self.standard != "lte":
            raise misfit("standard", repr(self.standard), "'lte', because access = 'lte-grid'")


def bench(path: Path, out: Path) -> list[tuple[int, float, float]]:
    """Run the cell in the JSON file `path`; write ``client,start,end`` in s to `out`, and return the rows."""
    try:
        table = json.loads(path.read_text())
    except FileNotFoundError:
        raise no_such_file(path, str(path), "a JSON file") from None
    except (OSError, ValueError) as error:
        raise ConfigError(str(path), f"a file that is not JSON ({error})", "a JSON file") from None
    cell: BenchCell = validate_json(BenchCell, table, str(path), FORM)
    rows = [
        (index, client.start, float(end))
        for index, (client, end) in enumerate(zip(cell.clients, completion_times(cell), strict=True))
    ]
    try:
        with out.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("client", "start", "end"))
            writer.writerows((index, repr(start), repr(end)) for index, start, end in rows)
    except OSError as error:
        raise ResultsError(f"{out}: cannot be written ({error.strerror})") from None
    return rows


def completion_times(cell: BenchCell) -> np.ndarray:
    """Return when each message is complete, in s, shape (n,)."""
    down = np.array([client.direction == "down" for client in cell.clients])
    if cell.standard != "lte":
        return _run(cell, down, np.arange(len(down)))
    ends = np.empty(len(down))
    for side in (False, True):
        members = np.flatnonzero(down == side)
        ends[members] = _run(cell, down[members], members)
    return ends


def _policy(cell: BenchCell, downlink: bool) -> "Policy":
    from sfsim.network.cell import policy  # numba: only when something runs

    if cell.access == "csma":
        return policy.Csma(standard=cell.standard)
    if cell.access == "lte-grid":
        return policy.LteGrid(resource_blocks=cell.rb, scheduler=cell.scheduler, downlink=downlink)
    return {
        "airtime": policy.EqualAirtime,
        "equal-rate": policy.EqualRate,
        "max-rate": policy.MaxRate,
        "private": policy.Private,
        "proportional-fair": policy.ProportionalFair,
    }[cell.access]()


def _run(cell: BenchCell, down: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Run the messages `indices` through one medium."""
    clients = [cell.clients[index] for index in indices]
    if not clients:
        return np.empty(0)
    from sfsim.network.cell.policy import Members

    policy = _policy(cell, bool(down[0]))
    peak = np.array([client.rate_bps for client in clients])
    cap = np.array([inf if client.cap_bps is None else client.cap_bps for client in clients])
    phy = np.array([client.phy_bps or 0.0 for client in clients])
    grant_s = np.where(down, 0.0, GRANT_S.get(cell.standard, 0.0))
    starts = np.array([client.start for client in clients]) + grant_s
    bits = np.array([8.0 * client.bytes for client in clients])
    ends = np.where(bits > 0, inf, starts)
    waiting = sorted(np.flatnonzero(bits > 0), key=lambda index: starts[index])
    active: list[int] = []
    now = 0.0
    while waiting or active:
        while waiting and starts[waiting[0]] <= now + _TOLERANCE_S:
            active.append(waiting.pop(0))
        if not active:
            now = starts[waiting[0]]
            continue
        members = np.array(active)
        known = Members(down=down[members], phy_bps=phy[members])
        rate = policy.allocate(peak[members], cap[members], known)
        with np.errstate(divide="ignore"):
            left_s = bits[members] / rate
        step_s = left_s.min()
        if waiting:
            step_s = min(step_s, starts[waiting[0]] - now)
        if step_s == inf:
            raise ConfigError("clients", "nobody with a rate above 0", "somebody who can send")
        bits[members] -= rate * step_s
        now += step_s
        done = left_s - step_s <= max(_TOLERANCE_S, 4 * ulp(now))
        ends[members[done]] = now
        active = list(members[~done])
    return ends

"""Where the simulated seconds went: each client's time, cut into parts that add up to the run exactly.

A client's day is a chain: it computes, its bytes travel, the server works for it, bytes come back, it waits
for the others. Where things happen at the same time (the server's optimiser steps while the gradient is
already on its way), the part that stands first in `PARTS` counts, so that no second is counted twice and none
is lost. Two things are derived:

* Of a message that was in the network from ``queued_s`` to ``delivered_s``, the first ``sharing_s`` seconds
  are link queueing (what sharing the route with other messages, the client's own too, cost it), the rest is
  uplink or downlink.
* Time after a client's last work or message is waiting at the barrier: it was done and the run was not, even
  if a server comes back to what it sent. Time inside its day that nothing explains is "other", and should be
  nothing.

Work that a server does for nobody in particular (averaging) is server compute for every client that would
otherwise be waiting at the barrier.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sfsim.results import Result

SERVERS = ("main server", "fed server")

#: In order of precedence; the words of the tables and of the timelines.
PARTS = (
    "client compute",
    "encode",
    "decode",
    "uplink",
    "downlink",
    "link queueing",
    "server compute",
    "device queueing",
    "waiting for a turn",
    "waiting at the barrier",
    "other",
)
#: Phases of the ledger that are waits; the device does nothing in them.
WAITS = ("device queueing", "turn", "hold", "barrier")
_FOR_ALL = "server compute for all"
_ORDER = (*PARTS[:-2], _FOR_ALL, *PARTS[-2:])
_PHASES = {
    "encode": "encode",
    "decode": "decode",
    "device queueing": "device queueing",
    "turn": "waiting for a turn",
    "barrier": "waiting at the barrier",
}


@dataclass(frozen=True, slots=True)
class Delay:
    """One row of the table: a part, its seconds per client, and its share of the run."""

    part: str
    mean_s: float
    share: float
    by_client_s: dict[str, float]


def where_time_went(result: "Result") -> list[Delay]:
    """Return one row per entry of `PARTS`; the means add up to the run's end time.

    Parameters
    ----------
    result : Result
        A finished run.

    Returns
    -------
    list of Delay
        Empty when no client did anything.
    """
    return delays(
        list(result.messages.itertuples(index=False)),
        list(result.computations.itertuples(index=False)),
        result.end_s,
    )


def delays(messages: Iterable[Any], computations: Iterable[Any], end_s: float) -> list[Delay]:
    """Return what `where_time_went` does, from rows as `timelines` takes them."""
    lines = timelines(messages, computations, end_s)
    totals = {client: dict.fromkeys(PARTS, 0.0) for client in lines}
    for client, segments in lines.items():
        for start_s, end_s, part in segments:
            totals[client][part] += end_s - start_s
    if not totals or end_s == 0:
        return []
    rows = []
    for part in PARTS:
        by_client = {client: total[part] for client, total in totals.items()}
        mean_s = sum(by_client.values()) / len(by_client)
        rows.append(Delay(part, mean_s, mean_s / end_s, by_client))
    return rows


def timelines(
    messages: Iterable[Any], computations: Iterable[Any], end_s: float
) -> dict[str, list[tuple[float, float, str]]]:
    """Return each client's time from 0 to `end_s` as segments (start, end, part) without gap or overlap.

    Parameters
    ----------
    messages, computations : iterables
        Rows with the fields of `MessageRecord` and `ComputationRecord`.
    end_s : float
        When the run ended, simulated seconds.
    """
    spans: dict[str, list[tuple[float, float, str]]] = {}
    done_s: dict[str, float] = {}
    for_all: list[tuple[float, float, str]] = []
    for c in computations:
        if c.phase == "hold":
            continue  # the server model waits for this client, which is at work or on the wire meanwhile
        owner = c.client or (c.party if c.party not in SERVERS else "")
        if owner:
            work = "client compute" if c.party == owner else "server compute"
            spans.setdefault(owner, []).append((c.start_s, c.end_s, _PHASES.get(c.phase, work)))
            if c.party == owner:
                done_s[owner] = max(done_s.get(owner, 0.0), c.end_s)
        elif c.phase not in WAITS:  # a server that waits keeps nobody
            for_all.append((c.start_s, c.end_s, _FOR_ALL))
    for m in messages:
        arrived_s = m.delivered_s if m.delivered else end_s
        shared_until_s = min(m.queued_s + m.sharing_s, arrived_s)
        for client, part in ((m.source, "uplink"), (m.destination, "downlink")):
            if client not in SERVERS:
                mine = spans.setdefault(client, [])
                mine.append((m.queued_s, shared_until_s, "link queueing"))
                mine.append((shared_until_s, arrived_s, part))
                done_s[client] = max(done_s.get(client, 0.0), arrived_s)
    return {
        client: list(_sweep([*spans[client], *for_all], done_s.get(client, 0.0), end_s))
        for client in sorted(spans)
    }


def _sweep(
    spans: list[tuple[float, float, str]], done_s: float, end_s: float
) -> Iterator[tuple[float, float, str]]:
    """Walk over all starts and ends; between two of them the first part in `PARTS` that is active counts."""
    rank = {part: i for i, part in enumerate(_ORDER)}
    changes: list[tuple[float, int, int]] = []
    for start_s, stop_s, part in spans:
        if stop_s > start_s:
            changes += [(start_s, 1, rank[part]), (stop_s, -1, rank[part])]
    changes.sort()
    edges = sorted({0.0, end_s, done_s, *(time for time, _, _ in changes)})
    active, position = [0] * len(_ORDER), 0
    current: tuple[float, float, str] | None = None
    for start_s, stop_s in pairwise(edges):
        while position < len(changes) and changes[position][0] <= start_s:
            active[changes[position][2]] += changes[position][1]
            position += 1
        idle = "waiting at the barrier" if start_s >= done_s else "other"
        part = next((_ORDER[i] for i, count in enumerate(active) if count), idle)
        part = "server compute" if part == _FOR_ALL else part
        if current and current[2] == part:
            current = (current[0], stop_s, part)
        else:
            if current:
                yield current
            current = (start_s, stop_s, part)
    if current:
        yield current

"""A made-up run for tests of what is read from ledgers: three clients, SplitFedV1's order, no learning."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfsim.ledger import (
    AccessRecord,
    ComputationRecord,
    EvaluationRecord,
    Ledger,
    LinkRecord,
    MessageRecord,
)
from sfsim.results import Result, write

CLIENTS = {"pi": 4.0, "phone": 2.0, "laptop": 1.0}  # how much slower each is than the fastest


@dataclass(frozen=True)
class Target:
    """What a scenario's target looks like to whoever reads results."""

    metric: str = "accuracy"
    value: float = 0.8
    hold: int = 1
    relative_to: str | None = None


def message(
    source: str, destination: str, queued_s: float, delivered_s: float, **changes: Any
) -> MessageRecord:
    """A message with sensible values everywhere else."""
    server = ("main server", "fed server")
    direction = "up" if destination in server else "down" if source in server else "peer"
    values: dict[str, Any] = {
        "message_id": 0,
        "kind": "smashed data",
        "source": source,
        "destination": destination,
        "direction": "core" if source in server and destination in server else direction,
        "round": 1,
        "epoch": 1,
        "minibatch": 1,
        "slot": "smashed_up",
        "codec": "uniform-8bit",
        "elements": 1000,
        "raw_bytes": 4000,
        "payload_bytes": 1016,
        "label_bytes": 16,
        "wire_bytes": 1074,
        "estimated_bits": 8000.0,
        "likelihood_bits": 8000.0,
        "payload_crc32": 7,
        "queued_s": queued_s,
        "first_byte_s": queued_s,
        "delivered_s": delivered_s,
        "sharing_s": 0.0,
        "packets": 1,
        "retransmissions": 0,
        "lost_bytes": 0,
        "hops": 2,
        "delivered": True,
    }
    return MessageRecord(**(values | changes))


def computation(
    party: str, phase: str, start_s: float, end_s: float, client: str = "", **changes: Any
) -> ComputationRecord:
    """A computation with sensible values everywhere else."""
    values: dict[str, Any] = {
        "party": party,
        "client": client,
        "phase": phase,
        "operation": "client_forward",
        "round": 1,
        "epoch": 1,
        "minibatch": 1,
        "flops": 1e6,
        "bytes_touched": 1e5,
        "serial_symbols": 0.0,
        "launches": 4.0,
        "start_s": start_s,
        "end_s": end_s,
        "joules": 3 * (end_s - start_s),
    }
    return ComputationRecord(**(values | changes))


def ledger(rounds: int = 4, minibatches: int = 3, gain: float = 0.25, codec: str = "uniform-8bit") -> Ledger:
    """A whole run: model down, minibatches, model up, average; validation accuracy rises by `gain`."""
    book, now, order = Ledger(), 0.0, 0
    for number in range(1, rounds + 1):
        ends = {}
        for client, slow in CLIENTS.items():
            at = now
            where: dict[str, Any] = {"round": number, "epoch": 1}

            def cross(
                source: str, destination: str, seconds: float, kind: str, at: float, where: dict[str, Any]
            ) -> float:
                used = "fp32" if kind == "client model" else codec
                size = 8000 if kind == "client model" else 1016
                book.messages.append(
                    message(
                        source,
                        destination,
                        at,
                        at + seconds,
                        kind=kind,
                        sharing_s=0.2 * seconds,
                        message_id=len(book.messages),
                        codec=used,
                        payload_bytes=size,
                        wire_bytes=size + 58,
                        minibatch=0,
                        **where,
                    )
                )
                return at + seconds

            def work(
                party: str, phase: str, seconds: float, client: str, at: float, where: dict[str, Any]
            ) -> float:
                book.computations.append(computation(party, phase, at, at + seconds, client, **where))
                return at + seconds

            at = cross("fed server", client, 0.3 * slow, "client model", at, where)
            for k in range(1, minibatches + 1):
                here = where | {"minibatch": k}
                at = work(client, "forward", 0.10 * slow, client, at, here)
                at = work(client, "encode", 0.02 * slow, client, at, here)
                at = cross(client, "main server", 0.15 * slow, "smashed data", at, where)
                at = work("main server", "decode", 0.01, client, at, here)
                at = work("main server", "device queueing", 0.02, client, at, here)
                at = work("main server", "forward", 0.05, client, at, here)
                at = work("main server", "encode", 0.01, client, at, here)
                at = cross("main server", client, 0.08 * slow, "gradient", at, where)
                at = work(client, "decode", 0.01 * slow, client, at, here)
                at = work(client, "backward", 0.20 * slow, client, at, here)
                order += 1
                book.accesses.append(
                    AccessRecord(
                        order, at, "server model", "write", "main server", client, "server_step", number, 1, k
                    )
                )
            ends[client] = cross(client, "fed server", 0.3 * slow, "client model", at, where)
        last = max(ends.values())
        for client, end_s in ends.items():
            if end_s < last:
                book.computations.append(
                    computation(client, "barrier", end_s, last, client, round=number, flops=0.0)
                )
        book.computations.append(computation("fed server", "aggregate", last, last + 0.05, round=number))
        now = last + 0.05
        value = min(0.2 + gain * number, 0.97)
        for split, used, metric, number_ in (
            ("train", "on", "loss", 2.3 / number),
            ("validation", "on", "loss", 2.2 / number),
            ("validation", "on", "accuracy", value),
            ("validation", "off", "accuracy", value + 0.01),
            ("test", "on", "accuracy", value - 0.02),
            ("test", "off", "accuracy", value - 0.01),
        ):
            book.evaluations.append(EvaluationRecord(number, now, split, used, metric, number_, ""))
        book.evaluations.append(EvaluationRecord(number, now, "validation", "on", "accuracy", 0.1, "pi"))
    for client in CLIENTS:
        for ends_at in ((client, "core"), ("core", client)):
            mine = [m for m in book.messages if client in (m.source, m.destination)]
            up = [m for m in mine if (m.source == client) == (ends_at[0] == client)]
            size = sum(m.wire_bytes for m in up)
            busy = sum(m.delivered_s - m.queued_s for m in up)
            book.links.append(LinkRecord(*ends_at, float(size), size, busy, len(up), 0, False, 3))
    return book


def run_directory(
    out: Path, name: str = "made-up", scenario_hash: str = "0123456789abcdef", **options: Any
) -> Result:
    """Write the made-up run to `out` and open it."""
    notes = options.pop("notes", ("link pi -> core: a loss rate is configured and no packet was lost",))
    target = options.pop("target", Target())
    table = {"name": name, "seed": 7, "global_rounds": options.get("rounds", 4), "protocol": "splitfed-v1"}
    directory = write(
        out,
        ledger(**options),
        scenario_table=table,
        scenario_hash=scenario_hash,
        environment={"wall_s": 1.5, "sfsim": "0.1.0"},
        target=target,
        notes=list(notes),
    )
    return Result(directory)

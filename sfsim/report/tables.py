"""The numbers of a run as rows of text, for the terminal and for the page alike."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sfsim.names import shown
from sfsim.report.delays import where_time_went
from sfsim.report.style import engineering

if TYPE_CHECKING:
    from sfsim.results import Result, TimeToTarget


@dataclass(frozen=True)
class Table:
    """A title, a head and rows of text; columns in `numbers` are set to the right."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    numbers: frozenset[int] = frozenset()


def labels(results: Sequence["Result"]) -> list[str]:
    """Return a short name per run: the scenario's, or the directory's where scenarios share a name."""
    names = [shown(result.name) for result in results]
    if len(set(names)) == len(names):
        return names
    directories = [result.directory.resolve() for result in results]
    short = [shown(directory.name) for directory in directories]
    return short if len(set(short)) == len(short) else [shown(str(directory)) for directory in directories]


def seconds(time_s: float) -> str:
    """Return simulated seconds as text.

    >>> seconds(0.01234), seconds(83.456), seconds(7384)
    ('0.0123 s', '83.5 s', '7,384 s')
    """
    return f"{time_s:,.0f} s" if time_s >= 1000 else f"{time_s:.3g} s"


def share(fraction: float) -> str:
    """Return a share as a percentage.

    >>> share(0.1234), share(0)
    ('12.3 %', '0.0 %')
    """
    return f"{100 * fraction:.1f} %"


def verdict(reached: "TimeToTarget", metric: str) -> str:
    """Return one sentence: when the target was reached, or how near the run came.

    A missed target is a result, not an error.
    """
    goal = f"{metric} {reached.target:.4g}"
    if math.isnan(reached.best):
        best = "no evaluation gave a number: diverged"
    else:
        best = f"best {reached.best:.4g} at {seconds(reached.best_time_s)}" + "; diverged" * reached.diverged
    if reached.time_s is not None:
        return f"{goal} reached at {seconds(reached.time_s)}, round {reached.round} ({best})"
    return f"{goal} not reached in {reached.last_round} rounds ({best})"


def outcome(result: "Result") -> str:
    """Return the run's verdict on its own target, or its best value where it has none."""
    if result.summary["target"] is not None:
        return verdict(result.time_to(), result.metric)
    if result.evaluations.empty:
        return "nothing was evaluated"
    end = "; diverged" * result.diverged
    if (result.evaluations["split"] == "validation").any():
        return f"no target; best {result.metric} {result.best():.4g}{end}"
    return f"no target and no validation split{end}; the results table has the other splits"


def bytes_table(result: "Result") -> Table:
    """Return bytes by kind of message and direction: raw, payload, labels in it, on the wire, ratio."""
    rows: list[tuple[str, ...]] = []
    columns = ["raw_bytes", "payload_bytes", "label_bytes", "wire_bytes", "retransmissions"]
    groups = result.messages.groupby(["direction", "kind", "codec"], sort=False)
    for (direction, kind, codec), group in groups:
        total = group[columns].sum()
        rows.append(
            (
                kind,
                direction,
                codec or "-",
                f"{len(group):,}",
                *(engineering(float(total[column]), "B") for column in columns[:4]),
                f"{total['raw_bytes'] / total['payload_bytes']:.2f}" if total["payload_bytes"] else "-",
                f"{total['retransmissions']:,}",
            )
        )
    head = ("kind", "direction", "codec", "messages", "raw", "payload", "of it labels", "on the wire")
    ratio = ("raw / sent", "resent packets")
    return Table("Bytes by kind and direction", head + ratio, rows, frozenset(range(3, 10)))


def results_table(result: "Result") -> Table:
    """Return every metric and loss of the global model: when the target was reached, and at the end."""
    rows = result.rounds
    reached = result.time_to().round if result.summary["target"] and len(rows) else None
    found: list[tuple[str, ...]] = []
    for column in rows.columns:
        split, _, metric = column.removesuffix("_codec_off").partition("_")
        if metric not in ("accuracy", "mji", "f1", "auroc", "dice", "loss") or split not in (
            "test",
            "validation",
            "train",
        ):
            continue
        seen = rows[rows[column].notna()]
        then = seen[seen["round"] == reached][column]
        last = f"{seen[column].iloc[-1]:.4g}" if len(seen) else "-"
        name = f"{split} {metric}" + (", codec off" if column.endswith("_codec_off") else "")
        found.append((name, f"{then.iloc[-1]:.4g}" if len(then) else "-", last))
    splits = ("test", "validation", "train")
    found.sort(key=lambda row: (splits.index(row[0].split()[0]), "loss" in row[0]))
    return Table("Results", ("global model", "at the target", "at the end"), found, frozenset({1, 2}))


def energy_table(result: "Result") -> Table:
    """Return joules of each party, by what they went into; empty when no device has a power."""
    work = result.computations
    spent = work.groupby(["party", "phase"], sort=False)["joules"].sum().unstack(fill_value=0.0)
    if not float(spent.to_numpy().sum()):
        return Table("Energy", (), [])
    coding = spent[[phase for phase in ("encode", "decode") if phase in spent]].sum(axis=1)
    total = spent.sum(axis=1)
    rows: list[tuple[str, ...]] = [
        (str(party), f"{total[party]:.4g} J", f"{coding[party]:.4g} J")
        for party in sorted(total.index, key=lambda party: -total[party])
    ]
    rows.append(("all", f"{total.sum():.4g} J", f"{coding.sum():.4g} J"))
    head = ("party", "energy", "of it encoding and decoding")
    return Table("Energy", head, rows, frozenset({1, 2}))


def provenance_table(result: "Result") -> Table:
    """Return what made the run: scenario, seeds, program, machine; all that `environment.json` says."""
    scenario, facts = result.scenario, dict(result.environment)
    versions = facts.pop("versions", {})
    rows: list[tuple[str, ...]] = [("scenario hash", str(result.summary["scenario_hash"]))]
    rows += [(key, str(scenario[key])) for key in ("protocol", "seed") if key in scenario]
    for key, value in facts.items():
        if isinstance(value, float):
            value = f"{value:.4g}"
        if value not in (None, "", []):
            rows.append((key.replace("_", " "), _flat(value)))
    if versions:
        rows.append(("libraries", _flat(versions)))
    return Table("Provenance", ("what", "which"), rows)


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def delay_table(result: "Result") -> Table:
    """Return where the simulated seconds of the mean client went, and for whom each part was longest."""
    rows: list[tuple[str, ...]] = []
    for row in where_time_went(result):
        if row.mean_s > 1e-9 * result.end_s:
            client, longest_s = max(row.by_client_s.items(), key=lambda item: item[1])
            rows.append((row.part, seconds(row.mean_s), share(row.share), f"{client}: {seconds(longest_s)}"))
    rows.append(("total", seconds(result.end_s), share(1.0 if rows else 0.0), ""))
    head = ("part", "mean per client", "share", "longest for")
    return Table("Where the simulated seconds went", head, rows, frozenset({1, 2}))


def client_table(result: "Result") -> Table:
    """Return each client's seconds by part; a row adds up to the run."""
    parts = [row for row in where_time_went(result) if row.mean_s > 1e-9 * result.end_s]
    clients = list(parts[0].by_client_s) if parts else []
    rows = [(name, *(seconds(row.by_client_s[name]) for row in parts)) for name in clients]
    head = ("client", *(row.part for row in parts))
    return Table("Seconds of each client", head, rows, frozenset(range(1, len(head))))


def link_table(result: "Result") -> Table:
    """Return one row per directed link that carried anything, busiest first."""
    rows: list[tuple[str, ...]] = []
    links = result.links.sort_values("busy_s", ascending=False, kind="stable")
    for link in links[links["wire_bytes"] > 0].itertuples():
        rate = engineering(8 * link.carried_bytes / link.busy_s, "bit/s") if link.busy_s else "-"
        busy = share(link.busy_s / result.end_s) if result.end_s else "-"
        carried = engineering(float(link.wire_bytes), "B")
        where = f"{link.source} → {link.destination}"
        rows.append((where, carried, busy, rate, f"{link.messages:,}", f"{link.lost_packets:,}"))
    head = ("link", "carried", "busy", "rate while busy", "messages", "lost packets")
    return Table("Links", head, rows, frozenset(range(1, 6)))


LEARNED = ("ae", "cheng-at", "hyperprior", "mean-scale")


def codecs(result: "Result") -> str:
    """Return which codecs the messages really used, as one short text.

    One name when all are alike; ``FG: name`` when smashed data (F) and gradients (G) share one and client models
    travel as float32, ``F: name`` or ``G: name`` for one of the two; else the slots that are not float32. What is
    not paid for, or done as published code does it, is marked.
    """
    training = result.scenario.get("codec_training", {})
    learned = any(codec.get("kind") in LEARNED for codec in _slots(result))
    marks = ["free updates"] if learned and training.get("update") == "ideal" else []
    marks += ["as published"] if training.get("as_published") else []
    return _codecs(result) + (f" ({', '.join(marks)})" if marks else "")


def _slots(result: "Result") -> list[dict[str, Any]]:
    slots = result.scenario.get("codecs", {}).values()
    return [codec for codec in slots if isinstance(codec, dict)]


def _codecs(result: "Result") -> str:
    used = result.messages[(result.messages["codec"] != "") & (result.messages["kind"] != "codec update")]
    used = used[used["codec"] != "skipped"]  # by a gradient gate
    by_slot: dict[str, str] = {}
    for (kind, direction), group in used.groupby(["kind", "direction"], sort=False):
        slot = f"{str(kind).removesuffix(' data')} {direction}".replace(" ", "_")
        by_slot[slot] = "/".join(dict.fromkeys(group["codec"]))
    if len(set(by_slot.values())) == 1:
        return next(iter(by_slot.values()))
    coded = {slot: name for slot, name in by_slot.items() if name != "fp32"}
    for scheme, kinds in (("FG", ("smashed", "gradient")), ("F", ("smashed",)), ("G", ("gradient",))):
        if (
            set(coded) == {slot for slot in by_slot if slot.startswith(kinds)}
            and len(set(coded.values())) == 1
        ):
            return f"{scheme}: {next(iter(coded.values()))}"
    return ", ".join(f"{slot}: {name}" for slot, name in coded.items()) or "-"


def compare_table(results: Sequence["Result"]) -> Table:
    """Return one row per run: codecs, time to its target, best value, bytes, simulated seconds."""
    rows: list[tuple[str, ...]] = []
    for result, label in zip(results, labels(results), strict=True):
        measured = bool((result.evaluations["split"] == "validation").any())
        reached = result.time_to() if measured and result.summary["target"] else None
        if reached is None:
            time = "no target"
        elif reached.time_s is None:
            time = f"not reached in {reached.last_round} rounds"
        else:
            time = f"{seconds(reached.time_s)} ({result.metric} {reached.target:.4g})"
        sent = result.summary["wire_bytes"]
        best = (f"{result.best():.4g}" if measured else "-") + ", diverged" * result.diverged
        up, down = engineering(sent["up"], "B"), engineering(sent["down"], "B")
        rows.append((label, codecs(result), time, best, up, down, seconds(result.end_s)))
    head = ("run", "codecs", "time to target", "best", "bytes up", "bytes down", "simulated")
    return Table("Runs", head, rows, frozenset({3, 4, 5, 6}))


def difference_table(results: Sequence["Result"]) -> Table:
    """Return one row per key of the scenarios in which runs differ, with each run's value."""
    resolved = [dict(_leaves(result.scenario)) for result in results]
    keys = dict.fromkeys(key for leaves in resolved for key in leaves if key != "name")
    rows = []
    for key in keys:
        values = [str(leaves.get(key, "-")) for leaves in resolved]
        if len(set(values)) > 1:
            rows.append((key, *values))
    return Table("What differs", ("key", *labels(results)), rows)


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Return the values of nested tables by dotted key; tables of a list go by their names."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for place, inner in enumerate(value):
            yield from _leaves(inner, f"{key}.{inner.get('name', place)}")
    else:
        yield key, value

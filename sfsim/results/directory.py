"""Write a run directory, whole or not at all, and never over another configuration's."""

import json
import math
import shutil
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfsim import checksums
from sfsim.errors import ResultsError
from sfsim.ledger import Ledger, MessageRecord
from sfsim.names import folder
from sfsim.results.result import Result
from sfsim.results.tables import DIRECTIONS, OPTIONAL, RECORDS, columns_of, write_table

if TYPE_CHECKING:
    import numpy as np

    from sfsim.scenario import Target

CHECKPOINT = "checkpoint"  # the folder in a partial directory that outlives an interrupted run


def claim(out: Path | None, name: str, scenario_hash: str) -> Path:
    """Return the directory that a run may fill, before any work is done for it.

    Parameters
    ----------
    out : Path or None
        What the user asked for; None means ``runs/NAME-<first 8 of the hash>``.
    name, scenario_hash : str
        The scenario's name, and its hash over all that decides the run.

    Raises
    ------
    ResultsError
        `out` is a file, holds another run or things that are no run, or cannot be made.
    """
    out = Path("runs") / f"{folder(name)}-{scenario_hash[:8]}" if out is None else out
    _check_writable(out)
    if out.exists() and not out.is_dir():
        raise ResultsError(f"{out}: found a file, expected a directory to fill; give another --out")
    if not out.is_dir() or not any(out.iterdir()):
        return out
    try:
        held = json.loads((out / "summary.json").read_text())
        held_name, held_hash = str(held["name"]), str(held["scenario_hash"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ResultsError(
            f"{out}: found files that are no run of sfsim, expected an absent or empty directory; "
            "give another --out"
        ) from None
    if held_hash != scenario_hash:
        raise ResultsError(
            f"{out}: holds the run {held_name!r} ({held_hash[:8]}) and cannot take {name!r} "
            f"({scenario_hash[:8]}), which is another configuration; give another --out"
        )
    return out


def _check_writable(out: Path) -> None:
    """Make the place in which the run will be written, and take it away again: asking could be wrong."""
    partial = partial_of(out)
    made: list[Path] = []
    try:
        made = [path for path in (partial, *partial.parents) if not path.exists()]
        partial.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(f"{out}: cannot be made ({error.strerror or error}); give another --out") from None
    finally:
        for path in made:
            with suppress(OSError):  # another run may have settled in it meanwhile
                path.rmdir()


def partial_of(out: Path) -> Path:
    """Return where a run is written, and its checkpoint kept, until it is whole."""
    out = out.absolute()
    return out.with_name(out.name + ".partial")


def old_of(out: Path) -> Path:
    """Return where the old directory of a run stands while a new one takes its place."""
    out = out.absolute()
    return out.with_name(out.name + ".old.partial")


def write(
    out: Path,
    ledger: Ledger,
    *,
    scenario_table: dict[str, Any],
    scenario_hash: str,
    environment: dict[str, Any],
    target: "Target | None" = None,
    notes: Sequence[str] = (),
    predictions: "Mapping[str, np.ndarray] | None" = None,
    add_files: Callable[[Path], None] | None = None,
) -> Path:
    """Write a run directory, whole or not at all, and return its path.

    Parameters
    ----------
    out : Path
        Absent or empty: filled. Holding a run of the same hash: its tables are replaced, other files in it (a
        report, figures) stay. Anything else is refused.
    ledger : Ledger
        What happened.
    scenario_table : dict
        The resolved scenario, as JSON can hold it.
    scenario_hash : str
        Hash of all that decides the run.
    environment : dict
        Versions, wall-clock seconds, host facts: what two equal runs may differ in.
    target : Target or None
        What `summary.json` measures the time to.
    notes : sequence of str
        What the reader has to know, such as configured effects that never happened.
    predictions : mapping of str to array, optional
        Test examples and what the model makes of them; see `Result.predictions`.
    add_files : callable, optional
        Called with the folder before it gets its name, to put more files into it.

    Raises
    ------
    ResultsError
        See `claim`; also when the file system refuses.
    """
    name = str(scenario_table["name"])
    out = claim(out, name, scenario_hash).absolute()
    partial, old = partial_of(out), old_of(out)
    try:
        _clear(partial)
        partial.mkdir(parents=True, exist_ok=True)
        for table in RECORDS:
            rows = getattr(ledger, table)
            if not rows and table in OPTIONAL:
                continue
            types = columns_of(table)
            columns = {name: [getattr(row, name) for row in rows] for name in types}
            write_table(partial / f"{table}.parquet", columns, types)
        columns = _rounds(ledger)
        write_table(partial / "rounds.parquet", columns, dict.fromkeys(columns, float) | columns_of("rounds"))
        if predictions:
            import numpy as np

            np.savez_compressed(partial / "predictions.npz", **predictions)
        if add_files:
            add_files(partial)
        _write_json(partial / "scenario.json", scenario_table)
        (partial / "environment.json").write_text(checksums.sealed(_finite(environment)))
        summary = {"name": name, "scenario_hash": scenario_hash, **_summary(ledger), "notes": list(notes)}
        _write_json(partial / "summary.json", summary)
        _write_checksums(partial)
        if target is not None:
            summary["target"] = asdict(target)
            summary["time_to_target"] = asdict(Result(partial).time_to(target))
            _write_json(partial / "summary.json", summary)
            _write_checksums(partial)
        if out.is_dir() and any(out.iterdir()):
            out.rename(old)  # a kill from here on: see `hold.set_right`
        partial.rename(out)
        shutil.rmtree(out / CHECKPOINT, ignore_errors=True)  # only now can nothing be lost
        keep_what_is_not_ours(old, out)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        _clear(partial)
        raise ResultsError(f"{out}: cannot be written ({error.strerror or error})") from error
    return out


def _clear(partial: Path) -> None:
    """Take away what a run has written that did not come to its end; its checkpoint stays."""
    for path in partial.iterdir() if partial.is_dir() else ():
        if path.is_file():
            path.unlink()
        elif path.name != CHECKPOINT:
            shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):  # there is a checkpoint, or nothing at all
        partial.rmdir()


def keep_what_is_not_ours(old: Path, out: Path) -> None:
    """Carry a report, figures or a user's own files over: an equal run has not made them wrong."""
    for path in old.iterdir() if old.is_dir() else ():
        if path.name != CHECKPOINT and not (out / path.name).exists():
            path.rename(out / path.name)


def _write_checksums(partial: Path) -> None:
    """List all that equal runs have in common; what they may differ in is sealed by itself."""
    files = {path.relative_to(partial) for path in partial.rglob("*") if path.is_file()}
    names = {file.as_posix() for file in files if file.parts[0] != CHECKPOINT}
    checksums.write_list(partial, names - {checksums.LIST, "environment.json"})


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(_finite(value), indent=1, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    """Replace what JSON cannot hold: NaN and infinity by null, tuples by lists, paths by text."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _rounds(ledger: Ledger) -> dict[str, list[Any]]:
    """Pivot the evaluations of the global model: one row per evaluation, one column per number."""
    rows: dict[tuple[int, float], dict[str, float]] = {}
    names: dict[str, None] = {}  # an ordered set
    for e in ledger.evaluations:
        if e.client:
            continue
        column = f"{e.split}_{e.metric}" + ("_codec_off" if e.codec == "off" else "")
        names[column] = None
        rows.setdefault((e.round, e.time_s), {})[column] = e.value
    columns: dict[str, list[Any]] = {
        "round": [key[0] for key in rows],
        "time_s": [key[1] for key in rows],
    }
    columns |= {name: [row.get(name) for row in rows.values()] for name in names}
    arrived = sorted((m for m in ledger.messages if m.delivered), key=lambda m: m.delivered_s)
    for size in ("payload_bytes", "wire_bytes"):
        for direction in DIRECTIONS:
            mine = [m for m in arrived if _direction(m) == direction]
            when = [m.delivered_s for m in mine]
            total = list(accumulate((getattr(m, size) for m in mine), initial=0))
            columns[f"{size}_{direction}"] = [total[bisect_right(when, time)] for time in columns["time_s"]]
    return columns


def _direction(message: MessageRecord) -> str:
    """Up, down, or other: peer and core messages."""
    return message.direction if message.direction in DIRECTIONS else "other"


def end_of(ledger: Ledger) -> float:
    """Return the simulated second at which the last thing happened."""
    times: Iterable[float] = (
        *(m.delivered_s if m.delivered else m.queued_s for m in ledger.messages),
        *(c.end_s for c in ledger.computations),
        *(e.time_s for e in ledger.evaluations),
    )
    return max(times, default=0.0)


def bytes_of(ledger: Ledger, size: str) -> dict[str, int]:
    """Return the sum of ``payload_bytes`` or ``wire_bytes`` of all messages: up, down, other."""
    found = dict.fromkeys(DIRECTIONS, 0)
    for message in ledger.messages:
        found[_direction(message)] += getattr(message, size)
    return found


def _summary(ledger: Ledger) -> dict[str, Any]:
    messages = ledger.messages
    return {
        "end_s": end_of(ledger),
        "rounds": len({m.round for m in messages} | {c.round for c in ledger.computations}),
        "evaluations": len({(e.round, e.time_s) for e in ledger.evaluations if not e.client}),
        "messages": len(messages),
        "payload_bytes": bytes_of(ledger, "payload_bytes"),
        "wire_bytes": bytes_of(ledger, "wire_bytes"),
        "joules": sum(c.joules for c in ledger.computations),
        "target": None,
        "time_to_target": None,
    }

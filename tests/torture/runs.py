"""Damages to a finished run's directory: files, columns and keys that are gone, of another kind, or of another run."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sfsim import checksums

# What a key's value may become.
OTHERS: tuple[Any, ...] = (None, "", "x", -1, 0, 1e308, True, [], {}, [1, "a"], {"kind": "x"})


def damage(rng: random.Random, run: Path) -> str:
    """Damage a run directory; return what was done. Half of them get checksums that fit, as from another version."""
    files = sorted(path for path in run.rglob("*") if path.is_file() and path.name != checksums.LIST)
    file = rng.choice(files)
    match file.suffix:
        case _ if rng.random() < 0.15:
            file.unlink()
            done = "gone"
        case _ if rng.random() < 0.1:
            content = file.read_bytes()
            file.write_bytes(content[: rng.randrange(len(content))])
            done = "cut"
        case ".parquet":
            done = _table(rng, file)
        case ".json":
            done = _json(rng, file)
        case _:
            other = rng.choice([other for other in files if other != file])
            shutil.copy(other, file)
            done = f"is {other.name}"
    sealed = rng.random() < 0.7
    if sealed:
        _reseal(run)
    return f"run directory {file.relative_to(run)}: {done}{', sealed anew' if sealed else ''}"


def _table(rng: random.Random, file: Path) -> str:
    table = pq.read_table(file)
    name = rng.choice(table.column_names)
    at = table.column_names.index(name)
    match rng.randrange(6):
        case 0:
            table, done = table.drop_columns([name]), f"without {name}"
        case 1:
            table = table.set_column(at, name, pa.array([str(value) for value in table[name].to_pylist()]))
            done = f"{name} as text"
        case 2:
            table, done = table.set_column(at, name, pa.nulls(len(table), table[name].type)), f"{name} empty"
        case 3:
            table, done = table.slice(0, 0), "without rows"
        case 4:
            table, done = table.slice(0, max(1, len(table) // 2)), "half of its rows"
        case _:
            table, done = (
                table.rename_columns([f"{c}_" if c == name else c for c in table.column_names]),
                f"{name}_",
            )
    pq.write_table(table, file)
    return done


def _json(rng: random.Random, file: Path) -> str:
    table = json.loads(file.read_text())
    place, path = table, []
    while True:
        key = rng.choice(sorted(place)) if isinstance(place, dict) else rng.randrange(len(place))
        path.append(str(key))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.4:
            break
        place = inner
    name = ".".join(path)
    if rng.random() < 0.4:
        del place[key]
        done = f"without {name}"
    else:
        place[key] = rng.choice(OTHERS)
        done = f"{name} = {place[key]!r}"
    if file.name == "environment.json":
        table.pop("sha256", None)
        file.write_text(checksums.sealed(table))
    else:
        file.write_text(json.dumps(table))
    return done


def _reseal(run: Path) -> None:
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    checksums.write_list(run, names - {checksums.LIST, "environment.json"})

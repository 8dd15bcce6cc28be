"""The tables of a run directory: which columns each has, of which types, and their files."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfsim.checksums import Damaged
from sfsim.ledger import (
    AccessRecord,
    ComputationRecord,
    EvaluationRecord,
    LinkRecord,
    LinkUsageRecord,
    MessageRecord,
)

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

RECORDS = {
    "messages": MessageRecord,
    "computations": ComputationRecord,
    "accesses": AccessRecord,
    "evaluations": EvaluationRecord,
    "links": LinkRecord,
    "link_usage": LinkUsageRecord,
}
OPTIONAL = {"link_usage"}  # written when there is something in it
DIRECTIONS = ("up", "down", "other")
# Beside these `rounds` has a column for each number that was measured.
_ROUNDS = {"round": int, "time_s": float} | {
    f"{size}_{direction}": int for size in ("payload_bytes", "wire_bytes") for direction in DIRECTIONS
}


def columns_of(table: str) -> dict[str, Any]:
    """Return the columns that a table has in every run, and their types."""
    return dict(_ROUNDS) if table == "rounds" else {f.name: f.type for f in fields(RECORDS[table])}


def write_table(path: Path, columns: Mapping[str, list[Any]], types: Mapping[str, Any]) -> None:
    """Write a table as parquet: equal tables are equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([pa.field(name, _arrow(types[name])) for name in columns])
    pq.write_table(pa.table(dict(columns), schema=schema), path, compression="zstd")


def read_table(content: bytes, table: str) -> "pd.DataFrame":
    """Return the table in the bytes of a parquet file.

    Raises
    ------
    Damaged
        It lacks a column, or a column is of another type or lacks values: another version of sfsim wrote it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_table(pa.BufferReader(content))
    except (OSError, ValueError) as error:  # arrow's own errors are both
        raise Damaged(str(error)) from None
    types = columns_of(table)
    if table == "rounds":
        types |= {name: float for name in found.column_names if name not in types}
    for name, type_ in types.items():
        if name not in found.column_names:
            raise Damaged(f"found no column {name!r}")
        if (is_ := found.schema.field(name).type) != (expected := _arrow(type_)):
            raise Damaged(f"found column {name!r} of type {is_}, expected {expected}")
        if type_ is not float and (
            missing := found[name].null_count
        ):  # NaN is a number, and means: not measured
            raise Damaged(f"found column {name!r} without a value in {missing} of {len(found)} rows")
    return found.to_pandas()


def _arrow(type_: Any) -> "pa.DataType":
    import pyarrow as pa

    return {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}[type_]

"""The checks that `run` prints: right for a right run, wrong for tables that do not fit together."""

from pathlib import Path

import pytest
from synthetic_run import run_directory

from sfsim.report.checks import checks


def test_a_whole_run_has_three_ticks(tmp_path: Path) -> None:
    run = run_directory(tmp_path / "a")
    size = run.messages["wire_bytes"].sum()
    assert list(map(str, checks(run))) == [
        f"✓ conservation: {size / 1e3:.4g} kB over 6 links, none lost or made unsaid",
        "✓ checksums: 96 of 96 payloads noted with their CRC-32",
        "✓ receivers: 72 payloads decoded and verified",
    ]


@pytest.mark.parametrize(("table", "column", "value", "which"), [
    ("links", "carried_bytes", 1.0, 0),
    ("links", "carried_bytes", 1e9, 0),
    ("messages", "queued_s", 1e9, 0),
    ("messages", "payload_crc32", 0, 1),
    ("computations", "phase", "forward", 2),
])  # fmt: skip
def test_tables_that_do_not_fit_have_a_cross(
    tmp_path: Path, table: str, column: str, value: object, which: int
) -> None:
    run = run_directory(tmp_path / "a")
    rows = getattr(run, table)
    if column == "phase":
        rows[column] = value
    else:
        rows[column] = rows[column].astype(type(value))
        rows.loc[0, column] = value
    assert [check.right for check in checks(run)] == [number != which for number in range(3)]
    assert str(checks(run)[which]).startswith("✗ ")

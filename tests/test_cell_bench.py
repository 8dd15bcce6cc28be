"""`sfsim bench cell`: completion times against closed forms and against ns-3 3.44 (golden data)."""

import csv
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sfsim.__main__ import app
from sfsim.errors import ConfigError
from sfsim.network.cell.bench import BenchCell, BenchClient, bench, completion_times

ALONE = {6: 5.27, 12: 9.82, 24: 17.26, 54: 29.89, 6.5: 5.82, 13: 11.84, 26: 23.80, 65: 59.40}
# ns-3: mean completion time in s of 1 MB each, half slow half fast.
UP_11A = {2: (1.93, 1.83), 5: (5.89, 5.62), 10: (11.27, 10.59), 20: (24.16, 23.25)}
DOWN_11A = {2: (1.79, 1.79), 5: (5.09, 5.09), 10: (8.93, 8.93), 20: (17.87, 17.87)}
BOTH_11A = {
    2: (2.96, 2.81, 3.89),
    5: (7.22, 6.58, 11.48),
    10: (12.33, 12.43, 21.07),
    20: (25.94, 24.71, 44.23),
}
UP_11N = {2: (1.52, 0.25), 5: (4.85, 0.70), 10: (9.05, 1.80), 20: (19.80, 3.87)}
DOWN_11N = {2: (1.51, 1.50), 5: (4.39, 4.35), 10: (7.54, 7.48), 20: (15.08, 14.96)}


def wifi(phy: float, direction: str, num_bytes: float = 1e6, **more: float) -> BenchClient:
    return BenchClient(
        rate_bps=ALONE[phy] * 1e6, phy_bps=phy * 1e6, direction=direction, bytes=num_bytes, **more
    )


def halves(standard: str, phys: tuple[float, float], n: int, directions: tuple[str, ...]) -> list[float]:
    """Mean completion time per (PHY rate, direction)."""
    clients = tuple(wifi(phys[index % 2], way) for way in directions for index in range(n))
    ends = completion_times(BenchCell(access="csma", standard=standard, clients=clients))
    return [
        float(np.mean([end for end, client in zip(ends, clients, strict=True) if client == wifi(phy, way)]))
        for way in directions
        for phy in phys
    ]


@pytest.mark.parametrize("n", (2, 5, 10, 20))
def test_mixed_cells_of_any_size(n: int) -> None:
    tolerance = 0.20 if n <= 5 else 0.30
    assert halves("802.11a", (6, 54), n, ("up",)) == pytest.approx(UP_11A[n], rel=tolerance)
    assert halves("802.11a", (6, 54), n, ("down",)) == pytest.approx(DOWN_11A[n], rel=0.01)
    slow, fast, *down = halves("802.11a", (6, 54), n, ("up", "down"))
    assert (slow, fast) == pytest.approx(BOTH_11A[n][:2], rel=tolerance)
    assert down == pytest.approx([BOTH_11A[n][2]] * 2, rel=0.05), "the makespan"
    assert halves("802.11n", (6.5, 65), n, ("up",)) == pytest.approx(UP_11N[n], rel=0.25 if n <= 5 else 0.65)
    assert halves("802.11n", (6.5, 65), n, ("down",)) == pytest.approx(DOWN_11N[n], rel=0.015)


@pytest.mark.parametrize("access", ["airtime", "equal-rate", "max-rate", "private"])
def test_against_closed_forms(access: str) -> None:
    """Rates 1 and 3 Mbit/s, 1 Mbit each; the second starts 0.1 s late."""
    clients = tuple(
        BenchClient(rate_bps=rate, direction="down", bytes=125e3, start=start)
        for rate, start in ((1e6, 0.0), (3e6, 0.1))
    )
    ends = completion_times(BenchCell(access=access, standard="lte", clients=clients))
    expected = {
        "private": (1.0, 0.1 + 1 / 3),
        "max-rate": (1.0 + 1 / 3, 0.1 + 1 / 3),
        "airtime": (1.0 + 1 / 3, 0.1 + 2 / 3),
        "equal-rate": (1.3, 1.0 + 1 / 3),  # 0.75 Mbit/s each from 0.1 s on
    }[access]
    assert ends == pytest.approx(expected, rel=1e-9)


def test_a_cap_and_directions_of_their_own() -> None:
    clients = (
        BenchClient(rate_bps=8e6, direction="up", bytes=1e6, cap_bps=1e6),
        BenchClient(rate_bps=8e6, direction="up", bytes=1e6),
        BenchClient(rate_bps=8e6, direction="down", bytes=1e6),
        BenchClient(rate_bps=8e6, direction="down", bytes=0, start=3.0),
    )
    ends = completion_times(BenchCell(access="airtime", standard="lte", clients=clients))
    assert ends == pytest.approx([8.01, 8 / 7 + 0.01, 1.0, 3.0]), "LTE uplinks wait 10 ms for a grant"


def test_the_command(tmp_path: Path) -> None:
    table = {
        "access": "csma",
        "standard": "802.11a",
        "clients": [
            {"rate_bps": 17.26e6, "phy_bps": 24e6, "direction": "up", "start": 0, "bytes": 1_000_000},
            {"rate_bps": 17.26e6, "phy_bps": 24e6, "direction": "down", "start": 0.5, "bytes": 1_000_000},
        ],
    }
    (tmp_path / "cell.json").write_text(json.dumps(table))
    out = tmp_path / "times.csv"
    result = CliRunner().invoke(app, ["bench", "cell", str(tmp_path / "cell.json"), "--out", str(out)])
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert list(rows[0]) == ["client", "start", "end"]
    assert [row["client"] for row in rows] == ["0", "1"]
    assert float(rows[0]["end"]) == pytest.approx(8 / 17.26, rel=1e-6)
    assert float(rows[1]["end"]) == pytest.approx(0.5 + 8 / 17.26, rel=1e-6)


def test_the_example_of_the_docs(tmp_path: Path) -> None:
    text = (Path(__file__).resolve().parents[1] / "docs" / "cell.md").read_text()
    (tmp_path / "cell.json").write_text(text.partition("```json\n")[2].partition("```")[0])
    assert len(bench(tmp_path / "cell.json", tmp_path / "t.csv")) == 3
    with (tmp_path / "t.csv").open() as file:
        rows = list(csv.reader(file))
    shown = text.partition("client,start,end\n")[2].partition("```")[0].splitlines()
    assert rows[0] == ["client", "start", "end"] and len(shown) == 3
    for row, line in zip(rows[1:], shown, strict=True):
        assert [float(value) for value in row] == pytest.approx([float(value) for value in line.split(",")])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"access": "tdma"}, "access: found 'tdma', expected 'airtime', 'equal-rate', 'max-rate', 'csma'"),
        (
            {"standard": "lte"},
            "standard: found 'lte', expected '802.11a' or '802.11n', because access = 'csma'",
        ),
        (
            {"clients": []},
            'clients: found [], expected a list of at least 1, each a table. The form: {"access": KIND, '
            '"standard": "802.11a", "802.11n" or "lte", "clients": [{"rate_bps": bit/s, '
            '"direction": "up" or "down", "bytes": n, "start": s}]}',
        ),
        ({"clients": [{"rate_mbps": 3, "direction": "up", "bytes": 1}]}, "write rate_bps = 3000000"),
    ],
)
def test_errors_name_the_place(tmp_path: Path, change: dict[str, object], text: str) -> None:
    table = {
        "access": "csma",
        "standard": "802.11a",
        "clients": [{"rate_bps": 1e6, "direction": "up", "bytes": 1}],
    }
    (tmp_path / "cell.json").write_text(json.dumps(table | change))
    with pytest.raises(ConfigError, match=re.escape(text)):
        bench(tmp_path / "cell.json", tmp_path / "out.csv")
    (tmp_path / "cell.json").write_text("{")
    with pytest.raises(ConfigError, match="not JSON"):
        bench(tmp_path / "cell.json", tmp_path / "out.csv")


def golden(shared: Path, name: str) -> Iterator[dict[str, str]]:
    path = shared / "specs" / "network-golden" / "cell" / name
    if not path.is_file():
        pytest.skip(f"no {name} in the reference data")
    with path.open() as file:
        yield from csv.DictReader(file)


def test_golden_wifi(shared: Path) -> None:
    """Per message (mean of 5 seeds) and makespan, at the regression limits of the reference."""
    cells: dict[tuple[str, str, str], dict[tuple[str, ...], list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for row in golden(shared, "wifi_cell.csv"):
        case = (row["case"], row["n"], row["phy_mbps"] if row["n"] == "1" else "")
        message = (row["station"], row["phy_mbps"], row["direction"], row["bytes"], row["start"])
        cells[case][message].append(float(row["done_s"]))
    for (case, n, phy), messages in cells.items():
        clients = tuple(wifi(float(m[1]), m[2], float(m[3]), start=float(m[4])) for m in messages)
        standard = "802.11a" if "11a" in case else "802.11n"
        ends = completion_times(BenchCell(access="csma", standard=standard, clients=clients))
        seen = np.array([np.mean(times) for times in messages.values()])
        per_message, makespan = {
            ("802.11a", True): (0.01, 0.01),
            ("802.11n", True): (0.015, 0.015),
            ("802.11a", False): (0.20, 0.05),
            ("802.11n", False): (0.25, 0.12),
        }[standard, case.endswith("down")]
        assert ends == pytest.approx(seen, rel=per_message), (case, n, phy)
        assert ends.max() == pytest.approx(seen.max(), rel=makespan), (case, n, phy)


def test_golden_lte(shared: Path) -> None:
    rows = list(golden(shared, "lte_cell.csv"))
    alone = {
        (row["direction"], row["rb"], row["dist_m"]): float(row["thr_mbps"]) * 1e6
        for row in rows
        if row["case"] == "single"
    }
    cells = defaultdict(list)
    for row in rows:
        if row["case"] == "msg":
            cells[row["direction"], row["sched"], row["rb"], row["n"], row["seed"]].append(row)
    for (direction, scheduler, blocks, *_), messages in cells.items():
        clients = tuple(
            BenchClient(
                rate_bps=alone[direction, blocks, row["dist_m"]],
                direction=direction,
                bytes=float(row["bytes"]),
                start=float(row["start"]),
            )
            for row in messages
        )
        seen = [float(row["done_s"]) for row in messages]
        limits = {
            "up": {"airtime": 0.13, "lte-grid": 0.05},
            "downRr": {"lte-grid": 0.13},
            "downPf": {"airtime": 0.10},
        }
        for access, limit in limits[direction + scheduler * (direction == "down")].items():
            ends = completion_times(BenchCell(access=access, standard="lte", rb=int(blocks), clients=clients))
            assert ends == pytest.approx(seen, rel=limit), (direction, scheduler, blocks, access)


def test_golden_lte_full_buffers(shared: Path) -> None:
    """Throughput of saturated clients: 1 s of it, from the rate that the golden single clients have."""
    from sfsim.network.cell.policy import EqualAirtime, LteGrid

    rows = list(golden(shared, "lte_cell.csv"))
    alone = {
        (row["direction"], row["rb"], row["dist_m"]): float(row["thr_mbps"]) * 1e6
        for row in rows
        if row["case"] == "single"
    }
    cells = defaultdict(list)
    for row in rows:
        if row["case"] == "full":
            cells[row["direction"], row["sched"], row["rb"], row["n"]].append(row)
    for (direction, scheduler, blocks, _), members in cells.items():
        peak = np.array([alone[direction, blocks, row["dist_m"]] for row in members])
        seen = [float(row["thr_mbps"]) * 1e6 for row in members]
        free = np.full(len(peak), np.inf)
        grid = LteGrid(resource_blocks=int(blocks), scheduler=scheduler.lower(), downlink=direction == "down")
        if direction == "up":
            assert EqualAirtime().allocate(peak, free) == pytest.approx(seen, rel=0.35)
            assert grid.allocate(peak, free) == pytest.approx(seen, rel=0.15)
        elif scheduler == "Pf":
            assert grid.allocate(peak, free) == pytest.approx(seen, rel=0.06 if blocks == "25" else 0.32)

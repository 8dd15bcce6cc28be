"""`sfsim bench flows` against SimGrid 4.1 (provenance: README of the golden data), and against itself."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from sfsim.errors import ConfigError
from sfsim.network.bench_flows import run, run_file

CASES = ["single_10_5_s1", "singlev_20_5_s1", "star_10_10_s1", "star_100_10_s1", "tree_50_5_s1"]


@pytest.mark.parametrize("case", CASES)
def test_simgrid(case: str, shared: Path, tmp_path: Path) -> None:
    folder = shared / "specs" / "network-golden" / "simgrid"
    if not folder.is_dir():
        pytest.skip("no golden data of SimGrid")
    count = run_file(folder / f"{case}.json", tmp_path / "times.csv")
    found, golden = (
        {(row["client"], row["msg"]): row for row in csv.DictReader(path.read_text().splitlines())}
        for path in (tmp_path / "times.csv", folder / f"{case}.csv")
    )
    assert found.keys() == golden.keys()
    assert len(found) == count
    for key, row in golden.items():
        assert float(found[key]["end"]) == pytest.approx(float(row["end"]), rel=1e-6)
        assert float(found[key]["start"]) == pytest.approx(float(row["start"]), rel=1e-6, abs=1e-9)


def world(*clients):
    links = {
        "slow": {"bw": 1e6, "lat": 0.25},
        "trunk": {"bw": 2e6, "lat": 0.25},
        "far": {"bw": 9e6, "lat": 1.75},
    }
    return {
        "links": links,
        "clients": [{"route": route, "start": 0.0, "gap": 0.5, "sizes": sizes} for route, sizes in clients],
    }


def test_the_example_of_the_docs(tmp_path: Path) -> None:
    text = (Path(__file__).resolve().parents[1] / "docs" / "network.md").read_text()
    (tmp_path / "s.json").write_text(text.partition("```json\n")[2].partition("```")[0])
    assert run_file(tmp_path / "s.json", tmp_path / "t.csv") == 3
    assert (found := (tmp_path / "t.csv").read_text()) in text
    # The laptop's 875 kB: alone or beside the phone's 125 kB/s on 1 MB/s, in closed form.
    assert float(found.splitlines()[1].split(",")[3]) == pytest.approx(0.03 + 0.02 + (875e3 - 20e3) / 875e3)


def test_latency_first_or_last() -> None:
    both = world((["trunk"], [1_000_000]), (["trunk", "far"], [1_000_000]))
    # First: the near one begins at 0.25 s and is alone until 0.75 s; the far one has the trunk from 2 s on.
    assert run(both, "first") == [(0, 0, 0.0, 0.75), (1, 0, 0.0, 2.5)]
    # Last: both share the trunk for one second, and arrive after their latencies.
    assert run(both, "last") == [(0, 0, 0.0, 1.25), (1, 0, 0.0, 3.0)]


def test_shares_in_proportion_to_inverse_latency() -> None:
    both = world((["trunk"], [1_600_000]), (["trunk", "far"], [200_000, 0]))
    rows = run(both, "last", "inverse-latency")
    # Latencies 0.25 and 2: shares 8 : 1 of 2 MB/s, so both drain at 0.9 s.
    assert rows[0][3] == pytest.approx(0.9 + 0.25, rel=1e-9)
    assert rows[1][3] == pytest.approx(0.9 + 2.0, rel=1e-9)
    assert rows[2] == (
        1,
        1,
        pytest.approx(3.4, rel=1e-9),
        pytest.approx(5.4, rel=1e-9),
    )  # gap, then nothing to send


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"links": {}}, "scenario, clients: found nothing"),
        (
            {"links": [{"name": "phone", "bw": 1.0, "lat": 0.0}], "clients": []},
            r"^scenario, links: found \[\{name = 'phone', bw = 1.0, lat = 0.0\}\], expected a table. "
            r'The form: \{"links": \{NAME: \{"bw": bytes/s, "lat": s\}\}, '
            r'"clients": \[\{"route": \[NAME\], "sizes": \[bytes\], "start": s, "gap": s\}\]\}$',
        ),
        (world((["trunks"], [1])), r"scenario, clients\[0\], route: found 'trunks'.*Did you mean 'trunk'"),
        (
            {**world((["trunk"], [1])), "links": {"trunk": {"bw": 1.0, "lat": 0.0}}},
            "found a route without latency, expected latencies above 0 for inverse-latency weights",
        ),
    ],
)
def test_a_broken_scenario_is_refused_by_place(broken, message) -> None:
    with pytest.raises(ConfigError, match=message):
        run(broken, weights="inverse-latency")


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(json.dumps(world((["slow"], [500_000, 500_000]))))
    command = [sys.executable, "-m", "sfsim", "bench", "flows"]
    done = subprocess.run(
        [*command, "s.json", "--out", "t.csv"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t.csv").read_text() == "client,msg,start,end\n0,0,0.0,0.75\n0,1,1.25,2.0\n"
    done = subprocess.run(
        [*command, "x.json", "--out", "t.csv"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "x.json: found no readable file" in done.stderr

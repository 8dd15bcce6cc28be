"""TR 38.901: the golden points of ns-3, continuity at the breakpoints, LOS probability, and the command."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sfsim.channel.pathloss import MODELS, los_probability, out_of_range, path_loss_db
from sfsim.errors import ConfigError


def test_golden_points(shared: Path):
    golden = shared / "specs" / "network-golden" / "pathloss_ns3.csv"
    if not golden.is_file():
        pytest.skip("no golden data of ns-3")
    with golden.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 40
    for row in rows:
        model = f"{row['scenario']}-{row['cond']}".lower()
        numbers = [float(row[key]) for key in ("fc_ghz", "d2d_m", "hbs_m", "hut_m")]
        assert path_loss_db(model, *numbers) == pytest.approx(float(row["pathloss_db"]), abs=1e-4), row


# A subset of the golden points (ns-3 3.44), which holds where the data is absent.
@pytest.mark.parametrize(
    ("model", "numbers", "db"),
    [
        ("rma-los", (2.0, 400, 35, 1.5), 91.63840652),
        ("rma-nlos", (28.0, 50, 35, 1.5), 101.3242282),
        ("uma-los", (0.9, 10, 25, 1.5), 58.04340515),
        ("uma-nlos", (3.5, 800, 25, 1.5), 137.881437),
        ("umi-los", (28.0, 800, 10, 1.5), 122.3085651),
        ("umi-nlos", (0.9, 120, 10, 1.5), 94.85882684),
        ("inh-los", (3.5, 35, 3, 1.0), 70.00598467),
        ("inh-nlos", (28.0, 120, 3, 1.0), 132.9691866),
    ],
)
def test_ns3(model, numbers, db):
    assert path_loss_db(model, *numbers) == pytest.approx(db, abs=1e-4)


@pytest.mark.parametrize(
    ("model", "hbs_m", "hut_m", "breakpoint_m"),
    [
        ("uma-los", 25, 1.5, 4 * 24 * 0.5 * 2e9 / 3e8),
        ("umi-los", 10, 2.0, 4 * 9 * 1.0 * 2e9 / 3e8),
        ("rma-los", 35, 1.5, 2 * np.pi * 35 * 1.5 * 2e9 / 3e8),
    ],
)
def test_two_slopes_meet_at_the_breakpoint(model, hbs_m, hut_m, breakpoint_m):
    near, far = path_loss_db(model, 2.0, breakpoint_m * np.array([1 - 1e-9, 1 + 1e-9]), hbs_m, hut_m)
    assert near == pytest.approx(far, abs=0.02 if model == "rma-los" else 1e-6)
    ten = path_loss_db(model, 2.0, breakpoint_m * np.array([10.0, 100.0]), hbs_m, hut_m)
    assert ten[1] - ten[0] == pytest.approx(40, abs=0.01)


@pytest.mark.parametrize("model", MODELS)
def test_loss_grows_with_distance_and_frequency(model):
    distances = np.linspace(1, 5000, 500)
    height = 3.0 if model.startswith("inh") else 30.0
    loss = path_loss_db(model, 3.5, distances, height, 1.5)
    assert loss.shape == distances.shape
    assert np.all(np.diff(loss) >= 0)
    assert np.all(path_loss_db(model, 7.0, distances, height, 1.5) > loss)
    los = path_loss_db(model.replace("nlos", "los"), 3.5, distances, height, 1.5)
    assert np.all(loss >= los)


def test_probability_of_line_of_sight():
    assert los_probability("uma", 100.0) == pytest.approx(0.18 + np.exp(-100 / 63) * 0.82)
    assert los_probability("umi", 100.0) == pytest.approx(0.18 + np.exp(-100 / 36) * 0.82)
    assert los_probability("rma", 1010.0) == pytest.approx(np.exp(-1))
    assert los_probability("inh", 5.0) == pytest.approx(np.exp(-3.8 / 4.7))
    assert los_probability("inh", 50.0) == pytest.approx(0.32 * np.exp(-43.5 / 32.6))
    tall = los_probability("uma", np.array([10.0, 200.0]), hut_m=23.0)
    low = los_probability("uma", np.array([10.0, 200.0]))
    assert tall[0] == low[0] == 1
    assert tall[1] == pytest.approx(low[1] * (1 + 1.25 * 8 * np.exp(-200 / 150)))


@pytest.mark.parametrize(
    ("model", "numbers", "message"),
    [
        (
            "umi-lso",
            (2, 100, 10, 1.5),
            "model: found 'umi-lso', expected one of uma-los.*Did you mean 'umi-los'",
        ),
        ("umi-los", (0, 100, 10, 1.5), "fc_ghz: found 0, expected a number greater than 0"),
        ("umi-los", (2, -1, 10, 1.5), "d2d_m: found -1, expected a distance of at least 0"),
        ("umi-los", (2, 100, 10, 0.5), "hut_m: found 0.5, expected a height of at least 1 m"),
        ("rma-los", (2, 100, -3, 1.5), "hbs_m: found -3"),
    ],
)
def test_refused(model, numbers, message):
    with pytest.raises(ConfigError, match=message):
        path_loss_db(model, *numbers)


def test_the_command():
    numbers = ["--fc-ghz", "3.5", "--d2d-m", "50", "--hbs-m", "10", "--hut-m", "1.5"]
    words = ["pathloss", "--model", "umi-los", *numbers, "--json"]
    run = subprocess.run([sys.executable, "-m", "sfsim", *words], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == {"db": pytest.approx(79.08964923, abs=1e-6)}
    assert run.stderr == ""
    far = [*words, "--d2d-m", "300000"]
    run = subprocess.run([sys.executable, "-m", "sfsim", *far], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout)["db"] > 150
    assert run.stderr == "note: outside what TR 38.901 made umi-los for: d2d_m = 300000, not 10 to 5000\n"


def test_the_ranges_of_the_report():
    """TR 38.901, table 7.4.1-1 and its notes."""
    assert out_of_range("inh-nlos", 101, 149.9, 10, 1) == [
        "fc_ghz = 101, not 0.5 to 100",
        "d3d_m = 150.17, not 1 to 150",
    ]
    assert out_of_range("rma-los", 30, 10e3, 150, 10) == []
    assert out_of_range("rma-nlos", 31, 10e3, 151, 11) == [
        "fc_ghz = 31, not 0.5 to 30",
        "d2d_m = 10000, not 10 to 5000",
        "hut_m = 11, not 1 to 10",
        "hbs_m = 151, not 10 to 150",
    ]

"""The study scripts: their tables from made-up runs, and one real cell of the codec study."""

import json
import math
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from synthetic_run import Target, ledger, run_directory

from sfsim.channel import Constant, RayleighBlock, Trace
from sfsim.errors import ConfigError
from sfsim.network.declarations import Link
from sfsim.results import Result, write

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "analysis"))  # scripts, not a package

import bytes_on_the_wire  # noqa: E402
import codec_choice  # noqa: E402
import over_networks  # noqa: E402
import time_to_accuracy  # noqa: E402

QUICKSTART = ROOT / "scenarios" / "quickstart.toml"
FP32, INT8 = ROOT / "codecs" / "fp32.toml", ROOT / "codecs" / "int8.toml"


def test_time_to_accuracy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [run_directory(tmp_path / "a"), run_directory(tmp_path / "b", gain=0.1)]
    time_to_accuracy.main([*(str(run.directory) for run in runs), "--out", str(tmp_path / "figures")])
    rows = pd.read_csv(tmp_path / "figures" / "time_to_accuracy.csv")
    assert list(rows["run"]) == ["a", "b"] and list(rows["reached"]) == [True, False]
    assert rows["time_s"][0] == pytest.approx(28.32) and math.isnan(rows["time_s"][1])
    assert (tmp_path / "figures" / "time_to_accuracy.png").exists()
    assert "28.32" in capsys.readouterr().out
    assert list(time_to_accuracy.table(runs, target=0.6)["round"]) == [2, 4]


def test_bytes_on_the_wire(tmp_path: Path) -> None:
    runs = [run_directory(tmp_path / "a"), run_directory(tmp_path / "b", codec="fp32")]
    bytes_on_the_wire.main([*(str(run.directory) for run in runs), "--out", str(tmp_path / "figures")])
    rows = pd.read_csv(tmp_path / "figures" / "bytes_on_the_wire.csv")
    assert len(rows) == 8
    for label, run in zip(("a", "b"), runs, strict=True):
        assert rows.loc[rows["run"] == label, "wire_bytes"].sum() == run.messages["wire_bytes"].sum()
    assert (tmp_path / "figures" / "bytes_on_the_wire.png").exists()


def cell(tmp_path: Path, **changes: Any) -> codec_choice.Cell:
    """One cell of the codec study."""
    settings = {"scenario": QUICKSTART, "codec": INT8, "rate_bps": 2e6, "seed": 5} | changes
    return codec_choice.cell(**settings, folder=tmp_path)


def test_a_cell_sets_codec_rate_and_seed_and_nothing_else(tmp_path: Path) -> None:
    a = cell(tmp_path).load()
    b = cell(tmp_path, codec=FP32, rate_bps=1e5).load()
    assert a.seeds.training == 5 and a.target is not None and a.target.stop
    assert a.codecs.smashed_up == a.codecs.gradient_down and a.codecs.smashed_up.name == "uniform-8bit"
    for scenario, rate_bps in ((a, 2e6), (b, 1e5)):
        for group in scenario.clients:
            channel = group.uplink.channel
            rate = group.uplink.rate_bps if channel is None else codec_choice.mean_rate_bps(channel)
            assert rate == pytest.approx(rate_bps)
    assert [g.downlink for g in a.clients] == [g.downlink for g in b.clients]
    assert [g.uplink.latency_s for g in a.clients] == [g.uplink.latency_s for g in b.clients]
    assert a.codecs.client_model_up == b.codecs.client_model_up


def test_every_kind_of_uplink_gets_the_mean_rate(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("0,1e6\n1,3e6\n3,0\n")
    fading = RayleighBlock(mean_snr_db=10.0, bandwidth_hz=1e6, coherence_time_s=0.1)
    trace = Trace(path=tmp_path / "trace.csv")
    for channel in (fading, trace):
        link = codec_choice.with_mean_rate(Link(latency_s=0.1, rate_bps=9e9, channel=channel), 5e5)
        assert link.channel is not None and link.rate_bps is None and link.latency_s == 0.1
        assert codec_choice.mean_rate_bps(link.channel) == pytest.approx(5e5)
        # The fades and the trace keep their shape: only the scale changes.
        one, other = channel.realise(1, "x"), link.channel.realise(1, "x")
        ratios = {
            round(other.segment(t)[0] / one.segment(t)[0], 9) for t in (0.0, 0.55, 1.5) if one.segment(t)[0]
        }
        assert len(ratios) == 1
    for plain in (Link(latency_s=0.1, rate_bps=7e6), Link(latency_s=0.1, channel=Constant(rate_bps=7e6))):
        assert codec_choice.with_mean_rate(plain, 5e5) == Link(latency_s=0.1, rate_bps=5e5)


def test_missed_targets_are_censored_and_never_averaged() -> None:
    rows = pd.DataFrame(
        {
            "codec": ["a"] * 3 + ["b"] * 3,
            "uplink_bps": [1e6] * 6,
            "reached": [True, True, False, False, False, True],
            "time_s": [3.0, 5.0, None, None, None, 4.0],
            "last_time_s": [3.0, 5.0, 30.0, 30.0, 30.0, 4.0],
        }
    )
    points = codec_choice.summarise(rows)
    assert list(points["reached"]) == [2, 1] and list(points["runs"]) == [3, 3]
    assert points["median_s"][0] == 5.0 and math.isnan(points["median_s"][1])
    assert points["lower_quartile_s"][0] == 3.0 and points["watched_until_s"][1] == 30.0
    drawing = codec_choice.draw(points, "title")
    faces = [line.get_markerfacecolor() for line in drawing.axes[0].lines if line.get_linestyle() == "None"]
    assert faces == ["white", "white"]  # hollow: neither codec got there with every seed


def test_the_whole_study_from_runs_that_are_there(tmp_path: Path) -> None:
    arguments = [
        "--codecs",
        "fp32",
        str(INT8),
        "--rates",
        "1",
        "10",
        "--seeds",
        "1",
        "2",
        "--out",
        str(tmp_path),
    ]
    for (codec, gain), rate, seed in product(((FP32, 0.25), (INT8, 0.1)), (1.0, 10.0), (1, 2)):
        one = codec_choice.cell(QUICKSTART, codec, 1e6 * rate, seed, tmp_path)
        table, book = one.load().to_table(), ledger(gain=gain)
        write(one.out, book, scenario_table=table, scenario_hash="h", environment={}, target=Target())
    codec_choice.main(arguments)
    assert len(pd.read_csv(tmp_path / "codec_choice.csv")) == 8
    points = pd.read_csv(tmp_path / "codec_choice_summary.csv")
    assert list(points["reached"]) == [2, 2, 0, 0]
    assert (tmp_path / "codec_choice.png").exists()


def tiny(path: Path) -> Path:
    """The quickstart with one round, elsewhere."""
    text = QUICKSTART.read_text().replace('"devices/', f'"{QUICKSTART.parent}/devices/')
    text = text.replace('"../codecs/', f'"{ROOT}/codecs/')
    lines = [line for line in text.splitlines() if not line.startswith("global_rounds")]
    path.write_text("\n".join(["global_rounds = 1", *lines]))
    return path


def test_one_real_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenario = tiny(tmp_path / "tiny.toml")
    arguments = ["--scenario", str(scenario), "--codecs", "int8", "--rates", "10", "--seeds", "1"]
    arguments += ["--jobs", "1", "--out", str(tmp_path / "study")]
    codec_choice.main(arguments)
    assert "1 runs, 0 of them already there" in capsys.readouterr().err
    run = Result(tmp_path / "study" / "int8-10Mbps-seed1")
    assert (
        run.summary["rounds"] == 1 and json.loads((run.directory / "scenario.json").read_text())["seed"] == 1
    )
    codec_choice.main(arguments)
    assert "1 runs, 1 of them already there" in capsys.readouterr().err


def test_a_scenario_without_a_target_is_refused(tmp_path: Path) -> None:
    text = tiny(tmp_path / "tiny.toml").read_text()
    head, _, tail = text.partition("[target]")
    (tmp_path / "free.toml").write_text(head + "[codecs]" + tail.partition("[codecs]")[2])
    with pytest.raises(ConfigError, match=r"free.toml, target: found nothing, expected a target"):
        cell(tmp_path, scenario=tmp_path / "free.toml").load()


def test_times_over_networks_are_dots_on_one_scale() -> None:
    shared = dict.fromkeys(
        ("simulated_s", "up_MB", "down_MB", "updates_MB", "model_GFLOP", "codec_GFLOP"), 1.0
    )
    rows = pd.DataFrame(
        {"network": network, "scheme": "F", "codec": "ae", "updates": "round", "lambda": value}
        | {"reached": time_s < 900, "time_s": factor * time_s}
        | shared
        for network, factor in (("slow", 1.0), ("fast", 0.1))
        for value, times in ((4.0, (400.0, 900.0)), (32.0, (300.0, 500.0)))
        for time_s in times
    )
    drawing = over_networks.draw(rows, over_networks.summarise(rows), 0.65)
    drawing.draw_without_rendering()
    assert len(drawing.axes) == 2 and drawing.axes[0].get_xlim() == drawing.axes[1].get_xlim()
    assert [text.get_text() for text in drawing.axes[0].get_yticklabels()] == ["F ae, λ 4", "F ae, λ 32"]
    for ax, factor in zip(drawing.axes, (1.0, 0.1), strict=True):
        assert not ax.patches  # bars would begin at an arbitrary place of the log axis
        low, high = ax.get_xlim()
        shown = [tick for tick in ax.get_xticks() if low <= tick <= high]
        assert len(shown) >= 3 and low < 30 and high > 900
        dots = {
            line.get_label(): [
                (x / factor, y) for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
            ]
            for line in ax.lines
        }
        assert dots["reached"] == [(400, 0), (300, 1), (500, 1)] and dots["missed: the run's end"] == [
            (900, 0)
        ]
        assert dots["median (Kaplan and Meier)"] == [(400, 0), (300, 1)]
        assert ax.get_xlabel() == "simulated time to 0.65 (s)"

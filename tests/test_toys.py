"""Every benchmark and every script in `analysis/` runs to its end, at the size of a toy."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from coded_run import coded_run

from sfsim import study
from sfsim.errors import ResultsError
from sfsim.learning.declarations import Synthetic

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "analysis"))  # scripts, not a package

import bytes_on_the_wire  # noqa: E402
import cell_schedulers  # noqa: E402
import codec_shelf  # noqa: E402
import codec_updates  # noqa: E402
import many_clients  # noqa: E402
import over_networks  # noqa: E402
import splitfedzip  # noqa: E402
import time_to_accuracy  # noqa: E402

from benchmarks.__main__ import main as benchmarks  # noqa: E402

DIGITS = 'data = { kind = "synthetic", num_train = 40, num_test = 8, image_size = 8 }'
MASKS = 'data = { kind = "synthetic", task = "segmentation", num_train = 20, num_test = 4, image_size = 32, in_channels = 3, num_classes = 2 }'  # noqa: E501
# Run by other tests: codec_choice, rate_accuracy and bd_rate.
NAMES = sorted(path.stem for path in (ROOT / "benchmarks").glob("[a-z]*.py"))


def toy(path: Path, out: Path, data: str, **keys: str) -> Path:
    """A scenario of the repository with invented data and other lines, elsewhere."""
    text = re.sub(
        r'"([^"]*\.toml)"', lambda found: f'"{(path.parent / found[1]).resolve()}"', path.read_text()
    )
    for key, line in {"data": data, "partition": "", **keys}.items():
        text = re.sub(rf"(?m)^{key} = .*$", line, text)
    out.write_text(text)
    return out


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a study without processes of its own, each of which would import torch."""

    def run(cells: Sequence[study.Cell], jobs: int = 1, data_root: Path | None = None) -> None:
        for cell in cells:
            error, _ = study._run(cell, data_root)
            assert not error

    monkeypatch.setattr(study, "run", run)


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    benchmarks(["--toy", name])
    out = capsys.readouterr().out
    assert out.startswith(f"== {name}\n") and len(out.splitlines()) > (1 if name == "startup" else 3)
    if name == "codecs":
        catalogue = {path.stem for path in (ROOT / "codecs").glob("*.toml")}
        learned = out.splitlines()[-1].partition(": ")[2].split(", ")
        assert {line.split()[0] for line in out.splitlines()[2:-1]} == catalogue - set(learned)
        assert {"ae", "hyperprior"} <= set(learned)


def test_an_unknown_benchmark() -> None:
    with pytest.raises(
        SystemExit, match="no benchmark 'simgrid_star'; there are catalogue, checkpoints, codecs"
    ):
        benchmarks(["simgrid_star"])


def test_every_script_is_run_by_a_test() -> None:
    texts = [path.read_text() for path in Path(__file__).parent.glob("test_*.py")]
    for script in (ROOT / "analysis").glob("*.py"):
        named = re.compile(rf"import {script.stem}(?: as (\w+))?\b")
        calls = [(found[1] or script.stem, text) for text in texts for found in [named.search(text)] if found]
        assert any(f"{name}.main(" in text for name, text in calls), script


def test_cell_schedulers(tmp_path: Path) -> None:
    lte = ROOT / "scenarios" / "lte-cell.toml"
    keys = {"count": "count = 2", "distance_m": "distance_m = [50, 60]"}
    scenario = toy(lte, tmp_path / "toy.toml", DIGITS, **keys)
    arguments = ["--scenario", str(scenario), "--codecs", "fp32", "--access", "round-robin", "private"]
    cell_schedulers.main([*arguments, "--rounds", "1", "--out", str(tmp_path / "out")])
    rows = pd.read_csv(tmp_path / "out" / "cell_schedulers.csv")
    assert list(rows["access"]) == ["round-robin", "private"] and rows["against_private"][0] >= 1
    assert (tmp_path / "out" / "cell_round.png").exists()


def test_codec_updates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policies = {name: codec_updates.POLICIES[name] for name in ("frozen", "epoch, 8-bit", "ideal (free)")}
    monkeypatch.setattr(codec_updates, "POLICIES", policies)
    path = ROOT / "scenarios" / "codec-updates.toml"
    scenario = toy(
        path, tmp_path / "toy.toml", DIGITS, channels="channels = 4", global_rounds="global_rounds = 1"
    )
    codec_updates.main(["--scenario", str(scenario), "--local-epochs", "1", "--out", str(tmp_path / "out")])
    rows = pd.read_csv(tmp_path / "out" / "codec_updates.csv")
    assert list(rows["policy"]) == list(policies)
    assert rows["updates"][1] > rows["updates"][0] and rows["updates"][2] == 0


def test_many_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def invented(image_size: int, max_pairs: int) -> Synthetic:
        return Synthetic(
            task="segmentation", num_train=max_pairs, num_test=2, image_size=32, in_channels=3, num_classes=2
        )

    monkeypatch.setattr(many_clients, "Ham10000", invented)
    edges = "".join(f'<edge source="{a}" target="{b}"/>' for a, b in ("ab", "bc", "ca"))
    nodes = "".join(f'<node id="{name}"/>' for name in "abc")
    (tmp_path / "net.graphml").write_text(
        f'<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><graph edgedefault="undirected">{nodes}{edges}'
        "</graph></graphml>"
    )
    (tmp_path / "trace.csv").write_text("0,1e7\n1,2e7\n2,0\n")
    arguments = ["--graphml", "net.graphml", "--trace", "trace.csv", "--data-root", "."]
    monkeypatch.chdir(tmp_path)
    many_clients.main([*arguments, "--clients", "2", "--pairs", "12", "--jobs", "1"])
    assert "simulated s" in capsys.readouterr().out and Path("runs/many-clients/many_clients.json").exists()


def test_splitfedzip_and_over_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"local_epochs": "local_steps = 1", "count": "count = 2", "batch_size": "batch_size = 4"}
    keys["model"] = 'model = { kind = "unet", width = 4 }'
    scenario = toy(splitfedzip.SMALL, tmp_path / "toy.toml", MASKS, **keys)
    grid = ["--scenario", str(scenario), "--codecs", "nc", "zeros", "ae", "--schemes", "F", "--lambdas", "4"]
    grid += ["--seeds", "1", "--rounds", "1", "--channels", "4", "--out", str(tmp_path / "study")]
    splitfedzip.main(grid)
    assert (tmp_path / "study" / "figures" / "rate_accuracy.png").exists()
    again = [str(tmp_path / "study"), "--over", str(scenario), "--target", "0.1"]
    over_networks.main([*again, "--out", str(tmp_path / "over")])
    assert len(pd.read_csv(tmp_path / "over" / "over_networks.csv")) == 3
    with pytest.raises(ResultsError, match="no run, expected a run directory or a folder of them"):
        over_networks.main([str(tmp_path / "none"), *again[1:]])


def test_scripts_take_folders_of_runs(tmp_path: Path) -> None:
    for number in (1, 2):
        coded_run(tmp_path / "study" / f"run-{number}", seed=number)
    for script, table in ((bytes_on_the_wire, "bytes_on_the_wire"), (time_to_accuracy, "time_to_accuracy")):
        out = tmp_path / table
        script.main([str(tmp_path / "study"), str(tmp_path / "study" / "run-1"), "--out", str(out)])
        assert set(pd.read_csv(out / f"{table}.csv")["run"]) == {"run-1", "run-2"}


def test_codec_shelf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf = ROOT / "scenarios" / "shelf" / "digits.toml"
    toy(shelf, tmp_path / "digits.toml", DIGITS, global_rounds="global_rounds = 2")
    monkeypatch.setattr(codec_shelf, "SCENARIOS", tmp_path)
    monkeypatch.setattr(
        codec_shelf, "ARMS", {name: codec_shelf.ARMS[name] for name in ("fp32", "QU 4", "MS")}
    )
    monkeypatch.setattr(codec_shelf, "CLAIMED", ("raw", "MS", "QU 3"))
    codec_shelf.main(["--tasks", "digits", "--seeds", "1", "2", "--out", str(tmp_path / "out")])
    runs = pd.read_csv(tmp_path / "out" / "codec_shelf_runs.csv")
    assert len(runs) == 2 * (3 + 3 * 3) and set(runs["cut"]) == {"conv1", "conv2", "conv3"}
    assert (runs.loc[runs["arm"].isin(("fp32", "raw")), "nmse"] == 0).all()
    points = pd.read_csv(tmp_path / "out" / "codec_shelf.csv").set_index("arm")
    assert points.loc["QU 4", "times_fewer"] > 4 > points.loc["fp32", "times_fewer"] == 1
    assert len(pd.read_csv(tmp_path / "out" / "codec_shelf_claims.csv")) == 3 + 2
    assert (
        tmp_path / "out" / "codec_shelf.png"
    ).exists() and "our reference design" in capsys.readouterr().out

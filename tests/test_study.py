"""Studies: finished runs are kept, damaged ones redone, others refused; jobs and order change nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from synthetic_run import Target, ledger

from sfsim import study
from sfsim.errors import ConfigError, ResultsError
from sfsim.results import Result, write

LAPTOP = Path(__file__).resolve().parents[1] / "scenarios" / "devices" / "laptop-cpu.toml"
TINY = f"""
protocol = "splitfed-v1"
global_rounds = 1
local_steps = 1
batch_size = 8
cut_layers = ["conv1"]
data = {{ kind = "synthetic", num_train = 32, num_test = 8, image_size = 8 }}
model = {{ kind = "cnn", width = 2 }}
optimiser = {{ kind = "sgd", learning_rate = 0.1 }}
[[clients]]
name = "c"
count = 2
device = "{LAPTOP}"
uplink = {{ rate_bps = 1e6, latency_s = 0.01 }}
downlink = {{ rate_bps = 1e6, latency_s = 0.01 }}
[main_server]
device = "{LAPTOP}"
"""


def cells(folder: Path, scenario: Path, seeds: tuple[int, ...] = (1, 2)) -> list[study.Cell]:
    """One cell per seed."""
    return [study.Cell(scenario, folder / f"seed{n}", {"seed": n}, {"seed": n}) for n in seeds]


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    """A scenario that runs in a moment."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def finished(cell: study.Cell, **options: Any) -> None:
    """Write a made-up run where the cell's would be."""
    table = cell.load().to_table()
    write(
        cell.out, ledger(**options), scenario_table=table, scenario_hash="h", environment={}, target=Target()
    )


def test_jobs_and_order_change_nothing(
    tmp_path: Path, scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = cells(tmp_path / "one", scenario), cells(tmp_path / "two", scenario)
    study.run(one, jobs=1)
    assert "2 runs, 0 of them already there" in capsys.readouterr().err
    study.run(two[::-1], jobs=2)
    for a, b in zip(one, two, strict=True):
        tables = sorted(a.out.glob("*.parquet"))
        assert len(tables) >= 6
        assert all(path.read_bytes() == (b.out / path.name).read_bytes() for path in tables)
    assert (one[0].out / "messages.parquet").read_bytes() != (one[1].out / "messages.parquet").read_bytes()


def test_what_is_done_is_kept(tmp_path: Path, scenario: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = cells(tmp_path, scenario)
    finished(both[0])
    kept = (both[0].out / "messages.parquet").read_bytes()
    study.run(both)
    said = capsys.readouterr().err
    assert "2 runs, 1 of them already there" in said and "1/1: seed2, " in said
    assert (both[0].out / "messages.parquet").read_bytes() == kept
    assert Result(both[1].out).summary["rounds"] == 1


def test_the_time_left_is_told(
    tmp_path: Path, scenario: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 90.0, 200.0])  # of this process only: the runs have their own
    monkeypatch.setattr(study, "perf_counter", lambda: next(clock))
    study.run(cells(tmp_path, scenario))
    said = capsys.readouterr().err
    assert "1/2: seed1, " in said and "about 90 s left" in said and said.count("left") == 1


@pytest.mark.parametrize("damaged", ["summary.json", "messages.parquet"])
def test_a_damaged_run_is_run_again(tmp_path: Path, scenario: Path, damaged: str) -> None:
    (cell,) = cells(tmp_path, scenario, seeds=(1,))
    finished(cell)
    path = cell.out / damaged
    path.write_bytes(path.read_bytes()[:20])
    assert not study.is_done(cell)
    assert not cell.out.exists()


def test_a_run_of_an_older_version_is_not_deleted(tmp_path: Path, scenario: Path) -> None:
    (cell,) = cells(tmp_path, scenario, seeds=(1,))
    finished(cell)
    (cell.out / "checksums.json").unlink()
    left = sorted(cell.out.iterdir())
    with pytest.raises(ResultsError, match=r"seed1: found no checksums.json, .*; delete it to run it again"):
        study.is_done(cell)
    assert sorted(cell.out.iterdir()) == left


def test_another_configuration_and_foreign_files_are_refused(tmp_path: Path, scenario: Path) -> None:
    first, second = cells(tmp_path, scenario)
    finished(first)
    other = study.Cell(scenario, first.out, {"seed": 3})
    with pytest.raises(
        ResultsError, match=r"seed1: holds a run of another configuration; give another --out"
    ):
        study.run([other])
    second.out.mkdir()
    (second.out / "thesis.tex").write_text("mine")
    with pytest.raises(ResultsError, match=r"seed2: found 'thesis.tex', which is no part of a run"):
        study.run([second])
    assert (second.out / "thesis.tex").read_text() == "mine"


def test_a_failed_run_does_not_stop_the_others(tmp_path: Path, scenario: Path) -> None:
    good = cells(tmp_path, scenario)
    lost = study.Cell(scenario, tmp_path / "lost", {"data": {"kind": "cifar10", "path": "nowhere"}})
    with pytest.raises(
        ResultsError,
        match=r"1 of 3 runs failed:\n  lost: .*cifar",
    ) as caught:
        study.run([lost, *good])
    assert "nowhere" in str(caught.value) and all(study.is_done(cell) for cell in good)


KILLED = """
import multiprocessing, os, signal, time
from concurrent.futures import ProcessPoolExecutor
from sfsim.study import _end_with_parent

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(1, mp_context=context, initializer=_end_with_parent)
    print(pool.submit(os.getpid).result(), flush=True)
    pool.submit(time.sleep, 600)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_study_leaves_no_run_behind(tmp_path: Path) -> None:
    (tmp_path / "killed.py").write_text(KILLED)
    ended = subprocess.run([sys.executable, tmp_path / "killed.py"], stdout=subprocess.PIPE, timeout=100)
    worker = int(ended.stdout)
    for _ in range(200):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker outlived its study")


def test_two_runs_in_one_directory_and_no_jobs_are_refused(tmp_path: Path, scenario: Path) -> None:
    cell = study.Cell(scenario, tmp_path / "x")
    with pytest.raises(ConfigError, match=r"two runs in .*x, expected a directory for each run"):
        study.run([cell, cell])
    with pytest.raises(ConfigError, match=r"--jobs: found 0, expected a whole number of at least 1"):
        study.run([cell], jobs=0)


def test_the_table(tmp_path: Path, scenario: Path) -> None:
    both = cells(tmp_path, scenario)
    for cell, gain in zip(both, (0.1, 0.2), strict=True):
        finished(cell, gain=gain)
    rows = study.table(both, lambda result: {"best": result.best()})
    assert list(rows["seed"]) == [1, 2] and list(rows["best"]) == pytest.approx([0.6, 0.97])
    study.write_table(rows, tmp_path / "tables" / "v1.2")
    assert pd.read_csv(tmp_path / "tables" / "v1.2.csv").equals(rows)
    assert pd.read_parquet(tmp_path / "tables" / "v1.2.parquet").equals(rows)

"""Run directories: written whole or not at all, never over another configuration; time to target."""

import json
import math
import re
from pathlib import Path

import pytest
from synthetic_run import Target, ledger, run_directory

from sfsim import checksums
from sfsim.errors import ConfigError, ResultsError
from sfsim.ledger import EvaluationRecord, Ledger
from sfsim.results import Result, claim, kaplan_meier_quantile, time_to, write

FILES = {
    "accesses.parquet",
    "checksums.json",
    "computations.parquet",
    "environment.json",
    "evaluations.parquet",
    "links.parquet",
    "messages.parquet",
    "rounds.parquet",
    "scenario.json",
    "summary.json",
}


def test_a_run_leaves_its_files_and_no_partial_one(tmp_path: Path) -> None:
    run = run_directory(tmp_path / "runs" / "a")
    assert {path.name for path in run.directory.iterdir()} == FILES
    assert [path.name for path in run.directory.parent.iterdir()] == ["a"]


def test_tables_come_back_as_they_were_written(tmp_path: Path) -> None:
    run, book = run_directory(tmp_path / "a"), ledger()
    for name in ("messages", "computations", "accesses", "evaluations", "links"):
        rows, table = getattr(book, name), getattr(run, name)
        assert [tuple(row) for row in table.itertuples(index=False)] == [
            tuple(getattr(row, column) for column in table.columns) for row in rows
        ]


def test_an_empty_ledger_can_be_written_and_read(tmp_path: Path) -> None:
    out = write(tmp_path / "a", Ledger(), scenario_table={"name": "x"}, scenario_hash="h", environment={})
    run = Result(out)
    assert run.messages.empty and run.rounds.empty and run.end_s == 0
    assert run.messages["queued_s"].dtype == float and run.messages["round"].dtype == int


def test_equal_ledgers_give_equal_bytes(tmp_path: Path) -> None:
    a, b = run_directory(tmp_path / "a").directory, run_directory(tmp_path / "b" / "c").directory
    for name in FILES - {"environment.json"}:
        assert (a / name).read_bytes() == (b / name).read_bytes(), name


def test_rounds_has_one_row_per_evaluation_of_the_global_model(tmp_path: Path) -> None:
    run = run_directory(tmp_path / "a")
    table = run.rounds
    assert list(table["round"]) == [1, 2, 3, 4]
    assert list(table["validation_accuracy"]) == [0.45, 0.7, 0.95, 0.97]
    assert list(table["validation_accuracy_codec_off"]) == [0.46, 0.71, 0.96, 0.98]
    assert {"train_loss", "test_accuracy", "test_accuracy_codec_off", "validation_loss"} <= set(table)
    up = run.messages.query("direction == 'up'")
    until = [int(up.loc[up["delivered_s"] <= time, "wire_bytes"].sum()) for time in table["time_s"]]
    assert list(table["wire_bytes_up"]) == until
    assert table["wire_bytes_up"].iloc[-1] == run.summary["wire_bytes"]["up"]


def test_a_metric_measured_now_and_then_is_empty_elsewhere(tmp_path: Path) -> None:
    book = Ledger()
    book.evaluations += [
        EvaluationRecord(1, 1.0, "validation", "on", "accuracy", 0.5, ""),
        EvaluationRecord(2, 2.0, "validation", "on", "accuracy", math.nan, ""),
        EvaluationRecord(2, 2.0, "test", "on", "accuracy", 0.4, ""),
    ]
    run = Result(write(tmp_path / "a", book, scenario_table={"name": "x"}, scenario_hash="h", environment={}))
    assert math.isnan(run.rounds["test_accuracy"][0]) and run.rounds["test_accuracy"][1] == 0.4
    reached = run.time_to(0.4)
    assert reached.reached and reached.diverged and reached.best == 0.5


def test_the_same_configuration_is_replaced(tmp_path: Path) -> None:
    first = run_directory(tmp_path / "a", rounds=2)
    (first.directory / "report.html").write_text("old")
    second = run_directory(tmp_path / "a", rounds=4)
    assert len(second.rounds) == 4
    assert {path.name for path in second.directory.iterdir()} == FILES | {"report.html"}
    assert (second.directory / "report.html").read_text() == "old"  # equal runs have equal reports
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_another_configuration_is_refused_and_both_are_named(tmp_path: Path) -> None:
    run = run_directory(tmp_path / "a")
    before = {path: path.read_bytes() for path in run.directory.iterdir()}
    with pytest.raises(ResultsError) as error:
        run_directory(tmp_path / "a", name="other", scenario_hash="fedcba9876543210")
    assert str(error.value) == (
        f"{tmp_path / 'a'}: holds the run 'made-up' (01234567) and cannot take 'other' (fedcba98), "
        "which is another configuration; give another --out"
    )
    assert {path: path.read_bytes() for path in run.directory.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_empty_directory_is_filled(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert len(run_directory(tmp_path / "a").rounds) == 4


def test_files_that_are_no_run_are_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ResultsError, match="found files that are no run of sfsim"):
        run_directory(tmp_path)
    with pytest.raises(ResultsError, match=r"thesis.tex: found a file, expected a directory to fill"):
        run_directory(tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_the_default_directory_carries_name_and_hash() -> None:
    assert claim(None, "quickstart", "0123456789abcdef") == Path("runs/quickstart-01234567")


def test_a_place_that_cannot_be_made_is_refused_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "my.csv").write_text("data")
    for place, reason in (
        (tmp_path / "my.csv" / "sub", "Not a directory"),
        (Path("/proc/x"), "No such file or directory"),
        (tmp_path / "a" / ("n" * 300), "File name too long"),
    ):
        with pytest.raises(ResultsError, match=rf"cannot be made \({reason}\); give another --out$"):
            claim(place, "quickstart", "0123456789abcdef")
    claim(tmp_path / "b" / "c", "quickstart", "0123456789abcdef")
    assert [path.name for path in tmp_path.iterdir()] == ["my.csv"]


def test_a_write_that_fails_leaves_the_old_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_directory(tmp_path / "a", rounds=2)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sfsim.results.directory.write_table", full)
    with pytest.raises(ResultsError, match=r"a: cannot be written \(No space left on device\)"):
        run_directory(tmp_path / "a")
    assert len(Result(run.directory).rounds) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_no_run_no_result(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"nowhere: found no run, expected a run directory"):
        Result(tmp_path / "nowhere")
    run = run_directory(tmp_path / "a")
    (run.directory / "summary.json").write_text('{"name": ')
    with pytest.raises(
        ResultsError, match=r"summary.json: damaged \(its checksum does not fit\); run the scenario again"
    ):
        Result(run.directory)


def test_json_files_hold_no_nan(tmp_path: Path) -> None:
    run = run_directory(tmp_path / "a", gain=math.nan)
    for path in run.directory.glob("*.json"):
        json.loads(path.read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize(
    ("values", "target", "hold", "at"),
    [
        ([0.1, 0.5, 0.9], 0.5, 1, 1),  # at the target counts
        ([0.1, 0.6, 0.4, 0.7, 0.8], 0.5, 1, 1),
        ([0.1, 0.6, 0.4, 0.7, 0.8], 0.5, 2, 3),  # the first of the two, not the second
        ([0.1, 0.6, 0.4, 0.7, 0.8], 0.5, 3, None),
        ([0.1, 0.2, 0.6], 0.5, 2, None),  # a hold that would reach beyond the end does not count
        ([0.6], 0.5, 1, 0),
        ([0.6], 0.5, 2, None),
        ([0.6, math.nan, 0.7, 0.7], 0.5, 2, 2),  # NaN breaks a hold
        ([math.nan, math.nan], 0.5, 1, None),
        ([0.499999999], 0.5, 1, None),  # nothing is rounded
    ],
)
def test_time_to_target(values: list[float], target: float, hold: int, at: int | None) -> None:
    times = [10.0 * (i + 1) for i in range(len(values))]
    got = time_to(times, list(range(1, len(values) + 1)), values, target, hold)
    assert (got.reached, got.time_s, got.round) == (
        (False, None, None) if at is None else (True, times[at], at + 1)
    )
    assert got.last_time_s == times[-1] and got.diverged == any(map(math.isnan, values))


def test_the_best_is_the_earliest_of_the_best() -> None:
    got = time_to([1.0, 2.0, 3.0, 4.0], [1, 2, 3, 4], [0.5, 0.7, math.nan, 0.7], 0.9)
    assert (got.best, got.best_time_s, got.diverged) == (0.7, 2.0, True)


def test_a_result_knows_its_target(tmp_path: Path) -> None:
    run = run_directory(tmp_path / "a")
    assert run.time_to() == run.time_to(Target()) == run.time_to(0.8)
    assert run.time_to().round == 3 and run.summary["time_to_target"]["round"] == 3
    assert not run.time_to(0.99).reached
    assert run.time_to(Target(metric="loss", value=2.0)).round == 1
    for wrong, said in (
        (90, "time_to: found 90, expected at most 1, which is a perfect accuracy. Write 0.9 for 90 %."),
        ("x", "time_to: found 'x', expected a number, a Target, or nothing"),
    ):
        with pytest.raises(ConfigError, match=f"^{re.escape(said)}$"):
            run.time_to(wrong)  # type: ignore[arg-type]
    with pytest.raises(ResultsError, match="found no measurement of 'mji', only of: accuracy, loss"):
        run.time_to(Target(metric="mji"))


def test_a_target_relative_to_a_baseline_is_a_share_of_its_best(tmp_path: Path) -> None:
    baseline = run_directory(tmp_path / "baseline")
    run = run_directory(tmp_path / "a")
    relative = run.time_to(Target(value=0.7, relative_to=str(baseline.directory)))
    assert relative.target == pytest.approx(0.7 * 0.97) and relative.round == 2


def test_no_target_asks_for_a_value(tmp_path: Path) -> None:
    run = run_directory(tmp_path / "a", target=None)
    assert run.metric == "accuracy"
    with pytest.raises(ResultsError, match="the scenario names no target; give a value"):
        run.time_to()


@pytest.mark.parametrize(
    ("times", "reached", "q", "expected"),
    [
        ([3.0, 1.0, 2.0], [1, 1, 1], 0.5, 2.0),
        ([1.0, 2.0, 3.0, 4.0], [1, 1, 1, 1], 0.5, 2.0),  # S falls to 1/2 exactly at 2
        ([1.0, 2.0, 9.0], [1, 1, 0], 0.5, 2.0),
        ([1.0, 9.0, 9.0], [1, 0, 0], 0.5, None),  # S stays at 2/3
        ([9.0], [0], 0.5, None),
        ([1.0], [1], 0.5, 1.0),
        # By hand: at 2, S = 4/5; the censored one at 3 leaves 3 at risk; at 4, S = 4/5 * 2/3 = 8/15;
        # at 5, S = 8/15 * 1/2 = 4/15.
        ([2.0, 3.0, 4.0, 5.0, 6.0], [1, 0, 1, 1, 0], 0.5, 5.0),
        ([2.0, 2.0, 2.0, 2.0], [1, 0, 1, 0], 0.5, 2.0),  # arrivals before censorings at the same time
        ([1.0, 2.0, 3.0], [1, 1, 1], 0.25, 1.0),
        ([1.0, 2.0, 3.0], [1, 1, 1], 0.75, 3.0),
        ([], [], 0.5, None),
    ],
)
def test_kaplan_meier(times: list[float], reached: list[int], q: float, expected: float | None) -> None:
    assert kaplan_meier_quantile(times, [bool(r) for r in reached], q) == expected


def test_every_column_is_explained(tmp_path: Path) -> None:
    text = (Path(__file__).resolve().parents[1] / "docs" / "results.md").read_text()
    run = run_directory(tmp_path / "a")
    for name in ("messages", "computations", "accesses", "evaluations", "links", "rounds"):
        section = text.partition(f"\n## {name}.parquet\n")[2].partition("\n## ")[0]
        columns = {
            re.sub(r"^(validation|test)_(loss|accuracy)", r"\1_<metric>", column)
            for column in getattr(run, name)
        }
        assert not [column for column in columns if f"`{column}`" not in section], name


@pytest.mark.parametrize("key", ["notes", "payload_bytes", "name"])
def test_a_summary_of_another_kind_is_refused_by_name(tmp_path: Path, key: str) -> None:
    run = run_directory(tmp_path / "a").directory
    table = json.loads((run / "summary.json").read_text())
    table[key] = [{}]
    (run / "summary.json").write_text(json.dumps(table))
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    checksums.write_list(run, names - {checksums.LIST, "environment.json"})
    with pytest.raises(ResultsError, match=rf"summary\.json: damaged \(found {key}"):
        _ = Result(run).summary

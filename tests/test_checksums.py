"""What is read back is what was written: each flipped bit is refused or of no consequence, what is missing is named."""

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from coded_run import coded_run
from interrupted import counted
from synthetic_run import run_directory
from worlds import scenario

import sfsim
from sfsim import checksums
from sfsim.__main__ import main
from sfsim.checksums import Damaged, sealed, unsealed
from sfsim.codec import Ae
from sfsim.errors import ConfigError, ResultsError
from sfsim.results import CHECKPOINT, Result, partial_of
from sfsim.workload.checkpoint import CheckpointFolder, read_pointer
from sfsim.workload.learned import networks, stored

TRIAL = scenario(global_rounds=2)
TABLES = ("messages", "computations", "accesses", "evaluations", "links", "rounds")


def flip(path: Path, rng: random.Random) -> bytes:
    """Flip one bit of a file; return what stood there."""
    content = path.read_bytes()
    bit = rng.randrange(8 * len(content))
    harmed = bytearray(content)
    harmed[bit // 8] ^= 1 << bit % 8
    path.write_bytes(harmed)
    return content


def test_no_bit_of_a_sealed_table_changes_unseen() -> None:
    table = {
        "number": 0.1,
        "words": ["\u00e9", "b"],
        "nothing": None,
        "deep": {"true": True, "inf": float("inf")},
    }
    content = sealed(table).encode()
    assert unsealed(content) == table
    seen = 0
    for bit in range(8 * len(content)):
        harmed = bytearray(content)
        harmed[bit // 8] ^= 1 << bit % 8
        try:
            assert unsealed(bytes(harmed)) == table  # a space has become another one
        except Damaged:
            seen += 1
    assert seen > 0.9 * 8 * len(content)


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b'{"a": 1}', b"\xff", b"[" * 100_000])
def test_what_is_no_sealed_table(content: bytes) -> None:
    with pytest.raises(Damaged):
        unsealed(content)


def everything(run: Path) -> list[Any]:
    result = Result(run)
    result.verify()
    tables = [getattr(result, table).to_csv() for table in TABLES]
    arrays = {name: array.tobytes() for name, array in result.predictions.items()}
    return [result.summary, result.scenario, result.environment, arrays, *tables]


def test_flipped_bits_of_a_finished_run(tmp_path: Path) -> None:
    run = coded_run(tmp_path / "run", predictions=True).directory
    right, rng = everything(run), random.Random(1)
    for path in sorted(run.iterdir()):
        alone = path.name in (checksums.LIST, "environment.json")
        for _ in range(40):
            before = flip(path, rng)
            try:
                assert everything(run) == right and alone
            except ResultsError as error:
                said = str(error)
                assert said.endswith("; run the scenario again") and "\n" not in said
                assert said.startswith(f"{path}: damaged (") or alone
            path.write_bytes(before)


@pytest.mark.parametrize(
    "name", [*(f"{table}.parquet" for table in TABLES), "checksums.json", "environment.json"]
)
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    run = run_directory(tmp_path / "run").directory
    (run / name).unlink()
    with pytest.raises(ResultsError, match=rf"run: found no {name}, expected every file of a run; run the"):
        Result(run).verify()


def without_column(run: Path) -> None:
    path = run / "messages.parquet"
    pq.write_table(pq.read_table(path).drop_columns("wire_bytes"), path)


def with_text_for_a_number(run: Path) -> None:
    path = run / "links.parquet"
    table = pq.read_table(path)
    at = table.column_names.index("busy_s")
    pq.write_table(table.set_column(at, "busy_s", table["busy_s"].cast("string")), path)


def no_parquet(run: Path) -> None:
    (run / "evaluations.parquet").write_bytes(b"PAR1 or not")


def without_key(run: Path) -> None:
    path = run / "summary.json"
    path.write_text(path.read_text().replace('"notes"', '"remarks"'))


def with_another_kind(run: Path) -> None:
    path = run / "summary.json"
    path.write_text(path.read_text().replace('"end_s": ', '"end_s": "soon", "start_s": '))


def without_part_of_the_target(run: Path) -> None:
    path = run / "summary.json"
    path.write_text(path.read_text().replace('"hold"', '"held"'))


def with_no_value_of_the_target(run: Path) -> None:
    path = run / "summary.json"
    path.write_text(path.read_text().replace('"value": 0.8', '"value": null'))


def without_the_bytes_upwards(run: Path) -> None:
    path = run / "summary.json"
    head, between, tail = path.read_text().partition('"wire_bytes"')
    path.write_text(head + between + tail.replace('"up"', '"upwards"', 1))


def without_a_table_of_codecs(run: Path) -> None:
    path = run / "scenario.json"
    path.write_text(path.read_text().replace('"seed"', '"codecs": null, "seed"'))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_column, "messages.parquet: damaged (found no column 'wire_bytes')"),
        (
            with_text_for_a_number,
            "links.parquet: damaged (found column 'busy_s' of type string, expected double)",
        ),
        (no_parquet, "evaluations.parquet: damaged ("),
        (without_key, "summary.json: damaged (found no 'notes')"),
        (with_another_kind, "summary.json: damaged (found end_s = 'soon', expected int or float)"),
        (without_part_of_the_target, "summary.json: damaged (found no 'target.hold')"),
        (with_no_value_of_the_target, "summary.json: damaged (found target.value = None, expected int or"),
        (without_the_bytes_upwards, "summary.json: damaged (found no 'wire_bytes.up')"),
        (without_a_table_of_codecs, "scenario.json: damaged (found codecs = None, expected dict)"),
    ],
)
def test_what_another_version_wrote(tmp_path: Path, change: Callable[[Path], None], said: str) -> None:
    """Its checksums fit, and still something is missing."""
    run = run_directory(tmp_path / "run").directory
    change(run)
    checksums.write_list(run, unsealed((run / checksums.LIST).read_bytes())["files"])
    with pytest.raises(ResultsError) as caught:
        result = Result(run)
        for table in TABLES:
            getattr(result, table)
    assert str(caught.value).startswith(f"{run}/{said}")
    assert str(caught.value).endswith("; run the scenario again")


@pytest.mark.parametrize("command", ["report", "compare", "resume"])
def test_commands_say_it_in_one_line(
    tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_directory(tmp_path / "run").directory
    without_column(run)
    (run / "evaluations.parquet").unlink()
    monkeypatch.setattr(sys, "argv", ["sfsim", command, str(run)])
    with pytest.raises(SystemExit) as exit_:
        main()
    said = capsys.readouterr().err
    assert exit_.value.code == 2 and said.startswith("error: ") and said.count("\n") == 1
    assert "messages.parquet: damaged" in said or "found no evaluations.parquet" in said


def test_flipped_bits_of_a_checkpoint_and_of_what_is_retimed(tmp_path: Path) -> None:
    out, rng = tmp_path / "run", random.Random(2)
    works = counted(TRIAL, tmp_path / "whole")
    counted(TRIAL, out, works - 2)
    folder = partial_of(out) / CHECKPOINT
    right, refused = read_pointer(folder), 0
    paths = sorted(folder.iterdir())
    assert len(paths) == 3
    for path in paths:
        for _ in range(40):
            before = flip(path, rng)
            try:
                assert read_pointer(folder) == right
                held = CheckpointFolder(folder, {}, go_on=True)
                list(held.rows())
                held.state()
                assert path.suffix == ".json"
            except ResultsError as error:
                refused += 1
                assert str(error).startswith(str(folder)) and "\n" not in str(error)
            path.write_bytes(before)
    assert refused > 100
    for name in ("messages", "computations"):
        before = flip(tmp_path / "whole" / f"{name}.parquet", rng)
        with pytest.raises(ResultsError, match=rf"{name}.parquet: damaged \(its checksum does not fit\)"):
            sfsim.retime(tmp_path / "whole", TRIAL, out=tmp_path / "retimed")
        assert not (tmp_path / "retimed").exists()
        (tmp_path / "whole" / f"{name}.parquet").write_bytes(before)


def test_flipped_bits_of_weights(tmp_path: Path) -> None:
    codec, rng, path = Ae(channels=2), random.Random(3), tmp_path / "a.safetensors"
    about = {"scenario": "a", "seed": "1", "data": "x"}
    written = set()
    for _ in range(8):
        right = dict(networks.build(codec, 4, (4, 4), 7).named_parameters())
        stored.save(path, codec, (4, 4, 4), right, about)
        written.add(path.read_bytes())
    assert len(written) == 1  # in whatever order safetensors keeps its metadata
    trainee, refused = networks.build(codec, 4, (4, 4), 8), 0
    header = int.from_bytes(path.read_bytes()[:8], "little")
    for number in range(200):
        before = path.read_bytes()
        at = rng.randrange(8 + header) if number % 2 else rng.randrange(len(before))
        path.write_bytes(before[:at] + bytes([before[at] ^ 1 << rng.randrange(8)]) + before[at + 1 :])
        try:
            stored.load(path, trainee)
            assert all(torch.equal(weight, right[name]) for name, weight in trainee.named_parameters())
        except ConfigError as error:
            refused += 1
            assert str(error).startswith("weights a.safetensors: found ") and "\n" not in str(error)
        path.write_bytes(before)
    assert refused > 190

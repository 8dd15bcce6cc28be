"""Interrupted runs: kills, targets, refusals, what stays on disk, and the command."""

import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from interrupted import counted, files, pointer
from worlds import clients, scenario

import sfsim
from sfsim import simulation
from sfsim.__main__ import main
from sfsim.checksums import sealed
from sfsim.device import Device
from sfsim.errors import CodecError, ConfigError, DataError, ResultsError, SfsimError
from sfsim.learning.declarations import Cnn, Sgd
from sfsim.results import Progress, directory, partial_of
from sfsim.scenario import Target

ROOT = Path(__file__).resolve().parents[1]
TRIAL = scenario(global_rounds=3, validation_fraction=0.2)
ONE, TWO = (
    50,
    90,
)  # one round of it has 40 works: how many have been started somewhere after one and two rounds


def test_a_killed_process_goes_on_in_another(tmp_path: Path) -> None:
    text = (ROOT / "scenarios" / "quickstart.toml").read_text()
    for folder in ("codecs", "channels"):
        text = text.replace(f'"../{folder}/', f'"{ROOT}/{folder}/')
    text = text.replace("global_rounds = ", "global_rounds = 8 #", 1)
    (tmp_path / "short.toml").write_text(text.replace('"devices/', f'"{ROOT}/scenarios/devices/'))
    whole = sfsim.run(sfsim.load(tmp_path / "short.toml"), out=tmp_path / "whole", checkpoint_share=0)
    out, luck = tmp_path / "run", random.Random(os.getpid())
    command = [sys.executable, "-m", "sfsim"]
    options = ["--checkpoint-share", "inf", "--no-report", "--jobs"]
    arguments = ["run", str(tmp_path / "short.toml"), "--out", str(out), *options]
    saved = 0
    for jobs in (1, 2):
        process = subprocess.Popen([*command, *arguments, str(jobs)], stderr=subprocess.DEVNULL)
        before, began_s = saved, time.monotonic()
        while saved <= before and time.monotonic() < began_s + 120:  # until one more round has been saved
            time.sleep(0.01)
            with suppress(OSError, ValueError):
                saved = (pointer(out)["saved"] or {"round": 0})["round"]
        time.sleep(luck.uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL and not out.exists()
        arguments = ["resume", str(out), *options]
    result = sfsim.resume(out)
    assert len(result.environment["resumed_after_rounds"]) == 2
    assert files(out) == files(whole.directory) and not partial_of(out).exists()


def test_many_jobs_save_and_go_on_alike(tmp_path: Path) -> None:
    declared = replace(TRIAL, clients=clients(4), data=replace(TRIAL.data, num_train=192))
    works = counted(declared, tmp_path / "whole", checkpoint_share=0)
    counted(declared, tmp_path / "run", works // 2, jobs=3)
    result = sfsim.resume(tmp_path / "run", jobs=2)
    assert result.environment["resumed_after_rounds"] == [1] and result.environment["jobs"] == 2
    assert files(result.directory) == files(tmp_path / "whole")


def test_killed_in_its_first_round_a_run_starts_anew(tmp_path: Path) -> None:
    counted(TRIAL, tmp_path / "run", 9)
    assert pointer(tmp_path / "run")["saved"] is None
    result = sfsim.resume(tmp_path / "run")
    assert result.environment["resumed_after_rounds"] == [] and len(result.rounds) == 3
    assert not partial_of(tmp_path / "run").exists()


def test_a_target_that_ends_a_run_ends_the_resumed_one(tmp_path: Path) -> None:
    target = Target(metric="accuracy", value=0.01, hold=2, stop=True)
    declared = scenario(global_rounds=5, validation_fraction=0.25, target=target)
    works = counted(declared, tmp_path / "whole", checkpoint_share=0)
    counted(declared, tmp_path / "run", works - 1)
    result = sfsim.resume(tmp_path / "run")
    assert result.environment["resumed_after_rounds"] == [1]
    assert list(result.rounds["round"]) == [1, 2] and files(result.directory) == files(tmp_path / "whole")


def test_a_run_that_diverges_diverges_when_it_goes_on(tmp_path: Path) -> None:
    wild = scenario(global_rounds=3, optimiser=Sgd(learning_rate=1e20), model=Cnn(width=4))
    works = counted(wild, tmp_path / "whole", checkpoint_share=0)
    counted(wild, tmp_path / "run", works - 2)
    assert files(sfsim.resume(tmp_path / "run").directory) == files(tmp_path / "whole")


def test_only_live_rounds_are_shown_and_wall_seconds_add_up(tmp_path: Path) -> None:
    counted(TRIAL, tmp_path / "run", ONE)
    spent_s = pointer(tmp_path / "run")["saved"]["wall_s"]
    seen: list[Progress] = []
    result = sfsim.resume(tmp_path / "run", progress=seen.append)
    assert [now.round for now in seen] == [0, 2, 3] and seen[0].note == "goes on after round 1 of 3"
    assert result.environment["wall_s"] > spent_s > 0


def test_the_disk_holds_one_recording_and_one_state(tmp_path: Path) -> None:
    counted(TRIAL, tmp_path / "run", ONE)
    counted(TRIAL, tmp_path / "run", TWO, go_on=True)
    folder = partial_of(tmp_path / "run") / "checkpoint"
    kinds = sorted(path.name.split("-")[0] for path in folder.iterdir())
    assert kinds == ["checkpoint.json", "recording", "state"]


def test_a_share_of_nothing_writes_nothing_and_a_small_one_waits(tmp_path: Path) -> None:
    counted(TRIAL, tmp_path / "none", ONE, checkpoint_share=0)
    assert list(tmp_path.iterdir()) == []
    counted(TRIAL, tmp_path / "some", ONE, checkpoint_share=1e-9)
    assert pointer(tmp_path / "some")["saved"] is None
    with pytest.raises(ConfigError, match=r"^--checkpoint-share: found -1, expected a number of at least 0$"):
        sfsim.run(TRIAL, out=tmp_path / "run", checkpoint_share=-1)


def test_a_new_run_replaces_the_checkpoint_only_by_a_better_one(tmp_path: Path) -> None:
    out = tmp_path / "run"
    counted(TRIAL, out, ONE)
    first = pointer(out)
    seen: list[Progress] = []
    counted(TRIAL, out, 5, progress=seen.append)
    assert seen[0].note == f"starts anew; `sfsim resume {out}` would have gone on after round 1 of 3"
    assert pointer(out) == first
    counted(TRIAL, out, ONE)
    assert pointer(out)["saved"]["recording"] != first["saved"]["recording"]
    assert sfsim.resume(out).environment["resumed_after_rounds"] == [1]


def test_another_configuration_is_kept_out(tmp_path: Path) -> None:
    out = tmp_path / "run"
    counted(TRIAL, out, ONE)
    before, hash_ = pointer(out), pointer(out)["identity"]["scenario"]
    with pytest.raises(ResultsError) as caught:
        sfsim.run(replace(TRIAL, seed=8, name="other"), out=out)
    text = str(caught.value)
    assert text.startswith(
        f"{out}.partial: holds the interrupted run 'test' ({hash_}) and cannot take 'other' ("
    )
    assert text.endswith("), which is another configuration; delete it, or give another --out")
    assert pointer(out) == before


@pytest.mark.parametrize(
    ("key", "theirs", "words"),
    [
        ("torch", "1.0", "torch 1.0"),
        ("sfsim", "0.0", "sfsim 0.0"),
        ("data", "00", "data with the fingerprint 00"),
        ("scenario", "00", "files that make the scenario 00"),
    ],
)
def test_a_checkpoint_of_another_program_is_refused(
    tmp_path: Path, key: str, theirs: str, words: str
) -> None:
    out = tmp_path / "run"
    counted(TRIAL, out, ONE)
    held = pointer(out)
    mine = held["identity"][key]
    held["identity"][key] = theirs
    file = partial_of(out) / "checkpoint" / "checkpoint.json"
    file.write_text(sealed(held))
    with pytest.raises(ResultsError) as caught:
        sfsim.resume(out)
    assert str(caught.value) == (
        f"{out}.partial: was begun with {words} and cannot go on bit for bit with {mine}; "
        "bring that back, or start anew with sfsim run"
    )
    assert pointer(out) == held


def test_where_other_works_are_asked_for_the_run_starts_anew_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted(TRIAL, tmp_path / "run", ONE)
    seconds = Device.seconds
    monkeypatch.setattr(Device, "seconds", lambda device, cost: 2 * seconds(device, cost))
    result = sfsim.resume(tmp_path / "run")
    assert len(result.notes) == 1
    assert result.notes[0].startswith(
        "the run was interrupted and started anew: its checkpoint does not fit this program (['launch', "
    )
    fresh = sfsim.run(TRIAL, out=tmp_path / "fresh")
    assert files(result.directory)["messages.parquet"] == files(fresh.directory)["messages.parquet"]
    assert result.environment["resumed_after_rounds"] == []


def test_a_recording_longer_than_the_run_does_not_fit_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Target(metric="accuracy", value=1.0, stop=True)
    counted(scenario(global_rounds=3, validation_fraction=0.2, target=target), tmp_path / "run", TWO)
    assert pointer(tmp_path / "run")["saved"]["round"] == 2
    monkeypatch.setattr(simulation, "is_reached", lambda *arguments: True)
    result = sfsim.resume(tmp_path / "run")
    assert result.notes[0].startswith("the run was interrupted and started anew")
    assert "(the run ended before " in result.notes[0] and list(result.rounds["round"]) == [1]


@pytest.mark.parametrize("name", ["recording", "state", "checkpoint.json"])
def test_a_damaged_checkpoint_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    out = tmp_path / "run"
    counted(TRIAL, out, ONE)
    folder = partial_of(out) / "checkpoint"
    file = next(path for path in folder.iterdir() if path.name.startswith(name))
    content = bytearray(file.read_bytes())
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(ResultsError) as caught:
        sfsim.resume(out)
    text = str(caught.value)
    assert text.startswith(f"{file}: a damaged checkpoint (")
    assert text.endswith(f"; delete {folder} and run the scenario anew")
    assert len(sfsim.run(TRIAL, out=out).rounds) == 3, "a new run does not mind"


def test_two_processes_do_not_write_one_run(tmp_path: Path) -> None:
    text = f"^{tmp_path / 'run'}: another process is writing this run; wait for it, or give another --out$"

    def second(now: Progress) -> None:
        if now.round == 2:
            with pytest.raises(ResultsError, match=text):
                sfsim.run(TRIAL, out=tmp_path / "run")

    assert len(sfsim.run(TRIAL, out=tmp_path / "run", progress=second, checkpoint_share=math.inf).rounds) == 3


@pytest.mark.parametrize(
    ("error", "kept"), [(CodecError("x"), False), (DataError("x"), True), (ResultsError("x"), True)]
)
def test_what_fails_by_itself_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: SfsimError, kept: bool
) -> None:
    def fail(now: Progress) -> None:
        if now.round == 2:
            raise error

    with pytest.raises(type(error)):
        sfsim.run(TRIAL, out=tmp_path / "run", progress=fail, checkpoint_share=math.inf)
    assert partial_of(tmp_path / "run").exists() == kept
    if kept:
        assert sfsim.resume(tmp_path / "run").environment["resumed_after_rounds"] == [1]


def test_results_that_cannot_be_written_leave_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(directory, "write_table", full)
        with pytest.raises(ResultsError, match=r"run: cannot be written \(No space left on device\)$"):
            sfsim.run(TRIAL, out=tmp_path / "run", checkpoint_share=math.inf)
    assert [path.name for path in partial_of(tmp_path / "run").iterdir()] == ["checkpoint"]
    assert sfsim.resume(tmp_path / "run").environment["resumed_after_rounds"] == [2]
    with monkeypatch.context() as patch:
        patch.setattr("sfsim.workload.checkpoint.write_state", full)
        with pytest.raises(
            ResultsError, match=r"a checkpoint cannot be written \(No space left on device\)$"
        ):
            sfsim.run(TRIAL, out=tmp_path / "other", checkpoint_share=math.inf)
    assert not partial_of(tmp_path / "other").exists()


def test_the_seconds_between_whole_results_and_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the rename: the checkpoint is there; after it: the run is whole, whatever is left in it."""
    import shutil

    counted(TRIAL, tmp_path / "run", ONE)
    (partial_of(tmp_path / "run") / "summary.json").write_text("{}")
    kept = tmp_path / "kept"
    shutil.copytree(partial_of(tmp_path / "run") / "checkpoint", kept)
    assert len(sfsim.resume(tmp_path / "run").rounds) == 3
    shutil.copytree(kept, tmp_path / "run" / "checkpoint")
    whole = files(tmp_path / "run")
    assert files(sfsim.resume(tmp_path / "run").directory) == whole
    sfsim.run(TRIAL, out=tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoint").exists()


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Calls the command in this process."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sfsim", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        printed = capsys.readouterr()
        return int(exit_.value.code or 0), printed.out, printed.err

    return call


def test_the_command(tmp_path: Path, command: Callable[..., tuple[int, str, str]]) -> None:
    out = tmp_path / "study"
    counted(TRIAL, out, ONE)
    code, _, said = command("resume", tmp_path / "sutdy")
    assert (code, said) == (
        2,
        f"error: {tmp_path / 'sutdy'}: found no run, expected one that was interrupted (DIR as given to sfsim "
        "run --out). Did you mean 'study'?\n",
    )
    code, _, said = command("resume", out, "--device", "cuda")
    assert code == 2 and said.startswith("error: ")
    code, printed, said = command("resume", out, "--jobs", 1)
    assert code == 0, said
    assert said.splitlines()[0] == "test: 3 rounds; goes on after round 1 of 3"
    assert [line.split(":")[0] for line in said.splitlines()[1:]] == ["round 2/3", "round 3/3"]
    assert printed.splitlines()[-2:] == [f"run: {out}", f"report: {out / 'report.html'}"]
    assert command("resume", out) == (0, f"{out}: is finished, nothing to resume\n", "")
    assert command("resume", f"{out}.partial") == (0, f"{out}.partial: is finished, nothing to resume\n", "")


def test_run_goes_on_when_it_is_told_to(
    tmp_path: Path, command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfsim.scenario.load", lambda file, overrides: TRIAL)
    out = tmp_path / "run"
    counted(TRIAL, out, ONE)
    code, _, said = command("run", "x.toml", "--out", out, "--resume", "--no-report")
    assert code == 0 and said.splitlines()[0] == "test: 3 rounds; goes on after round 1 of 3"
    code, _, said = command("run", "x.toml", "--out", tmp_path / "new", "--resume", "--no-report")
    assert code == 0 and said.splitlines()[0] == "test: 3 rounds"

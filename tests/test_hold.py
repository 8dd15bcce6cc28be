"""One process writes a run directory; a kill at any step leaves whole directories and everybody's files."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from interrupted import Cut, files
from synthetic_run import run_directory
from worlds import scenario

import sfsim
from sfsim.errors import ResultsError
from sfsim.results import Progress, Result, hold, partial_of

TRIAL = scenario(global_rounds=2)


def hold_and_write(out: Path) -> Result:
    """Write the made-up run as a command does: while the directory is held."""
    with hold(out, "made-up", "0123456789abcdef") as directory:
        return run_directory(directory)


def test_a_directory_is_held_by_one(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "a"
    with hold(out, "trial", "hash") as place:
        assert place == out
        with pytest.raises(ResultsError, match=f"^{out}: another process is writing this run"):
            hold(out, "trial", "hash").__enter__()
        with hold(tmp_path / "deep" / "b", "trial", "hash"):
            pass
    assert list(tmp_path.iterdir()) == []  # nothing was written, so nothing is left
    with hold(out, "trial", "hash"):
        pass


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_runs_and_retimings_hold_it_from_the_first_moment(tmp_path: Path, share: float) -> None:
    done = sfsim.run(TRIAL, out=tmp_path / "done", checkpoint_share=0)
    out, seen = tmp_path / "run", []

    def meanwhile(now: Progress) -> None:
        seen.append(now.round)
        for attempt in (
            lambda: sfsim.run(TRIAL, out=out, checkpoint_share=0),
            lambda: sfsim.retime(done.directory, TRIAL, out=out),
        ):
            with pytest.raises(ResultsError, match="another process is writing this run"):
                attempt()

    result = sfsim.run(TRIAL, out=out, progress=meanwhile, checkpoint_share=share)
    assert seen[0] == 0 and files(result.directory) == files(done.directory)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(4))
def test_a_kill_at_any_step_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, after: bool
) -> None:
    out = tmp_path / "run"
    first = files(run_directory(out).directory)
    (out / "notes.txt").write_text("mine")
    (out / "plots").mkdir()
    (out / "plots" / "a.csv").write_text("mine too")
    taken = 0

    def killed(function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal taken
            taken += 1
            if taken == step + 1 and not after:
                raise Cut
            value = function(*arguments, **options)
            if taken == step + 1:
                raise Cut
            return value

        return call

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed(Path.rename))
        with pytest.raises(Cut):
            hold_and_write(out)
    assert not out.exists() or files(out) == first  # what exists is whole
    hold_and_write(out)
    assert files(out) == first
    assert (out / "notes.txt").read_text() == "mine" and (out / "plots" / "a.csv").read_text() == "mine too"
    assert [path.name for path in tmp_path.iterdir()] == ["run"] and not partial_of(out).exists()


def test_an_old_directory_whose_removal_was_cut_short_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, remove = tmp_path / "run", shutil.rmtree
    run_directory(out)
    with monkeypatch.context() as patch:

        def cut(path: Path, *arguments: Any, **options: Any) -> None:
            if str(path).endswith(".old.partial"):
                raise Cut
            remove(path, *arguments, **options)

        patch.setattr(shutil, "rmtree", cut)
        with pytest.raises(Cut):
            hold_and_write(out)
    assert {path.name for path in tmp_path.iterdir()} == {"run", "run.old.partial"}
    hold_and_write(out)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]

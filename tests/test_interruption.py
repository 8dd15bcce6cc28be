"""Ctrl-C and SIGTERM: one line, the shell's exit code, and a checkpoint from which the run goes on."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from interrupted import files, pointer
from worlds import scenario

import sfsim
from sfsim import console, interruption, simulation, study
from sfsim.__main__ import main
from sfsim.interruption import Interrupted, handled
from sfsim.results import Progress

QUICKSTART = str(Path(__file__).resolve().parents[1] / "scenarios" / "quickstart.toml")
TRIAL = scenario(global_rounds=3, validation_fraction=0.2)


def kills(number: int, round: int) -> Callable[[Progress], None]:
    """Somebody who sends a signal when a round is over."""

    def show(now: Progress) -> None:
        if now.round == round:
            os.kill(os.getpid(), number)

    return show


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_waits_for_a_checkpoint_and_the_run_goes_on_from_it(
    tmp_path: Path, number: int
) -> None:
    whole, out = sfsim.run(TRIAL, out=tmp_path / "whole", checkpoint_share=0), tmp_path / "a run"
    with pytest.raises(Interrupted) as stopped, handled():
        sfsim.run(TRIAL, out=out, progress=kills(number, 1), checkpoint_share=1e-9)
    assert stopped.value.exit_code == 128 + number and not out.exists()
    after = pointer(out)["saved"]["round"]
    assert after in (1, 2)  # with a share of nothing none would have been due
    assert str(stopped.value) == (
        f"interrupted; go on after round {after} of 3 with: sfsim resume {shlex.quote(str(out))}"
    )
    assert files(sfsim.resume(out).directory) == files(whole.directory)


def test_patience_ends_and_a_second_signal_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "PATIENCE_S", 0.01)
    with pytest.raises(Interrupted) as stopped, handled(), interruption.saving():
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.is_asked()
        signal.pause()  # until the alarm
    assert stopped.value.number == signal.SIGTERM and not interruption.is_asked()
    monkeypatch.setattr(interruption, "PATIENCE_S", 60)
    with pytest.raises(Interrupted) as stopped, handled(), interruption.saving():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert stopped.value.number == signal.SIGINT


def test_without_checkpoints_it_ends_at_once(tmp_path: Path) -> None:
    with pytest.raises(Interrupted) as stopped, handled():
        sfsim.run(TRIAL, out=tmp_path / "run", progress=kills(signal.SIGINT, 1), checkpoint_share=0)
    assert str(stopped.value) == "interrupted before anything was saved; start it again"
    assert not list(tmp_path.iterdir())


def test_a_study_ends_its_processes_and_says_that_it_can_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Child:
        ended = False

        def terminate(self) -> None:
            self.ended = True

    def interrupted(_: object) -> Iterator[object]:
        os.kill(os.getpid(), signal.SIGTERM)
        yield

    child = Child()
    monkeypatch.setattr(study.multiprocessing, "active_children", lambda: [child])
    monkeypatch.setattr(study, "as_completed", interrupted)
    with pytest.raises(SystemExit) as exit_:
        console.script(lambda: study.run([]))
    assert exit_.value.code == 143 and child.ended
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == "interrupted; finished runs are kept, start the study again to go on"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_command_ends_with_one_line(
    number: int,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    def run(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    monkeypatch.setattr(simulation, "run", run)
    monkeypatch.setattr(sys, "argv", ["sfsim", "run", QUICKSTART])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == code and signal.getsignal(number) == before
    assert capsys.readouterr().err == "interrupted\n"


def test_an_interrupt_while_modules_are_imported_ends_with_one_line() -> None:
    script = (
        "import builtins, sys\n"
        "usual = builtins.__import__\n"
        "def stops(name, *rest):\n"
        "    if name == 'typer':\n"
        "        raise KeyboardInterrupt\n"
        "    return usual(name, *rest)\n"
        "builtins.__import__ = stops\n"
        "from sfsim.start import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "interrupted before anything had begun\n")

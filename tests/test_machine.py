"""What a run says of the machine and the code that made it."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from sfsim import machine


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    return subprocess.run(
        ["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_commit_is_named_and_so_is_what_differs_from_it(tmp_path: Path) -> None:
    assert machine.commit(tmp_path) is None
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "a").write_text("1")
    git(folder, "add", "a")
    git(folder, "commit", "-qm", "one")
    machine.commit.cache_clear()
    head = git(folder, "rev-parse", "HEAD")
    assert machine.commit(folder) == head
    (folder / "untracked").write_text("1")
    machine.commit.cache_clear()
    assert machine.commit(folder) == head
    (folder / "a").write_text("2")
    machine.commit.cache_clear()
    assert machine.commit(folder) == f"{head}, modified"


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / ".git").mkdir()
    assert machine.commit(tmp_path) is None  # no repository
    monkeypatch.setenv("PATH", "")
    assert machine.commit(tmp_path / ".") is None


def test_the_instruction_set_is_the_one_in_use() -> None:
    found = machine.facts()
    assert found["instruction_set"] == torch.backends.cpu.get_cpu_capability()
    assert found["processor"] and found["cores"] == len(os.sched_getaffinity(0)) and "gpu" not in found
    lower = subprocess.run(
        [sys.executable, "-c", "from sfsim import machine; print(machine.facts()['instruction_set'])"],
        env=os.environ | {"ATEN_CPU_CAPABILITY": "default"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert lower.stdout.strip() == "DEFAULT"

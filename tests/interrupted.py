"""Runs that break off, and what two equal runs have in common."""

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import sfsim
from sfsim.checksums import unsealed
from sfsim.results import partial_of
from sfsim.scenario import Scenario
from sfsim.workload.work import Work


class Cut(BaseException):
    """Stands for whatever ends a process."""


def counted(
    declared: Scenario, out: Path, last: float = math.inf, go_on: bool = False, **options: Any
) -> int:
    """Run, or go on, and break off before more works than this have been started; how many were."""
    started, start = 0, Work.start

    def count(work: Work) -> None:
        nonlocal started
        if started >= last:
            raise Cut
        started += 1
        start(work)

    with pytest.MonkeyPatch.context() as patch, suppress(Cut):
        patch.setattr(Work, "start", count)
        sfsim.run(declared, out=out, resume=go_on, **({"checkpoint_share": math.inf} | options))
    assert started == last or last == math.inf
    return started


def files(out: Path) -> dict[str, bytes]:
    """All that two equal runs have in common."""
    paths = [path for path in out.rglob("*") if path.suffix in (".parquet", ".json", ".npz", ".safetensors")]
    return {path.name: path.read_bytes() for path in paths if path.name != "environment.json"}


def pointer(out: Path) -> dict[str, Any]:
    """What the checkpoint of a run says about itself."""
    return unsealed((partial_of(out) / "checkpoint" / "checkpoint.json").read_bytes())

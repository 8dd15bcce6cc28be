"""A run that was interrupted goes on to the ledger of one that was not, byte for byte."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from worlds import ACCESS, FAST, IMAGES, MASKS, clients, coded, scenario

import sfsim
from sfsim.channel import Bernoulli, RayleighBlock
from sfsim.codec import Qsgd, RandTopK, TopK, Uniform
from sfsim.device import Device, Variation
from sfsim.learning.declarations import Adam, Sgd
from sfsim.scenario import Codecs, Evaluation, ModelCodec, NetworkTable, Scenario, Server, Target
from sfsim.workload.work import Work

FADING = replace(
    ACCESS,
    channel=RayleighBlock(mean_snr_db=10, bandwidth_hz=1e6, coherence_time_s=0.02),
    loss=Bernoulli(probability=0.1),
)
UNSTEADY = clients(3, uplink=FADING, variation=Variation(law="lognormal", sigma=0.3))
SLOW = replace(FAST, peak_flops=2e8)
BUSY = Server(device=replace(FAST, peak_flops=2e9))
DELTA = ModelCodec(codec=Qsgd(bits=4), of="delta")
LOSSY = Codecs(
    smashed_up=RandTopK(keep=0.2, alpha=0.1),
    gradient_down=RandTopK(keep=0.2, alpha=0.1),
    client_model_up=DELTA,
    client_model_down=DELTA,
)


class Cut(BaseException):
    """Stands for whatever ends a process."""


def cut_after(works: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the run break off when this many works have been started."""
    started, start = count(1), Work.start

    def break_off(work: Work) -> None:
        if next(started) > works:
            raise Cut
        start(work)

    monkeypatch.setattr(Work, "start", break_off)


def interrupted(declared: Scenario, out: Path, works: int, go_on: bool = False) -> bool:
    """Run, or go on, until this many works have been started; whether it came to its end before."""
    with pytest.MonkeyPatch.context() as patch:
        cut_after(works, patch)
        try:
            sfsim.run(declared, out=out, checkpoint_share=math.inf, resume=go_on)
        except Cut:
            return False
    return True


def files(out: Path) -> dict[str, bytes]:
    """All that two equal runs have in common."""
    names = [*out.glob("*.parquet"), out / "summary.json", out / "scenario.json"]
    return {path.name: path.read_bytes() for path in names}


def num_works(result: sfsim.Result) -> int:
    rows = result.computations.query("operation != 'wait' and phase != 'device queueing'")
    keys = ["party", "client", "operation", "round", "epoch", "minibatch"]
    return len(rows.drop_duplicates(keys))


WORLDS: dict[str, dict[str, Any]] = {
    "splitfed-v1": {"clients": UNSTEADY, "codecs": LOSSY},
    "splitfed-v1, a slow server": {"clients": UNSTEADY, "main_server": Server(device=SLOW)},
}


@pytest.mark.parametrize("name", WORLDS)
def test_trial(name: str, tmp_path: Path) -> None:
    declared = scenario(global_rounds=3, **WORLDS[name])
    whole = sfsim.run(declared, out=tmp_path / "whole", checkpoint_share=0)
    total = num_works(whole)
    print(total)
    for works in range(1, total, 7):
        out = tmp_path / str(works)
        assert not interrupted(declared, out, works)
        p = json.loads((tmp_path / f"{works}.partial" / "checkpoint" / "checkpoint.json").read_text())
        print(works, p["saved"] and p["saved"]["round"], p["saved"] and p["saved"]["recording_bytes"])
        got = sfsim.resume(out)
        assert files(got.directory) == files(whole.directory)
        print(got.environment["resumed_after_rounds"], got.notes)
        assert not (tmp_path / f"{works}.partial").exists()

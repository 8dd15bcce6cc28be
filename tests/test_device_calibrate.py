"""Calibration: a fast measurement of this machine gives a plausible profile that reads back."""

from pathlib import Path

import pytest
import torch

from sfsim.cost import Cost
from sfsim.device import load
from sfsim.device.calibrate import SOURCE, calibrate
from sfsim.errors import ConfigError


def test_this_machine_is_measured(tmp_path: Path) -> None:
    out, random_state = tmp_path / "here.toml", torch.get_rng_state()
    device = calibrate(out, "here", seconds=0.5, active_power_w=20)
    assert load(out) == device
    assert (device.name, device.active_power_w) == ("here", 20)
    assert device.source.startswith(SOURCE)
    assert 1e9 < device.peak_flops < 1e14
    assert 0.01 < device.efficiency <= 1
    assert 1e8 < device.memory_bandwidth_bytes_per_s < 1e13
    assert 1e-8 < device.launch_overhead_s < 1e-3
    assert 1e5 < device.symbols_per_s < 1e10
    assert device.memory_bytes > 1e8
    assert device.seconds(Cost(flops=1e9)) < 10
    assert torch.equal(torch.get_rng_state(), random_state)


def test_a_profile_is_never_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "mine.toml"
    out.write_text("mine")
    with pytest.raises(ConfigError) as error:
        calibrate(out, "here", seconds=0.5)
    assert str(error.value) == f"{out}: found a file that is there already, expected the path of a new file"
    assert out.read_text() == "mine"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_accelerator_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'cuda', expected 'cpu': torch sees no CUDA device here"):
        calibrate(tmp_path / "gpu.toml", "gpu", device="cuda")

"""`sfsim show channel`: the figures of channels and losses, the picture, and its errors."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sfsim.channel.survey import show
from sfsim.errors import ConfigError

CHANNELS = Path(__file__).resolve().parents[1] / "channels"


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sfsim", "show", "channel", *words], capture_output=True, text=True
    )


def test_figures_of_a_trace(tmp_path):
    (tmp_path / "t.csv").write_text("0,10\n2,0\n3,20\n4,0\n7,40\n")
    (tmp_path / "t.toml").write_text('kind = "trace"\npath = "t.csv"\nrate_unit = "bit/s"\n')
    facts, (edges, _, panels, title) = show(tmp_path / "t.toml", None, 1, seed=0)
    assert "a mean rate of 16 bit/s is hardly meant" in facts.pop("notes")[0]
    assert facts == {
        "seconds": 10.0,
        "mean_rate_bps": pytest.approx((20 + 20 + 120) / 10),
        "outage_share": 0.4,
        "mean_burst_s": 2.0,
        "num_bursts": 2,
    }
    assert title == "t"
    assert [label for label, _ in panels] == ["rate (Mbit/s)", "share of outage"]
    assert 1e6 * np.mean(panels[0][1]) == pytest.approx(16)
    assert np.mean(panels[1][1]) == pytest.approx(0.4)
    assert len(edges) == len(panels[0][1]) + 1
    facts, _ = show(tmp_path / "t.toml", 25.0, 1, seed=0)
    assert facts["mean_rate_bps"] == pytest.approx((160 * 2 + 20 + 20) / 25)


def test_figures_of_a_loss():
    facts, (edges, across, panels, _) = show(CHANNELS / "bursty-loss.toml", None, 500_000, seed=0)
    assert facts["loss_share"] == pytest.approx(0.02 / 1.02, rel=0.1)
    assert facts["mean_burst_packets"] == pytest.approx(10, rel=0.1)
    assert across == "packet"
    assert np.diff(edges) @ panels[0][1] == pytest.approx(500_000 * facts["loss_share"])


def test_a_faded_channel_has_an_snr():
    _, (_, _, panels, _) = show(CHANNELS / "lte-pedestrian.toml", 20.0, 1, seed=0)
    assert [label for label, _ in panels] == ["rate (Mbit/s)", "SNR (dB)", "share of outage"]
    assert np.mean(10 ** (panels[1][1] / 10)) == pytest.approx(10, rel=0.3)


def test_the_command(tmp_path):
    picture = tmp_path / "leo.png"
    run = command(str(CHANNELS / "leo.toml"), "--out", str(picture))
    assert run.returncode == 0, run.stderr
    assert "mean rate bps: 9.15583e+06" in run.stdout
    assert f"picture: {picture}" in run.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    run = command(str(CHANNELS / "leo.toml"), "--json", "--seconds", "60")
    assert json.loads(run.stdout)["seconds"] == 60


def test_errors_are_one_line(tmp_path):
    (tmp_path / "t.toml").write_text('kind = "trace"\npath = "none.csv"\n')
    run = command(str(tmp_path / "t.toml"))
    assert run.returncode == 2
    assert run.stderr.strip() == f"error: {tmp_path}/none.csv: no such trace file"


@pytest.mark.parametrize(
    ("said", "found", "hint"),
    [("", "nothing", ""), ('kind = "bernouli"', "'bernouli'", ". Did you mean 'bernoulli'?")],
)
def test_an_unknown_kind_is_answered_with_channels_and_losses(tmp_path, said, found, hint):
    (tmp_path / "t.toml").write_text(said)
    with pytest.raises(ConfigError) as error:
        show(tmp_path / "t.toml", None, 1, seed=0)
    kinds = "'constant', 'awgn', 'rayleigh', 'rician', 'fsmc', 'trace', 'user-speeds', "
    kinds += "'bernoulli', 'gilbert-elliott' or 'loss-trace'"
    assert str(error.value) == f"{tmp_path}/t.toml, kind: found {found}, expected {kinds}{hint}"

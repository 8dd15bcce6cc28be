"""What `sfsim check` says a round will send and take, against what a run sent and took."""

from pathlib import Path

import pytest
from worlds import scenario

import sfsim
from sfsim.channel import RayleighBlock
from sfsim.network.declarations import Link
from sfsim.preview import preview
from sfsim.scenario.summary import link_rates


def test_messages_and_seconds_of_a_round(tmp_path: Path) -> None:
    declared = scenario(global_rounds=1)
    said = preview(declared)
    run = sfsim.run(declared, out=tmp_path / "run", checkpoint_share=0)
    real = run.messages.groupby(["kind", "direction"])[["raw_bytes"]].agg(["count", "sum"])
    for row in said.kinds:
        count, raw_bytes = real.loc[(row["kind"], row["direction"])]
        assert int(row["messages"].replace(",", "")) == count
        assert float(row["raw MB"]) == pytest.approx(raw_bytes / 1e6, abs=1e-3)
    seconds = float(said.round_words.split(" simulated s")[0].rsplit(" ", 1)[1])
    # Headers, labels, the devices and the server's turn come on top.
    assert seconds == pytest.approx(run.summary["end_s"], rel=0.35)
    assert preview(declared).channels == ()


def test_rates_of_a_channel_are_under_its_cap() -> None:
    fading = RayleighBlock(mean_snr_db=10.0, bandwidth_hz=1e6, coherence_time_s=0.1)
    mean_bps, least_bps = link_rates(Link(channel=fading, latency_s=0.0), 1, "a->b")
    capped, _ = link_rates(Link(channel=fading, rate_bps=mean_bps, latency_s=0.0, efficiency=0.5), 1, "a->b")
    assert 0 < least_bps < mean_bps and capped < mean_bps / 2
    assert link_rates(Link(rate_bps=1e6, latency_s=0.0, efficiency=0.5), 1, "x") == (5e5, 5e5)

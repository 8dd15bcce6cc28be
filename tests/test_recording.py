"""Recording: one finished run, timed over many networks in one process, as direct runs there would have been."""

from dataclasses import astuple, replace
from pathlib import Path

import pytest
from test_retiming_random import learning, timing
from worlds import FAST, clients, scenario

import sfsim
from sfsim.channel import RayleighBlock
from sfsim.device import Variation
from sfsim.errors import ConfigError, ResultsError, SfsimError
from sfsim.network.declarations import Link
from sfsim.report import where_time_went
from sfsim.results.tables import RECORDS
from sfsim.scenario import Scenario, Target
from sfsim.seeds import stream

FADING = Link(channel=RayleighBlock(mean_snr_db=8, bandwidth_hz=1e6, coherence_time_s=0.02), latency_s=0.01)


def worlds() -> list[Scenario]:
    """Three networks under the same learning, with a target that is reached."""
    base = scenario(validation_fraction=0.25, target=Target(metric="accuracy", value=0.01))
    slow = Variation(law="lognormal", sigma=0.5)
    return [
        base,
        replace(base, clients=clients(2, uplink=FADING)),
        replace(base, clients=clients(2, uplink=FADING, variation=slow), seed=replace(base.seeds, network=3)),
    ]


def test_a_timing_is_that_of_a_direct_run_however_often_and_in_whatever_order(tmp_path: Path) -> None:
    every = worlds()
    direct = [sfsim.run(s, out=tmp_path / str(i), checkpoint_share=0) for i, s in enumerate(every)]
    recording = sfsim.Recording(direct[0].directory)
    for i in (1, 2, 0, 2, 1):
        found, result = recording.retime(every[i]), direct[i]
        for table in RECORDS:
            rows = [astuple(row) for row in getattr(found.ledger, table)]
            if rows:
                assert rows == list(getattr(result, table).itertuples(index=False, name=None)), table
        assert found.end_s == result.end_s and found.time_to() == result.time_to()
        assert found.time_to(0.3) == result.time_to(0.3)
        assert found.where_time_went() == where_time_went(result)
        assert found.payload_bytes == result.summary["payload_bytes"]
        assert found.wire_bytes == result.summary["wire_bytes"]
        assert found.round_times_s == dict(result.rounds[["round", "time_s"]].itertuples(index=False))


@pytest.mark.parametrize("trial", range(4))
def test_random_recordings_over_random_networks(tmp_path: Path, trial: int) -> None:
    rng = stream(trial, "recordings")
    base = scenario(**(learning(rng, False) | timing(rng)))
    try:
        recording = sfsim.Recording(sfsim.run(base, out=tmp_path / "run", checkpoint_share=0).directory)
    except SfsimError:
        return  # a network that loses for good
    for number in range(4):
        over = replace(base, **timing(rng))
        try:
            written = sfsim.retime(tmp_path / "run", over, out=tmp_path / f"over-{number}")
        except SfsimError as refused:
            with pytest.raises(
                type(refused), match="^" + str(refused)[:20].replace("(", r"\(").replace("[", r"\[")
            ):
                recording.retime(over)
            continue
        messages = [astuple(row) for row in recording.retime(over).ledger.messages]
        assert messages == list(written.messages.itertuples(index=False, name=None))


def test_what_cannot_be_timed_is_refused(tmp_path: Path) -> None:
    base = scenario(validation_fraction=0.25)
    recording = sfsim.Recording(sfsim.run(base, out=tmp_path / "a", checkpoint_share=0).directory)
    with pytest.raises(ConfigError, match=r"clients: found .*, expected those of the run"):
        recording.retime(replace(base, clients=clients(3)))
    found = recording.retime(base)
    with pytest.raises(ResultsError, match="retimed test: the scenario names no target; give a value"):
        found.time_to()
    with pytest.raises(ConfigError, match=r"Write 0.9 for 90 %"):
        found.time_to(90)
    with pytest.raises(ResultsError, match="found no measurement of 'mji'"):
        found.time_to(Target(metric="mji", value=0.5))
    assert (
        recording.retime(replace(base, main_server=replace(base.main_server, device=FAST))).end_s
        == found.end_s
    )

"""A finished run over another network: what is retimed equals what would have been run there, byte for byte."""

from dataclasses import replace
from pathlib import Path

import pytest
from worlds import FAST, MASKS, clients, scenario

import sfsim
from sfsim.__main__ import main
from sfsim.channel import RayleighBlock
from sfsim.codec import Ae, Cast, Qsgd
from sfsim.errors import ConfigError, ResultsError, SfsimError
from sfsim.learning.augmentations import HorizontalFlip
from sfsim.learning.declarations import AdamW, UNet
from sfsim.learning.schedules import CosineRate
from sfsim.network.declarations import Link
from sfsim.network.transport import Udp
from sfsim.scenario import AdaptiveGate, Codecs, CodecTraining, NetworkTable, Server, Target, load

FILE = str(Path(__file__).resolve().parents[1] / "scenarios" / "quickstart.toml")
FADING = Link(latency_s=0.05, channel=RayleighBlock(mean_snr_db=5, bandwidth_hz=3e5, coherence_time_s=0.1))
SLOW = Link(rate_bps=3e5, latency_s=0.1)
U_SHAPED = {"data": MASKS, "model": UNet(width=2), "cut_layers": ("enc2a", "dec2a"), "loss": "dice"}
LEARNED = {"codecs": Codecs(scheme="FG", codec=Ae(channels=4))}
WORLDS = {
    "v1": {"client_fraction": 0.7, "codecs": Codecs(scheme="FG", codec=Qsgd(bits=4))},
    "v2": {"protocol": "splitfed-v2", "cut_layers": ("conv1", "conv3")},
    "sl": {"protocol": "sl"},
    "learned": U_SHAPED | LEARNED | {"codec_training": CodecTraining(update="epoch"), "local_epochs": 2},
    "gate": U_SHAPED | {"gradient_gate": AdaptiveGate()},
    "gate with labels": {"gradient_gate": AdaptiveGate()},
    "schedule and augmentation": {
        "optimiser": AdamW(schedule=CosineRate(over=4, by="step")),
        "augmentation": (HorizontalFlip(),),
        "normalisation": "from-training-data",
    },
    "target": {
        "validation_fraction": 0.2,
        "global_rounds": 4,
        "target": Target(metric="accuracy", value=0.01, stop=True),
    },
}


def tables(result):
    """What must be equal, but for links, which a run that was cut short counts to another end."""
    names = ("messages", "computations", "evaluations", "rounds", "links")
    return {name: (result.directory / f"{name}.parquet").read_bytes() for name in names}


@pytest.mark.parametrize("name", WORLDS)
def test_what_is_retimed_is_what_would_have_been_run(name: str, tmp_path: Path) -> None:
    here = scenario(**(WORLDS[name] | {"clients": clients(3)}))
    there = replace(here, seed=replace(here.seeds, network=11), clients=clients(3, FADING, SLOW, start_s=0.3))
    learnt = sfsim.run(here, out=tmp_path / "here")
    run = sfsim.run(there, out=tmp_path / "there")
    retimed = sfsim.retime(learnt.directory, there, out=tmp_path / "retimed")
    assert tables(retimed) == tables(run) != tables(learnt)
    assert any("learnt in here" in note for note in retimed.notes)
    again = sfsim.retime(retimed.directory, here, out=tmp_path / "again")
    assert tables(again) == tables(learnt)


def test_only_the_clock_is_taken_from_the_other_scenario(tmp_path: Path) -> None:
    learnt = sfsim.run(scenario(), out=tmp_path / "a")
    other = scenario(
        codecs=Codecs(smashed_up=Cast(dtype="float16")), global_rounds=9, clients=clients(2, SLOW)
    )
    retimed = sfsim.retime(learnt.directory, other)
    assert retimed.scenario["codecs"] == learnt.scenario["codecs"] and len(retimed.rounds) == 2
    assert retimed.messages["payload_bytes"].sum() == learnt.messages["payload_bytes"].sum()
    assert retimed.end_s > learnt.end_s


def test_what_is_not_taken_is_said(tmp_path: Path, monkeypatch, capsys) -> None:
    def said(*changes: str) -> tuple[str, str]:
        words = ["sfsim", "retime", str(tmp_path / "a"), FILE, "--no-report", *changes]
        monkeypatch.setattr("sys.argv", [*words, "--out", str(tmp_path / str(len(changes)))])
        with pytest.raises(SystemExit) as exit_:
            main()
        assert not exit_.value.code
        printed = capsys.readouterr()
        return printed.out, printed.err

    monkeypatch.chdir(tmp_path)
    here = load(Path(FILE), {"global_rounds": 2})
    sfsim.run(here, out=tmp_path / "a")
    same, other = ["--set", "global_rounds=2"], ["--set", "seed={training=1,data=7,network=3}"]
    out, err = said(*same, "--set", "clients.*.uplink.latency_s=0.5", "--quiet")
    assert (out, err) == ("", "")
    out, err = said(*same)
    assert err == "" and "retimed: learnt in a" in out
    _, err = said(*other, "--set", "data.test_fraction=0.3")
    assert err == f"note: {FILE}: not used, since the run decides it: seed, global_rounds, data\n"


@pytest.mark.parametrize(
    ("run", "over", "message"),
    [
        ({}, {"clients": clients(3)}, "clients: found c-0, c-1, c-2, expected those of the run: c-0, c-1"),
        ({"protocol": "splitfed-v2", "server_order": "arrival"}, {}, "server_order: found 'arrival'"),
        (
            {},
            {"network": NetworkTable(transport=Udp())},
            "network.transport: found udp in the other scenario",
        ),
        ({"protocol": "sl"} | LEARNED, {}, "protocol: found 'sl' with learned codecs"),
    ],
)
def test_what_depends_on_the_clock_is_refused(run, over, message: str, tmp_path: Path) -> None:
    learnt = sfsim.run(scenario(**({"global_rounds": 1} | run)), out=tmp_path / "a")
    with pytest.raises(ConfigError, match=message):
        sfsim.retime(learnt.directory, scenario(**over), out=tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_device_that_is_too_small_is_refused_as_a_run_on_it_is(tmp_path: Path) -> None:
    learnt = sfsim.run(scenario(global_rounds=1), out=tmp_path / "a")
    small = scenario(global_rounds=1, main_server=Server(device=replace(FAST, memory_bytes=1000)))
    said = []
    for start in (lambda: sfsim.run(small, out=tmp_path / "b"), lambda: sfsim.retime(tmp_path / "a", small)):
        with pytest.raises(SfsimError, match="memory_bytes") as caught:
            start()
        said.append(str(caught.value))
    assert said[0] == said[1]
    enough = replace(small, main_server=Server(device=replace(FAST, memory_bytes=10**8)))
    assert len(sfsim.retime(learnt.directory, enough, out=tmp_path / "c").rounds) == 1


def test_a_gate_in_a_run_that_stopped_early_is_refused(tmp_path: Path) -> None:
    """How far it opens hangs on the rounds that were declared, which a shorter run would not have."""
    stopped = scenario(**WORLDS["target"], gradient_gate=AdaptiveGate())
    sfsim.run(stopped, out=tmp_path / "a")
    with pytest.raises(ConfigError, match="gradient_gate: found a gate in a run that stopped after"):
        sfsim.retime(tmp_path / "a", stopped, out=tmp_path / "b")


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ResultsError):
        sfsim.retime(tmp_path, scenario())

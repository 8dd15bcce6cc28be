"""Random scenarios, random networks: retiming equals the direct run byte for byte, or is refused with a reason.

``SFSIM_RETIMINGS=200 pytest tests/test_retiming_random.py`` tries more of them.
"""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interrupted import counted
from worlds import FAST, IMAGES, clients, scenario

import sfsim
from sfsim.channel import Bernoulli, RayleighBlock
from sfsim.codec import Ae, Cast, Qsgd, Uniform
from sfsim.errors import NetworkError, SfsimError
from sfsim.learning.declarations import Cnn
from sfsim.network.cell import Cellular, WifiCell
from sfsim.network.declarations import Link
from sfsim.network.transport import Arq, TcpCubic, Udp
from sfsim.scenario import (
    AdaptiveGate,
    ClientGroup,
    Codecs,
    CodecTraining,
    Evaluation,
    FedServer,
    ModelCodec,
    NetworkTable,
    Scenario,
    Server,
)
from sfsim.seeds import stream

WIRE = Link(rate_bps=1e9, latency_s=0.001)
COUNT = int(os.environ.get("SFSIM_RETIMINGS", "5"))
SLOW = replace(FAST, name="slow", peak_flops=1e8, launch_overhead_s=1e-3)
EXACT = ModelCodec(codec=Cast(dtype="float32"))
COARSE = ModelCodec(codec=Uniform(bits=8, per="tensor"))


def learning(rng: np.random.Generator, learned: bool) -> dict[str, Any]:
    """What decides the learning."""

    def one_of(*choices: Any) -> Any:
        return choices[rng.integers(len(choices))]

    u_shaped = learned or bool(rng.integers(2))
    codec = Ae(channels=2) if learned else one_of(Qsgd(bits=4), Cast(dtype="float16"))
    table: dict[str, Any] = {
        "protocol": one_of("splitfed-v1", "splitfed-v2", "sl"),
        "data": replace(IMAGES, num_train=12, num_test=4, image_size=16 if u_shaped else 8),
        "model": Cnn(width=2),
        "cut_layers": ("conv1", "conv2") if u_shaped else ("conv1",),
        "batch_size": 2,
        "codecs": Codecs(scheme=one_of("F", "FG"), codec=codec),
        "local_epochs": one_of(1, 2),
        "client_fraction": one_of(1.0, 0.6),
        "evaluation": Evaluation(codec_off=False, per_client=bool(rng.integers(2)), keep_predictions=2),
        "batch_norm": one_of("average", "local"),
    }
    if learned:
        training = CodecTraining(
            update=one_of("round", "epoch", "ideal"),
            update_codec=one_of(EXACT, COARSE, replace(COARSE, of="weights")),
        )
        if table["protocol"] == "sl":
            training = replace(training, update_codec=EXACT)
        table["codec_training"] = training
    if rng.random() < 0.3:
        table["gradient_gate"] = AdaptiveGate()
    if table["protocol"] == "splitfed-v1" and rng.random() < 0.5:
        table |= {"aggregate": "best-validation", "validation_fraction": 0.25}
    if table["protocol"] != "sl" and rng.random() < 0.3:
        table["codecs"] = replace(table["codecs"], client_model_down=replace(COARSE, of="delta"))
    return table


def timing(rng: np.random.Generator) -> dict[str, Any]:
    """What decides the clock."""

    def one_of(*choices: Any) -> Any:
        return choices[rng.integers(len(choices))]

    def link() -> Link:
        if rng.random() < 0.3:
            channel = RayleighBlock(mean_snr_db=10, bandwidth_hz=1e6, coherence_time_s=0.1)
            return Link(latency_s=0.02, channel=channel)
        rate_bps, latency_s = 10.0 ** rng.uniform(5, 12), one_of(0.0, 0.01, 0.3)
        loss = Bernoulli(probability=0.2) if rng.random() < 0.3 else None
        transport = one_of(None, Arq(retries=0), Udp()) if loss and rng.random() < 0.5 else None
        return Link(rate_bps=rate_bps, latency_s=latency_s, loss=loss, transport=transport)

    in_cell = rng.random() < 0.4
    groups = tuple(
        ClientGroup(
            name=name,
            device=one_of(FAST, SLOW),
            start_s=one_of(0.0, 0.0, 1.5),
            **({"cell": "air", "distance_m": (80.0,)} if in_cell else {"uplink": link(), "downlink": link()}),
        )
        for name in "abc"
    )
    delivery = {"model_delivery": one_of("unicast", "multicast")}
    cell = {"air": one_of(Cellular(**delivery), WifiCell(**delivery))} if in_cell else {}
    lossy = any(group.uplink and (group.uplink.loss or group.downlink.loss) for group in groups)
    transport = {"transport": one_of(Arq(), TcpCubic())} if lossy or rng.random() < 0.2 else {}
    packets = not in_cell and not transport and not lossy and rng.random() < 0.3
    engine = {"engine": "packet"} if packets else {}
    return {
        "clients": groups,
        "cell": cell,
        "main_server": Server(device=one_of(FAST, SLOW, replace(FAST, slots=3))),
        "fed_server": one_of(
            FedServer(), FedServer(same_host=False, device=FAST, uplink=WIRE, downlink=WIRE)
        ),
        "network": NetworkTable(**transport, **engine, usage_every_s=one_of(None, 0.5)),
        "seed": replace(scenario().seeds, network=int(rng.integers(99))),
    }


def test_what_loses_for_good_is_refused(tmp_path: Path) -> None:
    """Case 32: the direct run stops when bytes are missing, so the retimed one must not go on."""
    learnt = sfsim.run(scenario(), out=tmp_path / "a")
    for transport in (Arq(retries=0), Udp()):
        link = Link(rate_bps=1e6, latency_s=0.01, loss=Bernoulli(probability=0.3), transport=transport)
        there = scenario(clients=clients(2, uplink=link))
        with pytest.raises(SfsimError):
            sfsim.run(there, out=tmp_path / "direct")
        with pytest.raises(
            NetworkError, match=r"smashed data of round 1 from c-\d to main server lost .* for good"
        ):
            sfsim.retime(learnt.directory, there, out=tmp_path / "b")


def left(declared: Scenario, run: Any, out: Path) -> dict[str, Any]:
    """Everything that a run leaves, but for where the learning came from; or the error that ended it."""
    try:
        result = run(declared, out)
    except SfsimError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    files = {path.relative_to(result.directory).as_posix(): path for path in result.directory.rglob("*.*")}
    found: dict[str, Any] = {name: files[name].read_bytes() for name in files if not name.endswith(".json")}
    found["scenario"] = json.loads((result.directory / "scenario.json").read_text())
    found["notes"] = [note for note in result.notes if not note.startswith("retimed: ")]
    return found


def recorded(declared: Scenario, out: Path) -> Any:
    """A run that leaves a checkpoint after every round."""
    return sfsim.run(declared, out=out, checkpoint_share=np.inf)


def resumed(declared: Scenario, out: Path) -> Any:
    """The same run, broken off somewhere in its second round and resumed."""
    counted(declared, out, last=24)
    return sfsim.run(declared, out=out, checkpoint_share=np.inf, resume=True)


@pytest.mark.parametrize("number", range(COUNT))
def test_retiming_equals_the_direct_run_or_is_refused(number: int, tmp_path: Path) -> None:
    rng = stream(number, "retiming")
    what, here, there = learning(rng, learned=number % 3 == 2), timing(rng), timing(rng)
    first = scenario(**(what | here))
    second = replace(first, **there)
    learnt = left(first, resumed if number % 2 else recorded, tmp_path / "a")
    if "error" in learnt:
        assert "lost" in learnt["error"] or "payload" in learnt["error"] or "Codec" in learnt["error"]
        return
    retimed = left(second, lambda s, out: sfsim.retime(tmp_path / "a", s, out=out), tmp_path / "b")
    if "error" in retimed:
        print(retimed["error"])
        assert "for good" in retimed["error"] or "with learned codecs" in retimed["error"], retimed["error"]
        return
    direct = left(second, lambda s, out: sfsim.run(s, out=out), tmp_path / "c")
    assert retimed.keys() == direct.keys()
    assert [name for name in direct if direct[name] != retimed[name]] == []

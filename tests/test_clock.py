"""What is learnt does not depend on the clock: slow and fast devices and links give the same losses and payloads."""

from dataclasses import replace
from typing import Any

import pytest
from worlds import FAST, IMAGES, finished, scenario

from sfsim.codec import Ae, Qsgd, RandTopK
from sfsim.device import Device
from sfsim.learning.declarations import Cnn
from sfsim.network.declarations import Link
from sfsim.scenario import (
    AdaptiveGate,
    ClientGroup,
    Codecs,
    CodecTraining,
    Evaluation,
    Scenario,
    Server,
)
from sfsim.splitfed.schedule import Schedule
from sfsim.world import World

INSTANT = replace(
    FAST, name="instant", peak_flops=1e30, memory_bandwidth_bytes_per_s=1e30, launch_overhead_s=0
)
CRAWLING = replace(FAST, name="crawling", peak_flops=1e7, launch_overhead_s=0.01)
WIRE, MODEM = Link(rate_bps=1e12, latency_s=0), Link(rate_bps=2e4, latency_s=0.7)
DATA = replace(IMAGES, num_train=16, num_test=4)
U_SHAPED = {"data": replace(DATA, image_size=16), "model": Cnn(width=2), "cut_layers": ("conv1", "conv2")}
LEARNED = {"codecs": Codecs(scheme="F", codec=Ae(channels=2))}
BEST = {"aggregate": "best-validation", "validation_fraction": 0.25, "local_epochs": 3}
OFTEN = {"codec_training": CodecTraining(update="epoch"), "local_epochs": 2}
GATE = {"gradient_gate": AdaptiveGate()}
# In SplitFedV2 the first of all to be served is there at once, the last comes when others have long trained.
LATE = dict(zip(Schedule("abc", 1.0, 1, seed=7).permutation(1), (0.0, 3.0, 400.0), strict=True))
WORLDS: dict[str, dict[str, Any]] = {
    "sl": {"protocol": "sl", "batch_norm": "local"},
    "v1": {"client_fraction": 0.7, "codecs": Codecs(scheme="FG", codec=Qsgd(bits=4))},
    "v2": {"protocol": "splitfed-v2", "codecs": Codecs(scheme="F", codec=RandTopK(keep=0.3, alpha=0.1))},
    "best epoch": BEST,
    "the only epoch": BEST | {"local_epochs": 1, "global_rounds": 3},
    "best epoch, gate": BEST | GATE,
    "best epoch, U-shaped, gate, learned codecs": BEST | U_SHAPED | LEARNED | OFTEN | GATE,
    "U-shaped v2, learned codecs": U_SHAPED | LEARNED | OFTEN | {"protocol": "splitfed-v2"},
}


def clocks() -> dict[str, dict[str, Any]]:
    """Devices and links of three clients and the main server, from all at once to everybody at another time."""

    def group(name: str, device: Device, link: Link, start_s: float = 0.0) -> ClientGroup:
        return ClientGroup(name=name, device=device, uplink=link, downlink=link, start_s=start_s)

    return {
        "instant clients, slow server": {
            "clients": tuple(group(name, INSTANT, WIRE) for name in "abc"),
            "main_server": Server(device=CRAWLING),
        },
        "all different": {
            "clients": (
                group("a", CRAWLING, WIRE, start_s=LATE["a"]),
                group("b", INSTANT, MODEM, start_s=LATE["b"]),
                group("c", FAST, Link(rate_bps=1e6, latency_s=0.01), start_s=LATE["c"]),
            ),
            "main_server": Server(device=replace(FAST, slots=2)),
        },
    }


def learnt(world: World) -> tuple[dict[Any, Any], list[Any]]:
    """What was sent and measured, without when."""
    sent = {
        (m.kind, m.slot, m.source, m.destination, m.round, m.epoch, m.minibatch): (
            m.payload_bytes,
            m.payload_crc32,
        )
        for m in world.ledger.messages
    }
    assert len(sent) == len(world.ledger.messages)
    measured = [
        (e.round, e.split, e.codec, e.metric, e.client, repr(e.value)) for e in world.ledger.evaluations
    ]
    return sent, measured


@pytest.mark.parametrize("name", WORLDS)
def test_the_clock_does_not_decide_what_is_learnt(name: str) -> None:
    declared: Scenario = scenario(
        **{
            "data": DATA,
            "batch_size": 3,
            "evaluation": Evaluation(codec_off=False, per_client=True),
            **WORLDS[name],
            **next(iter(clocks().values())),
        }
    )
    results = {clock: learnt(finished(replace(declared, **table))) for clock, table in clocks().items()}
    one, other = results.values()
    assert other[1] == one[1]
    assert other[0] == one[0]

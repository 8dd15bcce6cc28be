"""Small scenarios for tests, and worlds that have been run to their end."""

from typing import Any

from sfsim import world as worlds
from sfsim.codec import Codec
from sfsim.device import Device
from sfsim.learning.declarations import Adam, Cnn, Synthetic
from sfsim.network.declarations import Link
from sfsim.scenario import ClientGroup, Codecs, Evaluation, Scenario, Server
from sfsim.world import World

FAST = Device(
    name="test device",
    peak_flops=1e12,
    efficiency=0.5,
    memory_bandwidth_bytes_per_s=1e11,
    launch_overhead_s=1e-6,
    symbols_per_s=1e9,
    memory_bytes=10**10,
    idle_power_w=1.0,
    active_power_w=10.0,
    source="made up for tests",
)
ACCESS = Link(rate_bps=10e6, latency_s=0.01)
IMAGES = Synthetic(num_train=96, num_test=16, image_size=8, num_classes=3)
MASKS = Synthetic(task="segmentation", num_train=48, num_test=8, image_size=32, num_classes=2)


def scenario(**changes: Any) -> Scenario:
    """Two clients on equal links, a tiny CNN on invented images; every key can be changed."""
    given: dict[str, Any] = {
        "name": "test",
        "seed": 7,
        "protocol": "splitfed-v1",
        "global_rounds": 2,
        "batch_size": 16,
        "data": IMAGES,
        "model": Cnn(width=4),
        "cut_layers": ("conv1",),
        "optimiser": Adam(learning_rate=1e-2),
        "clients": clients(2),
        "main_server": Server(device=FAST),
        "evaluation": Evaluation(codec_off=False),
        "validation_fraction": 0.0,
    }
    return Scenario(**(given | changes))


def clients(
    count: int, uplink: Link = ACCESS, downlink: Link = ACCESS, **more: Any
) -> tuple[ClientGroup, ...]:
    """One group of equal clients called c (or c-0, c-1, ...)."""
    return (ClientGroup(name="c", count=count, device=FAST, uplink=uplink, downlink=downlink, **more),)


def coded(codec: Codec, *slots: str) -> Codecs:
    """Codecs with one codec in the named slots."""
    return Codecs(**dict.fromkeys(slots, codec))


def finished(declared: Scenario, jobs: int = 1) -> World:
    """The world of a scenario after its run, with its conservation checked."""
    world = worlds.build(declared, jobs=jobs)
    try:
        world.env.run(until=world.env.all_of(world.processes))
        world.network.finish()
        world.network.check_conservation()
    finally:
        world.workload.close()
    return world

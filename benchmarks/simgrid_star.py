"""A closed loop over a star in SimGrid, for `benchmarks.network`: run by any Python that has SimGrid.

Reads JSON from standard input: ``rates_bps`` of the access links, ``trunks`` as ``[bits per second, seconds]`` behind
them, ``latency_s`` of access links, ``sizes`` in bytes, one row per client. Writes JSON: the seconds that the
simulation took, and when each client's last message arrived.
"""

import json
import sys
from time import perf_counter

from simgrid import Actor, Comm, Engine, LinkInRoute, NetZone

# Links are shared max-min fairly, at their nominal rates and latencies: no model of TCP.
PLAIN = {
    "model": "CM02",
    "TCP-gamma": 0,
    "weight-S": 0,
    "crosstraffic": 0,
    "latency-factor": 1,
    "bandwidth-factor": 1,
}


def client(own, server, sizes, ends_s, number):  # type: ignore[no-untyped-def]
    """Send one message after another."""
    for size in sizes:
        Comm.sendto(own, server, size)
    ends_s[number] = Engine.clock


def main() -> None:
    """Build the star and run it."""
    told = json.load(sys.stdin)
    plain = [f"--cfg=network/{key}:{value}" for key, value in PLAIN.items()]
    engine = Engine([sys.argv[0], *plain, "--log=root.thresh:error"])
    zone = NetZone.create_full_zone("star")
    server = zone.create_host("server", 1e9)
    trunks = []
    for number, (rate_bps, latency_s) in enumerate(told["trunks"]):
        trunks.append(zone.create_link(f"trunk {number}", rate_bps / 8).set_latency(latency_s).seal())
    ends_s = [0.0] * len(told["sizes"])
    for number, (rate_bps, sizes) in enumerate(zip(told["rates_bps"], told["sizes"], strict=True)):
        own = zone.create_host(f"client {number}", 1e9)
        access = zone.create_link(f"access {number}", rate_bps / 8).set_latency(told["latency_s"]).seal()
        route = [LinkInRoute(link) for link in (access, *trunks)]
        zone.add_route(own.netpoint, server.netpoint, None, None, route, True)
        Actor.create(f"client {number}", own, client, own, server, sizes, ends_s, number)
    zone.seal()
    started = perf_counter()
    engine.run()
    json.dump({"seconds": perf_counter() - started, "ends_s": ends_s}, sys.stdout)


if __name__ == "__main__":
    main()

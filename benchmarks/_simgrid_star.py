"""A closed loop over a star in SimGrid, for `benchmarks.network`: run by any Python that has SimGrid.

Reads JSON from standard input: ``access`` links and the ``trunks`` behind them, each ``[bits per second, seconds]``,
and ``sizes`` in bytes, one row per client. Writes JSON: the seconds that the simulation took, and when each client's
last message arrived.
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

    def link(name, rate_bps, latency_s):  # type: ignore[no-untyped-def]
        return zone.create_link(name, rate_bps / 8).set_latency(latency_s).seal()

    trunks = [link(f"trunk {number}", *numbers) for number, numbers in enumerate(told["trunks"])]
    ends_s = [0.0] * len(told["sizes"])
    for number, (numbers, sizes) in enumerate(zip(told["access"], told["sizes"], strict=True)):
        own = zone.create_host(f"client {number}", 1e9)
        route = [LinkInRoute(each) for each in (link(f"access {number}", *numbers), *trunks)]
        zone.add_route(own.netpoint, server.netpoint, None, None, route, True)
        Actor.create(f"client {number}", own, client, own, server, sizes, ends_s, number)
    zone.seal()
    started = perf_counter()
    engine.run()
    json.dump({"seconds": perf_counter() - started, "ends_s": ends_s}, sys.stdout)


if __name__ == "__main__":
    main()

"""The network engine against SimPy itself: transfers a second, as ratios to a loop of one event per transfer.

Clients are SimPy processes in a closed loop: the next message starts when the last one has arrived. The null
loop has the same processes and one timeout per transfer, and runs in turn with each case in the same process,
with the garbage collector set as in a run.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import numpy as np
import simpy

from benchmarks.packet import HOPS, ns_py
from sfsim.collector import patient_collector
from sfsim.ledger import Ledger
from sfsim.network import Link, Network, Outgoing, framing
from sfsim.network.base import Edge
from sfsim.network.cell import Cellular
from sfsim.network.cell.radio import CellAccess
from sfsim.seeds import stream

REPEATS = 3
Loop = Callable[[], tuple[int, float]]


def wanted(count: int, equal: bool) -> Iterator[Outgoing]:
    """Messages in the order in which they will be sent: log-uniform from 1 kB to 100 MB, or all alike.

    They are made beforehand, as the null loop's delays are, a thousand of them for all clients: a payload costs
    whoever encodes it, not the network.
    """
    size = stream(1, "sizes").uniform(3, 8, 1000)
    kinds = [Outgoing("benchmark", b"", size=1_000_000 if equal else int(10**one)) for one in size]
    return map(kinds.__getitem__, memoryview(stream(1, "messages").integers(0, 1000, count, np.uint16).data))


def edges(shape: str, names: list[str]) -> list[Edge]:
    """A star or a tree of ten branches behind one server, with access links of 10 to 100 Mbit/s; or a cell."""
    clients = len(names)
    net: list[Edge] = []
    # Ninety kinds of access link, so that a hundred thousand clients do not cost as many declarations.
    kinds = [
        Link(rate_bps=2e7 if shape == "lock-step" else 1e6 * mbps, latency_s=0.01) for mbps in range(10, 100)
    ]
    luck = stream(1, "access links").integers(0, len(kinds), clients).tolist()
    branches = [f"branch{number}" if shape == "tree" else "hub" for number in range(10)]
    for number, name in enumerate(names):
        access = CellAccess("cell", name, down=False) if shape == "cell" else None
        net.append((name, branches[number % 10], kinds[luck[number]], access))
    if shape == "tree":
        net += [(branch, "hub", Link(rate_bps=clients * 1e6, latency_s=0.001), None) for branch in branches]
    net.append(("hub", "gate", Link(rate_bps=clients * 1e7, latency_s=0.001), None))
    net.append(("gate", "server", Link(rate_bps=clients * 5e6, latency_s=0.0), None))
    return net


def transfers(shape: str, clients: int, messages: int, ledger: Ledger | None = None) -> Loop:
    """Prepare a closed loop over a network; the call runs it and returns (transfers, seconds)."""
    air = Cellular(access="round-robin", wake_up_s=0.0, sr_period_s=0.0, grant_delay_s=0.0)
    cells = {"cell": air} if shape == "cell" else None
    env, names = simpy.Environment(), [f"c{number}" for number in range(clients)]
    hosts = {name: name for name in (*names, "server")}
    network = Network(env, edges(shape, names), hosts, framing("tcp-ipv4"), 1, ledger, cells=cells)
    network.inbox("server").open = False
    send, following = network.send, wanted(clients * messages, shape == "lock-step")

    def client(name: str):  # type: ignore[no-untyped-def]
        left = messages
        while left:
            left -= 1
            yield send(name, "server", next(following))

    for name in names:
        env.process(client(name))

    def run() -> tuple[int, float]:
        started = perf_counter()
        with patient_collector():
            env.run()
        took_s = perf_counter() - started
        network.check_conservation()
        return clients * messages, took_s

    return run


def nothing(clients: int, messages: int) -> Loop:
    """Prepare the null loop."""
    env = simpy.Environment()

    def client(delays_s: np.ndarray):  # type: ignore[no-untyped-def]
        for delay_s in delays_s.tolist():
            yield env.timeout(delay_s)

    for delays_s in stream(1, "delays").random((clients, messages)):
        env.process(client(delays_s))

    def run() -> tuple[int, float]:
        started = perf_counter()
        with patient_collector():
            env.run()
        return clients * messages, perf_counter() - started

    return run


def against(
    case: Callable[[], Loop], other: Callable[[], Loop], repeats: int = REPEATS
) -> tuple[float, float]:
    """Median transfers a second of a case, and the median of its ratios to another, run in turn."""
    case()()  # compiled kernels are loaded, caches filled
    rates, ratios = [], []
    for _ in range(repeats):
        done, seconds = case()()
        other_done, other_seconds = other()()
        rates.append(done / seconds)
        ratios.append(done / seconds / (other_done / other_seconds))
    return statistics.median(rates), statistics.median(ratios)


def in_own_process(shape: str, clients: int, messages: int) -> str:
    """Run a large case in a fresh interpreter; say how long it took and its peak memory."""
    code = (
        f"from benchmarks import network as n; d, s = n.transfers({shape!r}, {clients}, {messages})(); "
        f"print(f'{{d:,}} transfers in {{s:.1f}} s, {{d / s:,.0f}}/s, peak {{n.peak_mb():.0f}} MB')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def peak_mb() -> float:
    """Peak resident memory of this process (`ru_maxrss` would begin with that of its parent)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e3


def pipe(messages: int) -> Loop:
    """Prepare messages of 1 MB, one after another, over the two hops of `benchmarks.packet`."""
    env = simpy.Environment()
    net = [("a", "n", HOPS["1"]), ("n", "b", HOPS["2"])]
    network = Network(env, net, {"a": "a", "b": "b"}, framing("none"), 1, None)
    network.inbox("b").open = False

    def client():  # type: ignore[no-untyped-def]
        for _ in range(messages):
            yield network.send("a", "b", Outgoing("benchmark", b"", size=1_000_000))

    env.process(client())

    def run() -> tuple[int, float]:
        started = perf_counter()
        env.run()
        return messages, perf_counter() - started

    return run


def in_packets(messages: int) -> Loop:
    """Prepare the same bytes in packets of 1,500 bytes by ns.py."""
    packets = messages * 667

    def run() -> tuple[int, float]:
        return messages, 2 * packets / ns_py(packets)

    return run


def simgrid_python() -> str | None:
    """Return a Python that has SimGrid: this one, or the system's, for which distributions have a package."""
    for python in (sys.executable, shutil.which("python3", path=os.defpath)):
        if python is None:
            continue
        found = subprocess.run([python, "-c", "import simgrid"], capture_output=True, check=False)
        if found.returncode == 0:
            return python
    return None


def against_simgrid(python: str, clients: int, messages: int) -> str:
    """Run the same star in both, in turn; say how much faster ours is, and how far its times are off."""
    names = [f"c{number}" for number in range(clients)]
    size = (10 ** stream(1, "sizes").uniform(3, 8, (clients, messages))).astype(int).tolist()
    net = edges("star", names)
    links = [(edge[2].rate_bps, edge[2].latency_s) for edge in net]
    told = {"access": links[:clients], "trunks": links[clients:], "sizes": size}
    program, ratios, errors = str(Path(__file__).with_name("_simgrid_star.py")), [], []
    for _ in range(REPEATS + 1):
        done = subprocess.run(
            [python, program], input=json.dumps(told), capture_output=True, check=True, text=True
        )
        theirs = json.loads(done.stdout)
        ours_s, ends_s = same_star(names, net, size)
        ratios.append(theirs["seconds"] / ours_s)
        errors.append(float(np.max(np.abs(np.array(ends_s) / theirs["ends_s"] - 1))))
    faster = f"{statistics.median(ratios[1:]):,.0f} times as many transfers a second"
    return f"{faster}; relative difference of end times at most {max(errors):.0e}"


def same_star(names: list[str], net: list[Edge], size: list[list[int]]) -> tuple[float, list[float]]:
    """Run the star of `_simgrid_star.py`; return the seconds it took, and when each client's last message arrived."""
    env, ends_s = simpy.Environment(), [0.0] * len(names)
    hosts = {name: name for name in (*names, "server")}
    network = Network(env, net, hosts, framing("none"), 1, None)
    network.inbox("server").open = False

    def client(number: int):  # type: ignore[no-untyped-def]
        for one in size[number]:
            yield network.send(names[number], "server", Outgoing("benchmark", b"", size=one))
        ends_s[number] = env.now

    for number in range(len(names)):
        env.process(client(number))
    started = perf_counter()
    with patient_collector():
        env.run()
    return perf_counter() - started, ends_s


def main(toy: bool = False) -> None:
    """Print one row per case, then the large ones and the comparisons, which a toy leaves out."""
    repeats, fewer = (1, 200) if toy else (REPEATS, 1)
    print(f"{'case':<28}{'transfers/s':>13}{'ratio to null loop':>20}{'asked':>8}")
    for name, shape, clients, messages, asked in (
        ("star, 1,000 clients", "star", 1000, 50, 0.09),
        ("star, 5,000 clients", "star", 5000, 10, 0.15),
        ("tree, 1,000 clients", "tree", 1000, 50, 0.05),
        ("tree, 5,000 clients", "tree", 5000, 10, 0.09),
        ("lock-step, 1,000 clients", "lock-step", 1000, 100, 0.30),
        ("cell, 1,000 clients", "cell", 1000, 20, 0.03),
    ):
        rate, ratio = against(
            lambda a=shape, b=clients // fewer, c=messages: transfers(a, b, c),  # type: ignore[misc]
            lambda b=clients // fewer, c=messages: nothing(b, c),  # type: ignore[misc]
            repeats,
        )
        print(f"{name:<28}{rate:>13,.0f}{ratio:>20.3f}{asked:>8.2f}", flush=True)
    _, with_ledger = against(
        lambda: transfers("star", 1000 // fewer, 50, Ledger()),
        lambda: transfers("star", 1000 // fewer, 50),
        repeats,
    )
    print(
        f"star, 1,000 clients, with the ledger: {1 / with_ledger:.2f} times as long as without (asked: 1.5)"
    )
    if not toy:
        comparisons()


def comparisons() -> None:
    """Print how the engine stands beside ns.py and SimGrid, where they are installed, and the large cases."""
    if find_spec("ns") is None:
        print("ns.py is not installed: no comparison")
    else:
        _, ratio = against(lambda: pipe(2000), lambda: in_packets(20))
        print(f"1 MB over two hops: {ratio:,.0f} times as many messages a second as ns.py")
    python = simgrid_python()
    if python is None:
        print("SimGrid is not installed: no comparison")
    else:
        for clients, messages in ((1000, 10), (5000, 2)):
            text = against_simgrid(python, clients, messages)
            print(f"star, {clients:,} clients, against SimGrid's Python bindings: {text}", flush=True)
    print(f"1,000 x 1,000 messages: {in_own_process('star', 1000, 1000)} (asked: < 250 MB)", flush=True)
    print(f"100,000 clients: {in_own_process('star', 100_000, 2)} (asked: < 350 MB)")

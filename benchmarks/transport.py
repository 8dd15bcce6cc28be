"""Packets per second of the packet kernels, and the same kernels as plain Python, side by side."""

import statistics
from collections.abc import Callable
from time import perf_counter
from types import ModuleType
from typing import Any

from sfsim.network.declarations import framing
from sfsim.network.transport import Arq, Path, TcpCubic, TcpReno, Wifi, arq_kernel, tcp_kernel, wifi_kernel
from sfsim.seeds import stream

REPEATS = 9
NUM_BYTES, SHORT_BYTES = 10**7, 5 * 10**5


def packets_per_s(run: Callable[[], Any], packets: Callable[[Any], int], repeats: int) -> float:
    """Median speed of a call, after one that is not counted."""
    run()
    speeds = []
    for _ in range(repeats):
        started = perf_counter()
        found = run()
        speeds.append(packets(found) / (perf_counter() - started))
    return statistics.median(speeds)


def plain(kernel: ModuleType, run: Callable[[], float]) -> float:
    """Call `run` with the kernel's Python source in place of what numba made of it."""
    compiled = kernel.run
    kernel.run = compiled.py_func  # type: ignore[attr-defined]
    try:
        return run()
    finally:
        kernel.run = compiled  # type: ignore[attr-defined]


def main(toy: bool = False) -> None:
    """Print one row per kernel and loss: 10 MB (plain Python: 0.5 MB) over 10 Mbit/s and 50 ms."""
    repeats, num_bytes, short_bytes = (1, 30_000, 3_000) if toy else (REPEATS, NUM_BYTES, SHORT_BYTES)
    path = Path(1e7, 1e7, 0.025, 0.025)
    draws = stream(0, "benchmark", "transport").random(100_000)
    cubic, reno, arq, wifi = TcpCubic(), TcpReno(), Arq(), Wifi()
    tcp_frames, udp_frames, wifi_frames = framing("tcp-ipv4"), framing("udp-ipv4"), framing("udp-ipv4-wifi")
    print(f"{'kernel':<12}{'loss':>7}{'M packets/s':>13}{'plain Python':>14}{'ratio':>8}")
    for loss in (0.001, 0.01, 0.05):
        lost = draws < loss

        def ahead(count: int, lost: Any = lost) -> Any:
            return lost[:count]

        cases: list[tuple[str, ModuleType, Callable[[int], Any], Callable[[Any], int]]] = [
            (
                "tcp-cubic",
                tcp_kernel,
                lambda size: cubic.fly(tcp_frames, size, path, ahead),
                lambda found: found.data_packets,
            ),
            (
                "tcp-reno",
                tcp_kernel,
                lambda size: reno.fly(tcp_frames, size, path, ahead),
                lambda found: found.data_packets,
            ),
            (
                "arq",
                arq_kernel,
                lambda size: arq.repeat(udp_frames, size, path, ahead),
                lambda found: found.sent,
            ),
            (
                "wifi",
                wifi_kernel,
                lambda size: wifi.repeat(wifi_frames, size, path, ahead, stream(0, "back-off")),
                lambda found: found.sent,
            ),
        ]
        for name, kernel, send, packets in cases:
            fast = packets_per_s(lambda send=send: send(num_bytes), packets, repeats)  # type: ignore[misc]
            slow = plain(
                kernel,
                lambda send=send, packets=packets: packets_per_s(lambda: send(short_bytes), packets, 2),  # type: ignore[misc]
            )
            print(f"{name:<12}{loss:>7}{fast / 1e6:>13.1f}{slow / 1e6:>14.3f}{fast / slow:>8.0f}")


if __name__ == "__main__":
    main()

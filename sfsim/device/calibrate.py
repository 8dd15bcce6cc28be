"""Measure the machine at hand and write it down as a device profile."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sfsim import seeds
from sfsim.device.profile import Device, load
from sfsim.errors import ConfigError
from sfsim.files import writing

if TYPE_CHECKING:
    import torch

SOURCE = "measured by sfsim calibrate"

_LAYERS = 4
_LAUNCHES = 2 * 3 * _LAYERS  # convolution, BatchNorm and ReLU, there and back


def calibrate(
    out: Path,
    name: str,
    device: Literal["cpu", "cuda"] = "cpu",
    seconds: float = 30.0,
    idle_power_w: float = 0.0,
    active_power_w: float = 0.0,
) -> Device:
    """Measure this machine, write the profile to `out` and return it as read back.

    Each quantity is the best of many repetitions, which other programs disturb least:

    * peak: a large float32 matrix product (or the training step, should that be faster);
    * efficiency: forward and backward of convolution, BatchNorm and ReLU, launches taken off, over the peak;
    * memory bandwidth: a copy that no cache holds, read plus written;
    * launch overhead: the same step on images of 2x2 pixels, over the operators that it starts;
    * symbols per second: sorting float32 numbers and packing bits, on the host.

    Parameters
    ----------
    out : Path
        TOML file to write; nothing may stand there yet.
    name : str
        Name of the profile.
    device : {"cpu", "cuda"}
        What to measure; the CPU with as many threads as torch is set to.
    seconds : float
        About how long to measure; under 5 is a rough, fast measurement.
    idle_power_w, active_power_w : float
        Power is not measured: say what you know.

    Raises
    ------
    ConfigError
        `out` exists, or there is no such device.

    Left out: power, thermal throttling, other precisions than torch's default for float32.
    """
    import torch

    if out.exists():
        raise ConfigError(str(out), "a file that is there already", "the path of a new file")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("sfsim calibrate, device", "'cuda'", "'cpu': torch sees no CUDA device here")
    bench = _Bench(torch.device(device), seconds / 5, fast=seconds < 5)
    launch_s = bench.launch_s()
    training = bench.training_flops(launch_s)
    peak = max(bench.product_flops(), training)
    table: dict[str, Any] = {
        "title": bench.title(),
        "name": name,
        "source": SOURCE + "; power as the user stated it",
        "estimated": ["idle_power_w", "active_power_w"],
        "peak_flops": _rounded(peak),
        "efficiency": min(1.0, _rounded(training / peak)),
        "memory_bandwidth_bytes_per_s": _rounded(bench.copied_bytes_per_s()),
        "launch_overhead_s": _rounded(launch_s),
        "symbols_per_s": _rounded(bench.symbols_per_s()),
        "memory_bytes": bench.memory_bytes(),
        "idle_power_w": float(idle_power_w),
        "active_power_w": float(active_power_w),
    }
    # JSON's strings, numbers and lists of strings are TOML too.
    with writing(out):
        out.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items()))
    return load(out)


class _Bench:
    """The measurements, each given `budget_s` seconds, on one torch device."""

    def __init__(self, device: "torch.device", budget_s: float, fast: bool) -> None:
        self._device, self._budget_s, self._fast = device, budget_s, fast
        self._cuda = device.type == "cuda"

    def title(self) -> str:
        import torch

        if self._cuda:
            return torch.cuda.get_device_name()
        return f"a CPU with {torch.get_num_threads()} threads"

    def product_flops(self) -> float:
        side = 8192 if self._cuda else 1024 if self._fast else 2048
        a = self._numbers(side, side)
        return 2 * side**3 / self._best_s(lambda: a @ a)

    def training_flops(self, launch_s: float) -> float:
        from torch.utils.flop_counter import FlopCounterMode

        step = self._training_step(*((256, 128, 56) if self._cuda else (8, 64, 32)))
        with FlopCounterMode(display=False) as counter:
            step()
        flops: int = counter.get_total_flops()
        taken_s = self._best_s(step)
        return flops / max(taken_s - _LAUNCHES * launch_s, taken_s / 2)

    def launch_s(self) -> float:
        return self._best_s(self._training_step(1, 2, 2)) / _LAUNCHES

    def _training_step(self, batch: int, channels: int, side: int) -> Callable[[], None]:
        from torch.nn import functional

        x = self._numbers(batch, channels, side, side)
        weights = [(0.05 * self._numbers(channels, channels, 3, 3)).requires_grad_() for _ in range(_LAYERS)]

        def step() -> None:
            y = x
            for weight in weights:
                y = functional.conv2d(y, weight, padding=1)
                y = functional.batch_norm(y, None, None, training=True).relu()
            y.sum().backward()
            for weight in weights:
                weight.grad = None

        return step

    def copied_bytes_per_s(self) -> float:
        import torch

        source = torch.ones((2**30 if self._cuda else 2**27) // 4, device=self._device)
        target = torch.zeros_like(source)
        return 2 * source.nbytes / self._best_s(lambda: target.copy_(source))

    def symbols_per_s(self) -> float:
        numbers = seeds.stream(0, "calibrate").standard_normal(2**19, dtype=np.float32)
        bits = np.unpackbits(numbers.view(np.uint8))

        def run() -> None:
            np.sort(numbers)
            np.packbits(bits)

        return 2 * numbers.size / self._best_s(run)

    def memory_bytes(self) -> int:
        import torch

        if self._cuda:
            return int(torch.cuda.get_device_properties(self._device).total_memory)
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")

    def _numbers(self, *shape: int) -> "torch.Tensor":
        import torch

        values = seeds.stream(0, "calibrate").standard_normal(shape, dtype=np.float32)
        return torch.from_numpy(values).to(self._device)

    def _best_s(self, run: Callable[[], object]) -> float:
        """Return the shortest time of `run`, repeated for the budget and three times at least."""
        import torch

        best, repeats = float("inf"), 0
        run()  # the first one pays for caches, threads and kernels
        end_s = perf_counter() + self._budget_s
        while repeats < 3 or perf_counter() < end_s:
            start_s = perf_counter()
            run()
            if self._cuda:
                torch.cuda.synchronize()
            best, repeats = min(best, perf_counter() - start_s), repeats + 1
        return best


def _rounded(value: float) -> float:
    """Three significant digits: more would pretend a precision that is not there.

    >>> _rounded(123456.0)
    123000.0
    """
    return float(f"{value:.3g}")

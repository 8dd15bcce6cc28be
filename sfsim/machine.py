"""The machine and the code behind a run: what equal runs may differ in, and what explains bits that do."""

import os
import platform
import subprocess
from functools import cache
from pathlib import Path

import torch

_CPUINFO = Path("/proc/cpuinfo")


def facts(device: str = "cpu") -> dict[str, str | int]:
    """Return what decides the bits of floating-point sums, and who computed them.

    Parameters
    ----------
    device : str
        ``"cpu"`` or ``"cuda"``.

    Returns
    -------
    dict
        ``processor``: its name. ``instruction_set``: the widest that PyTorch uses here (such as AVX2; the environment
        variable ``ATEN_CPU_CAPABILITY`` lowers it), on which sums depend in their last bits. ``cores``: those that
        this process may use. ``gpu``: only on CUDA.
    """
    names = [
        line.partition(":")[2].strip()
        for line in (_CPUINFO.read_text(errors="replace").splitlines() if _CPUINFO.is_file() else ())
        if line.startswith("model name")
    ]
    found: dict[str, str | int] = {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    }
    return found | {"gpu": torch.cuda.get_device_name()} if device == "cuda" else found


@cache
def commit(root: Path = Path(__file__).resolve().parents[1]) -> str | None:
    """Return the commit of a checkout, with "modified" if files differ from it; None: no checkout, or no git."""
    if not (root / ".git").exists():
        return None
    try:
        name = _git(root, "rev-parse", "HEAD")
        return f"{name}, modified" if _git(root, "status", "--porcelain", "--untracked-files=no") else name
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()

"""Valid files of every kind that sfsim reads, and the commands that read them."""

import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.torture import runs

ROOT = Path(__file__).resolve().parents[2]

LEARNED = (
    "ae",
    "cheng-at",
    "cheng-at-gmm",
    "hyperprior",
    "mean-scale",
    "series-ae",
)  # encode takes none of these
TOYS = Path(__file__).resolve().parent / "toys"  # small scenarios, a channel for each trace, a graph
TABLE = "time_s,rate_bps\n" + "".join(f"{k * 0.5},{1e6 + 1e5 * (k % 7)}\n" for k in range(40))
MAHIMAHI = "".join(f"{k * 3}\n" for k in range(1, 300))


@dataclass(frozen=True)
class Subject:
    """A kind of input: its files, and the arguments of the command for the damaged one.

    Parameters
    ----------
    kind : str
        Name in the report.
    files : tuple of Path
        Valid files; one is damaged in each case.
    commands : tuple of callable
        Each makes the arguments of one call from the damaged file and the case's folder.
    binary : bool
        Bytes are damaged instead of lines.
    whole : callable, optional
        Damages something in the folder of the file, which stays as it is, and says what.
    """

    kind: str
    files: tuple[Path, ...]
    commands: tuple[Callable[[Path, Path], list[str]], ...]
    binary: bool = False
    whole: Callable[[random.Random, Path], str] | None = None


def _arguments(verb: str, scenario: Path, folder: Path) -> list[str]:
    extra = ["--data-root", str(scenario.parent)]
    if verb == "run":
        extra += ["--no-report", "--quiet", "--jobs", "1", "--out", str(folder / "run")]
    return [verb, str(scenario), *extra]


def prepare(folder: Path) -> list[Subject]:
    """Write valid files of all kinds into a folder and return what can be damaged."""
    for name in ("scenarios", "codecs", "channels"):
        shutil.copytree(ROOT / name, folder / name)
    toys = folder / "toys"
    shutil.copytree(TOYS, toys)
    (toys / "rates.csv").write_text(TABLE)
    (toys / "mahimahi.txt").write_text(MAHIMAHI)
    _images(toys / "set")
    np.save(toys / "x.npy", np.random.default_rng(0).standard_normal((4, 64, 8, 8), dtype=np.float32))

    here = tuple(path for path in sorted(toys.glob("*.toml")) if "main_server" in path.read_text())
    shipped = tuple(
        path for path in sorted((folder / "scenarios").glob("*.toml")) if "ham10000" not in path.name
    )
    codecs = tuple(path for path in sorted((folder / "codecs").glob("*.toml")) if path.stem not in LEARNED)
    channels = tuple(sorted((folder / "channels").glob("*.toml")))
    devices = tuple(sorted((folder / "scenarios" / "devices").glob("*.toml")))
    sibling = [lambda file, out, verb=verb: _arguments(verb, file, out) for verb in ("check", "run")]
    return [
        Subject("scenario", here, tuple(sibling)),
        Subject("shipped scenario", shipped, (sibling[0],)),
        Subject("codec", codecs, (_encode,)),
        Subject("channel", channels, (lambda file, out: ["show", "channel", str(file), "--json"],)),
        Subject("device", devices, (_with_device,)),
        Subject("trace", (toys / "rates.csv",), (_trace("rates.toml"),)),
        Subject("trace", (toys / "mahimahi.txt",), (_trace("mahimahi.toml"),)),
        Subject(
            "graph",
            (toys / "net.graphml",),
            (lambda file, out: _arguments("check", file.parent / "graphml.toml", out),),
        ),
        Subject(
            "image",
            tuple(sorted((toys / "set").rglob("*.png"))),
            (lambda file, out: _arguments("run", file.parents[2] / "folder.toml", out),),
            binary=True,
        ),
        Subject("run directory", (_finished_run(toys),), _READERS, whole=runs.damage),
    ]


_READERS: tuple[Callable[[Path, Path], list[str]], ...] = (
    lambda file, out: ["report", str(file.parent), "--out", str(out / "page.html")],
    lambda file, out: ["compare", str(file.parent), str(file.parents[1] / "whole")],
    lambda file, out: [
        "retime",
        str(file.parent),
        str(file.parents[1] / "star.toml"),
        *("--out", str(out / "retimed"), "--no-report"),
    ],
    lambda file, out: ["resume", str(file.parent)],
)


def _finished_run(toys: Path) -> Path:
    """Make a small run, twice, and return the summary of the one that is to be damaged."""
    for name in ("run", "whole"):  # in processes of their own: this one will divide
        options = ["--data-root", str(toys), "--out", str(toys / name), "--quiet"]
        call = [sys.executable, "-m", "sfsim", "run", str(toys / "star.toml"), *options]
        subprocess.run(call, cwd=ROOT, check=True)
    return toys / "run" / "summary.json"


def _encode(codec: Path, folder: Path) -> list[str]:
    tensor = codec.parents[1] / "toys" / "x.npy"
    return ["codec", "encode", str(tensor), "--codec", str(codec), "--out", str(folder / "payload.bin")]


def _trace(channel: str) -> Callable[[Path, Path], list[str]]:
    return lambda file, folder: ["show", "channel", str(file.parent / channel), "--json"]


def _with_device(device: Path, folder: Path) -> list[str]:
    scenario = device.parents[2] / "toys" / "tcp.toml"
    return [*_arguments("check", scenario, folder), "--set", f"clients.c.device={device}"]


def _images(folder: Path) -> None:
    rng = np.random.default_rng(1)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number in range(8):
        inside = np.hypot(*(np.mgrid[:32, :32] - rng.uniform(10, 22, (2, 1, 1)))) < 8
        picture = rng.integers(0, 90, (32, 32, 3)) + 120 * inside[..., None]
        Image.fromarray(picture.astype(np.uint8)).save(folder / "images" / f"p{number}.png")
        Image.fromarray((255 * inside).astype(np.uint8)).save(folder / "masks" / f"p{number}.png")

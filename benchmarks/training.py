"""What a simulated run costs beside plain PyTorch, and what a second job brings (wall clock, CPU)."""

import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import torch

import sfsim
from sfsim import world as worlds
from sfsim.learning.declarations import Cnn, Iid, ResNet18, Synthetic
from sfsim.learning.losses import loss_function
from sfsim.learning.models import build
from sfsim.learning.steps import make_optimiser
from sfsim.scenario import Scenario

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 3


def plain(scenario: Scenario) -> float:
    """Seconds that unsplit PyTorch takes for the same minibatches, one thread."""
    dataset, shards = worlds.load_data(scenario, None)
    model = build(scenario.model, dataset.in_channels, dataset.num_classes, seed=0)
    optimiser = make_optimiser(scenario.optimiser, model.parameters())
    loss = loss_function(scenario.loss)
    started = perf_counter()
    for _ in range(scenario.global_rounds):
        for shard in shards.values():
            for first in range(0, len(shard), scenario.batch_size):
                x, targets = dataset.train.batch(shard[first : first + scenario.batch_size])
                optimiser.zero_grad(set_to_none=True)
                loss(model(x)[0], targets).backward()
                optimiser.step()
    return perf_counter() - started


def simulated(scenario: Scenario, jobs: int) -> float:
    """Seconds of the whole run, run directory included."""
    with tempfile.TemporaryDirectory() as folder:
        started = perf_counter()
        sfsim.run(scenario, out=Path(folder) / "run", jobs=jobs)
        return perf_counter() - started


def main(toy: bool = False) -> None:
    """Print one row per scenario."""
    torch.set_num_threads(1)
    quick = replace(sfsim.load(ROOT / "scenarios" / "quickstart.toml"), global_rounds=3, target=None)
    images = Synthetic(num_train=256, num_test=16, image_size=32, in_channels=3, num_classes=10)
    heavy = replace(quick, data=images, model=ResNet18(width=32), cut_layers=("layer1b",), global_rounds=1)
    light = replace(quick, model=Cnn(width=16))
    if toy:
        small = replace(images, num_train=32, image_size=8, in_channels=1)
        light = heavy = replace(light, data=small, partition=Iid(), global_rounds=1)
    simulated(light, 1)  # the first run imports everything
    print(
        f"{'scenario':<22}{'PyTorch s':>10}{'jobs 1 s':>10}{'jobs 2 s':>10}{'run/PyTorch':>13}{'jobs 1/2':>10}"
    )
    for name, scenario in (("digits, CNN", light), ("32x32, ResNet18 w32", heavy)):
        rows = [
            (plain(scenario), simulated(scenario, 1), simulated(scenario, 2))
            for _ in range(1 if toy else REPEATS)
        ]
        alone, one, two = (statistics.median(column) for column in zip(*rows, strict=True))
        over = statistics.median(row[1] / row[0] for row in rows)
        gain = statistics.median(row[1] / row[2] for row in rows)
        print(f"{name:<22}{alone:>10.2f}{one:>10.2f}{two:>10.2f}{over:>13.2f}{gain:>10.2f}")

"""The columns of computations, accesses, rounds and evaluations are what docs/results.md says, in whole runs.

They are computed anew from other tables, from the declarations and from what PyTorch was seen to do; no function that
fills them is asked.
"""

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
import torch
from worlds import FAST, IMAGES, MASKS, clients, scenario

import sfsim
import sfsim.learning.steps as steps
from sfsim.learning.declarations import UNet
from sfsim.network.declarations import Link
from sfsim.results import Result
from sfsim.scenario import Evaluation, FedServer, Server

WAITS = {"device queueing", "turn", "barrier", "hold"}
SLOW = replace(
    FAST, name="slow", peak_flops=1e9, launch_overhead_s=1e-4, symbols_per_s=1e6, active_power_w=3.0
)
FED = FedServer(
    same_host=False,
    device=replace(FAST, name="fed", peak_flops=1e8),
    uplink=Link(rate_bps=1e8, latency_s=0.001),
    downlink=Link(rate_bps=1e8, latency_s=0.001),
)
KEYS = ["round", "epoch", "minibatch"]
ALL = Evaluation(codec_off=True, per_client=True, keep_predictions=99)
COMMON: dict[str, Any] = {
    "main_server": Server(device=SLOW),
    "fed_server": FED,
    "evaluation": ALL,
    "validation_fraction": 0.25,
    "clients": clients(3),
    "data": replace(IMAGES, num_train=60, num_test=12),
    "batch_size": 7,
}
U_SHAPED = {"cut_layers": ("conv1", "conv2"), "local_epochs": 2}
RUNS = {
    "splitfed-v1": COMMON | {"protocol": "splitfed-v1"},
    "splitfed-v1, U-shaped": COMMON | U_SHAPED | {"protocol": "splitfed-v1"},
    "splitfed-v2": COMMON | {"protocol": "splitfed-v2"},
    "splitfed-v2, U-shaped": COMMON | U_SHAPED | {"protocol": "splitfed-v2"},
    "sl": COMMON | {"protocol": "sl"},
    "masks": COMMON
    | {
        "data": replace(MASKS, num_train=12, num_test=4),
        "model": UNet(width=2),
        "cut_layers": ("enc2a", "dec2a"),
        "loss": "dice",
        "batch_size": 4,
    },
}


class Run:
    """A finished run, and every loss whose gradient PyTorch was asked for: (value, examples)."""

    def __init__(self, declared: sfsim.Scenario, out: Path) -> None:
        self.declared, self.losses = declared, []
        asked = steps.loss_gradient

        def noted(output: torch.Tensor, targets: torch.Tensor, loss: Any) -> Any:
            value, gradient = asked(output, targets, loss)
            self.losses.append((value, len(targets)))
            return value, gradient

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(steps, "loss_gradient", noted)
            patch.setattr("sfsim.workload.training.loss_gradient", noted)
            self.result: Result = sfsim.run(declared, out=out, checkpoint_share=0, jobs=1)
        self.computations, self.messages = self.result.computations, self.result.messages
        self.accesses, self.rounds = self.result.accesses, self.result.rounds
        self.evaluations = self.result.evaluations
        self.devices = {name: group.device for name, group in declared.groups.items()}
        self.devices |= {"main server": SLOW, "fed server": FED.device}


@pytest.fixture(scope="module", params=RUNS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(scenario(**RUNS[request.param]), tmp_path_factory.mktemp("run") / "a")


def test_computations_cost_what_devices_say(run: Run) -> None:
    work = run.computations[run.computations["operation"] != "wait"]
    for row in work.itertuples():
        device = run.devices[row.party]
        if row.phase in WAITS:
            assert row.joules == row.flops == row.launches == 0
            continue
        seconds = (
            max(
                row.flops / (device.peak_flops * device.efficiency),
                row.bytes_touched / device.memory_bandwidth_bytes_per_s,
            )
            + row.launches * device.launch_overhead_s
            + row.serial_symbols / device.symbols_per_s
        )
        assert row.end_s - row.start_s == pytest.approx(seconds, rel=1e-9, abs=1e-12)
        assert row.joules == pytest.approx(device.active_power_w * seconds, rel=1e-9)
        assert row.client == (
            row.party if row.party in run.devices and "server" not in row.party else row.client
        )
        assert (row.client == "") == (row.operation == "aggregate")
    for party, mine in work[~work["phase"].isin(WAITS)].groupby("party"):
        spans = sorted(zip(mine["start_s"], mine["end_s"], strict=True))
        assert all(one[1] <= other[0] + 1e-12 for one, other in pairwise(spans)), party


def test_every_minibatch_is_computed_once_and_in_order(run: Run) -> None:
    work = run.computations[~run.computations["phase"].isin(WAITS)]
    batches = work[work["minibatch"] > 0]
    u_shaped = len(run.declared.cut_layers) == 2
    tail = ["client_tail"] if u_shaped else []
    expected = [
        "client_forward",
        "server_forward",
        *tail,
        "server_backward",
        "server_step",
        "client_backward",
    ]
    for _, rows in batches.groupby(["client", *KEYS]):
        begins = rows.groupby("operation")["start_s"].min()
        assert set(begins.index) == set(expected)
        order = [begins[name] for name in expected if name != "server_step"]
        assert order == sorted(order)
    trained = batches[batches["operation"] == "client_forward"].drop_duplicates(["client", *KEYS])
    plans = trained.groupby(["client", "round"])["minibatch"].apply(sorted)
    for (client, _), numbers in plans.items():
        assert numbers == list(range(1, len(numbers) + 1)), client
    assert trained["epoch"].max() == (run.declared.local_epochs or 1)


def test_waits_are_between_what_was_waited_for(run: Run) -> None:
    waits = run.computations[run.computations["phase"].isin(WAITS)]
    assert (waits["end_s"] > waits["start_s"] - 1e-15).all()
    work = run.computations[~run.computations["phase"].isin(WAITS)]
    starts = {party: set(rows["start_s"]) for party, rows in work.groupby("party")}
    arrived = {(row.destination, row.kind): set() for row in run.messages.itertuples()}
    sent_out = defaultdict(set)
    for row in run.messages.itertuples():
        arrived[row.destination, row.kind].add(row.delivered_s)
        sent_out[row.destination, row.kind].add(row.queued_s)
    for row in waits.itertuples():
        if row.phase == "device queueing":  # ends when the device takes the work
            assert row.end_s in starts[row.party]
        elif row.phase == "turn":  # smashed data wait from their delivery until the server takes them up
            assert row.party == "main server" and row.start_s in arrived["main server", "smashed data"]
        elif row.phase == "hold":  # between forward and backward, until the gradient is there
            assert row.party == "main server" and row.end_s in arrived["main server", "gradient"]
        elif row.party not in ("main server", "fed server"):  # a client, until its next model sets out
            assert row.end_s in sent_out[row.party, "client model"] or run.declared.protocol == "sl"


def test_accesses_are_those_of_works_when_they_begin(run: Run) -> None:
    accesses = run.accesses
    assert list(accesses["order"]) == list(range(len(accesses)))
    assert accesses["time_s"].is_monotonic_increasing
    work = run.computations[~run.computations["phase"].isin(WAITS)]
    keys = ["party", "client", "operation", *KEYS]
    begins = work.groupby(keys)["start_s"].min()
    for key, rows in accesses.groupby(keys):
        if key in begins.index:  # a message out of a store that costs nothing has no row
            assert rows["time_s"].min() <= begins[key] + 1e-12
    one_model = run.declared.protocol != "splitfed-v1"
    for row in accesses.itertuples():
        model = "server model" if one_model else f"server model of {row.client}"
        if row.operation in ("server_forward", "server_backward", "server_step"):
            mode = "write" if row.operation == "server_step" else "read"
            assert (row.party, row.shared, row.mode) == ("main server", model, mode)
        elif row.operation == "model_out":
            assert (row.party, row.shared, row.mode) == ("fed server", "client model", "read")
        else:
            assert row.operation == "aggregate" and row.mode == "write"
    steps_taken = work[work["operation"] == "server_step"].drop_duplicates(["client", *KEYS])
    assert (accesses["operation"] == "server_step").sum() == len(steps_taken)


def test_rounds_add_up_messages_and_weigh_losses(run: Run) -> None:
    rounds, messages = run.rounds, run.messages
    assert list(rounds["round"]) == list(range(1, run.declared.global_rounds + 1))
    averaged = run.computations[run.computations["operation"] == "aggregate"].groupby("round")["end_s"].max()
    for row in rounds.itertuples():
        if run.declared.protocol != "sl":
            assert row.time_s == averaged[row.round]
        until = messages[messages["delivered"] & (messages["delivered_s"] <= row.time_s)]
        for size in ("payload", "wire"):
            for direction in ("up", "down"):
                expected = until.loc[until["direction"] == direction, f"{size}_bytes"].sum()
                assert getattr(row, f"{size}_bytes_{direction}") == expected
            other = until.loc[~until["direction"].isin(["up", "down"]), f"{size}_bytes"].sum()
            assert getattr(row, f"{size}_bytes_other") == other
    losses = np.array(run.losses)
    per_round = len(losses) // len(rounds)
    assert per_round * len(rounds) == len(losses)
    for number, row in enumerate(rounds.itertuples()):
        value, examples = losses[number * per_round : (number + 1) * per_round].T
        assert row.train_loss == pytest.approx(float(value @ examples / examples.sum()), rel=1e-6)


def test_rounds_repeat_the_evaluations_of_the_global_model(run: Run) -> None:
    seen = run.evaluations[run.evaluations["client"] == ""]
    for row in seen.itertuples():
        if row.metric.startswith(("bpp", "published")):
            continue
        name = "train_loss" if row.split == "train" else f"{row.split}_{row.metric}"
        name += "_codec_off" if row.codec == "off" else ""
        there = run.rounds.set_index("round").loc[row.round, name]
        assert row.value == there
        assert row.time_s == run.rounds.set_index("round").loc[row.round, "time_s"]
    assert set(seen["split"]) == {"train", "validation", "test"} and set(seen["codec"]) == {"on", "off"}


def test_accuracy_and_jaccard_are_those_of_the_predictions(run: Run) -> None:
    kept = run.result.predictions
    last = run.evaluations.query("split == 'test' and codec == 'on' and client == ''")
    last = last[last["round"] == last["round"].max()].set_index("metric")["value"]
    targets, found = kept["targets"].ravel(), kept["predictions"].ravel()
    assert len(kept["targets"]) == run.declared.data.num_test
    if "accuracy" in last:
        assert last["accuracy"] == pytest.approx(float((targets == found).mean()), rel=1e-6)
    else:
        classes = range(1, run.declared.data.num_classes)
        assert last["mji"] == pytest.approx(
            sklearn.metrics.jaccard_score(targets, found, labels=list(classes), average="macro"), rel=1e-6
        )


def test_clients_are_measured_on_their_own_shares(run: Run) -> None:
    own = run.evaluations[run.evaluations["client"] != ""]
    assert set(own["client"]) == set(run.declared.groups)
    counts = own.groupby(["round", "split", "codec", "metric"]).size()
    assert (counts == len(run.declared.groups)).all()


@pytest.mark.parametrize("table", ["rounds", "evaluations"])
def test_every_column_stands_in_the_docs(run: Run, table: str) -> None:
    text = (Path(__file__).parents[1] / "docs" / "results.md").read_text()
    for column in getattr(run.result, table):
        plain = column.replace("_codec_off", "")
        split, _, _ = plain.partition("_")
        known = plain if split not in ("validation", "test") else f"{split}_<metric>"
        assert f"`{known}`" in text, column

"""A run that was interrupted goes on to the ledger of one that was not, byte for byte."""

import math
import os
import shutil
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from interrupted import counted, files, pointer
from worlds import ACCESS, FAST, clients, coded, scenario

import sfsim
from sfsim.channel import Bernoulli, RayleighBlock
from sfsim.codec import Chain, ChannelAdaptive, ErrorFeedback, FeatureWise, Qsgd, RandTopK, TopK
from sfsim.device import Variation
from sfsim.learning.declarations import Sgd
from sfsim.network.cell import Cellular
from sfsim.network.transport.udp import Fec, Udp
from sfsim.results import partial_of
from sfsim.scenario import Codecs, Evaluation, ModelCodec, NetworkTable, Server
from sfsim.workload.checkpoint import CheckpointFolder, Rows
from sfsim.workload.recording import Recorder

FADING = replace(
    ACCESS,
    channel=RayleighBlock(mean_snr_db=10, bandwidth_hz=1e6, coherence_time_s=0.02),
    loss=Bernoulli(probability=0.1),
)
UNSTEADY = clients(3, uplink=FADING, variation=Variation(law="lognormal", sigma=0.3))
QUICK = replace(ACCESS, rate_bps=1e9, latency_s=1e-5)
SLOW = replace(FAST, peak_flops=2e8)
DELTA = ModelCodec(codec=Qsgd(bits=4), of="delta")
LOSSY = Codecs(
    smashed_up=RandTopK(keep=0.2, alpha=0.1),
    gradient_down=RandTopK(keep=0.2, alpha=0.1),
    client_model_up=DELTA,
    client_model_down=DELTA,
)
# Codecs with something to remember, or to keep until the gradient is back.
FEEDBACK = ModelCodec(codec=Chain(stages=(ErrorFeedback(), TopK(keep=0.1))), of="delta")
SHELF = Codecs(
    smashed_up=ChannelAdaptive(),
    smashed_down=FeatureWise(reduction=2),
    gradient_down=ChannelAdaptive(),
    client_model_up=FEEDBACK,
    client_model_down=FEEDBACK,
)

EVERY_INSTANT = "SFSIM_TEST_EVERY_INSTANT" in os.environ  # two minutes
U_SHAPED = ("conv1", "conv3")
BROADCAST = ModelCodec(codec=Qsgd(bits=6), of="weights")
WORLDS: dict[str, dict[str, Any]] = {
    "v1, lossy codecs, differences, a draw of clients": {
        "clients": UNSTEADY,
        "codecs": LOSSY,
        "client_fraction": 0.7,
    },
    "v1, a slow server with a queue, one broadcast": {
        "clients": clients(3),
        "main_server": Server(device=SLOW),
        "codecs": Codecs(client_model_down=BROADCAST),
        "optimiser_state": "reset",
    },
    "v1, a server that is slow to step and to decode": {
        "clients": clients(3, uplink=QUICK, downlink=QUICK, variation=Variation(law="lognormal", sigma=0.3)),
        "main_server": Server(device=replace(FAST, memory_bandwidth_bytes_per_s=1e7)),
    },
    "v1, the best epoch, momentum": {
        "clients": UNSTEADY,
        "local_epochs": 2,
        "aggregate": "best-validation",
        "validation_fraction": 0.2,
        "optimiser": Sgd(learning_rate=0.01, momentum=0.9),
    },
    "v1, u-shaped, codecs of the shelf": {"clients": UNSTEADY, "cut_layers": U_SHAPED, "codecs": SHELF},
    "v1, u-shaped, multicast in a cell, staggered starts": {
        "clients": (
            *clients(2, cell="lte"),
            replace(clients(1, cell="lte")[0], name="late", start_s=0.05),
        ),
        "cell": {"lte": Cellular(model_delivery="multicast")},
        "cut_layers": U_SHAPED,
    },
    "v2, u-shaped, local statistics": {
        "protocol": "splitfed-v2",
        "clients": UNSTEADY,
        "cut_layers": U_SHAPED,
        "batch_norm": "local",
        "codecs": coded(RandTopK(keep=0.2, alpha=0.1), "smashed_up", "smashed_down", "gradient_up"),
    },
    "v2, arrival, a slow server": {
        "protocol": "splitfed-v2",
        "server_order": "arrival",
        "clients": UNSTEADY,
        "main_server": Server(device=SLOW),
    },
    "sl, a draw of clients, differences": {
        "protocol": "sl",
        "clients": UNSTEADY,
        "client_fraction": 0.4,
        "codecs": replace(LOSSY, client_model_up=BROADCAST, client_model_down=BROADCAST),
        "main_server": Server(device=SLOW),
    },
    "sl, datagrams with an erasure code": {
        "protocol": "sl",
        "clients": clients(2, uplink=replace(ACCESS, loss=Bernoulli(probability=0.02))),
        "network": NetworkTable(transport=Udp(fec=Fec(k=1, n=6))),
    },
    "sl, packets, per-client figures": {
        "protocol": "sl",
        "clients": clients(2),
        "network": NetworkTable(engine="packet"),
        "evaluation": Evaluation(per_client=True, every_rounds=2),
    },
}


@pytest.fixture(autouse=True)
def disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pulls the plug during these tests."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.mark.parametrize("world", WORLDS)
def test_interrupted_twice_the_ledger_is_that_of_one_run(world: str, tmp_path: Path) -> None:
    declared, whole, out = scenario(global_rounds=3, **WORLDS[world]), tmp_path / "whole", tmp_path / "run"
    works = counted(declared, whole, checkpoint_share=0)
    counted(declared, out, works * 6 // 10)
    assert pointer(out)["saved"]["round"] == 1
    counted(declared, out, works - 1, go_on=True)
    assert pointer(out)["saved"]["round"] == 2 and not out.exists()
    result = sfsim.resume(out)
    assert result.environment["resumed_after_rounds"] == [1, 2]
    assert files(out) == files(whole) and not partial_of(out).exists() and not (out / "checkpoint").exists()


@pytest.mark.parametrize("world", WORLDS)
def test_every_instant_between_minibatches_can_be_saved(
    world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with payloads under way, works that wait for a device and works that nobody has collected yet."""
    declared = scenario(global_rounds=3, **WORLDS[world])
    whole = sfsim.run(declared, out=tmp_path / "whole", checkpoint_share=0)
    copies: list[tuple[int, int, int, Path]] = []
    launch, write = Recorder._launch, CheckpointFolder.write

    def launch_and_save(recorder: Recorder, *arguments: Any) -> Any:
        outcome = launch(recorder, *arguments)
        recorder._wanted = True
        recorder._clock.when_instant_ends(recorder._save_if_possible)
        return outcome

    def write_and_copy(folder: CheckpointFolder, rows: Rows, state: Any, facts: dict[str, Any]) -> None:
        write(folder, rows, state, facts)
        copy = tmp_path / f"{len(copies)}.partial"
        shutil.copytree(folder.folder.parent, copy)
        servers = state["live"]["setting"]["servers"].values()
        steps = sum(gradient is not None for server in servers for gradient in server["gradients"])
        copies.append((len(state["arguments"]), steps, len(state["payloads"]), copy))

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "_launch", launch_and_save)
        patch.setattr(CheckpointFolder, "write", write_and_copy)
        eager = sfsim.run(declared, out=tmp_path / "eager", checkpoint_share=math.inf)
    assert files(eager.directory) == files(whole.directory)
    found = [max(entry[part] for entry in copies) > 0 for part in range(3)]
    assert found == ([True, True, True] if "slow to step" in world else [False, False, True])
    # Those with the most that is half done, in one way or another.
    chosen = {max(copies, key=itemgetter(part, 3))[3] for part in range(4)}
    for copy in [entry[3] for entry in copies] if EVERY_INSTANT else chosen:
        result = sfsim.resume(copy)
        assert files(result.directory) == files(whole.directory)
        assert len(result.environment["resumed_after_rounds"]) == 1

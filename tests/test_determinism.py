"""Same scenario and seed: the same ledger, whatever the number of jobs or threads; common luck across codecs."""

import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from worlds import ACCESS, clients, coded, finished, scenario

import sfsim
from sfsim.channel import Bernoulli, RayleighBlock
from sfsim.codec import Qsgd, RandTopK, Uniform
from sfsim.device import Variation
from sfsim.ledger import Ledger

ROOT = Path(__file__).resolve().parents[1]
FADING = replace(
    ACCESS,
    channel=RayleighBlock(mean_snr_db=10, bandwidth_hz=1e6, coherence_time_s=0.02),
    loss=Bernoulli(probability=0.1),
)
UNSTEADY = clients(3, uplink=FADING, variation=Variation(law="lognormal", sigma=0.3))


def rows(ledger: Ledger) -> list[object]:
    tables = (ledger.messages, ledger.computations, ledger.accesses, ledger.evaluations, ledger.links)
    return [asdict(row) for table in tables for row in table]


@pytest.mark.parametrize("protocol", ["sl", "splitfed-v1", "splitfed-v2"])
def test_the_number_of_jobs_changes_nothing(protocol: str) -> None:
    declared = scenario(
        protocol=protocol,
        clients=UNSTEADY,
        codecs=coded(RandTopK(keep=0.2, alpha=0.1), "smashed_up", "gradient_down"),
    )
    assert rows(finished(declared, jobs=1).ledger) == rows(finished(declared, jobs=3).ledger)


@pytest.mark.parametrize("order", ["permutation", "arrival"])
def test_a_shared_server_model_sees_the_same_order_with_any_jobs(order: str) -> None:
    declared = scenario(
        protocol="splitfed-v2", server_order=order, clients=UNSTEADY, cut_layers=("conv1", "conv3")
    )
    assert rows(finished(declared, jobs=1).ledger) == rows(finished(declared, jobs=2).ledger)


def test_another_seed_changes_everything() -> None:
    one, other = finished(scenario(seed=1)).ledger, finished(scenario(seed=2)).ledger
    assert [m.payload_crc32 for m in one.messages] != [m.payload_crc32 for m in other.messages]


def test_files_are_byte_identical_in_other_processes_with_other_threads(tmp_path: Path) -> None:
    code = "import sys, sfsim; sfsim.run(sfsim.load(sys.argv[1]), out=sys.argv[2], jobs=int(sys.argv[3]))"
    source = ROOT / "scenarios" / "quickstart.toml"
    text = source.read_text().replace("global_rounds = ", "global_rounds = 1 #", 1)
    scenario_file = tmp_path / "one-round.toml"
    for folder in ("codecs", "channels"):
        text = text.replace(f'"../{folder}/', f'"{ROOT}/{folder}/')
    scenario_file.write_text(text.replace('"devices/', f'"{ROOT}/scenarios/devices/'))
    outs = []
    for jobs, threads in ((1, 1), (2, 4)):
        out = tmp_path / f"jobs{jobs}"
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONHASHSEED": str(jobs)}
        arguments = [sys.executable, "-c", code, str(scenario_file), str(out), str(jobs)]
        subprocess.run(arguments, check=True, env=environment)
        outs.append(out)
    names = sorted(path.name for path in outs[0].glob("*.parquet"))
    assert "messages.parquet" in names and "computations.parquet" in names
    assert not [name for name in names if (outs[0] / name).read_bytes() != (outs[1] / name).read_bytes()]


def test_changing_only_the_codec_leaves_shards_fades_and_early_losses() -> None:
    plain = finished(scenario(clients=UNSTEADY))
    small = finished(scenario(clients=UNSTEADY, codecs=coded(Uniform(bits=8), "smashed_up", "gradient_down")))
    for name, shard in plain.workload.setting.shards.items():
        assert shard.tolist() == small.workload.setting.shards[name].tolist()
    for edge, link in plain.network.links.items():
        other = small.network.links[edge]
        if link.realisation is not None:
            times = [0.01 * k for k in range(200)]
            assert [link.realisation.segment(t) for t in times] == [
                other.realisation.segment(t) for t in times
            ]


def test_a_stochastic_codec_draws_from_its_own_stream() -> None:
    """Batches, selection and fades are the same beside a codec that draws and beside one that does not."""
    one = finished(scenario(codecs=coded(Qsgd(bits=4), "smashed_up"))).workload.setting
    other = finished(scenario()).workload.setting
    for client in one.shards:
        for (_, left), (_, right) in zip(one.batches(client, 2), other.batches(client, 2), strict=True):
            assert left.tolist() == right.tolist()


def test_the_global_random_state_is_left_alone() -> None:
    import random

    import numpy as np
    import torch

    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    finished(scenario(codecs=coded(RandTopK(keep=0.2, alpha=0.1), "smashed_up")))
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert (before[1], before[2]) == (np.random.get_state()[1].tolist(), random.getstate())


def test_a_run_from_python_gives_the_result_of_its_directory(tmp_path: Path) -> None:
    result = sfsim.run(scenario(), out=tmp_path / "run")
    assert list(result.rounds["round"]) == [1, 2]
    assert result.messages["payload_bytes"].sum() > 0

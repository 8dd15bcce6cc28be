"""Cells in scenarios: ``[cell.NAME]``, clients that name their cell, the graph that follows, and errors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfsim.errors import ConfigError
from sfsim.network.cell.radio import _BEST_FADE_DB, _FADING
from sfsim.scenario import build_graph, load
from sfsim.scenario.summary import edge_words

FILE = Path(__file__).resolve().parents[1] / "scenarios" / "lte-cell.toml"


def test_the_lte_cell() -> None:
    scenario = load(FILE)
    graph, hosts = build_graph(scenario)
    up, down = graph.edges["phone-3", "hub"], graph.edges["hub", "phone-3"]
    assert hosts["phone-3"] == "phone-3"
    assert (up["cell"].cell, up["cell"].client, up["cell"].down) == ("lte", "phone-3", False)
    assert down["cell"].down
    assert graph.edges["main server", "hub"]["cell"] is None
    means = [graph.edges[f"phone-{k}", "hub"]["link"].channel.mean_snr_db for k in range(10)]
    assert means == sorted(means, reverse=True)
    assert up["link"].latency_s == scenario.cell["lte"].latency_s
    assert scenario.summary_rows()[3]["uplink"] == "cell lte at 200 m, 4 ms"


def test_what_a_drawing_says_of_a_cell_is_the_mean_rate_alone_not_the_ceiling() -> None:
    graph, _ = build_graph(load(FILE))
    said = [edge_words(graph, f"phone-{k}", "hub", 7) for k in (0, 9)]
    near, far = (float(words.removesuffix(" Mbit/s, 4 ms")) for words in said)
    assert near == pytest.approx(37, rel=0.05) and far == pytest.approx(5, rel=0.2)  # as lte-cell.toml says
    still, _ = build_graph(load(FILE, {"cell.lte.fading": "none"}))
    link = still.edges["phone-0", "hub"]["link"]
    alone_bps = link.efficiency * min(link.rate_bps, link.channel.rate_bps)
    assert edge_words(still, "phone-0", "hub", 7) == f"{alone_bps / 1e6:.3g} Mbit/s, 4 ms"
    assert edge_words(graph, "hub", "main server", 7) == "1 Gbit/s, 5 ms"


def test_a_scenario_with_cells_survives_being_written_out() -> None:
    scenario = load(FILE, {"cell.lte.tdd_special": [6, 4, 4]})
    assert scenario.to_table()["cell"]["lte"]["tdd_special"] == [6, 4, 4]


def test_clients_with_channels_of_their_own() -> None:
    links = {
        "uplink": {"latency_s": 0.01, "channel": {"kind": "constant", "rate_bps": 3e6}},
        "downlink": {"latency_s": 0.01, "rate_bps": 9e6},
    }
    own = load(
        FILE, {"clients.0": {"name": "pi", "device": "devices/raspberry-pi-4.toml", "cell": "lte", **links}}
    )
    graph, _ = build_graph(own)
    assert graph.edges["pi", "hub"]["cell"].cell == "lte"
    assert graph.edges["pi", "hub"]["link"].channel.rate_bps == 3e6


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"cell.lte.acces": "csma"},
            "found an unknown key, expected a key of this table. Did you mean 'access'?",
        ),
        ({"cell.lte.kind": "lte"}, "cell.lte.kind: found 'lte', expected 'cellular' or 'wifi'"),
        (
            {"clients.phone.cell": "lta"},
            "found 'lta', expected the name of a cell (lte). Did you mean 'lte'?",
        ),
        (
            {"clients.phone.distance_m": [5, 6]},
            "found 2 distances, expected one for each of the 10 clients, or one for all",
        ),
        ({"clients.phone.distance_m": 0}, "found 0, expected a number greater than 0"),
        ({"cell.spare": {"kind": "wifi"}}, "found a cell without clients, expected a client that names it"),
        (
            {"cell.lte.fading": "none", "clients.phone.distance_m": 9000},
            "found 9000 m for 'phone-0', where the SNR is -38.5 dB, expected a place that cell 'lte' reaches",
        ),
        (
            {"cell.lte.fading": "rayleigh", "clients.phone.distance_m": 50_000},
            "found 50000 m for 'phone-0', where the SNR is -66.5 dB, expected a place that cell 'lte' reaches",
        ),
        (
            {"cell.lte.fading": "rician", "clients.phone.distance_m": 3000},
            "found 3000 m for 'phone-0', where the SNR is -20.6 dB, expected a place that cell 'lte' reaches",
        ),
    ],
)
def test_errors(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(FILE, changes)
    assert text in str(error.value)


@pytest.mark.parametrize("kind", ["rayleigh", "rician"])
def test_the_best_fade_is_the_best_of_2_to_the_20(kind: str) -> None:
    channel = _FADING[kind](mean_snr_db=0.0, bandwidth_hz=1.0, coherence_time_s=1.0)
    best = [channel.gains(np.random.default_rng(seed), 2**20).max() for seed in range(5)]
    assert 10 * np.log10(np.median(best)) == pytest.approx(_BEST_FADE_DB[kind], abs=0.3)


def test_a_number_stands_for_a_list_of_one() -> None:
    assert load(FILE, {"clients.phone.distance_m": 80}).clients[0].distance_m == (80.0,) * 10


def test_a_path_loss_of_the_channels() -> None:
    law = {"kind": "tr38901", "scenario": "umi", "user_height_m": 1.2}
    changes = {"cell.lte.path_loss": law, "cell.lte.fading": "rayleigh", "cell.lte.carrier_hz": 3.5e9}
    one, other = (
        [
            build_graph(load(FILE, {**changes, "seed": seed}))[0].edges[f"phone-{k}", "hub"]["link"].channel
            for k in range(10)
        ]
        for seed in (1, 2)
    )
    assert load(FILE, changes).cell["lte"].path_loss.user_height_m == 1.2
    assert one != other, "sight and shadowing belong to the seed of the network"

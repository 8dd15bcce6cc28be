"""Scenarios: files and Python give the same value; short forms, paths and overrides mean what they say."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from scenario_files import GRAPH, SCENARIO, write

from sfsim.codec import Cast, Chain, Uniform, Zstd
from sfsim.declaration import validate
from sfsim.errors import ConfigError
from sfsim.scenario import Codecs, ModelCodec, Scenario, Seeds, build_graph, load, scenario_hash

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "scenarios").glob("*.toml"))
FP32 = Cast(dtype="float32")


@pytest.fixture(autouse=True)
def _in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path)


def changed(old: str, new: str) -> Scenario:
    """The scenario with one text replaced."""
    assert old in SCENARIO
    write(Path(), SCENARIO.replace(old, new, 1))
    return load("a.toml")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_load_and_come_back_from_their_table(path: Path) -> None:
    scenario = load(path)
    table = json.loads(json.dumps(scenario.to_table()))
    assert validate(Scenario, table, "again") == scenario
    assert table == validate(Scenario, table, "again").to_table()


def test_defaults_are_written_out() -> None:
    scenario = load("a.toml")
    assert (scenario.name, scenario.local_epochs, scenario.loss) == ("a", 1, "cross-entropy")
    assert scenario.client_names == ("phone", "pi-0", "pi-1")
    assert scenario.groups["pi-1"].name == "pi"
    assert scenario.seeds == Seeds(training=7, data=7, network=7)
    assert scenario.codecs == Codecs(smashed_up=Uniform(bits=8), gradient_down=FP32)
    assert scenario.codecs.client_model_up == ModelCodec(codec=FP32, of="weights")
    assert not scenario.u_shaped


def test_python_and_file_give_the_same() -> None:
    scenario = load("a.toml")
    assert replace(scenario, batch_size=9) == load("a.toml", {"batch_size": 9})
    with pytest.raises(
        ConfigError, match=r"^Scenario, cut_layers: found 'conv11', expected one of the stages"
    ):
        replace(scenario, cut_layers=("conv11",))
    with pytest.raises(
        ConfigError, match=r"^Scenario, \[clients \"phone\"\] name: found a second client 'phone'"
    ):
        replace(scenario, clients=(scenario.clients[0], scenario.clients[0]))


def test_short_forms() -> None:
    assert changed('["conv1"]', '"conv1"').cut_layers == ("conv1",)
    assert changed("seed = 7", "seed = { training = 1, data = 2, network = 3 }").seeds.data == 2
    one = SCENARIO.replace("[[clients]]", "[clients]", 1).replace(
        SCENARIO[
            SCENARIO.index("[[clients]]", SCENARIO.index("[[clients]]") + 1) : SCENARIO.index("[main_server]")
        ],
        "",
    )
    write(Path(), one)
    assert load("a.toml").client_names == ("phone",)


@pytest.mark.parametrize(
    ("written", "codec"),
    [
        ('"codecs/int8.toml"', Uniform(bits=8)),
        ('{ kind = "uniform", bits = 4 }', Uniform(bits=4)),
        ('{ profile = "codecs/int8.toml", bits = 4 }', Uniform(bits=4)),
        ('["codecs/int8.toml"]', Uniform(bits=8)),
        ('["codecs/int8.toml", { kind = "zstd" }]', Chain(stages=(Uniform(bits=8), Zstd()))),
        ('"codecs/squeezed.toml"', Chain(stages=(Cast(dtype="float16"), Zstd()))),
    ],
)
def test_ways_to_write_a_codec(written: str, codec: object) -> None:
    assert changed('"codecs/int8.toml"', written).codecs.smashed_up == codec


@pytest.mark.parametrize(
    ("written", "codec"),
    [
        ('"codecs/int8.toml"', ModelCodec(codec=Uniform(bits=8), of="delta")),
        ('{ codec = "codecs/int8.toml", of = "weights" }', ModelCodec(codec=Uniform(bits=8), of="weights")),
        ('{ kind = "uniform", bits = 8, of = "weights" }', ModelCodec(codec=Uniform(bits=8), of="weights")),
        ('{ kind = "cast", dtype = "float32" }', ModelCodec(codec=FP32, of="weights")),
    ],
)
def test_ways_to_write_a_model_codec(written: str, codec: ModelCodec) -> None:
    assert changed("[codecs]", f"[codecs]\nclient_model_up = {written}").codecs.client_model_up == codec


@pytest.mark.parametrize(
    ("scheme", "filled"),
    [
        ("NC", set()),
        ("F", {"smashed_up", "smashed_down"}),
        ("G", {"gradient_up", "gradient_down"}),
        ("FG", {"smashed_up", "smashed_down", "gradient_up", "gradient_down"}),
    ],
)
@pytest.mark.parametrize("cuts", ['["conv1"]', '["conv1", "conv3"]'])
def test_schemes_fill_the_slots_of_the_shape(scheme: str, filled: set[str], cuts: str) -> None:
    codec = "" if scheme == "NC" else '\ncodec = "codecs/int8.toml"'
    text = SCENARIO.replace('smashed_up = "codecs/int8.toml"', f'scheme = "{scheme}"{codec}')
    write(Path(), text.replace('["conv1"]', cuts))
    codecs = load("a.toml").codecs
    exist = {"smashed_up", "gradient_down"} | ({"smashed_down", "gradient_up"} if "conv3" in cuts else set())
    for slot in ("smashed_up", "smashed_down", "gradient_up", "gradient_down"):
        expected = None if slot not in exist else Uniform(bits=8) if slot in filled else FP32
        assert getattr(codecs, slot) == expected
    assert codecs.scheme is None


def test_overrides() -> None:
    scenario = load(
        "a.toml",
        {
            "seed": 3,
            "codecs.smashed_up": "codecs/squeezed.toml",
            "clients.*.downlink.rate_bps": 5e6,
            "clients.pi.uplink.channel.scale": 2.0,
            "clients.0.count": 3,
            "evaluation.every_rounds": 2,
        },
    )
    assert scenario.seed == 3
    assert scenario.codecs.smashed_up == Chain(stages=(Cast(dtype="float16"), Zstd()))
    assert [group.downlink.rate_bps for group in scenario.clients] == [5e6, 5e6]
    assert scenario.clients[1].uplink.channel.scale == 2.0
    assert len(scenario.client_names) == 5
    assert scenario.evaluation.every_rounds == 2


def test_a_star() -> None:
    scenario = load("a.toml")
    graph, hosts = build_graph(scenario)
    assert hosts == {
        "phone": "phone",
        "pi-0": "pi-0",
        "pi-1": "pi-1",
        "main server": "hub",
        "fed server": "hub",
    }
    assert graph.edges["phone", "hub"]["link"] == scenario.clients[0].uplink
    assert graph.edges["hub", "phone"]["link"] == scenario.clients[0].downlink
    assert graph.number_of_edges() == 6


def test_a_fed_server_of_its_own() -> None:
    links = "uplink = { rate_bps = 1e9, latency_s = 0 }\ndownlink = { rate_bps = 1e9, latency_s = 0 }\n"
    fed = f'[fed_server]\nsame_host = false\ndevice = "devices/small.toml"\n{links}'
    _, hosts = build_graph(changed("[main_server]\n", f"{fed}[main_server]\n{links}"))
    assert (hosts["main server"], hosts["fed server"]) == ("main server", "fed server")


def test_a_graph() -> None:
    write(Path(), GRAPH)
    graph, hosts = build_graph(load("a.toml"))
    assert hosts["phone"] == "phone" and hosts["pi-0"] == "pi-0" and hosts["fed server"] == "core"
    assert set(graph.successors("edge")) == {"phone", "core", "pi-0", "pi-1"}


def test_a_graphml_file() -> None:
    import networkx as nx

    nx.write_graphml(nx.path_graph(["phone", "pi-0", "pi-1", "core"]), "net.graphml")
    start, _, _ = GRAPH.partition("[topology]")
    topology = (
        '[topology]\nkind = "graphml"\npath = "net.graphml"\nlink = { rate_bps = 1e6, latency_s = 0.01 }\n'
    )
    alone = start.replace('node = "edge"\n', "")
    alone = "\n".join(line for line in alone.splitlines() if not line.startswith(("uplink", "downlink")))
    write(Path(), alone + "\n" + topology)
    graph, hosts = build_graph(load("a.toml"))
    assert graph.number_of_edges() == 6 and hosts["pi-1"] == "pi-1"


def test_the_hash_follows_content_not_place(tmp_path: Path) -> None:
    here = scenario_hash(load("a.toml"), "data", "0.1")
    other = write(tmp_path / "elsewhere")
    assert scenario_hash(load(other), "data", "0.1") == here
    assert len(here) == 8
    changes = [
        scenario_hash(load("a.toml", {"seed": 8}), "data", "0.1"),
        scenario_hash(load("a.toml"), "other data", "0.1"),
        scenario_hash(load("a.toml"), "data", "0.2"),
    ]
    (tmp_path / "elsewhere/channels/rates.csv").write_text("0,3e6\n1,2e6\n")
    changes.append(scenario_hash(load(other), "data", "0.1"))
    assert len({here, *changes}) == 5


def test_rows_for_people() -> None:
    assert load("a.toml").summary_rows()[:2] == [
        {
            "client": "phone",
            "device": "small",
            "uplink": "1 Mbit/s, 20 ms",
            "downlink": "2 Mbit/s, 20 ms",
            "start": "0 s",
        },
        {
            "client": "pi-0",
            "device": "small",
            "uplink": "trace rates.csv, 20 ms",
            "downlink": "2 Mbit/s, 20 ms",
            "start": "0 s",
        },
    ]


def test_loading_is_light() -> None:
    heavy = {"torch", "pandas", "networkx", "matplotlib", "scipy", "sklearn", "numba"}
    code = f"import sys, sfsim; sfsim.load('a.toml'); print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

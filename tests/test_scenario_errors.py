"""Every mistake in a scenario gives one line: file, table, key, found, expected, a way out."""

# ruff: noqa: E501 (the lines are the texts)

import re
from pathlib import Path

import pytest
from scenario_files import GRAPH, SCENARIO, write

from sfsim.errors import ConfigError, NetworkError
from sfsim.scenario import load

TABLE = "a table, or the path of a TOML file"
CODEC = (
    "a table with kind = 'cast', 'uniform', 'qsgd', 'topk', 'randtopk', 'mask-encoded', 'zeros', 'frequency-aware', 'channel-adaptive', 'product-quantization', 'feature-wise', 'pcodec', 'ae', 'cheng-at', 'hyperprior', 'mean-scale', 'series-ae' or 'chain', "
    "or the path of a TOML file"
)
UPLINK = "rate_bps = 1e6\nlatency_s = 0.02\n[clients.downlink]"

# (what to replace, by what, the line)
CASES = {
    "misspelt key": (
        "batch_size",
        "batch_sise",
        "a.toml, batch_sise: found an unknown key, expected a key of this table. Did you mean 'batch_size'?",
    ),
    "misspelt key in a group": (
        UPLINK,
        "rate_bsp = 1e6\nlatency_s = 0.02\n[clients.downlink]",
        "a.toml, [clients \"phone\" uplink] rate_bsp: found an unknown key, expected a key of this table. Did you mean 'rate_bps'?",
    ),
    "wrong unit of time": (
        UPLINK,
        "rate_bps = 1e6\nlatency_ms = 20\n[clients.downlink]",
        'a.toml, [clients "phone" uplink] latency_ms: found an unknown key, expected a key of this table. '
        "Units are part of the key: write latency_s = 0.02",
    ),
    "wrong unit of rate": (
        UPLINK,
        "rate_mbps = 1.5\nlatency_s = 0.02\n[clients.downlink]",
        'a.toml, [clients "phone" uplink] rate_mbps: found an unknown key, expected a key of this table. '
        "Units are part of the key: write rate_bps = 1500000",
    ),
    "negative rate": (
        UPLINK,
        "rate_bps = -5\nlatency_s = 0.02\n[clients.downlink]",
        'a.toml, [clients "phone" uplink] rate_bps: found -5, expected a number of at least 1',
    ),
    "true for a number": (
        UPLINK,
        "rate_bps = true\nlatency_s = 0.02\n[clients.downlink]",
        'a.toml, [clients "phone" uplink] rate_bps: found true, expected a number of at least 1',
    ),
    "text for a number": (
        "batch_size = 8",
        'batch_size = "8"',
        "a.toml, batch_size: found '8', expected a whole number of at least 1",
    ),
    "fraction for a whole number": (
        "batch_size = 8",
        "batch_size = 8.5",
        "a.toml, batch_size: found 8.5, expected a whole number of at least 1",
    ),
    "NaN": (
        "learning_rate = 0.05",
        "learning_rate = nan",
        "a.toml, [optimiser] learning_rate: found nan, expected a finite number",
    ),
    "missing key": (
        "global_rounds = 3\n",
        "",
        "a.toml, global_rounds: found nothing, expected a whole number of at least 1",
    ),
    "missing table": (
        '[main_server]\ndevice = "devices/small.toml"',
        "",
        f"a.toml, main_server: found nothing, expected {TABLE}",
    ),
    "no rate at all": (
        UPLINK,
        "latency_s = 0.02\n[clients.downlink]",
        'a.toml, [clients "phone" uplink] rate_bps: found nothing, expected a rate in bit/s, or a channel',
    ),
    "number for a table": (
        'smashed_up = "codecs/int8.toml"',
        "smashed_up = 8",
        f"a.toml, [codecs] smashed_up: found 8, expected {CODEC}",
    ),
    "unknown protocol": (
        '"splitfed-v1"',
        '"splitfed_v1"',
        "a.toml, protocol: found 'splitfed_v1', expected 'sl', 'splitfed-v1' or 'splitfed-v2'. Did you mean 'splitfed-v1'?",
    ),
    "unknown kind": (
        'kind = "cnn"',
        'kind = "resnet"',
        "a.toml, [model] kind: found 'resnet', expected 'cnn', 'resnet18', 'resnet34', 'vgg19', 'unet' or 'cnn-1d'. Did you mean 'resnet34'?",
    ),
    "no kind": (
        '{ kind = "cnn" }',
        "{ width = 8 }",
        "a.toml, [model] kind: found nothing, expected 'cnn', 'resnet18', 'resnet34', 'vgg19', 'unet' or 'cnn-1d'",
    ),
    "half a variation": (
        "[clients.uplink]",
        'variation = { law = "lognormal" }\n[clients.uplink]',
        "a.toml, [clients \"phone\"] variation: found {law = 'lognormal'}, expected sigma with law = 'lognormal', and only there",
    ),
    "file that does not exist": (
        '"codecs/int8.toml"',
        '"codecs/int88.toml"',
        f"a.toml, [codecs] smashed_up: found 'codecs/int88.toml', which does not exist, expected {CODEC}. Did you mean 'int8.toml'?",
    ),
    "folder that does not exist": (
        '"codecs/int8.toml"',
        '"codex/int8.toml"',
        f"a.toml, [codecs] smashed_up: found 'codex/int8.toml', which does not exist, expected {CODEC}. "
        "The folder 'codex' does not exist either.",
    ),
    "wrong key in another file": (
        '"codecs/int8.toml"',
        '"codecs/wrong.toml"',
        "codecs/wrong.toml, bit: found an unknown key, expected a key of this table. Did you mean 'bits'?",
    ),
    "device by profile": (
        '[main_server]\ndevice = "devices/small.toml"',
        '[main_server]\ndevice = { profile = "devices/small.toml", slots = 0 }',
        "a.toml, [main_server.device] slots: found 0, expected a whole number of at least 1",
    ),
    "byte stage alone": (
        '"codecs/int8.toml"',
        '{ kind = "zstd" }',
        "a.toml, [codecs.smashed_up] kind: found 'zstd' by itself, expected a tensor codec before it. "
        "Write [{ kind = 'cast', dtype = 'float32' }, { kind = 'zstd' }].",
    ),
    "codec slot that this shape does not have": (
        'smashed_up = "codecs/int8.toml"',
        'gradient_up = "codecs/int8.toml"',
        "a.toml, [codecs] gradient_up: found the codec uniform-8bit, expected nothing, because this slot exists only with "
        "two cut layers (U-shaped). With cut_layers = ['conv1'] the slots are smashed_up and gradient_down.",
    ),
    "scheme without its codec": (
        'smashed_up = "codecs/int8.toml"',
        'scheme = "FG"',
        "a.toml, [codecs] codec: found nothing, expected the codec that scheme = 'FG' puts into its slots",
    ),
    "unknown cut layer": (
        '["conv1"]',
        '["conv11"]',
        "a.toml, cut_layers: found 'conv11', expected one of the stages conv1, conv2, conv3, head. Did you mean 'conv1'?",
    ),
    "three cut layers": (
        '["conv1"]',
        '["conv1", "conv2", "conv3"]',
        "a.toml, cut_layers: found ['conv1', 'conv2', 'conv3'], expected a list of 1 to 2, each a text that is not empty",
    ),
    "cuts in the wrong order": (
        '["conv1"]',
        '["conv2", "conv1"]',
        "a.toml, cut_layers: found ['conv2', 'conv1'], expected cuts in the order of the stages conv1, conv2, conv3, head. Swap them.",
    ),
    "counts do not match": (
        "cut_layers",
        'partition = { kind = "counts", counts = [10, 20] }\ncut_layers',
        "a.toml, [partition] counts: found 2 numbers, expected one for each of the 3 clients",
    ),
    "folders without folders": (
        "cut_layers",
        'partition = { kind = "folders" }\ncut_layers',
        "a.toml, [partition] kind: found 'folders', expected another kind, because only ham10000 with layout = 'splitfedzip' has client folders",
    ),
    "epochs and steps": (
        "batch_size",
        "local_epochs = 1\nlocal_steps = 5\nbatch_size",
        "a.toml, local_steps: found both local_epochs and local_steps, expected one of the two",
    ),
    "two clients of one name": (
        'name = "pi"\ncount = 2',
        'name = "phone"',
        "a.toml, [clients \"phone\"] name: found a second client 'phone', expected a name that no other client has",
    ),
    "client named like a server": (
        'name = "phone"',
        'name = "fed server"',
        "a.toml, [clients \"fed server\"] name: found 'fed server', expected a name that is not a server's",
    ),
    "no clients in a group": (
        "count = 2",
        "count = 0",
        'a.toml, [clients "pi"] count: found 0, expected a whole number of at least 1 and at most 100000',
    ),
    "no clients in a round": (
        "batch_size",
        "client_fraction = 0\nbatch_size",
        "a.toml, client_fraction: found 0, expected a number greater than 0 and at most 1",
    ),
    "start before the beginning": (
        'name = "phone"',
        'name = "phone"\nstart_s = -1',
        'a.toml, [clients "phone"] start_s: found -1, expected a number of at least 0 and at most 1000000000',
    ),
    "target of another task": (
        "[codecs]",
        '[target]\nmetric = "mji"\nvalue = 0.7\n[codecs]',
        "a.toml, [target] metric: found 'mji', expected 'accuracy', because the data set 'digits' is for classification",
    ),
    "target in other letters": (
        "[codecs]",
        '[target]\nmetric = "Accuracy"\nvalue = 0.7\n[codecs]',
        "a.toml, [target] metric: found 'Accuracy', expected 'accuracy', 'mji' or 'f1'. Did you mean 'accuracy'?",
    ),
    "target in percent": (
        "[codecs]",
        '[target]\nmetric = "accuracy"\nvalue = 90\n[codecs]',
        "a.toml, [target] value: found 90, expected at most 1, which is a perfect accuracy. Write 0.9 for 90 %.",
    ),
    "target without validation": (
        "[codecs]",
        'validation_fraction = 0\n[target]\nmetric = "accuracy"\nvalue = 0.9\n[codecs]',
        "a.toml, validation_fraction: found 0, expected more than 0, because the target is read on the validation split",
    ),
    "loss of another task": (
        "[codecs]",
        'loss = "dice"\n[codecs]',
        "a.toml, loss: found 'dice', expected 'cross-entropy', because the data set 'digits' is for classification",
    ),
    "model of another task": (
        'kind = "cnn"',
        'kind = "unet"',
        "a.toml, [model] kind: found 'unet', expected 'cnn', 'resnet18', 'resnet34' or 'vgg19', because the data set 'digits' is for classification",
    ),
    "star without a link": (
        "[clients.downlink]\nrate_bps = 2e6\nlatency_s = 0.02\n",
        "",
        'a.toml, [clients "phone"] downlink: found nothing, expected a link, because there is one in the other direction',
    ),
    "node in a star": (
        'name = "phone"',
        'name = "phone"\nnode = "edge"',
        'a.toml, [clients "phone"] node: found a node of a graph, expected nothing in a star. '
        "Nodes need [topology] with kind = 'graph' or 'graphml'.",
    ),
    "fed server without a host": (
        "[main_server]",
        "[fed_server]\nsame_host = false\n[main_server]",
        "a.toml, [fed_server] device: found nothing, expected a device, because same_host = false",
    ),
    "fed server with a needless device": (
        "[main_server]",
        '[fed_server]\ndevice = "devices/small.toml"\n[main_server]',
        "a.toml, [fed_server] device: found a value although the fed server shares the main server's host, expected nothing. "
        "Say same_host = false to give it a machine of its own.",
    ),
    "fed server without links": (
        "[main_server]",
        '[fed_server]\nsame_host = false\ndevice = "devices/small.toml"\n[main_server]',
        "a.toml, [fed_server] uplink: found nothing, expected a link, because same_host = false",
    ),
    "framing": (
        "[main_server]",
        '[network]\nframing = "tcp"\n[main_server]',
        "a.toml, [network] framing: found 'tcp', expected one of none, tcp-ipv4, udp-ipv4, tcp-ipv4-ethernet, "
        "udp-ipv4-ethernet, udp-ipv4-wifi, lte-like, ip, tcp-ip, nb-iot, lorawan-sf7, lorawan-sf8, lorawan-sf9, "
        "lorawan-sf10, lorawan-sf11, lorawan-sf12. Did you mean 'tcp-ip'?",
    ),
    "link that is down for ever": (
        UPLINK,
        'channel = { kind = "constant", rate_bps = 0 }\nlatency_s = 0.02\n[clients.downlink]',
        'a.toml, [clients "phone" uplink] channel: found a link that is down for ever, expected a rate above 0 at some time',
    ),
    "rate that no link has": (
        UPLINK,
        "rate_bps = 1e-300\nlatency_s = 0.02\n[clients.downlink]",
        'a.toml, [clients "phone" uplink] rate_bps: found 1e-300, expected a number of at least 1',
    ),
    "rate that no channel has": (
        UPLINK,
        'channel = { kind = "constant", rate_bps = 1e-300 }\nlatency_s = 0.02\n[clients.downlink]',
        'a.toml, [clients "phone" uplink] channel: found a rate of 1e-300 bit/s at best, expected at least 1 bit/s at times',
    ),
    "latency beyond a day": (
        UPLINK,
        "rate_bps = 1e6\nlatency_s = 1e300\n[clients.downlink]",
        'a.toml, [clients "phone" uplink] latency_s: found 1e+300, expected a number of at least 0 and at most 100000',
    ),
    "loss that nothing survives": (
        UPLINK,
        'rate_bps = 1e6\nlatency_s = 0.02\nloss = { kind = "gilbert-elliott", p = 1, r = 1e-7 }\n[clients.downlink]',
        'a.toml, [clients "phone" uplink.loss] p: found a mean loss of 1, with which a packet needs 10,000,001 attempts on average, '
        "expected a mean loss of at most 0.99 (a smaller p or a larger r)",
    ),
    "hardly ever a packet": (
        UPLINK,
        'rate_bps = 1e6\nlatency_s = 0.02\nloss = { kind = "bernoulli", probability = 0.999 }\n[clients.downlink]',
        'a.toml, [clients "phone" uplink.loss] probability: found 0.999, expected a number of at least 0 and at most 0.99',
    ),
    "a join in the next ice age": (
        'name = "phone"',
        'name = "phone"\nstart_s = 1e300',
        'a.toml, [clients "phone"] start_s: found 1e+300, expected a number of at least 0 and at most 1000000000',
    ),
    "client called like the node in the middle": (
        'name = "phone"',
        'name = "hub"',
        "a.toml, [clients \"hub\"] name: found 'hub', expected another name: in a star the node in the middle is called so",
    ),
    "two groups of one name": (
        'name = "phone"',
        'name = "pi"',
        "a.toml, [clients \"pi\"] name: found a second group 'pi', expected a name that no other group has",
    ),
    "baseline that is no run": (
        "[codecs]",
        '[target]\nmetric = "accuracy"\nvalue = 0.9\nrelative_to = "codecs"\n[codecs]',
        "a.toml, [target] relative_to: found 'codecs', expected the directory of a finished run (with summary.json)",
    ),
    "baseline that does not exist": (
        "[codecs]",
        '[target]\nmetric = "accuracy"\nvalue = 0.9\nrelative_to = "runs/a"\n[codecs]',
        "a.toml, [target] relative_to: found 'runs/a', which does not exist, expected the path of a file that exists. "
        "The folder 'runs' does not exist either.",
    ),
}


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ('"codecs/int8.toml"', '"int8"', "Did you mean 'codecs/int8.toml'?"),
        ('"codecs/int8.toml"', '"uniform"', "Write { kind = 'uniform' }."),
        ('[codecs]', 'learning_rate = 0.1\n[codecs]', "Did you mean optimiser.learning_rate or "
         "server_optimiser.learning_rate?"),
        ("[codecs]", "[codecs]\nbatch_size = 4", "It belongs to the whole: move it above the first [table]."),
        ("[codecs]", "[codecs]\nlocal_step = 4", "Did you mean 'local_steps'? It belongs to the whole: move it "
         "above the first [table]."),
        ("[clients.uplink]", "latency_s = 1\n[clients.uplink]", "Did you mean uplink.latency_s or "
         "downlink.latency_s?"),
        ("[codecs]", '[partition]\nkind = "iid"\nalpha = 0.3\n[codecs]', "It belongs to kind = 'dirichlet', "
         "not to 'iid'."),
    ],
)  # fmt: skip
def test_a_key_or_name_in_the_wrong_place_is_told_the_right_one(old: str, new: str, hint: str) -> None:
    text = SCENARIO
    if new.startswith("learning_rate"):
        old, new = text.splitlines()[0], f"{new.splitlines()[0]}\n{text.splitlines()[0]}"
    assert old in text
    write(Path(), text.replace(old, new, 1))
    with pytest.raises(ConfigError) as error:
        load("a.toml")
    assert error.value.hint == hint


def test_an_unknown_device_is_told_those_of_the_catalogue(tmp_path: Path) -> None:
    write(Path())
    with pytest.raises(ConfigError) as error:
        load("a.toml", {"clients.phone.device": "iphone"})
    hint = str(error.value.hint)
    assert hint.startswith("There are ") and "devices/phone-midrange.toml" in hint and "int8.toml" not in hint
    with pytest.raises(ConfigError, match=r"Did you mean '.*devices/jetson-nano.toml'\?$"):
        load("a.toml", {"clients.phone.device": "jetson"})


def test_a_wildcard_says_of_which_entry_it_speaks_and_what_its_file_would() -> None:
    """All entries of the list are wrong in the same way, which is no fault of the list's length."""
    write(Path())
    with pytest.raises(ConfigError) as error:
        load("a.toml", {"clients.*.uplink": {"rate_bps": 1e6}})
    assert str(error.value) == (
        'override of clients.*.uplink, [clients "phone" uplink] latency_s: found nothing, '
        "expected a number of at least 0 and at most 100000"
    )
    write(Path(), re.sub(r"(?m)^latency_s.*\n", "", SCENARIO))
    with pytest.raises(ConfigError, match=r'^a\.toml, \[clients "phone" uplink\] latency_s: found nothing'):
        load("a.toml")


@pytest.fixture(autouse=True)
def _in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_gives_one_line(case: str) -> None:
    old, new, line = CASES[case]
    assert old in SCENARIO
    write(Path(), SCENARIO.replace(old, new, 1))
    with pytest.raises(ConfigError) as error:
        load("a.toml")
    assert str(error.value) == line


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            'destination = "edge"',
            'destination = "island"',
            "a.toml, topology: found no route both ways between 'phone' (node 'phone') and 'pi-0' (node 'pi-0'), "
            "expected a graph in which all parties reach each other",
        ),
        (
            'node = "edge"',
            'node = "egde"',
            "a.toml, [clients \"pi\"] node: found 'egde', expected a node of the graph: phone, edge, core. Did you mean 'edge'?",
        ),
        (
            'node = "edge"',
            'nodes = ["edge"]',
            'a.toml, [clients "pi"] nodes: found 1 nodes, expected one for each of the 2 clients',
        ),
        (
            '[topology]\nkind = "graph"',
            '[topology]\nkind = "grph"',
            "a.toml, [topology] kind: found 'grph', expected 'star', 'graph' or 'graphml'. Did you mean 'graph'?",
        ),
    ],
)
def test_a_mistake_in_a_graph(old: str, new: str, line: str) -> None:
    assert old in GRAPH
    write(Path(), GRAPH.replace(old, new, 1))
    with pytest.raises(ConfigError) as error:
        load("a.toml")
    assert str(error.value) == line


def test_files_that_are_no_scenarios() -> None:
    write(Path())
    with pytest.raises(
        ConfigError, match=r"^b\.toml: found no such file, expected a TOML file\. Did you mean 'a\.toml'\?$"
    ):
        load("b.toml")
    Path("b.toml").write_text("seed = = 3")
    with pytest.raises(
        ConfigError, match=r"^b\.toml: found text that is not TOML \(Invalid value \(at line 1, column 8\)\)"
    ):
        load("b.toml")
    for encoding in ("utf-8-sig", "utf-16"):
        Path("b.toml").write_text("seed = 3", encoding=encoding)
        with pytest.raises(ConfigError, match=r"^b\.toml, protocol: found nothing"):  # read past its mark
            load("b.toml")
    Path("b.toml").write_text("")
    with pytest.raises(ConfigError, match=r"^b\.toml, protocol: found nothing, expected 'sl', 'splitfed-v1'"):
        load("b.toml")


def test_a_file_that_names_itself() -> None:
    write(Path())
    Path("codecs/int8.toml").write_text('profile = "int8.toml"\n')
    with pytest.raises(
        ConfigError, match=r"^codecs/int8\.toml, profile: found 'int8\.toml', expected a file that does not"
    ):
        load("a.toml")


def test_traces_are_read_when_the_scenario_is() -> None:
    write(Path())
    rates = Path("channels/rates.csv")
    rates.write_text("")
    with pytest.raises(NetworkError, match=r"rates\.csv: an empty trace; expected rows of time and rate$"):
        load("a.toml")
    rates.write_text("0,0\n1,0\n")
    with pytest.raises(
        ConfigError, match=r'^a\.toml, \[clients "pi" uplink\] channel: found a link that is down for ever'
    ):
        load("a.toml")
    rates.unlink()
    with pytest.raises(
        ConfigError, match=r"^channels/trace\.toml, path: found 'rates\.csv', which does not exist, expected"
    ):
        load("a.toml")


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("batch_size", 0, "override of batch_size: found 0, expected a whole number of at least 1"),
        (
            "batchsize",
            3,
            "override of batchsize: found an unknown key, expected a key of this table. Did you mean 'batch_size'?",
        ),
        (
            "clients.*.uplink.latency_s",
            -1,
            "override of clients.*.uplink.latency_s: found -1, expected a number of at least 0 and at most 100000",
        ),
        (
            "clients.tablet.count",
            3,
            "override of clients.tablet.count: found 'tablet', expected one of phone, pi, an index below 2, or *",
        ),
        (
            "batch_size.small",
            3,
            "override of batch_size.small: found 8, expected a table that can have 'small'",
        ),
        ("codecs.smashed_up", {"kind": "uniform", "bits": "8"}, None),
    ],
)
def test_a_wrong_override(key: str, value: object, line: str | None) -> None:
    write(Path())
    with pytest.raises(ConfigError) as error:
        load("a.toml", {key: value})
    assert (
        str(error.value) == line
        if line
        else str(error.value).startswith("override of codecs.smashed_up, bits: found '8'")
    )


def places(table: object, key: str = "") -> list[str]:
    """Every dotted key of a resolved scenario."""
    inner = table.items() if isinstance(table, dict) else enumerate(table) if isinstance(table, list) else ()
    below = [place for name, item in inner for place in places(item, f"{key}.{name}".strip("."))]
    return [key, *below] if key else below


@pytest.mark.parametrize("junk", ["x", -1, True, float("nan"), [{}], {"kind": "x"}], ids=repr)
def test_junk_anywhere_is_refused_in_one_line_or_fits(junk: object) -> None:
    write(Path(), GRAPH)
    for key in places(load("a.toml").to_table()):
        try:
            load("a.toml", {key: junk})
        except (ConfigError, NetworkError) as error:
            text = str(error)
            assert "\n" not in text and "found" in text and "expected" in text and "Input should" not in text

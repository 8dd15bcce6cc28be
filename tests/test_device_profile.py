"""Device profiles and variation: arithmetic, laws, and the text of every refusal."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sfsim.cost import Cost
from sfsim.declaration import validate
from sfsim.device import Device, Variation, check_memory, load, parse
from sfsim.errors import ConfigError

CATALOGUE = sorted((Path(__file__).parents[1] / "scenarios" / "devices").glob("*.toml"))

TABLE = {
    "name": "d",
    "peak_flops": 4e9,
    "efficiency": 0.5,
    "memory_bandwidth_bytes_per_s": 1e9,
    "launch_overhead_s": 1e-3,
    "symbols_per_s": 1e6,
    "memory_bytes": 1000,
    "idle_power_w": 1,
    "active_power_w": 5,
}


@pytest.mark.parametrize(
    ("cost", "seconds"),
    [
        (Cost(), 0),
        (Cost(flops=4e9), 2),
        (Cost(bytes_touched=3e9), 3),
        (Cost(flops=4e9, bytes_touched=3e9), 3),
        (Cost(flops=8e9, bytes_touched=3e9), 4),
        (Cost(launches=500), 0.5),
        (Cost(flops=4e9, serial_symbols=1e6, launches=500), 3.5),
    ],
)
def test_seconds_is_the_roofline_plus_the_serial_terms(cost: Cost, seconds: float) -> None:
    device = parse(TABLE, "here")
    assert device.seconds(cost) == seconds
    assert device.joules(cost) == 5 * seconds


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"efficiency": 1.5},
            "a.toml, efficiency: found 1.5, expected a number of at least 1e-06 and at most 1",
        ),
        ({"peak_flops": True}, "a.toml, peak_flops: found true, expected a number of at least 1"),
        ({"slots": 0}, "a.toml, slots: found 0, expected a whole number of at least 1"),
        ({"policy": "lifo"}, "a.toml, policy: found 'lifo', expected 'fifo', 'shared' or 'unlimited'"),
        (
            {"peek_flops": 1},
            "a.toml, peek_flops: found an unknown key, expected a key of this table. Did you mean 'peak",
        ),
        ({"throttling": {"after_busy_s": 1}}, "a.toml, [throttling] speed: found nothing, expected a number"),
        ({"profile": 3}, "a.toml, profile: found 3, expected the path of a device profile"),
    ],
)
def test_a_wrong_profile_is_refused(change: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(TABLE | change, "a.toml")
    assert str(error.value).startswith(text)


def test_a_profile_may_be_named_and_changed(tmp_path: Path) -> None:
    lines = [
        f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}" for key, value in TABLE.items()
    ]
    (tmp_path / "d.toml").write_text("\n".join(lines))
    assert load(tmp_path / "d.toml") == parse(TABLE, "here")
    changed = parse({"profile": "d.toml", "policy": "unlimited"}, "here", tmp_path)
    assert changed == parse(TABLE | {"policy": "unlimited"}, "here")
    with pytest.raises(ConfigError, match=r"no such file, expected a TOML file\. Did you mean 'd\.toml'\?"):
        parse({"profile": "e.toml"}, "here", tmp_path)


def test_what_does_not_fit_is_refused_with_both_numbers() -> None:
    device = parse(TABLE, "here")
    check_memory(device, 1000, "the model", "a.toml, [model]")
    with pytest.raises(ConfigError) as error:
        check_memory(device, 12345, "the client-side model with 8 samples", "a.toml, [model]")
    assert str(error.value) == (
        "a.toml, [model]: found the client-side model with 8 samples, which needs 12,345 bytes, "
        "expected at most the 1,000 bytes of memory of d. "
        "Take a smaller model, batch or input, cut earlier, or name a larger device."
    )


@pytest.mark.parametrize("path", CATALOGUE, ids=lambda path: path.stem)
def test_every_catalogue_entry_is_complete(path: Path) -> None:
    device = load(path)
    assert device.name == path.stem
    assert device.title and device.source
    assert set(device.estimated) <= set(Device.__dataclass_fields__)
    assert device.active_power_w >= device.idle_power_w
    assert f"({path.name})" in (path.parent / "README.md").read_text()


def test_the_catalogue_is_ordered_as_everybody_knows() -> None:
    step = Cost(flops=1e10, bytes_touched=1e8, launches=100)
    names = ["raspberry-pi-4", "jetson-nano", "laptop-cpu", "rtx-3090", "a100", "infinitely-fast"]
    assert {path.stem for path in CATALOGUE} > set(names)
    seconds = [load(CATALOGUE[0].parent / f"{name}.toml").seconds(step) for name in names]
    assert seconds == sorted(seconds, reverse=True)


def test_lognormal_variation_follows_its_law() -> None:
    law = Variation(law="lognormal", sigma=0.3)
    factors = [law.factor(1, "client-0", "client-0", 0, 0, i) for i in range(2000)]
    assert stats.kstest(np.log(factors), "norm", args=(-0.045, 0.3)).pvalue > 0.01
    assert np.mean(factors) == pytest.approx(1, abs=0.02)


def test_shifted_exponential_variation_follows_its_law() -> None:
    law = Variation(law="shifted-exponential", mean_excess=0.5)
    factors = [law.factor(1, "client-0", "client-0", 0, 0, i) for i in range(2000)]
    assert stats.kstest(factors, "expon", args=(1, 0.5)).pvalue > 0.01


def test_variation_depends_on_names_only() -> None:
    law = Variation(law="lognormal", sigma=0.3)
    assert law.factor(1, "client-0", 2, 3) == law.factor(1, "client-0", 2, 3)
    others = {
        law.factor(1, "client-1", 2, 3),
        law.factor(2, "client-0", 2, 3),
        law.factor(1, "client-0", 2, 4),
    }
    assert law.factor(1, "client-0", 2, 3) not in others
    assert len(others) == 3


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"law": "lognormal"}, "expected sigma with law = 'lognormal', and only there"),
        ({"sigma": 1.0}, "expected sigma with law = 'lognormal', and only there"),
        (
            {"law": "shifted-exponential"},
            "expected mean_excess with law = 'shifted-exponential', and only there",
        ),
        ({"law": "gauss"}, "law: found 'gauss', expected 'none', 'lognormal' or"),
    ],
)
def test_a_wrong_variation_is_refused(table: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError) as error:
        validate(Variation, table, "a.toml, [variation]")
    assert text in str(error.value)

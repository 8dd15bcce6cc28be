"""Declarations: the same checks from Python and TOML, and one clear line for each mistake."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from sfsim.declaration import declaration, misfit, read_toml, validate
from sfsim.errors import ConfigError


@declaration
class Cable:
    kind: Literal["cable"] = "cable"
    rate_bps: Annotated[float, Field(gt=0)]
    latency_s: Annotated[float, Field(ge=0)] = 0.0


@declaration
class Radio:
    kind: Literal["radio"] = "radio"
    bandwidth_hz: Annotated[float, Field(gt=0)]
    tries: Annotated[int, Field(ge=1, le=9)] = 1
    title: str = ""

    def __post_init__(self) -> None:
        if self.tries > self.bandwidth_hz:
            raise misfit("tries", str(self.tries), "at most bandwidth_hz")


AnyMedium = Annotated[Cable | Radio, Field(discriminator="kind")]


@declaration
class Net:
    media: tuple[AnyMedium, ...] = ()
    backup: AnyMedium | None = None
    duplex: bool = True


CABLE = "a table with kind = 'cable' or 'radio', or the path of a TOML file"


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (
            {"backup": {"kind": "cable", "rate_bps": -5}},
            "[backup] rate_bps: found -5, expected a number greater than 0",
        ),
        (
            {"backup": {"kind": "cable", "rate_bps": True}},
            "[backup] rate_bps: found true, expected a number greater than 0",
        ),
        (
            {"backup": {"kind": "cable", "rate_bps": "5"}},
            "[backup] rate_bps: found '5', expected a number greater than 0",
        ),
        (
            {"backup": {"kind": "cable", "rate_bps": float("nan")}},
            "[backup] rate_bps: found nan, expected a finite number",
        ),
        (
            {"backup": {"kind": "cable", "rate_bps": float("inf")}},
            "[backup] rate_bps: found inf, expected a finite number",
        ),
        ({"backup": {"kind": "cable"}}, "[backup] rate_bps: found nothing, expected a number greater than 0"),
        (
            {"backup": {"kind": "cable", "rate_mbps": 20}},
            "[backup] rate_mbps: found an unknown key, expected a key of this table. "
            "Units are part of the key: write rate_bps = 20000000",
        ),
        (
            {"backup": {"kind": "cable", "rate_bps": 1, "latency_ms": 20}},
            "[backup] latency_ms: found an unknown key, expected a key of this table. "
            "Units are part of the key: write latency_s = 0.02",
        ),
        (
            {"backup": {"kind": "cable", "rate_bps": 1, "latency_ms": "20"}},
            "[backup] latency_ms: found an unknown key, expected a key of this table. "
            "Units are part of the key: write latency_s",
        ),
        (
            {"backup": {"kind": "cable", "rate_bps": 1, "latency": 0.02}},
            "[backup] latency: found an unknown key, expected a key of this table. Did you mean 'latency_s'?",
        ),
        (
            {"backup": {"kind": "cable", "rate_bps": 1, "colour": "red"}},
            "[backup] colour: found an unknown key, expected one of kind, rate_bps, latency_s",
        ),
        (
            {"backup": {"kind": "Cable", "rate_bps": 1}},
            "[backup] kind: found 'Cable', expected 'cable' or 'radio'. Did you mean 'cable'?",
        ),
        ({"backup": {"rate_bps": 1}}, "[backup] kind: found nothing, expected 'cable' or 'radio'"),
        ({"backup": 3}, f"backup: found 3, expected {CABLE}"),
        ({"media": 3}, f"media: found 3, expected a list, each {CABLE}"),
        (
            {"media": [{"kind": "radio", "bandwidth_hz": 1, "tries": 1.5}]},
            "[media[0]] tries: found 1.5, expected a whole number of at least 1 and at most 9",
        ),
        (
            {"media": [{"kind": "radio", "bandwidth_hz": 1, "tries": 3}]},
            "[media[0]] tries: found 3, expected at most bandwidth_hz",
        ),
        ({"duplex": 1}, "duplex: found 1, expected true or false"),
        ({"duplex": "yes"}, "duplex: found 'yes', expected true or false"),
    ],
)
def test_a_wrong_table_gives_one_line(table: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError) as error:
        validate(Net, table, "n.toml")
    assert str(error.value) == f"n.toml, {text}"


def test_python_meets_the_same_checks() -> None:
    with pytest.raises(ConfigError, match=r"^Cable, rate_bps: found -5, expected a number greater than 0$"):
        Cable(rate_bps=-5)
    with pytest.raises(ConfigError, match=r"^Cable, rate_bps: found true, expected a number greater than 0$"):
        Cable(rate_bps=True)
    with pytest.raises(ConfigError, match=r"^Cable, rate_bps: found nothing, expected a number"):
        Cable()  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match=r"^Radio, tries: found 3, expected at most bandwidth_hz$"):
        Radio(bandwidth_hz=2, tries=3)
    with pytest.raises(ConfigError, match=r"^Net, backup: found 3, expected a table"):
        Net(backup=3)  # type: ignore[arg-type]


def test_the_same_value_from_both_sides() -> None:
    table = {"media": [{"kind": "cable", "rate_bps": 1}], "duplex": False}
    assert validate(Net, table, "n.toml") == Net(media=(Cable(rate_bps=1),), duplex=False)


def test_an_error_names_the_file_it_stands_in() -> None:
    table = {"media": [{"kind": "cable", "rate_bps": 0}]}
    with pytest.raises(ConfigError, match=r"^cable\.toml, rate_bps: found 0"):
        validate(Net, table, "n.toml", {("media", 0): ("cable.toml", 2)})


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "fast.toml").write_text("rate = ")
    with pytest.raises(ConfigError, match=r"unheard-of: found no such file, expected a TOML file$"):
        read_toml(tmp_path / "unheard-of")
    with pytest.raises(ConfigError, match=r"Did you mean 'fast\.toml'\?$"):
        read_toml(tmp_path / "fst.toml")
    with pytest.raises(ConfigError, match=r"fast\.toml: found text that is not TOML \(Invalid value"):
        read_toml(tmp_path / "fast.toml")
    with pytest.raises(ConfigError, match=r"found a directory, expected a TOML file$"):
        read_toml(tmp_path)
    with pytest.raises(ConfigError, match=r"The folder '.*nowhere' does not exist either\.$"):
        read_toml(tmp_path / "nowhere" / "x.toml")

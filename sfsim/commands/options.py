"""Arguments and options that several verbs take, and what becomes of them."""

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from sfsim.errors import ConfigError

File = Annotated[Path, typer.Argument(metavar="FILE", help="Scenario (TOML).")]
Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directories, or folders of them.")]
DataRoot = Annotated[
    Path | None, typer.Option(envvar="SFSIM_DATA", metavar="DIR", help="Folder that holds the data sets.")
]
Jobs = Annotated[
    int | None,
    typer.Option(show_default="all cores", help="Clients trained side by side; never changes a result."),
]
Report = Annotated[bool, typer.Option(help="Write report.html and figures/ into the run directory.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
CheckpointShare = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        help="The most of the wall time that checkpoints may take; 0: none, inf: one after every round.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Replace one value of the scenario, such as clients.*.uplink.rate_bps=1e6; "
        "paths are relative to the scenario file. May be given several times.",
    ),
]


@contextmanager
def tables_of(file: Path) -> Iterator[None]:
    """Name the file too, where only data and model can tell what is wrong with a scenario's table."""
    try:
        yield
    except ConfigError as error:
        if not error.place.startswith("["):
            raise
        raise ConfigError(f"{file}, {error.place}", error.found, error.expected, error.hint) from None


def overrides(pairs: list[str] | None) -> dict[str, Any]:
    """Read KEY=VALUE pairs; a value is TOML where it can be, and text otherwise."""
    found: dict[str, Any] = {}
    for pair in pairs or []:
        key, equals, text = (part.strip() for part in pair.partition("="))
        if not equals or not key:
            raise ConfigError("--set", repr(pair), "KEY=VALUE")
        if not text:
            raise ConfigError(f"--set {key}", "nothing", "a value behind the =")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError as error:
            if text[0] in "{[\"'":
                raise ConfigError(
                    f"--set {key}", f"{text!r}, broken TOML ({error})", "a TOML value"
                ) from None
            value = text
        found[key] = value
    return found

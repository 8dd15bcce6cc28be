"""Read a scenario file, with the files it names and a caller's overrides, into one checked Scenario."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfsim.declaration import validate
from sfsim.scenario.scenario import Scenario
from sfsim.scenario.tables import Tables


def load(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Scenario:
    """Read a scenario.

    Parameters
    ----------
    path : str or Path
        The TOML file. Without a ``name`` in it, the scenario is called like the file.
    overrides : mapping of str to Any, optional
        Dotted keys and the values to put there, as if the file said so: ``{"seed": 3,
        "codecs.smashed_up": "../codecs/x.toml", "clients.*.uplink.rate_bps": 1e6}``.

    Raises
    ------
    ConfigError
        With the file that the wrong value really stands in, table, key, what was found and what was expected.
    NetworkError
        For a trace file that cannot be used.
    """
    tables = Tables(Scenario, Path(path))
    for key, value in (overrides or {}).items():
        tables.override(key, value)
    tables.tree.setdefault("name", Path(path).stem)
    scenario: Scenario = validate(Scenario, tables.tree, str(path), tables.origins)
    return scenario

"""Result: a finished run, read lazily from its directory."""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfsim.errors import ConfigError, ResultsError
from sfsim.results.divergence import first_divergence
from sfsim.results.target import TimeToTarget, time_to

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from sfsim.scenario import Target


class Result:
    """A finished run, read lazily from its directory.

    Parameters
    ----------
    directory : Path or str
        A run directory.

    Raises
    ------
    ResultsError
        `directory` is no run directory.
    """

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        self.summary: dict[str, Any] = self._read_json("summary.json")
        self.scenario: dict[str, Any] = self._read_json("scenario.json")

    def __repr__(self) -> str:
        return f"Result({str(self.directory)!r})"

    @property
    def name(self) -> str:
        """The scenario's name."""
        return str(self.summary["name"])

    @property
    def notes(self) -> list[str]:
        """What the reader has to know, such as configured effects that never happened."""
        return list(self.summary["notes"])

    @property
    def end_s(self) -> float:
        """Simulated second at which the last thing happened."""
        return float(self.summary["end_s"])

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, wall-clock seconds and host facts."""
        return self._read_json("environment.json")

    @cached_property
    def messages(self) -> "pd.DataFrame":
        """One row per message (`sfsim.ledger.MessageRecord`)."""
        return self._read("messages")

    @cached_property
    def computations(self) -> "pd.DataFrame":
        """One row per phase of a computation, or of a wait (`sfsim.ledger.ComputationRecord`)."""
        return self._read("computations")

    @cached_property
    def accesses(self) -> "pd.DataFrame":
        """One row per access to a shared object, in order (`sfsim.ledger.AccessRecord`)."""
        return self._read("accesses")

    @cached_property
    def evaluations(self) -> "pd.DataFrame":
        """One row per measured number (`sfsim.ledger.EvaluationRecord`)."""
        return self._read("evaluations")

    @cached_property
    def links(self) -> "pd.DataFrame":
        """One row per directed link (`sfsim.ledger.LinkRecord`)."""
        return self._read("links")

    @cached_property
    def link_usage(self) -> "pd.DataFrame":
        """One row per link and interval (`sfsim.ledger.LinkUsageRecord`); `network.usage_every_s` asks for it."""
        return self._read("link_usage")

    @cached_property
    def rounds(self) -> "pd.DataFrame":
        """One row per evaluation of the global model: when, every metric, and the bytes until then."""
        return self._read("rounds")

    @cached_property
    def predictions(self) -> "dict[str, np.ndarray]":
        """The first test examples of a run with ``evaluation.keep_predictions``.

        ``inputs`` (N, C, H, W), ``targets`` and ``predictions`` (N,) or (N, H, W), the latter uint8.
        """
        import numpy as np

        path = self.directory / "predictions.npz"
        try:
            with np.load(path) as arrays:
                return dict(arrays)
        except FileNotFoundError:
            raise ResultsError(
                f"{self.directory}: kept no predictions, expected a run with evaluation.keep_predictions above 0"
            ) from None
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise ResultsError(f"{path}: cannot be read ({error})") from None

    @property
    def metric(self) -> str:
        """The headline metric: the target's, or else accuracy or mji where measured, or else the loss."""
        if self.summary["target"]:
            return str(self.summary["target"]["metric"])
        names = self.evaluations.query("split == 'validation' and client == ''")["metric"]
        return next((str(name) for name in names if name in ("accuracy", "mji")), "loss")

    def time_to(self, target: "Target | float | None" = None) -> TimeToTarget:
        """Return when the run reached `target` on the validation split with the codec on.

        Parameters
        ----------
        target : Target or float or None
            A number is a value of the headline metric; None is the scenario's own target.

        Raises
        ------
        ResultsError
            The run has no target, or never measured its metric.
        ConfigError
            `target` is none.
        """
        if target is None:
            stored = self.summary["target"]
            if stored is None:
                raise ResultsError(f"{self.directory}: the scenario names no target; give a value")
            metric, value = stored["metric"], stored["value"]
            hold, relative_to = stored["hold"], stored["relative_to"]
        elif isinstance(target, (int, float)):
            metric, value, hold, relative_to = self.metric, float(target), 1, None
            if value > 1 and metric in ("accuracy", "mji"):
                hint = f"Write {value / 100:g} for {value:g} %."
                raise ConfigError("time_to", f"{value:g}", f"at most 1, which is a perfect {metric}", hint)
        elif not hasattr(target, "metric"):
            raise ConfigError("time_to", repr(target), "a number, a Target, or nothing")
        else:
            metric, value = target.metric, target.value
            hold, relative_to = target.hold, target.relative_to
        if relative_to is not None:
            value *= Result(relative_to).best(metric)
        rows = self._measured(metric)
        found = time_to(rows["time_s"].tolist(), rows["round"].tolist(), rows["value"].tolist(), value, hold)
        return replace(found, diverged=found.diverged or self.diverged)

    @cached_property
    def diverged(self) -> bool:
        """Whether training came to nothing at any evaluation (`sfsim.results.divergence`)."""
        return bool(first_divergence(self.evaluations.itertuples(index=False)))

    def best(self, metric: str | None = None) -> float:
        """Return the best value of `metric` on the validation split with the codec on (NaN: none)."""
        return float(self._measured(metric or self.metric)["value"].max())

    def _measured(self, metric: str) -> "pd.DataFrame":
        every = self.evaluations.query("split == 'validation' and codec == 'on' and client == ''")
        rows = every[every["metric"] == metric]
        if rows.empty:
            known = ", ".join(sorted(set(every["metric"]))) or "nothing"
            raise ResultsError(f"{self.directory}: found no measurement of {metric!r}, only of: {known}")
        return rows.sort_values("time_s", kind="stable")

    def _read_json(self, name: str) -> dict[str, Any]:
        path = self.directory / name
        try:
            return dict(json.loads(path.read_text()))
        except (FileNotFoundError, NotADirectoryError):
            raise ResultsError(
                f"{self.directory}: found no run, expected a run directory (with {name})"
            ) from None
        except (OSError, ValueError, TypeError) as error:
            raise ResultsError(f"{path}: damaged ({error}); run the scenario again") from None

    def _read(self, table: str) -> "pd.DataFrame":
        import pyarrow.parquet as pq

        path = self.directory / f"{table}.parquet"
        try:
            return pq.read_table(path).to_pandas()
        except (OSError, ValueError) as error:
            raise ResultsError(f"{path}: cannot be read ({error})") from None


def find_runs(paths: Sequence[Path]) -> list[Result]:
    """Return the runs at `paths`, each once: run directories, or folders of them (a study's).

    Raises
    ------
    ResultsError
        There is no run at one of them, or it cannot be read.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        below = [path / "summary.json"] if (path / "summary.json").exists() else path.glob("*/summary.json")
        runs = sorted(each.parent for each in below if each.parent.suffix != ".partial")
        if not runs:
            raise ResultsError(f"{path}: found no run, expected a run directory or a folder of them")
        for run in runs:
            found.setdefault(run.resolve(), run)
    return [Result(run) for run in found.values()]

"""Result: a finished run, read lazily from its directory."""

import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sfsim import checksums
from sfsim.checksums import Damaged
from sfsim.errors import ResultsError
from sfsim.results import json_files
from sfsim.results.divergence import HEADLINES, first_divergence
from sfsim.results.tables import OPTIONAL, RECORDS, read_table
from sfsim.results.target import TimeToTarget, time_to, wanted

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from sfsim.scenario import Target


_AGAIN = "run the scenario again"
_Made = TypeVar("_Made")


class Result:
    """A finished run, read lazily from its directory.

    Whatever is read is compared with its checksum before it is used.

    Parameters
    ----------
    directory : Path or str
        A run directory.

    Raises
    ------
    ResultsError
        `directory` is no run directory; here and later: a file is missing, is not what the run has written, or
        was written by another version of sfsim.
    """

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        self._checksums = self._read_list()
        self.summary: dict[str, Any] = self._read("summary.json", json_files.summary)
        self.scenario: dict[str, Any] = self._read("scenario.json", json_files.scenario)

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
        with self._reading("environment.json") as path:
            return checksums.unsealed(path.read_bytes())

    @cached_property
    def messages(self) -> "pd.DataFrame":
        """One row per message (`sfsim.ledger.MessageRecord`)."""
        return self._table("messages")

    @cached_property
    def computations(self) -> "pd.DataFrame":
        """One row per phase of a computation, or of a wait (`sfsim.ledger.ComputationRecord`)."""
        return self._table("computations")

    @cached_property
    def accesses(self) -> "pd.DataFrame":
        """One row per access to a shared object, in order (`sfsim.ledger.AccessRecord`)."""
        return self._table("accesses")

    @cached_property
    def evaluations(self) -> "pd.DataFrame":
        """One row per measured number (`sfsim.ledger.EvaluationRecord`)."""
        return self._table("evaluations")

    @cached_property
    def links(self) -> "pd.DataFrame":
        """One row per directed link (`sfsim.ledger.LinkRecord`)."""
        return self._table("links")

    @cached_property
    def link_usage(self) -> "pd.DataFrame":
        """One row per link and interval (`sfsim.ledger.LinkUsageRecord`); `network.usage_every_s` asks for it."""
        return self._table("link_usage")

    @cached_property
    def rounds(self) -> "pd.DataFrame":
        """One row per evaluation of the global model: when, every metric, and the bytes until then."""
        return self._table("rounds")

    @cached_property
    def predictions(self) -> "dict[str, np.ndarray]":
        """The first test examples of a run with ``evaluation.keep_predictions``.

        ``inputs`` (N, C, H, W), ``targets`` and ``predictions`` (N,) or (N, H, W), the latter uint8. With
        ``evaluation.keep_smashed_data`` also ``smashed_up`` and ``smashed_down``, float32, before the codec.
        """
        if (kept := "predictions.npz") not in self._checksums:
            raise ResultsError(
                f"{self.directory}: kept no predictions, expected a run with evaluation.keep_predictions above 0"
            )
        return self._read(kept, _arrays)

    def learnt(self) -> dict[str, bytes]:
        """The files of what was learnt, by name: predictions, and the weights of learned codecs.

        Raises
        ------
        ResultsError
            One is missing or damaged.
        """
        names = [name for name in self._checksums if name == "predictions.npz" or name.startswith("codecs/")]
        return {name: self._read(name, bytes) for name in names}

    def verify(self) -> None:
        """Compare every file of the run with its checksum; a report and files of other people's are not the run's.

        Raises
        ------
        ResultsError
            The first that is missing or damaged.
        """
        for name in self._checksums:
            self._read(name, len)
        for table in (*RECORDS, "rounds"):
            if table not in OPTIONAL:
                self._read(f"{table}.parquet", len)
        _ = self.environment

    @property
    def metric(self) -> str:
        """The headline metric: the target's, or else accuracy, mji or f1 where measured, or else the loss."""
        if self.summary["target"]:
            return str(self.summary["target"]["metric"])
        names = self.evaluations.query("split == 'validation' and client == ''")["metric"]
        return next((str(name) for name in names if name in HEADLINES), "loss")

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
        metric, value, hold = wanted(
            target, self.summary["target"], lambda: self.metric, str(self.directory), _best_of
        )
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

    def _read_list(self) -> dict[str, str]:
        if not (self.directory / "summary.json").is_file():
            raise ResultsError(
                f"{self.directory}: found no run, expected a run directory (with summary.json)"
            )
        with self._reading(checksums.LIST) as path:
            files = checksums.unsealed(path.read_bytes()).get("files")
            if not isinstance(files, dict):
                raise Damaged("found no 'files'")
            return files

    def _table(self, table: str) -> "pd.DataFrame":
        name = f"{table}.parquet"
        if table in OPTIONAL and name not in self._checksums:
            raise ResultsError(f"{self.directory}: found no {name}, expected a run that recorded it")
        return self._read(name, lambda content: read_table(content, table))

    def _read(self, name: str, make: Callable[[bytes], _Made]) -> _Made:
        """Make something of a file of the run, if it is what the run has written."""
        with self._reading(name) as path:
            if name not in self._checksums:
                raise Damaged(f"{checksums.LIST} does not name it")
            return make(checksums.read(path, self._checksums[name]))

    @contextmanager
    def _reading(self, name: str) -> Iterator[Path]:
        path = self.directory / name
        try:
            yield path
        except (FileNotFoundError, NotADirectoryError):
            raise ResultsError(
                f"{self.directory}: found no {name}, expected every file of a run; {_AGAIN}"
            ) from None
        except (OSError, Damaged) as error:
            raise ResultsError(f"{path}: damaged ({error}); {_AGAIN}") from None


def _best_of(run: str, metric: str) -> float:
    return Result(run).best(metric)


def _arrays(content: bytes) -> "dict[str, np.ndarray]":
    import numpy as np

    try:
        with np.load(io.BytesIO(content)) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise Damaged(str(error)) from None


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

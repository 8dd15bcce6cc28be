"""A run directory: write it, and read it back as DataFrames.

A directory holds ``scenario.json`` (resolved), ``summary.json``, ``environment.json`` (versions, wall
seconds, host: everything that may differ between two equal runs), one parquet file per table and, when a
report was asked for, ``report.html`` and ``figures/``. `docs/results.md` explains every column.
Equal ledgers give byte-identical parquet files: no time stamp, host name or path is in them.
"""

from sfsim.results.directory import CHECKPOINT, bytes_of, claim, end_of, partial_of, write
from sfsim.results.divergence import LOSS_BOUND, first_divergence
from sfsim.results.hold import hold
from sfsim.results.progress import Progress
from sfsim.results.result import Result, find_runs
from sfsim.results.target import TimeToTarget, kaplan_meier_quantile, time_to, wanted

__all__ = [
    "CHECKPOINT",
    "LOSS_BOUND",
    "Progress",
    "Result",
    "TimeToTarget",
    "bytes_of",
    "claim",
    "end_of",
    "find_runs",
    "first_divergence",
    "hold",
    "kaplan_meier_quantile",
    "partial_of",
    "time_to",
    "wanted",
    "write",
]

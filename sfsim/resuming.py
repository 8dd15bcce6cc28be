"""Where the checkpoint of a run lies, whose it is, and whether this program may go on from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sfsim.errors import ResultsError, did_you_mean
from sfsim.results import CHECKPOINT, Result, partial_of
from sfsim.scenario import Scenario
from sfsim.workload.checkpoint import CheckpointFolder, read_pointer

_WORDS = {
    "sfsim": "sfsim",
    "data": "data with the fingerprint",
    "scenario": "files that make the scenario",
    "device": "the device",
}


def find(out: Path) -> dict[str, Any] | None:
    """Return what the checkpoint of a run tells about it; None when the run is finished.

    Parameters
    ----------
    out : Path
        The run directory, as it was given to the run.

    Raises
    ------
    ResultsError
        There is neither a finished run nor an interrupted one, or the finished one is not whole.
    """
    out = Path(str(out).removesuffix(".partial"))
    if (out / "summary.json").is_file():
        Result(out).verify()
        return None
    pointer = read_pointer(partial_of(out) / CHECKPOINT)
    if pointer is None:
        raise ResultsError(_nothing(out))
    return pointer


def open_folder(
    out: Path, scenario: Scenario, identity: dict[str, str], data_root: Path | None, resume: bool
) -> tuple[CheckpointFolder, str]:
    """Open the folder in which a run keeps its checkpoint; say what lies there already.

    Parameters
    ----------
    out : Path
        The run directory.
    identity : dict of str to str
        All that must be the same for a run to go on bit for bit: versions, hash, fingerprint, device.
    resume : bool
        Go on from what lies there.

    Raises
    ------
    ResultsError
        What lies there is another configuration's, or (to go on) was made by another program.
    """
    folder = partial_of(out) / CHECKPOINT
    try:
        pointer = read_pointer(folder)
    except ResultsError:
        if resume:
            raise
        pointer = None
        (folder / "checkpoint.json").unlink()
    saved = pointer["saved"] if pointer else None
    note = ""
    if pointer and saved:
        theirs, name = pointer["identity"], pointer["scenario"]["name"]
        after = f"after round {saved['round']} of {scenario.global_rounds}"
        if resume:
            _check_same(folder, theirs, identity)
            note = f"goes on {after}"
        elif theirs["scenario"] != identity["scenario"]:
            raise ResultsError(
                f"{folder.parent}: holds the interrupted run {name!r} ({theirs['scenario']}) and cannot take "
                f"{scenario.name!r} ({identity['scenario']}), which is another configuration; "
                "delete it, or give another --out"
            )
        else:
            note = f"starts anew; `sfsim resume {out}` would have gone on {after}"
    run = {
        "identity": identity,
        "scenario": scenario.to_table(),
        "data_root": None if data_root is None else str(data_root.absolute()),
    }
    return CheckpointFolder(folder, run, resume), note


def _check_same(folder: Path, theirs: dict[str, str], mine: dict[str, str]) -> None:
    for name in mine:
        if theirs.get(name) != mine[name]:
            what = _WORDS.get(name, name)
            raise ResultsError(
                f"{folder.parent}: was begun with {what} {theirs.get(name)} and cannot go on bit for bit with "
                f"{mine[name]}; bring that back, or start anew with sfsim run"
            )


def _nothing(out: Path) -> str:
    around = out.absolute().parent
    names = (
        [path.name for path in around.iterdir() if (path / CHECKPOINT).is_dir()] if around.is_dir() else []
    )
    names = [name.removesuffix(".partial") for name in names]
    hint = did_you_mean(out.name, names)
    text = f"{out}: found no run, expected one that was interrupted (DIR as given to sfsim run --out)"
    return f"{text}. {hint}" if hint else text

"""Hold a run directory: one process at a time writes it, and what a killed one left half-done is set right first."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sfsim.errors import ResultsError
from sfsim.results.directory import claim, keep_what_is_not_ours, old_of


@contextmanager
def hold(out: Path | None, name: str, scenario_hash: str) -> Iterator[Path]:
    """Yield the directory that a run may fill, and keep every other process away from it meanwhile.

    Parameters
    ----------
    out, name, scenario_hash
        See `claim`.

    Raises
    ------
    ResultsError
        Another process writes there; or as `claim` says.
    """
    place = claim(out, name, scenario_hash)
    with _locked(place.absolute()):
        set_right(place.absolute())
        yield claim(place, name, scenario_hash)


def set_right(out: Path) -> None:
    """Finish, or take back, the exchange of an old run directory for a new one that a kill has interrupted.

    Between the two renames there is no directory, and the old one gets its name back; after them what was not the
    run's own, a user's file, moves over. So a directory that exists is whole, and no file is lost.
    """
    old = old_of(out)
    if not old.is_dir():
        return
    if out.exists():
        keep_what_is_not_ours(old, out)
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.rename(out)


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Hold the lock beside a directory, a file that is there only while somebody writes."""
    path = out.with_name(f".{out.name}.lock")
    made = [folder for folder in out.parents if not folder.exists()]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise ResultsError(
                    f"{out}: another process is writing this run; wait for it, or give another --out"
                ) from None
            except OSError:  # a file system without locks
                break
            with suppress(FileNotFoundError):
                if os.fstat(descriptor).st_ino == path.stat().st_ino:
                    break
            os.close(descriptor)  # whoever held it has just taken the file away
    except OSError as error:
        raise ResultsError(f"{out}: cannot be made ({error.strerror or error}); give another --out") from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)
        for folder in made:
            with suppress(OSError):  # there is something in it now
                folder.rmdir()

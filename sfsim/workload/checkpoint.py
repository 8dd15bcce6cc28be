"""The folder of a checkpoint: what a run is, what happened in it so far, and where its learning stands.

::

    DIR.partial/checkpoint/
        checkpoint.json       which run it is, and which of the other files count: replaced in one stroke; sealed
        recording-<k>.log     all works so far: blocks of (length, CRC32, zlib of JSON rows), appended
        state-<k>.pt          a snapshot of the workload (`sfsim.workload.saving`), and payloads under way; its
                              checksum is in checkpoint.json (`sfsim.checksums`)

A kill at any moment leaves the last ``checkpoint.json`` and the files it names; whatever else lies there is
cleared away by the next one. So the disk holds one recording and, but for a moment, one state.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from sfsim import checksums
from sfsim.errors import ResultsError
from sfsim.workload.saving import read_state, write_state

POINTER = "checkpoint.json"
FORMAT = 4
_BLOCK = struct.Struct("<II")

Rows = list[list[Any]]


def read_pointer(folder: Path) -> dict[str, Any] | None:
    """Read which run a checkpoint belongs to and how far it came; None where there is none.

    Raises
    ------
    ResultsError
        It is damaged, or of another version.
    """
    try:
        content = (folder / POINTER).read_bytes()
        if (found := checksums.parsed(content)["format"]) != FORMAT:
            raise ResultsError(f"{folder}: found a checkpoint of format {found}, expected {FORMAT}")
        pointer = checksums.unsealed(content)
        return {**pointer, "identity": dict(pointer["identity"]), "saved": pointer["saved"]}
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, POINTER, error) from None


class CheckpointFolder:
    """Writes checkpoints of one run, and reads the newest of them.

    Parameters
    ----------
    folder : Path
        Made when it is opened.
    run : dict
        What `read_pointer` tells about the run: ``identity``, ``scenario`` and so on, as JSON can hold it.
    go_on : bool
        Go on from the checkpoint that lies there; otherwise the first one that is written replaces it: a run
        that was started anew by mistake may still be stopped.

    Raises
    ------
    ResultsError
        The file system refuses.
    """

    def __init__(self, folder: Path, run: dict[str, Any], go_on: bool) -> None:
        self.folder = folder.absolute()
        self._run = {"format": FORMAT, **run}
        self._log: IO[bytes] | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            pointer = read_pointer(folder)
            self.saved: dict[str, Any] | None = pointer["saved"] if pointer else None
            # Names that the checkpoint which lies there does not use.
            self._number = self.saved["number"] + 1 if self.saved else 0
            if self.saved is None:
                self._point_to(None)
            elif not go_on:
                self.saved = None
        except OSError as error:
            raise self._refused(error) from None

    def rows(self) -> Iterator[list[Any]]:
        """Read the recording, block by block."""
        assert self.saved is not None
        name, left = self.saved["recording"], self.saved["recording_bytes"]
        try:
            with (self.folder / name).open("rb") as log:
                while left > 0:
                    length, checksum = _BLOCK.unpack(log.read(_BLOCK.size))
                    if length > left - _BLOCK.size:
                        raise ValueError("a block is longer than what is left")
                    block = log.read(length)
                    if zlib.crc32(block) != checksum:
                        raise ValueError("the checksum of a block does not fit")
                    left -= _BLOCK.size + length
                    yield from json.loads(zlib.decompress(block))
        except (OSError, ValueError, struct.error, zlib.error) as error:
            raise _damaged(self.folder, name, error) from None

    def state(self) -> Any:
        """Read the newest state."""
        assert self.saved is not None
        name = self.saved["state"]
        try:
            return read_state(checksums.read(self.folder / name, self.saved["state_sha256"]))
        except Exception as error:  # torch raises many kinds of them
            raise _damaged(self.folder, name, error) from None

    def write(self, rows: Rows, state: Any, facts: dict[str, Any]) -> None:
        """Append rows to the recording and replace the state, whole or not at all."""
        try:
            self._append(rows)
            assert self._log is not None
            name = f"state-{self._number}.pt"
            write_state(self.folder / name, state)
            _sync(self.folder / name)
            log = Path(self._log.name).name
            self._point_to(
                {
                    **facts,
                    "number": self._number,
                    "recording": log,
                    "recording_bytes": self._log.tell(),
                    "state": name,
                    "state_sha256": checksums.of_file(self.folder / name),
                }
            )
            for path in self.folder.iterdir():
                if path.name not in (POINTER, name, log):
                    path.unlink()
            self._number += 1
        except (OSError, RuntimeError) as error:  # torch.save raises the latter
            raise self._refused(error) from None

    def discard(self) -> None:
        """Take everything away."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # holds something else
            self.folder.parent.rmdir()

    def close(self) -> None:
        """Close the recording."""
        if self._log is not None:
            self._log.close()

    def _append(self, rows: Rows) -> None:
        if self._log is None:
            if self.saved is None:
                self._log = (self.folder / f"recording-{self._number}.log").open("wb")
            else:
                self._log = (self.folder / self.saved["recording"]).open("r+b")
                self._log.truncate(self.saved["recording_bytes"])
                self._log.seek(0, os.SEEK_END)
        block = zlib.compress(
            json.dumps(rows, separators=(",", ":"), default=lambda number: number.item()).encode(), 1
        )
        self._log.write(_BLOCK.pack(len(block), zlib.crc32(block)) + block)
        self._log.flush()
        os.fsync(self._log.fileno())

    def _point_to(self, saved: dict[str, Any] | None) -> None:
        new = self.folder / "new.json"
        new.write_text(checksums.sealed({**self._run, "saved": saved}))
        if saved is not None:
            _sync(new)
        new.replace(self.folder / POINTER)
        if saved is not None:
            _sync(self.folder)
        self.saved = saved

    def _refused(self, error: Exception) -> ResultsError:
        reason = (isinstance(error, OSError) and error.strerror) or error
        return ResultsError(f"{self.folder}: a checkpoint cannot be written ({reason})")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _damaged(folder: Path, name: str, error: Exception) -> ResultsError:
    return ResultsError(
        f"{folder / name}: a damaged checkpoint ({error}); delete {folder} and run the scenario anew"
    )

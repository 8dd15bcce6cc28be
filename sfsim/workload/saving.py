"""What can be saved and goes on later as if nothing had happened: the convention, and its file.

Every class of the workload that changes while a run goes on has two methods:

``snapshot()``
    Everything that later works depend on, as dicts, lists and tuples of tensors, numbers, texts, bytes and
    None: nothing else, so that a file can be read without running what stands in it. A `torch.Generator` is
    its ``get_state()``. Tensors need not be copied. What can be computed again (plans, prices) is not in it.
``restore(saved)``
    Take that over, into an object that was built from the same scenario.

Whoever holds such objects asks them in turn; `LiveWorkload.snapshot` is the root. It is called only when no
work is running and no client is between the forward and the backward of a minibatch: graphs are never saved.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Protocol

import numpy as np

_BYTES = "these are bytes"


class Saved(Protocol):
    """A part of the workload that changes while a run goes on."""

    def snapshot(self) -> Any:
        """Return everything that later works depend on."""

    def restore(self, saved: Any) -> None:
        """Take over what `snapshot` returned."""


def write_state(path: Path, state: Any) -> None:
    """Write a snapshot to a file."""
    import torch  # not to be waited for by those who only ask what there is

    torch.save(_packed(state), path)


def read_state(content: bytes) -> Any:
    """Return the snapshot in the bytes of a file: tensors come back to where they were."""
    import torch

    return _unpacked(torch.load(io.BytesIO(content), weights_only=True))


def _packed(value: Any) -> Any:
    """Make bytes a tensor (as text they would take half as much again, and none at all could not be read).

    Let go of what a tensor is only a piece of: its whole memory would be written.
    """
    import torch

    if isinstance(value, torch.Tensor):
        return value.clone() if value.untyped_storage().nbytes() > value.nbytes else value
    if isinstance(value, bytes):
        return {_BYTES: torch.from_numpy(np.frombuffer(value, np.uint8).copy())}
    if isinstance(value, dict):
        return {key: _packed(item) for key, item in value.items()}
    return type(value)(map(_packed, value)) if isinstance(value, list | tuple) else value


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict):
        if _BYTES in value:
            return value[_BYTES].numpy().tobytes()
        return {key: _unpacked(item) for key, item in value.items()}
    return type(value)(map(_unpacked, value)) if isinstance(value, list | tuple) else value

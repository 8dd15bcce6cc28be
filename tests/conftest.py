"""Fixtures that many tests share."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("SFSIM_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("no reference data beside the checkout (set SFSIM_SHARED)")
    return SHARED


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """`sfsim check` leaves the garbage collector off: its process ends. This one goes on."""
    yield
    gc.enable()

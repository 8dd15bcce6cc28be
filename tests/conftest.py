"""Fixtures that many tests share."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("SFSIM_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("no reference data beside the checkout (set SFSIM_SHARED)")
    return SHARED

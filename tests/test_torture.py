"""A small part of `make torture`: damaged inputs end in success or in one clear error."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_damaged_inputs() -> None:
    arguments = ["--count", "30", "--seed", "5", "--jobs", "1", "--no-valid"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture.mutations", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cases: 30" in done.stdout and "faults: 0" in done.stdout

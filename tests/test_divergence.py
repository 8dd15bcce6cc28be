"""A run that diverges is a result that says so everywhere; one without a validation split is a result too."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from worlds import clients, scenario

import sfsim
from sfsim import world as worlds
from sfsim.errors import ConfigError
from sfsim.learning.data import load_dataset
from sfsim.learning.dataset import Dataset
from sfsim.learning.declarations import Cnn, Sgd
from sfsim.ledger import EvaluationRecord
from sfsim.preview import preview
from sfsim.report.tables import compare_table, outcome
from sfsim.results import LOSS_BOUND, divergence, first_divergence
from sfsim.scenario import Target


def measured(metric: str, value: float, client: str = "") -> EvaluationRecord:
    return EvaluationRecord(2, 1.0, "train", "on", metric, value, client)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (measured("loss", LOSS_BOUND), ""),
        (
            measured("loss", math.nextafter(LOSS_BOUND, math.inf)),
            "diverged in round 2: train loss 1e+06, beyond 1e+06",
        ),
        (measured("loss", math.nan), "diverged in round 2: train loss nan"),
        (measured("loss", math.inf), "diverged in round 2: train loss inf"),
        (measured("accuracy", math.nan), "diverged in round 2: train accuracy nan"),
        (measured("loss", 1e21, client="c"), ""),
        (measured("smashed_up_wire_mse", math.nan), ""),
    ],
)
def test_what_counts(row: EvaluationRecord, said: str) -> None:
    assert first_divergence([measured("loss", 2.3), row]) == said


@pytest.mark.parametrize("validation_fraction", [0.0, 0.2])
def test_huge_finite_losses_are_said_everywhere(validation_fraction: float, tmp_path: Path) -> None:
    wild = scenario(
        optimiser=Sgd(learning_rate=1e4),
        model=Cnn(width=4, norm="none"),
        global_rounds=1,
        validation_fraction=validation_fraction,
    )
    result = sfsim.run(wild, out=tmp_path / "wild")
    assert result.diverged
    (note,) = (note for note in result.notes if "diverged" in note)
    assert note.startswith("diverged in round 1: ")
    assert "; diverged" in outcome(result)
    tame = sfsim.run(scenario(global_rounds=1), out=tmp_path / "tame")
    assert not tame.diverged and outcome(tame).startswith("no target and no validation split; ")
    cells = [row[3] for row in compare_table([result, tame]).rows]
    assert cells[0].endswith(", diverged") and cells[1] == "-"


def test_a_retimed_run_says_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(divergence, "LOSS_BOUND", 0.01)  # what is retimed has to be finite
    declared = scenario(global_rounds=1)
    result = sfsim.run(declared, out=tmp_path / "here")
    assert result.diverged and result.evaluations["value"].notna().all()
    there = replace(declared, clients=clients(2, start_s=1.0))
    retimed = sfsim.retime(result.directory, there, out=tmp_path / "there")
    assert [n for n in retimed.notes if "diverged" in n] == [n for n in result.notes if "diverged" in n] != []


@pytest.mark.parametrize(
    "changes", [{"target": Target(metric="accuracy", value=0.5)}, {"aggregate": "best-validation"}]
)
def test_an_empty_validation_split_is_refused_before_training(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders of published code may hold no validation images at all."""

    def load(*given: Any) -> Dataset:
        dataset = load_dataset(*given)
        return replace(dataset, validation=dataset.validation[:0])

    monkeypatch.setattr(worlds, "load_dataset", load)
    declared = scenario(**({"validation_fraction": 0.2} | changes))
    for start in (preview, lambda declared: sfsim.run(declared, out=tmp_path / "run")):
        with pytest.raises(ConfigError, match="validation_fraction: found no validation example beside"):
            start(declared)

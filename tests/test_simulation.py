"""sfsim.run from Python: targets, early end, notes, refusals."""

import gc
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from worlds import ACCESS, clients, coded, finished, scenario

import sfsim
from sfsim.channel import Bernoulli, RayleighBlock
from sfsim.codec import Cast, Uniform
from sfsim.errors import ConfigError
from sfsim.learning.declarations import Cnn, Sgd
from sfsim.network.declarations import Link
from sfsim.network.transfer import Transfer
from sfsim.report import report
from sfsim.report.tables import outcome
from sfsim.results import Progress
from sfsim.scenario import Codecs, ModelCodec, Scenario, Target


def reachable(**target: object) -> Scenario:
    wanted = Target(**({"metric": "accuracy", "value": 0.01} | target))
    return scenario(global_rounds=4, validation_fraction=0.25, target=wanted)


def test_a_run_ends_when_its_target_holds(tmp_path: Path) -> None:
    result = sfsim.run(reachable(stop=True, hold=2), out=tmp_path / "run")
    assert list(result.rounds["round"]) == [1, 2]
    assert result.time_to().round == 1


def test_without_stop_all_rounds_are_run(tmp_path: Path) -> None:
    assert len(sfsim.run(reachable(), out=tmp_path / "run").rounds) == 4


def test_a_hold_longer_than_the_run_is_reported(tmp_path: Path) -> None:
    result = sfsim.run(reachable(hold=5), out=tmp_path / "run")
    assert result.notes == ["target: hold = 5 cannot be reached in a run with 4 evaluations"]


def test_a_target_may_be_relative_to_a_baseline(tmp_path: Path) -> None:
    baseline = sfsim.run(reachable(), out=tmp_path / "baseline")
    other = sfsim.run(reachable(value=0.5, relative_to=baseline.directory, stop=True), out=tmp_path / "other")
    reached = other.time_to()
    assert reached.reached and reached.target == pytest.approx(0.5 * baseline.best())
    with pytest.raises(
        ConfigError, match=r"^Scenario, \[target\] relative_to: found 'nowhere', expected the"
    ):
        reachable(relative_to=tmp_path / "nowhere")
    (baseline.directory / "evaluations.parquet").unlink()
    with pytest.raises(
        ConfigError, match=r"^\[target\] relative_to: found a baseline that cannot be used \("
    ):
        sfsim.run(reachable(relative_to=baseline.directory), out=tmp_path / "third")
    assert not (tmp_path / "third").exists()


def test_effects_that_never_happened_are_reported(tmp_path: Path) -> None:
    fading = RayleighBlock(mean_snr_db=10, bandwidth_hz=1e6, coherence_time_s=0.1)
    quiet = replace(ACCESS, loss=Bernoulli(probability=1e-9), channel=fading)
    result = sfsim.run(
        scenario(clients=clients(4, uplink=quiet), client_fraction=0.25, global_rounds=1),
        out=tmp_path / "run",
    )
    text = "\n".join(result.notes)
    assert text.count("took part in no global round") == 3
    assert text.count("loss is configured, but none of") == 4
    assert text.count("a channel is configured, but no message ever asked for its rate") == 3


def test_values_beyond_a_codecs_range_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sfsim.learning.dataset import Examples

    batch = Examples.batch

    def loud(examples: Examples, *arguments: object) -> object:
        inputs, targets = batch(examples, *arguments)  # type: ignore[arg-type]
        return inputs * 1e7, targets

    monkeypatch.setattr(Examples, "batch", loud)
    plain = Cnn(width=4, norm="none")
    notes = sfsim.run(
        scenario(model=plain, codecs=coded(Cast(dtype="float16"), "smashed_up")), out=tmp_path / "run"
    ).notes
    assert len(notes) == 1
    assert notes[0].startswith("codec smashed_up: ") and "were beyond its range" in notes[0]


@pytest.mark.parametrize(
    ("slots", "text"),
    [
        (
            {"smashed_up": Uniform(bits=8)},
            r"^diverged in round 1: smashed_up of c-\d, minibatch \d: tensor: found",
        ),
        (
            {"client_model_up": ModelCodec(codec=Uniform(bits=8), of="weights")},
            r"^diverged in round 1: client model: tensor 'front_end\..*': found nan",
        ),
    ],
)
def test_a_run_that_diverges_is_a_result(tmp_path: Path, slots: dict[str, Any], text: str) -> None:
    wild = reachable(hold=1)
    wild = replace(wild, optimiser=Sgd(learning_rate=1e20), codecs=Codecs(**slots), model=Cnn(width=4))
    result = sfsim.run(wild, out=tmp_path / "run")
    assert re.match(text, result.notes[0])
    assert math.isnan(result.evaluations["value"].iloc[-1]) and result.evaluations["round"].iloc[-1] == 1
    assert not result.messages.empty and not result.computations.empty
    reached = result.time_to()
    assert reached.diverged and not reached.reached
    assert "no evaluation gave a number: diverged" in outcome(result)
    assert report([result], tmp_path / "report.html").exists()


def test_where_every_codec_carries_nan_it_is_measured(tmp_path: Path) -> None:
    wild = replace(reachable(), optimiser=Sgd(learning_rate=1e20))
    result = sfsim.run(wild, out=tmp_path / "run")
    assert len(result.rounds) == 4 and result.time_to().diverged


def test_progress_counts_rounds_in_simulated_time(tmp_path: Path) -> None:
    seen: list[Progress] = []
    sfsim.run(scenario(validation_fraction=0.2), out=tmp_path / "run", progress=seen.append)
    assert [progress.round for progress in seen] == [0, 1, 2]
    assert seen[1].time_s < seen[2].time_s and seen[2].metric == "accuracy"


def test_the_python_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).resolve().parents[1]
    block = (root / "docs" / "python.md").read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    exec(block.replace('"scenarios/', f'"{root}/scenarios/'), names := {})  # type: ignore[var-annotated]
    assert (tmp_path / "runs" / "two-rounds" / "report.html").exists()
    assert len(names["result"].rounds) == 2


def test_a_path_is_no_scenario() -> None:
    with pytest.raises(ConfigError) as caught:
        sfsim.run("x.toml")  # type: ignore[arg-type]
    assert str(caught.value) == (
        "sfsim.run: found 'x.toml', expected a Scenario. Write sfsim.run(sfsim.load('x.toml'))."
    )


@pytest.mark.parametrize(
    "options, text",
    [
        ({"jobs": 0}, "--jobs: found 0, expected a whole number of at least 1"),
        ({"device": "tpu"}, "--device: found 'tpu', expected cpu or cuda"),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, options: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sfsim.run(scenario(), out=tmp_path / "run", **options)  # type: ignore[arg-type]
    assert str(caught.value) == text
    assert not (tmp_path / "run").exists()


def test_payloads_do_not_outlive_their_messages() -> None:
    """Gigabytes cross in a run; on fading links too they must not wait for a garbage collector that rarely looks."""
    fading = RayleighBlock(mean_snr_db=10.0, bandwidth_hz=1e6, coherence_time_s=0.01)
    link = Link(channel=fading, latency_s=0.01)
    gc.collect()
    gc.disable()
    try:
        world = finished(scenario(clients=clients(2, uplink=link, downlink=link)))
        alive = [each for each in gc.get_objects() if type(each) is Transfer]
    finally:
        gc.enable()
    assert len(world.ledger.messages) > 20
    assert len(alive) <= 4  # the last ones sent

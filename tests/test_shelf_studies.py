"""The studies of the codec shelf: errors at equal bits, traffic savings, statistics, and that every arm can run."""

import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sfsim
from sfsim.errors import ConfigError, ResultsError

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "analysis"))  # scripts, not a package

import codec_shelf  # noqa: E402
import compression_error  # noqa: E402
import traffic_saving  # noqa: E402

DIGITS = ROOT / "scenarios" / "shelf" / "digits.toml"
TINY = {"global_rounds": 2, "evaluation.every_rounds": 1}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, sfsim.Result]:
    folder, made = tmp_path_factory.mktemp("runs"), {}
    for name in ("fp32", "int8", "zeros"):
        changes = TINY | {
            f"codecs.{slot}": f"../../codecs/{name}.toml" for slot in ("smashed_up", "gradient_down")
        }
        changes |= {"evaluation.keep_predictions": 8, "evaluation.keep_smashed_data": True}
        made[name] = sfsim.run(sfsim.load(DIGITS, changes), out=folder / name, checkpoint_share=0)
    return made


def test_errors_of_the_rectified_normal_are_those_of_the_published_notebook() -> None:
    # 256 x 64 x 32 x 32 there, an eighth of it here: the norm of the error grows with the root of the size.
    found = compression_error.notebook(compression_error.synthetic((32, 64, 32, 32)))
    scaled = {name: value * math.sqrt(8) for name, value in found.items()}
    assert scaled["MS, 2 bits, 1/32 kept"] == pytest.approx(582.24, rel=5e-3)
    assert scaled["SP, 7/32 kept"] == pytest.approx(934.88, rel=5e-3)
    assert scaled["MS, the same, floor"] == pytest.approx(948.1, rel=5e-3)
    assert 500 < scaled["QU, 3 bits"] < 750  # hangs on the largest value that was drawn


def test_all_codecs_of_the_figure_send_the_bits_they_are_drawn_at(
    tmp_path: Path, runs: dict[str, sfsim.Result], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--shape", "8", "16", "16", "16", "--out", str(tmp_path)]
    compression_error.main([*arguments, "--runs", str(runs["fp32"].directory)])
    rows = pd.read_csv(tmp_path / "compression_error.csv")
    assert list(dict.fromkeys(rows["tensor"])) == ["rectified normal", "digits, conv1, smashed_up"]
    synthetic = rows[rows["tensor"] == "rectified normal"]
    assert np.allclose(synthetic["actual_bits"], synthetic["bits"], rtol=0.02)
    assert synthetic["relative_error"].between(0, 1).all()
    assert (tmp_path / "compression_error.png").exists() and "MS, 2 bits" in capsys.readouterr().out


def test_smashed_data_are_kept_as_they_were_before_the_codec(runs: dict[str, sfsim.Result]) -> None:
    plain, coarse = (runs[name].predictions["smashed_up"] for name in ("fp32", "zeros"))
    assert plain.shape == coarse.shape == (8, 8, 4, 4) and plain.dtype == np.float32
    assert coarse.any()  # zeros is what the server got
    with pytest.raises(
        ConfigError, match=r"\[evaluation\] keep_predictions: found 0, expected how many examples"
    ):
        sfsim.load(DIGITS, {"evaluation.keep_smashed_data": True})


def test_the_error_of_smashed_data_is_relative_to_their_energy(runs: dict[str, sfsim.Result]) -> None:
    for name, low, high in (("fp32", 0.0, 0.0), ("int8", 1e-7, 1e-3), ("zeros", 1.0, 1.0)):
        for split in ("validation", "test"):
            assert runs[name].rounds[f"{split}_nmse_s1"].between(low, high).all()


def test_savings_are_bytes_until_the_first_evaluation_at_the_goal(
    tmp_path: Path, runs: dict[str, sfsim.Result]
) -> None:
    folders = [str(run.directory) for run in runs.values()]
    traffic_saving.main([*folders, "--within", "100", "--out", str(tmp_path)])
    rows = pd.read_csv(tmp_path / "traffic_saving_runs.csv").set_index("codecs")
    int8 = rows.loc["smashed data up uniform-8bit, gradient down uniform-8bit"]
    # Any accuracy is enough: the first round of both, and of the smashed data nothing but headers tells 4 from it.
    first = {name: run.messages[run.messages["round"] == 1] for name, run in runs.items()}
    everything = {name: sent["wire_bytes"].sum() for name, sent in first.items()}
    assert int8["everything_bytes"] == pytest.approx(everything["int8"], rel=0.02)
    assert int8["everything_saving"] == pytest.approx(everything["fp32"] / everything["int8"], rel=0.02)
    assert int8["uplink_only_saving"] == pytest.approx(4, rel=0.02)
    assert rows["goal"].nunique() == 1

    never = traffic_saving.savings(list(runs.values()), -200, "test")
    assert (never["everything_bytes"] == math.inf).all() and (
        traffic_saving.summarise(never)["reached"] == 0
    ).all()
    with pytest.raises(ResultsError, match="found no run that sends float32 both ways"):
        traffic_saving.savings([runs["int8"]], 1, "test")


def test_every_arm_of_the_study_is_a_scenario(tmp_path: Path) -> None:
    cells = codec_shelf.cells(codec_shelf.TASKS, [3], tmp_path)
    assert len({cell.out for cell in cells}) == len(cells) == 2 * (len(codec_shelf.ARMS) + 21)
    loaded = {cell.out.name: cell.load() for cell in cells}
    assert {scenario.seeds.training for scenario in loaded.values()} == {3}
    assert loaded["digits-paper_s-RT-conv3-3"].cut_layers == ("conv3",)


def made_up(accuracies: dict[str, list[float]], errors: dict[str, float]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"task": "t", "family": "both", "arm": arm, "seed": seed, "accuracy": value, "nmse": errors[arm]}
            for arm, values in accuracies.items()
            for seed, value in enumerate(values)
        ]
    ).assign(cut="conv1", wire_bytes=100, wire_bytes_up=50)


def test_orders_are_compared_seed_by_seed() -> None:
    errors = {"a": 0.1, "b": 0.2, "c": 0.3}
    same = codec_shelf.order(made_up({"a": [0.9, 0.8], "b": [0.7, 0.7], "c": [0.1, 0.2]}, errors)).iloc[0]
    assert (same["tau"], same["low"], same["always_reversed"], same["by_chance"]) == (1, 1, 0, 3 / 4)
    swapped = codec_shelf.order(made_up({"a": [0.7, 0.7], "b": [0.9, 0.8], "c": [0.1, 0.9]}, errors)).iloc[0]
    assert swapped["which"] == "a below b"  # c is above both in one seed only
    assert swapped["tau"] == pytest.approx((1 / 3 - 1) / 2)


def test_intervals_are_students_and_bonferronis() -> None:
    # t(0.975, 2) = 4.3026527, t(1 - 0.025 / 5, 2) = 9.9248432; standard error 1 / sqrt(3).
    assert codec_shelf.interval([1, 2, 3]) == pytest.approx(
        (2, 2 - 4.3026527 / 3**0.5, 2 + 4.3026527 / 3**0.5)
    )
    assert codec_shelf.interval([1, 2, 3], 5)[1] == pytest.approx(2 - 9.9248432 / 3**0.5)
    rows = codec_shelf.arms(made_up({"fp32": [0.9, 0.8], "x": [0.8, 0.7]}, {"fp32": 0, "x": 1})).set_index(
        "arm"
    )
    assert rows.loc["x", ["points_to_fp32", "low", "high", "times_fewer"]].tolist() == pytest.approx(
        [-10, -10, -10, 1]
    )


def test_claims_hold_only_where_all_intervals_say_so() -> None:
    rng = np.random.default_rng(0)
    level = dict(zip(codec_shelf.CLAIMED, (0.9, 0.8, 0.5, 0.8, 0.5, 0.5, 0.5), strict=True))
    runs = pd.DataFrame(
        [
            {"task": "t", "family": "paper's", "arm": arm, "cut": cut, "seed": seed}
            | {"accuracy": accuracy + (cut == "conv3") * 0.1 * (arm == "MS") + 1e-3 * rng.standard_normal()}
            for arm, accuracy in level.items()
            for cut in codec_shelf.CUTS
            for seed in range(6)
        ]
    )
    holds = codec_shelf.claims(runs).set_index("claim")["holds"]
    assert holds["MS above SP, conv1"] == holds["MS loses more at conv1 than at conv3"] == "yes"
    assert holds["MS above QU 3, conv1"] == holds["SP loses more at conv1 than at conv3"] == "undecided"

"""Rates against closed forms, the pictures' contents, and the SplitFedZip grid."""

import math
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from coded_run import FLOAT32, HEADER, PER_IMAGE, PIXELS, coded_run
from synthetic_run import run_directory

import sfsim
from sfsim.errors import ConfigError, ResultsError
from sfsim.report import rates
from sfsim.report.rate_figures import byte_shares, qualitative, rate_accuracy, training_rates
from sfsim.results import Result, find_runs

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "analysis"))  # scripts, not a package

import bd_rate  # noqa: E402
import rate_accuracy as command  # noqa: E402
import splitfedzip  # noqa: E402

LAMBDAS = (1.0, 4.0, 16.0, 64.0)
SENT = (6 * 128 + 2 * 8 * HEADER) / 6 / PIXELS  # six images in two messages with headers
PUBLISHED = 1.125 * 128 / PIXELS


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NC, the baseline, MS, and two learned curves over four lambdas and two seeds."""
    folder = tmp_path_factory.mktemp("study")
    for seed in (1, 2):
        more = 0.01 * seed
        coded_run(
            folder / f"nc-{seed}", "NC", lambda_=None, seed=seed, values=(0.8 + more,), predictions=True
        )
        coded_run(folder / f"zeros-{seed}", "FG", "zeros", None, seed, 0, (0.3 + more,), predictions=True)
        coded_run(
            folder / f"ms-{seed}", "FG", "mask-encoded", None, seed, 4096, (0.7 + more,), predictions=True
        )
        for codec, gain in (("ae", 0.0), ("cheng-at", 0.04)):
            for place, value in enumerate(LAMBDAS):
                coded_run(
                    folder / f"{codec}-{value:g}-{seed}", "F", codec, value, seed, 64 * 4**place,
                    (0.5 + 0.05 * place + gain + more,), {"update": "round"}, predictions=True,
                )  # fmt: skip
    return folder


def test_bits_per_pixel_in_training(tmp_path: Path) -> None:
    rows = rates.training_bpp(coded_run(tmp_path / "x"))
    assert len(rows) == 12 and set(rows["round"]) == {1, 2, 3}
    up = rows[rows["slot"] == "smashed_up"]
    assert up["actual_bpp"].tolist() == pytest.approx([SENT] * 3)
    assert up["estimated_bpp"].tolist() == pytest.approx([128 / PIXELS] * 3)
    assert up["published_bpp"].tolist() == pytest.approx([PUBLISHED] * 3)
    gradient = rows[rows["slot"] == "gradient_down"]
    assert gradient["published_bpp"].tolist() == pytest.approx([32 * PER_IMAGE / PIXELS] * 3)


def test_estimated_beside_actual(tmp_path: Path) -> None:
    rows = rates.bits_by_slot(coded_run(tmp_path / "x")).set_index("slot")
    assert list(rows.index) == list(rates.SLOTS) and set(rows["messages"]) == {12}
    assert rows.loc["smashed_up", "actual_over_estimated"] == pytest.approx(SENT / (128 / PIXELS))
    assert rows.loc["smashed_up", "actual_over_published"] == pytest.approx(SENT / PUBLISHED)
    silent = rates.bits_by_slot(coded_run(tmp_path / "z", "FG", "zeros", None, bits=0))
    assert silent["actual_over_estimated"].isna().all()


def test_a_point(tmp_path: Path) -> None:
    result = coded_run(tmp_path / "x", training={"update": "round"})
    row = rates.point(result)
    assert (row["scheme"], row["codec"], row["lambda"], row["updates"]) == ("F", "ae", 1.0, "round")
    assert (row["round"], row["validation"], row["test"]) == (2, 0.7, pytest.approx(0.69))
    assert rates.point(result, "last")["test"] == pytest.approx(0.59)
    assert row["bpp_s1"] == pytest.approx(SENT) and row["bpp_t"] == pytest.approx(2 * SENT)
    assert row["published_bpp_t"] == pytest.approx(2 * PUBLISHED)
    # As published: the raw bits of one cut over the coded bits of both; ours: both over both, and all over all.
    assert row["cr_published"] == pytest.approx(32 * PER_IMAGE / PIXELS / (2 * PUBLISHED))
    assert row["cr_cuts"] == pytest.approx(32 * PER_IMAGE / PIXELS / SENT)
    messages = result.messages
    assert row["cr_everything"] == pytest.approx(
        messages["raw_bytes"].sum() / messages["payload_bytes"].sum()
    )
    assert (row["bytes_codec_update"], row["bytes_client_model"]) == (18000, 6000)
    assert row["bytes_smashed_data"] == 3 * 2 * 2 * (6 * 128 // 8 + 2 * HEADER)
    assert row["payload_bytes"] == messages["payload_bytes"].sum()
    assert row["wire_bytes"] == messages["wire_bytes"].sum()
    assert (row["client_flops"], row["client_codec_flops"]) == (3e7, 6e6)


def test_measured_bits_per_pixel_come_before_those_of_training(tmp_path: Path) -> None:
    measured = {"bpp_s1": 0.25, "bpp_s2": 0.5, "published_bpp_s1": 0.125, "published_bpp_s2": 0.0625}
    row = rates.point(coded_run(tmp_path / "x", measured=measured))
    assert (row["bpp_t"], row["published_bpp_t"]) == (0.75, 0.1875)
    assert row["cr_published"] == pytest.approx(32 * PER_IMAGE / PIXELS / 0.1875)


@pytest.mark.parametrize(
    ("scheme", "codec", "value", "training", "name"),
    [
        ("NC", "ae", None, None, "NC"),
        ("F", "ae", 1.0, {"update": "round"}, "F ae"),
        ("F", "ae", 1.0, None, "F ae"),
        ("G", "cheng-at", 1.0, {"update": "frozen"}, "G cheng-at, updates: frozen"),
        ("FG", "ae", 2.0, {"update": "ideal"}, "FG ae, updates: ideal (free)"),
        ("FG", "ae", 2.0, {"update_every_minibatches": 8}, "FG ae, updates: 8 minibatches"),
        ("F", "ae", 2.0, {"freeze_when_settled": 0.1}, "F ae, updates: round, frozen when settled"),
        ("F", "ae", 2.0, {"model_loss": "task"}, "F ae, updates: round, model trained by the task alone"),
        (
            "F",
            "ae",
            2.0,
            {"update_codec": {"of": "delta", "codec": {"kind": "uniform", "bits": 8}}},
            "F ae, updates: round, delta in uniform 8 bits",
        ),
        ("F", "ae", 2.0, {"update_codec": {"of": "weights", "codec": FLOAT32}}, "F ae"),
        ("F", "ae", 2.0, {"freeze_after_round": 6}, "F ae, updates: round, frozen after round 6"),
        (
            "F",
            "ae",
            2.0,
            {"as_published": ["exact-gradients", "likelihood-rates"]},
            "F ae, updates: round, as published: exact-gradients likelihood-rates",
        ),
        ("FG", "mask-encoded", None, None, "FG mask-encoded"),
        ("FG", "zeros", None, None, "no communication"),
        ("F", "zeros", None, None, "no communication"),
        ("G", "zeros", None, None, "G zeros"),
    ],
)
def test_what_a_run_is_called(
    tmp_path: Path, scheme: str, codec: str, value: float | None, training: dict | None, name: str
) -> None:
    result = coded_run(tmp_path / "x", scheme, codec, value, training=training)
    assert rates.curve_name(rates.describe(result)) == name


def test_points_over_seeds(study: Path) -> None:
    results = find_runs([study])
    assert len(results) == 22
    points = rates.spread(pd.DataFrame([rates.point(result) for result in results]))
    assert len(points) == 11 and set(points["seeds"]) == {2}
    row = points[(points["codec"] == "ae") & (points["lambda"] == 4)].iloc[0]
    assert (row["test"], row["test_min"], row["test_max"]) == tuple(
        pytest.approx(v) for v in (0.555, 0.55, 0.56)
    )
    assert points[points["codec"] == "mask-encoded"]["bytes_codec_update"].iloc[0] == 0


def test_runs_are_found(study: Path, tmp_path: Path) -> None:
    one = study / "nc-1"
    assert [result.directory for result in find_runs([one])] == [one]
    with pytest.raises(ResultsError, match=r"found no run, expected a run directory or a folder of them"):
        find_runs([tmp_path])


def test_deltas_have_the_ae_of_the_scheme_as_anchor(study: Path) -> None:
    points = rates.spread(pd.DataFrame([rates.point(result) for result in find_runs([study])]))
    rows = bd_rate.table(points)
    assert set(rows["anchor"]) == {"F ae"} and set(rows["test"]) == {"F cheng-at"}
    assert list(rows["rate"].unique()) == list(bd_rate.RATES)
    # Whole payloads hold a large constant part, and a cubic through so bent a curve is none of it.
    refused = rows[rows["refused"] != ""]
    assert list(zip(refused["rate"], refused["fit"], strict=True)) == [("payload_bytes", "cubic")]
    published = rows[(rows["rate"] == "published_bpp_t") & (rows["fit"] == "pchip")].iloc[0]
    # Accuracy rises by 0.05 for four times the rate: 0.04 more is 0.8 of that step.
    assert published["bd_quality"] == pytest.approx(0.04)
    assert published["bd_rate_percent"] == pytest.approx(100 * (4**-0.8 - 1))


def labels(drawing) -> set[str]:
    """Every text of a figure's legends."""
    return {text.get_text() for legend in drawing.legends for text in legend.get_texts()}


def test_every_picture_shows_the_baseline_with_its_accuracy(study: Path) -> None:
    results = find_runs([study])
    points = rates.spread(pd.DataFrame([rates.point(result) for result in results]))
    curves = rate_accuracy(points)
    assert {"no communication: 0.305", "NC (fp32): 0.805", "F ae", "F cheng-at"} <= labels(curves)
    for ax in curves.axes:
        flat = [line for line in ax.lines if line.get_linestyle() == ":"]
        assert [line.get_ydata()[0] for line in flat] == [pytest.approx(0.305)] * 2  # and its mark
    drawn = {line.get_label(): line for line in curves.axes[0].lines}["F ae"]
    expected = [2 * 1.125 * 64 * 4**place / PIXELS for place in range(4)]
    assert list(drawn.get_xdata()) == pytest.approx(expected)
    assert list(drawn.get_ydata()) == pytest.approx([0.505, 0.555, 0.605, 0.655])
    assert "no communication (MJI 0.305)" in labels(training_rates(results))
    shares = byte_shares(points)
    texts = [text.get_text() for text in shares.axes[0].texts]
    assert len(texts) == 11 and sum("MJI 0.305" in text for text in texts) == 1
    assert {"smashed data", "gradient", "client model", "codec update"} == labels(shares)
    ends = {round(bar.get_x() + bar.get_width(), 6) for bar in shares.axes[0].patches}
    assert max(ends) == 100


def test_every_point_says_its_lambda_and_every_curve_has_its_own_look(study: Path, tmp_path: Path) -> None:
    results = find_runs([study])
    more = [coded_run(tmp_path / f"fg{value}", "FG", "ae", value, bits=64 + int(value)) for value in LAMBDAS]
    points = rates.spread(pd.DataFrame([rates.point(result) for result in (*results, *more)]))
    drawing = rate_accuracy(points)
    drawing.draw_without_rendering()
    for ax in drawing.axes:
        drawn = [text for text in ax.texts if text.get_text()]
        assert sorted(text.get_text() for text in drawn) == sorted(["1", "4", "16", "64"] * 3)
        boxes = [text.get_window_extent() for text in drawn]
        assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    lines = {line.get_label(): line for line in drawing.axes[0].lines}
    f, fg = lines["F ae"], lines["FG ae"]
    assert f.get_linestyle() != fg.get_linestyle() and f.get_marker() != fg.get_marker()
    none, plain = lines["no communication: 0.305"], lines["NC (fp32): 0.805"]
    assert none.get_marker() != plain.get_marker()
    assert "a number at a point: its lambda" in labels(drawing)


def test_training_rates_have_whole_rounds_a_colour_per_lambda_and_a_legend_inside(study: Path) -> None:
    results = find_runs([study])
    drawing = training_rates(results)
    drawing.draw_without_rendering()
    (legend,) = drawing.legends
    colours = {
        text.get_text(): line.get_color()
        for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True)
    }
    of_lambdas = [colours[f"lambda {value:g}"] for value in LAMBDAS] + [colours["no lambda"]]
    assert len(set(of_lambdas)) == 5
    assert legend.get_window_extent().x0 >= 0 and legend.get_window_extent().x1 <= drawing.bbox.x1
    for ax in drawing.axes:
        low, high = ax.get_xlim()
        assert [tick for tick in ax.get_xticks() if low <= tick <= high] == [1]
    # Equal in their only round: a dot inside an open square.
    sent, published = drawing.axes[0].lines[:2]
    assert (sent.get_marker(), published.get_marker()) == (".", "s")
    assert published.get_markerfacecolor() == "none" and published.get_markersize() > sent.get_markersize()


def test_training_rates_draw_what_was_sent_and_what_is_published(study: Path) -> None:
    drawing = training_rates(find_runs([study / f"ae-16-{seed}" for seed in (1, 2)]))
    assert len(drawing.axes) == 4 and drawing.axes[0].get_title(loc="left") == "smashed data up (S1)"
    sent, published = drawing.axes[0].lines[:2]
    assert (sent.get_linestyle(), published.get_linestyle()) == ("-", "--")
    assert list(published.get_ydata()) == pytest.approx([1.125 * 1024 / PIXELS])
    assert list(sent.get_ydata()) == pytest.approx([(6 * 1024 + 16 * HEADER) / 6 / PIXELS])
    with pytest.raises(ResultsError, match="found no run with a codec"):
        training_rates(find_runs([study / "nc-1"]))


def test_the_qualitative_page(study: Path, tmp_path: Path) -> None:
    results = find_runs([study])
    pages = command.pages(results)
    assert set(pages) == {"F_ae", "F_cheng_at", "classical"}
    names = [rates.curve_name(rates.describe(result)) for result in pages["F_ae"]]
    assert names == ["NC", "no communication"] + ["F ae"] * 4
    drawing = qualitative(pages["F_ae"], images=2)
    assert len(drawing.axes) == 16
    masks, guess = (drawing.axes[at].images[0].get_array() for at in (1, 2))
    assert np.array_equal(np.asarray(guess), 1 - np.asarray(masks))
    assert [ax.get_title() for ax in drawing.axes[:2]] == ["image", "ground truth"]
    assert drawing.axes[7].get_title().endswith("λ 64")
    with pytest.raises(
        ResultsError, match=r"kept no predictions, expected a run with evaluation.keep_predictions"
    ):
        qualitative([coded_run(tmp_path / "none")])


def test_the_command(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.main([str(study), "--out", str(tmp_path)])
    tables = {"rate_accuracy_runs": 22, "rate_accuracy": 11, "estimated_actual": 44, "bd_rate": 6}
    assert {name: len(pd.read_csv(tmp_path / f"{name}.csv")) for name in tables} == tables
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert {"rate_accuracy.png", "training_rates.png", "byte_shares.png", "qualitative_F_ae.png"} <= pictures
    assert "no run without communication" not in capsys.readouterr().err
    command.main([str(study / "ae-1-1"), "--out", str(tmp_path)])
    assert "no run without communication" in capsys.readouterr().err
    run_directory(tmp_path / "other")
    with pytest.raises(ResultsError, match="expected one metric"):
        other = Result(tmp_path / "other")
        other.scenario |= {"batch_size": 4, "data": {"kind": "digits"}, "codecs": {}}
        command.tables([other, Result(study / "nc-1")])


def options(tmp_path: Path, *more: str) -> list[splitfedzip.study.Cell]:
    """The cells of the SplitFedZip grid for a command line."""
    return splitfedzip.cells(splitfedzip.parse([*more, "--out", str(tmp_path)]))


def test_the_grid(tmp_path: Path) -> None:
    cells = options(tmp_path)
    assert len(cells) == 2 * (3 + 2 * 2 * 4) and len({cell.out for cell in cells}) == len(cells)
    assert [cell.out.name for cell in cells[:4]] == [
        "nc-seed1", "zeros-FG-seed1", "ms-FG-seed1", "ae-F-round-lambda4-seed1"
    ]  # fmt: skip
    learned = dict(cells[-1].changes)
    assert (
        learned["codecs.smashed_up.normalise"] is False and learned["codecs.gradient_down.normalise"] is True
    )
    assert {learned[f"codecs.{slot}.lambda_"] for slot in rates.SLOTS} == {4096.0}
    assert learned["codec_training.update"] == "round"
    with pytest.raises(ConfigError, match=r"--codecs: found 'jpeg', expected nc, or a name in codecs/"):
        options(tmp_path, "--codecs", "jpeg")


def test_the_plain_cells_of_the_grid_are_scenarios(tmp_path: Path) -> None:
    nc, zeros, ms = (
        cell.load() for cell in options(tmp_path, "--codecs", "nc", "zeros", "ms", "--seeds", "3")
    )
    assert nc.codecs.smashed_up.lossless and zeros.codecs.gradient_up.kind == "zeros"
    assert ms.codecs.smashed_down.kind == "mask-encoded" and ms.seeds.training == 3


def test_hard_enough_is_more_than_the_seeds_spread(tmp_path: Path) -> None:
    def runs(plain: tuple[float, float], silent: tuple[float, float]) -> list[Result]:
        name = f"{plain}{silent}"
        return [
            coded_run(
                tmp_path / f"{name}{scheme}{seed}", scheme, codec, None, seed, 0, (values[seed] + 0.01,)
            )
            for scheme, codec, values in (("NC", "ae", plain), ("FG", "zeros", silent))
            for seed in (0, 1)
        ]

    said = splitfedzip.is_hard_enough(runs((0.80, 0.82), (0.60, 0.61)))
    assert said == (
        "NC 0.800 to 0.820, no communication 0.600 to 0.610: apart by 0.190 at least, seeds by 0.020 at most; "
        "hard enough"
    )
    assert "TOO EASY" in splitfedzip.is_hard_enough(runs((0.80, 0.84), (0.76, 0.78)))
    assert "nothing is said" in splitfedzip.is_hard_enough(runs((0.8, 0.8), (0.6, 0.6))[:2])


def test_a_real_run_keeps_what_it_predicts(tmp_path: Path) -> None:
    small = ROOT / "scenarios" / "papers" / "splitfedzip" / "ham10000-small.toml"
    data = {"kind": "synthetic", "task": "segmentation", "num_train": 24, "num_test": 6, "in_channels": 3}
    data |= {"num_classes": 2, "image_size": 32}
    changes = {"data": data, "global_rounds": 2, "local_epochs": 1, "model.width": 2}

    def run(name: str, count: int) -> Result:
        scenario = sfsim.load(small, changes | {"evaluation.keep_predictions": count})
        return sfsim.run(scenario, out=tmp_path / name)

    some, again, whole = run("some", 4), run("again", 4), run("whole", 99)
    kept = some.predictions
    assert kept["inputs"].shape == (4, 3, 32, 32) and kept["predictions"].shape == (4, 32, 32)
    assert kept["predictions"].dtype == np.uint8 and set(np.unique(kept["predictions"])) <= {0, 1}
    files = [(result.directory / "predictions.npz").read_bytes() for result in (some, again)]
    assert files[0] == files[1]
    # With all six test images kept, their Jaccard index is what the run measured.
    predicted, target = (whole.predictions[name].astype(bool) for name in ("predictions", "targets"))
    overlap, union = (predicted & target).sum((1, 2)), (predicted | target).sum((1, 2))
    measured = whole.evaluations.query("split == 'test' and metric == 'mji' and round == 2")["value"].iloc[0]
    assert len(predicted) == 6
    assert (overlap[union > 0] / union[union > 0]).mean() == pytest.approx(measured)
    with pytest.raises(ResultsError, match="kept no predictions"):
        _ = run_directory(tmp_path / "made-up").predictions


def test_images_of_unknown_size_have_no_bits_per_pixel(tmp_path: Path) -> None:
    result = coded_run(tmp_path / "x")
    result.scenario["data"] = {"kind": "words"}
    with pytest.raises(ResultsError, match=r"bits per pixel need images, found 'words' data"):
        rates.pixels(result)
    assert math.isnan(rates.elements_per_image(result, "no slot"))
